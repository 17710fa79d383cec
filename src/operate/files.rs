//! The pipeline files that a process serves: loaded, and loaded again when they change. A file that is broken is
//! reported, and as it last was it goes on being served.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{BoxError, PipelineSpec, Plan, PostgresSpec};
use serde_json::{Value, json};

use crate::wiring;

/// A pipeline file that was read and found whole.
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    pub(crate) spec: Arc<PipelineSpec>,
    pub(crate) plan: Plan,
}

impl Loaded {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, BoxError> {
        let (spec, plan) = wiring::load(path, &embedding::Engine::new())?;
        Ok(Self { path: path.to_owned(), spec: Arc::new(spec), plan })
    }
}

/// Pipeline files, and folders of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Files(Arc<Inner>);

struct Inner {
    named: Vec<PathBuf>,
    known: Mutex<BTreeMap<PathBuf, Known>>,
}

/// What is known of a file.
#[derive(Default)]
struct Known {
    /// Size, times and inode, by which it is seen that nobody has touched it.
    stamp: Option<[i64; 6]>,
    text: Vec<u8>,
    loaded: Option<Arc<Loaded>>,
    fault: Option<String>,
}

impl Files {
    /// Reads these files, and in each folder every file that ends in `.yaml` or `.yml`.
    pub(crate) fn new(named: Vec<PathBuf>) -> Self {
        let files = Self(Arc::new(Inner { named, known: Mutex::default() }));
        files.refresh();
        files
    }

    /// Reads what has changed since the last time. Blocks.
    pub(crate) fn refresh(&self) {
        let mut known = self.lock();
        let (paths, faults) = self.paths();
        known.retain(|path, _| paths.contains(path) || faults.iter().any(|(of, _)| of == path));
        for (path, fault) in faults {
            known.entry(path).or_default().tell(Some(fault));
        }
        for path in paths {
            let entry = known.entry(path.clone()).or_default();
            let stamp = stamp(&path);
            if stamp.is_some() && stamp == entry.stamp {
                continue;
            }
            entry.stamp = stamp;
            match fs_err::read(&path) {
                Ok(text) if text == entry.text && entry.loaded.is_some() => {}
                Ok(text) => {
                    entry.text = text;
                    entry.load(&path);
                }
                Err(error) => entry.tell(Some(error.to_string())),
            }
        }
        one_store(&mut known);
    }

    /// The files as they last were whole.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.lock().values().filter_map(|known| known.loaded.clone()).collect()
    }

    /// The file of a pipeline that fills a collection; any that fills it, if that pipeline is not there.
    pub(crate) fn find(
        &self,
        owner: &str,
        collection: &str,
        pipeline: Option<&str>,
    ) -> Option<Arc<Loaded>> {
        let fills =
            |it: &Arc<Loaded>| it.spec.file.owner == owner && it.spec.file.collection == collection;
        let found: Vec<_> = self.loaded().into_iter().filter(fills).collect();
        let named = found.iter().find(|it| Some(it.spec.file.name.as_str()) == pipeline);
        named.or(found.first()).cloned()
    }

    /// What is wrong with files, by path.
    pub(crate) fn faults(&self) -> Vec<(PathBuf, String)> {
        let known = self.lock();
        let faults = known.iter().filter_map(|(path, it)| Some((path.clone(), it.fault.clone()?)));
        faults.collect()
    }

    /// Every file with its pipeline and what is wrong with it, for `executors.files`.
    pub(crate) fn status(&self) -> Value {
        let known = self.lock();
        let files = known.iter().map(|(path, it)| {
            let pipeline = it.loaded.as_ref().map(|loaded| loaded.spec.file.name.clone());
            json!({ "file": path, "pipeline": pipeline, "fault": it.fault })
        });
        files.collect()
    }

    /// The files there are now, and folders that cannot be read.
    fn paths(&self) -> (Vec<PathBuf>, Vec<(PathBuf, String)>) {
        let (mut paths, mut faults) = (Vec::new(), Vec::new());
        for named in &self.0.named {
            if !named.is_dir() {
                paths.push(named.clone());
                continue;
            }
            match fs_err::read_dir(named) {
                Ok(entries) => paths.extend(
                    entries.flatten().map(|entry| entry.path()).filter(|path| is_pipeline(path)),
                ),
                Err(error) => faults.push((named.clone(), error.to_string())),
            }
        }
        paths.sort();
        paths.dedup();
        (paths, faults)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn load(&mut self, path: &Path) {
        match Loaded::read(path) {
            Ok(loaded) => {
                if self.loaded.is_some() {
                    tracing::info!(file = %path.display(), "the file has changed, and is read anew");
                }
                self.loaded = Some(Arc::new(loaded));
                self.tell(None);
            }
            Err(error) => self.tell(Some(in_words(&error))),
        }
    }

    /// Notes what is wrong with the file, and logs it if that is new.
    fn tell(&mut self, fault: Option<String>) {
        if let Some(fault) = &fault
            && self.fault.as_ref() != Some(fault)
        {
            let goes_on = if self.loaded.is_some() { "; as it was it goes on" } else { "" };
            tracing::error!(fault, "a pipeline file is broken{goes_on}");
        }
        self.fault = fault;
    }
}

fn in_words(error: &BoxError) -> String {
    pipeline::chain(error.as_ref())
}

fn is_pipeline(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().and_then(|it| it.to_str());
    !is_hidden && matches!(ending, Some("yaml" | "yml"))
}

fn stamp(path: &Path) -> Option<[i64; 6]> {
    let it = fs_err::metadata(path).ok()?;
    let (size, inode) = (it.size().cast_signed(), it.ino().cast_signed());
    Some([size, it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), inode])
}

/// All files of a process name one metadata store: that of the first is kept to.
fn one_store(known: &mut BTreeMap<PathBuf, Known>) {
    let first = known.values().find_map(|it| it.loaded.clone());
    let Some(first) = first.map(|loaded| store_of(&loaded.spec)) else { return };
    for it in known.values_mut() {
        if it.loaded.as_ref().is_some_and(|loaded| store_of(&loaded.spec) != first) {
            it.loaded = None;
            it.tell(Some("it names another metadata store than the first file".to_owned()));
        }
    }
}

/// Compared only, since a URL may hold a password.
fn store_of(spec: &PipelineSpec) -> PathBuf {
    match &spec.file.stores.postgres {
        PostgresSpec::Url(url) => PathBuf::from(url.reveal()),
        PostgresSpec::Embedded => spec.data_folder().join("postgres"),
    }
}
