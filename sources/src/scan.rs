//! `scan`: finds the files below folders, and reads those that are new or changed.
//!
//! A known file with unchanged size, times and inode is not opened. Files are processed in order of
//! their names, a few hundred at a time, so that memory use does not grow with the corpus. An error
//! of a single file never ends the run; a missing path of the pipeline file does, because an
//! unmounted folder must not look like an empty one.

mod cause;
mod decide;
mod explain;
mod filter;
mod gitignore;
mod globs;
mod open;
mod read;
mod roots;
mod split;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use pipeline::column::{BYTES, KNOWN_HASH, MIME_TYPE};
use pipeline::{
    BoxError, Location, MAX_PATTERNS, MetadataStore, NodeDef, NodeKind, Outcome, Parallelism,
    Rejection, Resources, Source, SourceConfig, SourceDecision, SourceTotals, SourceWarning,
    SplitSource, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::scan::decide::{Decision, FileToRead, decide};
use crate::scan::filter::WalkOptions;
use crate::scan::globs::Glob;
use crate::scan::read::{FileReader, NonFiles};
use crate::scan::walk::Walk;
use pipeline::ByteSize;
use pipeline::uri;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "scan",
    summary: "Finds the files below folders, and reads those that are new or changed",
    version: 1,
    parallelism: Parallelism::Single,
    schema: options_schema::<ScanOptions>,
    parse: |with, folder| {
        let mut config: ScanOptions = serde_json::from_value(with)?;
        for path in &mut config.paths {
            // A URL is not a path; it stays as written, and building the source reports it.
            if roots::scheme_of(path).is_none() {
                *path = folder.join(&path);
            }
        }
        Ok(NodeKind::Source(Box::new(config)))
    },
};

/// Options of the node `scan`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScanOptions {
    /// Folders and files, relative to the pipeline file. The options below do not apply to the name
    /// of a file that is listed here.
    #[schemars(length(min = 1))]
    paths: Vec<PathBuf>,
    /// Only files that one of these globs matches; all files if the list is empty. A glob is
    /// matched against the path below the scanned folder: `*.md` matches files in the folder
    /// itself, `**/*.md` files at any depth.
    #[serde(default)]
    #[schemars(length(max = MAX_PATTERNS))]
    include: Vec<Glob>,
    /// Excludes files and folders that one of these globs matches.
    #[serde(default)]
    #[schemars(length(max = MAX_PATTERNS))]
    exclude: Vec<Glob>,
    /// Applies `.gitignore` files, inside and outside Git repositories. Off by default, so that the
    /// pipeline file alone decides what is excluded.
    #[serde(default)]
    gitignore: bool,
    /// Includes files and folders whose name starts with a dot.
    #[serde(default)]
    hidden: bool,
    /// Follows symbolic links. A link that leads outside the scanned folder is never followed.
    #[serde(default)]
    follow_symlinks: bool,
    /// Maximum size of a file; a larger one is set aside.
    #[serde(default = "max_size")]
    max_size: ByteSize,
    /// Bytes of files per batch.
    #[serde(default = "batch_bytes")]
    batch_bytes: ByteSize,
}

fn max_size() -> ByteSize {
    ByteSize::mib(64)
}

fn batch_bytes() -> ByteSize {
    ByteSize::mib(4)
}

/// Maximum files per lookup in the metadata store, and per batch.
const LOOKUP_BATCH: usize = 256;

impl SourceConfig for ScanOptions {
    fn schema(&self) -> SchemaRef {
        let own = [MIME_TYPE.field(), BYTES.field(), KNOWN_HASH.field()];
        Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(FileSource {
            finder: FileFinder::open(self, with)?,
            reader: FileReader {
                schema: self.schema(),
                max_size: self.max_size.0,
                non_files: NonFiles::Skip,
            },
            batch_bytes: self.batch_bytes.0,
        }))
    }

    fn split(&self) -> Option<SplitSource> {
        Some(split::split(self))
    }

    fn decide(&self, uri: &str) -> Option<SourceDecision> {
        match uri::to_path(uri) {
            Some(path) => explain::explain(self, &path).ok(),
            None => Some(SourceDecision::OutsideSource),
        }
    }

    fn roots(&self) -> Vec<String> {
        self.lenient_roots().iter().map(|root| uri::of_path(root)).collect()
    }

    fn warnings(&self) -> Vec<SourceWarning> {
        roots::warnings(self)
    }
}

impl ScanOptions {
    fn walk_options(&self) -> Result<WalkOptions, BoxError> {
        Ok(WalkOptions {
            include: globs::compile(&self.include)?,
            exclude: globs::compile(&self.exclude)?,
            gitignore: self.gitignore,
            hidden: self.hidden,
            follow_symlinks: self.follow_symlinks,
        })
    }

    /// The source roots, absolute and without duplicates.
    fn roots(&self) -> Result<Vec<PathBuf>, BoxError> {
        let mut roots = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let root = roots::absolute_root(path)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        Ok(roots)
    }

    /// As [`roots`](Self::roots), but paths that cannot be scanned are made absolute as written.
    fn lenient_roots(&self) -> Vec<PathBuf> {
        let as_written = |path: &Path| -> PathBuf {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            absolute.components().collect()
        };
        let paths = self.paths.iter().filter(|path| roots::scheme_of(path).is_none());
        paths.map(|path| roots::absolute_root(path).unwrap_or_else(|_| as_written(path))).collect()
    }
}

/// Finds files and decides which of them must be read.
struct FileFinder {
    walk: Walk,
    /// URIs of the source roots.
    roots: Vec<String>,
    metadata: Arc<dyn MetadataStore>,
    max_size: u64,
    /// Files of the current lookup that are still to be read.
    pending: std::vec::IntoIter<FileToRead>,
}

impl FileFinder {
    fn open(options: &ScanOptions, with: &Resources) -> Result<Self, BoxError> {
        let roots = options.roots()?;
        Ok(Self {
            walk: Walk::open(&roots, &options.walk_options()?),
            roots: roots.iter().map(|root| uri::of_path(root)).collect(),
            metadata: Arc::clone(&with.metadata),
            max_size: options.max_size.0,
            pending: Vec::new().into_iter(),
        })
    }

    /// Looks up the next files if none is pending, and adds those that need no reading to
    /// `set_aside`. Returns `false` at the end of the walk.
    async fn look_up(&mut self, set_aside: &mut Vec<Rejection>) -> Result<bool, BoxError> {
        if self.pending.len() > 0 {
            return Ok(true);
        }
        let found: Vec<_> = self.walk.by_ref().take(LOOKUP_BATCH).collect();
        if found.is_empty() {
            return Ok(false);
        }
        let uris: Vec<String> = found.iter().map(|found| found.location().uri.clone()).collect();
        let known = self.metadata.lookup_locations(&uris).await?;
        let mut to_read = Vec::with_capacity(found.len());
        for (found, known) in found.into_iter().zip(known) {
            match decide(found, known, self.max_size) {
                Decision::Read(file) => to_read.push(file),
                Decision::Reject(document) => set_aside.push(document),
            }
        }
        self.pending = to_read.into_iter();
        Ok(true)
    }

    fn totals(&self) -> SourceTotals {
        SourceTotals {
            empty_roots: self.walk.empty_roots().into_iter().map(uri::of_path).collect(),
            excluded: self.walk.exclusions().counts(),
        }
    }
}

struct FileSource {
    finder: FileFinder,
    reader: FileReader,
    batch_bytes: u64,
}

#[async_trait]
impl Source for FileSource {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let mut set_aside = Vec::new();
        if !self.finder.look_up(&mut set_aside).await? {
            return Ok(None);
        }
        let rows = self.reader.read(&mut self.finder.pending, self.batch_bytes, &mut set_aside)?;
        Ok(Some(Outcome { rows, rejected: set_aside }))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        self.finder.roots.clone()
    }

    fn totals(&self) -> SourceTotals {
        self.finder.totals()
    }
}
