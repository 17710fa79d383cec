//! The pipeline files that a process serves: loaded, and loaded again when they change. A file that is broken is
//! reported, and as it last was it goes on being served.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metadata::ScheduleKey;
use pipeline::{BoxError, PipelineSpec, Plan, PostgresSpec};
use serde_json::{Value, json};

use crate::fetching::{self, Background};
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

    /// What its schedule is of.
    pub(crate) fn key(&self) -> ScheduleKey<'_> {
        let file = &self.spec.file;
        ScheduleKey { owner: &file.owner, collection: &file.collection, pipeline: &file.name }
    }
}

/// What a schedule is of that a file had: owner, collection and pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gone([String; 3]);

impl Gone {
    pub(crate) fn key(&self) -> ScheduleKey<'_> {
        let [owner, collection, pipeline] = &self.0;
        ScheduleKey { owner, collection, pipeline }
    }
}

impl From<&Loaded> for Gone {
    fn from(loaded: &Loaded) -> Self {
        let ScheduleKey { owner, collection, pipeline } = loaded.key();
        Self([owner, collection, pipeline].map(str::to_owned))
    }
}

/// Pipeline files, and folders of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Files(Arc<Inner>);

struct Inner {
    named: Vec<PathBuf>,
    known: Mutex<BTreeMap<PathBuf, Known>>,
    /// Pipelines that were in files, and are in none any more.
    gone: Mutex<BTreeSet<Gone>>,
    fetches: Background,
}

/// What is known of a file.
#[derive(Default)]
struct Known {
    /// Size, times and inode, by which it is seen that nobody has touched it.
    stamp: Option<[i64; 6]>,
    /// As it was read last; nothing once it could not be read.
    text: Option<Vec<u8>>,
    loaded: Option<Arc<Loaded>>,
    fault: Option<String>,
    /// Models of the hub that it waits for.
    missing: Vec<PathBuf>,
    /// Whether it is not there; one that was named goes on being served.
    is_gone: bool,
}

impl Files {
    /// Reads these files, and in each folder every file that ends in `.yaml` or `.yml`.
    pub(crate) fn new(named: Vec<PathBuf>) -> Self {
        let files = Self(Arc::new(Inner {
            named,
            known: Mutex::default(),
            gone: Mutex::default(),
            fetches: Background::default(),
        }));
        files.read();
        files
    }

    /// Fetches the models of the hub that files name and that are not here; a file whose models do not come is reported
    /// as one that cannot be read.
    pub(crate) async fn fetch_models(&self) {
        let missing: BTreeSet<_> = self.lock().values().flat_map(|it| it.missing.clone()).collect();
        for model in missing {
            if let Err(error) = fetching::aside(model).await {
                let error = in_words(&error);
                tracing::error!(error, "a model could not be fetched");
            }
        }
        self.read();
    }

    /// Reads what has changed since the last time, and begins to fetch the models that are missing then. Blocks, but not for
    /// those.
    pub(crate) fn refresh(&self) {
        self.read();
        for model in self.lock().values().flat_map(|it| &it.missing) {
            self.0.fetches.begin(model);
        }
    }

    fn read(&self) {
        let mut known = self.lock();
        let before = pipelines(&known);
        let (paths, faults) = self.paths();
        known.retain(|path, _| paths.contains(path) || faults.iter().any(|(of, _)| of == path));
        for (path, fault) in faults {
            known.entry(path).or_default().tell(Some(fault));
        }
        for path in paths {
            let entry = known.entry(path.clone()).or_default();
            let stamp = stamp(&path);
            if entry.missing.iter().any(|model| embedding::is_here(model)) {
                // As if it were new: it may be whole now.
                (entry.stamp, entry.text) = (None, None);
            }
            if stamp.is_some() && stamp == entry.stamp {
                continue;
            }
            entry.stamp = stamp;
            entry.is_gone = stamp.is_none();
            match fs_err::read(&path) {
                Ok(text) if entry.text.as_ref() == Some(&text) && entry.loaded.is_some() => {}
                Ok(text) => {
                    entry.text = Some(text);
                    entry.load(&path);
                }
                Err(error) => {
                    // Whatever it says when it can be read again, it is loaded then, and this fault is over.
                    entry.text = None;
                    entry.tell(Some(pipeline::without_numbers(&error.to_string())));
                }
            }
        }
        one_store(&mut known);
        let now = pipelines(&known);
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.extend(before);
        gone.retain(|it| !now.contains(it));
    }

    /// The files as they last were whole.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.lock().values().filter_map(|known| known.loaded.clone()).collect()
    }

    /// Those of them that are there. One that is not is served as it was to whoever asks, and does nothing by itself.
    pub(crate) fn present(&self) -> Vec<Arc<Loaded>> {
        let known = self.lock();
        known.values().filter(|it| !it.is_gone).filter_map(|it| it.loaded.clone()).collect()
    }

    /// Pipelines that were in files, and are in none any more, as far as nobody has taken notice.
    pub(crate) fn gone(&self) -> BTreeSet<Gone> {
        self.0.gone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Somebody has taken notice of these.
    pub(crate) fn forget(&self, gone: &BTreeSet<Gone>) {
        let mut known = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|it| !gone.contains(it));
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

    /// Every file with its pipeline and what is wrong with it, for `executors.files`; `schedule` says whether it is run
    /// when it is due.
    pub(crate) fn status(&self) -> Value {
        let known = self.lock();
        let files = known.iter().map(|(path, it)| {
            let file = it.loaded.as_ref().map(|loaded| &loaded.spec.file);
            let has_schedule = file.is_some_and(|file| file.schedule.is_some());
            json!({
                "file": path,
                "owner": file.map(|it| &it.owner),
                "collection": file.map(|it| &it.collection),
                "pipeline": file.map(|it| &it.name),
                "schedule": has_schedule && !it.is_gone,
                "gone": it.is_gone,
                "fault": it.fault,
            })
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
                Err(error) => {
                    faults.push((named.clone(), pipeline::without_numbers(&error.to_string())));
                }
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
                self.missing.clear();
                self.tell(None);
            }
            Err(error) => {
                let spec = wiring::read(path);
                self.missing = spec.map(|spec| fetching::missing(&spec)).unwrap_or_default();
                self.tell(Some(in_words(&error)));
            }
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

/// The pipelines of these files.
fn pipelines(known: &BTreeMap<PathBuf, Known>) -> BTreeSet<Gone> {
    known.values().filter_map(|it| it.loaded.as_deref()).map(Gone::from).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, more: &str) -> String {
        format!(
            "\
version: 1
name: {name}
collection: docs
{more}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [.] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: extract, uses: extract, from: hash }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 64, overlap: 8, unit: characters }} }}
  - {{ id: out,     uses: parquet, from: chunk, with: {{ path: out }} }}
"
        )
    }

    fn fault_of(files: &Files) -> Option<String> {
        files.refresh();
        files.faults().into_iter().next().map(|(_, fault)| fault)
    }

    #[test]
    fn a_file_that_vanishes_and_comes_back_as_it_was_is_whole_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs.yaml");
        fs_err::write(&path, pipeline("docs", "")).unwrap();
        let files = Files::new(vec![path.clone()]);
        assert_eq!(fault_of(&files), None);
        fs_err::remove_file(&path).unwrap();
        assert!(fault_of(&files).is_some_and(|it| it.contains("No such file")), "it is missed");
        assert_eq!((files.loaded().len(), files.present().len()), (1, 0), "and served as it was");
        assert_eq!(files.status()[0]["gone"], true);
        fs_err::write(&path, pipeline("docs", "")).unwrap();
        assert_eq!(fault_of(&files), None);
        assert_eq!(files.present().len(), 1);

        // One that comes back broken is broken, also if that is touched.
        fs_err::remove_file(&path).unwrap();
        files.refresh();
        for _ in 0..2 {
            fs_err::write(&path, "nothing of the kind").unwrap();
            assert!(fault_of(&files).is_some_and(|it| !it.contains("No such file")));
        }
        assert_eq!(files.loaded().len(), 1);
        assert!(files.gone().is_empty(), "it was served all the time");
    }

    #[test]
    fn pipelines_that_no_file_has_any_more_are_named_until_somebody_takes_notice() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        fs_err::write(&a, pipeline("a", "schedule: { cron: \"@daily\" }\n")).unwrap();
        fs_err::write(&b, pipeline("b", "")).unwrap();
        let files = Files::new(vec![folder.path().to_owned()]);
        assert_eq!(files.status()[0]["schedule"], true);
        // Under another name it is still there.
        fs_err::rename(&a, folder.path().join("c.yaml")).unwrap();
        files.refresh();
        assert!(files.gone().is_empty());
        fs_err::remove_file(folder.path().join("c.yaml")).unwrap();
        fs_err::write(&b, pipeline("renamed", "")).unwrap();
        files.refresh();
        let gone = files.gone();
        assert_eq!(gone.iter().map(|it| it.key().pipeline).collect::<Vec<_>>(), ["a", "b"]);
        files.forget(&gone);
        files.refresh();
        assert!(files.gone().is_empty());
    }
}
