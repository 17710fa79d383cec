//! `scan`: finds the files below folders, and reads those that are new or changed.
//!
//! A file that the collection knows, and whose size, times and inode are what they were, is not opened.
//! Files come in the order of their names, a few hundred at a time, so that memory does not grow with
//! the corpus. What can be said about one file never ends the run; a path of the pipeline file that is
//! not there does, because an unmounted folder must not look like an empty one.

mod decide;
mod explain;
mod filter;
mod gitignore;
mod globs;
mod open;
mod places;
mod read;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use pipeline::column::{BYTES, KNOWN_HASH, MIME_TYPE};
use pipeline::{
    BoxError, Location, MAX_PATTERNS, MetadataStore, NodeDef, NodeKind, Outcome, Parallel,
    Resources, Source, SourceConfig, SourceTotals, SourceWarning, Verdict, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::scan::decide::{Decision, ToRead, decide};
use crate::scan::filter::WalkOptions;
use crate::scan::globs::Glob;
use crate::scan::read::Reader;
use crate::scan::walk::Walk;
use pipeline::ByteSize;
use pipeline::uri;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "scan",
    summary: "Finds the files below folders, and reads those that are new or changed",
    version: 1,
    parallel: Parallel::Single,
    schema: options_schema::<Scan>,
    parse: |with, folder| {
        let mut config: Scan = serde_json::from_value(with)?;
        for path in &mut config.paths {
            // One with a scheme is no path; what it is said to be stays as it is written.
            if places::scheme_of(path).is_none() {
                *path = folder.join(&path);
            }
        }
        Ok(NodeKind::Source(Box::new(config)))
    },
};

/// Options of `scan`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scan {
    /// Folders and files, relative to the pipeline file. A file that is named here is taken whatever the
    /// options below say of its name.
    #[schemars(length(min = 1))]
    paths: Vec<PathBuf>,
    /// Only files that one of these globs matches; all files if there are none. A glob is matched
    /// against the path below the scanned folder: `*.md` are files in the folder itself, `**/*.md` are
    /// files at any depth.
    #[serde(default)]
    #[schemars(length(max = MAX_PATTERNS))]
    include: Vec<Glob>,
    /// No files or folders that one of these globs matches.
    #[serde(default)]
    #[schemars(length(max = MAX_PATTERNS))]
    exclude: Vec<Glob>,
    /// Whether `.gitignore` files are heeded, in a Git repository or not. They are not unless this is
    /// set, so that whatever is left out is left out by the pipeline file.
    #[serde(default)]
    gitignore: bool,
    /// Whether files and folders are taken whose name begins with a dot.
    #[serde(default)]
    hidden: bool,
    /// Whether symbolic links are followed. A link that leads out of the scanned folder never is.
    #[serde(default)]
    follow_symlinks: bool,
    /// Largest file that is read; a larger one is set aside.
    #[serde(default = "max_size")]
    max_size: ByteSize,
    /// How many bytes of files are handed on at once.
    #[serde(default = "batch_bytes")]
    batch_bytes: ByteSize,
}

fn max_size() -> ByteSize {
    ByteSize::mib(64)
}

fn batch_bytes() -> ByteSize {
    ByteSize::mib(4)
}

/// Most files that are looked up, and handed on, at once.
const GROUP: usize = 256;

impl SourceConfig for Scan {
    fn schema(&self) -> SchemaRef {
        let own = [MIME_TYPE.field(), BYTES.field(), KNOWN_HASH.field()];
        Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError> {
        let roots = self.roots()?;
        Ok(Box::new(Files {
            walk: Walk::open(&roots, &self.walk_options()?),
            roots: roots.iter().map(|root| uri::of_path(root)).collect(),
            known: Arc::clone(&with.metadata),
            reader: Reader { schema: self.schema(), max_size: self.max_size.0 },
            batch_bytes: self.batch_bytes.0,
            group: Vec::new().into_iter(),
        }))
    }

    fn verdict(&self, uri: &str) -> Option<Verdict> {
        match uri::to_path(uri) {
            Some(path) => explain::verdict(self, &path).ok(),
            None => Some(Verdict::Elsewhere),
        }
    }

    fn places(&self) -> Vec<String> {
        self.roots_as_far_as_possible().iter().map(|root| uri::of_path(root)).collect()
    }

    fn warnings(&self) -> Vec<SourceWarning> {
        places::warnings(self)
    }
}

impl Scan {
    fn walk_options(&self) -> Result<WalkOptions, BoxError> {
        Ok(WalkOptions {
            include: globs::set(&self.include)?,
            exclude: globs::set(&self.exclude)?,
            gitignore: self.gitignore,
            hidden: self.hidden,
            follow_symlinks: self.follow_symlinks,
        })
    }

    /// The paths, absolute and each once.
    fn roots(&self) -> Result<Vec<PathBuf>, BoxError> {
        let mut roots = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let root = places::root_of(path)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        Ok(roots)
    }

    /// The same, and a path that is not there as it would be called.
    fn roots_as_far_as_possible(&self) -> Vec<PathBuf> {
        let as_written = |path: &Path| -> PathBuf {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            absolute.components().collect()
        };
        let paths = self.paths.iter().filter(|path| places::scheme_of(path).is_none());
        paths.map(|path| places::root_of(path).unwrap_or_else(|_| as_written(path))).collect()
    }
}

struct Files {
    walk: Walk,
    /// The uris of what is walked.
    roots: Vec<String>,
    known: Arc<dyn MetadataStore>,
    reader: Reader,
    batch_bytes: u64,
    /// What is left to read of the files that were looked up together.
    group: std::vec::IntoIter<ToRead>,
}

#[async_trait]
impl Source for Files {
    async fn next(&mut self) -> Result<Option<Outcome>, BoxError> {
        let mut set_aside = Vec::new();
        if self.group.len() == 0 {
            let found: Vec<_> = self.walk.by_ref().take(GROUP).collect();
            if found.is_empty() {
                return Ok(None);
            }
            let uris: Vec<String> =
                found.iter().map(|found| found.location().uri.clone()).collect();
            let known = self.known.locate(&uris).await?;
            let mut to_read = Vec::with_capacity(found.len());
            for (found, known) in found.into_iter().zip(known) {
                match decide(found, known, self.reader.max_size) {
                    Decision::Read(file) => to_read.push(file),
                    Decision::SetAside(document) => set_aside.push(document),
                }
            }
            self.group = to_read.into_iter();
        }
        let rows = self.reader.read(&mut self.group, self.batch_bytes, &mut set_aside)?;
        Ok(Some(Outcome { rows, set_aside }))
    }

    fn covered(&self) -> Vec<String> {
        self.roots.clone()
    }

    fn totals(&self) -> SourceTotals {
        SourceTotals {
            empty: self.walk.empty_roots().into_iter().map(uri::of_path).collect(),
            left_out: self.walk.left_out().counts(),
        }
    }
}
