//! The pipeline files that a process serves, reloaded when they change. If a file becomes invalid,
//! the error is reported and its last valid version stays in use.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metadata::ScheduleKey;
use pipeline::{BoxError, CollectionFacts, PipelineSpec, Plan, PostgresSpec};
use serde_json::{Value, json};

use crate::composition::Composition;
use crate::context::collection_facts;
use crate::model_downloads::{self, BackgroundFetcher};

/// A valid pipeline file with a collection.
pub struct LoadedPipeline {
    /// Path of the file as given by the user.
    pub path: PathBuf,
    /// Its content.
    pub spec: Arc<PipelineSpec>,
    /// The checked pipeline, compiled from `spec`.
    pub plan: Plan,
    /// Facts that its nodes declare.
    pub facts: CollectionFacts,
}

impl LoadedPipeline {
    /// Reads and compiles a file. A file without a collection is an error: the operations and
    /// schedules of a process are rows of a collection.
    pub fn read(path: &Path, composition: &Composition) -> Result<Self, BoxError> {
        let (spec, plan) = composition.load(path)?;
        let facts = collection_facts(&plan)?;
        Ok(Self { path: path.to_owned(), spec: Arc::new(spec), plan, facts })
    }

    /// The key of the file's schedule.
    pub fn key(&self) -> ScheduleKey<'_> {
        let file = &self.spec.file;
        ScheduleKey { owner: &file.owner, collection: &file.collection, pipeline: &file.name }
    }
}

/// The key of a schedule whose file no longer has it: owner, collection and pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemovedPipeline([String; 3]);

impl RemovedPipeline {
    pub fn key(&self) -> ScheduleKey<'_> {
        let [owner, collection, pipeline] = &self.0;
        ScheduleKey { owner, collection, pipeline }
    }
}

impl From<&LoadedPipeline> for RemovedPipeline {
    fn from(loaded: &LoadedPipeline) -> Self {
        let ScheduleKey { owner, collection, pipeline } = loaded.key();
        Self([owner, collection, pipeline].map(str::to_owned))
    }
}

/// Pipeline files and folders of them. Clones share their state.
#[derive(Clone)]
pub struct PipelineFiles(Arc<FilesInner>);

struct FilesInner {
    composition: Arc<Composition>,
    named: Vec<PathBuf>,
    known: Mutex<BTreeMap<PathBuf, FileState>>,
    /// Pipelines that no file has any more.
    removed: Mutex<BTreeSet<RemovedPipeline>>,
    fetches: BackgroundFetcher,
}

/// The state of one file.
#[derive(Default)]
struct FileState {
    /// Size, times and inode; an unchanged stamp means an unchanged file.
    stamp: Option<[i64; 6]>,
    /// The content that was read last; `None` if the file could not be read.
    text: Option<Vec<u8>>,
    loaded: Option<Arc<LoadedPipeline>>,
    fault: Option<String>,
    /// Hub models that the file needs and that are not downloaded yet.
    missing: Vec<PathBuf>,
    /// `true` if the file does not exist; a file that was named on the command line stays in use.
    is_removed: bool,
}

impl PipelineFiles {
    /// Reads these files, and in folders each file with the extension `.yaml` or `.yml`.
    pub fn new(named: Vec<PathBuf>, composition: Arc<Composition>) -> Self {
        let files = Self(Arc::new(FilesInner {
            composition,
            named,
            known: Mutex::default(),
            removed: Mutex::default(),
            fetches: BackgroundFetcher::default(),
        }));
        files.read();
        files
    }

    /// Downloads missing hub models of the files. A file whose models cannot be downloaded is
    /// reported as invalid.
    pub async fn fetch_models(&self) {
        let missing: BTreeSet<_> = self.lock().values().flat_map(|it| it.missing.clone()).collect();
        for model in missing {
            let models = Arc::clone(&self.0.composition.models);
            if let Err(error) = model_downloads::fetch_on_thread(models, model).await {
                let error = error_text(&error);
                tracing::error!(error, "failed to download a model");
            }
        }
        self.read();
    }

    /// Reads changed files and starts downloads of their missing models in the background. Blocks
    /// for the reading only.
    pub fn refresh(&self) {
        self.read();
        for model in self.lock().values().flat_map(|it| &it.missing) {
            self.0.fetches.start(&self.0.composition.models, model);
        }
    }

    fn read(&self) {
        let composition = &self.0.composition;
        let models = &composition.models;
        let mut known = self.lock();
        let before = pipelines(&known);
        let (paths, faults) = self.paths();
        known.retain(|path, _| paths.contains(path) || faults.iter().any(|(of, _)| of == path));
        for (path, fault) in faults {
            known.entry(path).or_default().set_fault(Some(fault));
        }
        for path in paths {
            let entry = known.entry(path.clone()).or_default();
            let stamp = file_stamp(&path);
            if entry.missing.iter().any(|model| models.is_available(model)) {
                // Treats the file as new, since it may be valid now.
                (entry.stamp, entry.text) = (None, None);
            }
            if stamp.is_some() && stamp == entry.stamp {
                continue;
            }
            entry.stamp = stamp;
            entry.is_removed = stamp.is_none();
            match fs_err::read(&path) {
                Ok(text) if entry.text.as_ref() == Some(&text) && entry.loaded.is_some() => {}
                Ok(text) => {
                    entry.text = Some(text);
                    entry.load(&path, composition);
                }
                Err(error) => {
                    // Forces a reload once the file is readable again, which clears this error.
                    entry.text = None;
                    entry.set_fault(Some(pipeline::strip_os_error_code(&error.to_string())));
                }
            }
        }
        enforce_single_store(&mut known);
        let now = pipelines(&known);
        let mut gone = self.0.removed.lock().unwrap_or_else(PoisonError::into_inner);
        gone.extend(before);
        gone.retain(|it| !now.contains(it));
    }

    /// The last valid version of each file.
    pub fn loaded(&self) -> Vec<Arc<LoadedPipeline>> {
        self.lock().values().filter_map(|known| known.loaded.clone()).collect()
    }

    /// The files that exist. A deleted file is still used for delegated operations, but none of its
    /// runs is due.
    pub fn present(&self) -> Vec<Arc<LoadedPipeline>> {
        let known = self.lock();
        known.values().filter(|it| !it.is_removed).filter_map(|it| it.loaded.clone()).collect()
    }

    /// Removed pipelines that [`PipelineFiles::acknowledge_removed`] has not acknowledged.
    pub fn removed(&self) -> BTreeSet<RemovedPipeline> {
        self.0.removed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Acknowledges removed pipelines.
    pub fn acknowledge_removed(&self, gone: &BTreeSet<RemovedPipeline>) {
        let mut known = self.0.removed.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|it| !gone.contains(it));
    }

    /// The file of a pipeline that fills a collection; any file of the collection if that pipeline
    /// is unknown.
    pub fn find(
        &self,
        owner: &str,
        collection: &str,
        pipeline: Option<&str>,
    ) -> Option<Arc<LoadedPipeline>> {
        let fills = |it: &Arc<LoadedPipeline>| {
            it.spec.file.owner == owner && it.spec.file.collection == collection
        };
        let found: Vec<_> = self.loaded().into_iter().filter(fills).collect();
        let named = found.iter().find(|it| Some(it.spec.file.name.as_str()) == pipeline);
        named.or(found.first()).cloned()
    }

    /// The errors of files, by path.
    pub fn faults(&self) -> Vec<(PathBuf, String)> {
        let known = self.lock();
        let faults = known.iter().filter_map(|(path, it)| Some((path.clone(), it.fault.clone()?)));
        faults.collect()
    }

    /// All files with their pipelines and errors, for `executors.files`; `schedule` is `true` if
    /// this process starts the file's due runs.
    pub fn status(&self) -> Value {
        let known = self.lock();
        let files = known.iter().map(|(path, it)| {
            let file = it.loaded.as_ref().map(|loaded| &loaded.spec.file);
            let has_schedule = file.is_some_and(|file| file.schedule.is_some());
            json!({
                "file": path,
                "owner": file.map(|it| &it.owner),
                "collection": file.map(|it| &it.collection),
                "pipeline": file.map(|it| &it.name),
                "schedule": has_schedule && !it.is_removed,
                "gone": it.is_removed,
                "fault": it.fault,
            })
        });
        files.collect()
    }

    /// The existing files, and the folders that cannot be read with their errors.
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
                    faults.push((named.clone(), pipeline::strip_os_error_code(&error.to_string())));
                }
            }
        }
        paths.sort();
        paths.dedup();
        (paths, faults)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, FileState>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileState {
    fn load(&mut self, path: &Path, composition: &Composition) {
        match LoadedPipeline::read(path, composition) {
            Ok(loaded) => {
                if self.loaded.is_some() {
                    tracing::info!(file = %path.display(), "reloaded a changed pipeline file");
                }
                self.loaded = Some(Arc::new(loaded));
                self.missing.clear();
                self.set_fault(None);
            }
            Err(error) => {
                self.missing = composition
                    .read_spec(path)
                    .map(|spec| model_downloads::missing_models(composition, &spec))
                    .unwrap_or_default();
                self.set_fault(Some(error_text(&error)));
            }
        }
    }

    /// Records the error of the file, and logs a new one.
    fn set_fault(&mut self, fault: Option<String>) {
        if let Some(fault) = &fault
            && self.fault.as_ref() != Some(fault)
        {
            let goes_on =
                if self.loaded.is_some() { "; its last valid version stays in use" } else { "" };
            tracing::error!(fault, "invalid pipeline file{goes_on}");
        }
        self.fault = fault;
    }
}

/// The pipelines of these files.
fn pipelines(known: &BTreeMap<PathBuf, FileState>) -> BTreeSet<RemovedPipeline> {
    known.values().filter_map(|it| it.loaded.as_deref()).map(RemovedPipeline::from).collect()
}

fn error_text(error: &BoxError) -> String {
    pipeline::error_chain(error.as_ref())
}

fn is_pipeline(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().and_then(|it| it.to_str());
    !is_hidden && matches!(ending, Some("yaml" | "yml"))
}

fn file_stamp(path: &Path) -> Option<[i64; 6]> {
    let it = fs_err::metadata(path).ok()?;
    let (size, inode) = (it.size().cast_signed(), it.ino().cast_signed());
    Some([size, it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), inode])
}

/// All files of a process must name one metadata store, that of the first file.
fn enforce_single_store(known: &mut BTreeMap<PathBuf, FileState>) {
    let first = known.values().find_map(|it| it.loaded.clone());
    let Some(first) = first.map(|loaded| store_of(&loaded.spec)) else { return };
    for it in known.values_mut() {
        if it.loaded.as_ref().is_some_and(|loaded| store_of(&loaded.spec) != first) {
            it.loaded = None;
            it.set_fault(Some(
                "it names another metadata store than the first file does".to_owned(),
            ));
        }
    }
}

/// For comparison only, since a URL may contain a password.
fn store_of(spec: &PipelineSpec) -> PathBuf {
    match &spec.file.stores.postgres {
        PostgresSpec::Url(url) => PathBuf::from(url.reveal()),
        PostgresSpec::Embedded => spec.data_folder().join("postgres"),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{
        Cache, Embedder, EmbedderOptions, ModelInfo, ModelProvider, Registry, Tokenizer,
    };

    use super::*;
    use crate::composition::Models;

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
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: 'stand-in:16' }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"
        )
    }

    /// Models that can be described, and not loaded.
    struct DescribedModels;

    impl Models for DescribedModels {
        fn provider(&self, _: Option<Arc<dyn Cache>>) -> Arc<dyn ModelProvider> {
            Arc::new(Self)
        }

        fn is_available(&self, _: &Path) -> bool {
            false
        }

        fn fetch(&self, _: &Path) -> Result<(), BoxError> {
            Err("there is no model".into())
        }
    }

    impl ModelProvider for DescribedModels {
        fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
            let (path, short_name) = (model.to_owned(), "described".to_owned());
            let fingerprint = short_name.clone();
            Ok(ModelInfo { path, short_name, dim: 16, max_tokens: 512, fingerprint })
        }

        fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
            Err("there is no model".into())
        }

        fn embedder(&self, _: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
            Err("there is no model".into())
        }
    }

    fn composition() -> Arc<Composition> {
        Arc::new(Composition {
            nodes: Registry::new(&[sources::NODES, stages::NODES, sinks::NODES]),
            models: Arc::new(DescribedModels),
            variable: |_| None,
            data_folder: None,
            worker_program: || None,
        })
    }

    fn fault_of(files: &PipelineFiles) -> Option<String> {
        files.refresh();
        files.faults().into_iter().next().map(|(_, fault)| fault)
    }

    #[test]
    fn a_file_that_vanishes_and_comes_back_as_it_was_is_whole_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs.yaml");
        fs_err::write(&path, pipeline("docs", "")).unwrap();
        let files = PipelineFiles::new(vec![path.clone()], composition());
        assert_eq!(fault_of(&files), None);
        fs_err::remove_file(&path).unwrap();
        assert!(
            fault_of(&files).is_some_and(|it| it.contains("No such file")),
            "the missing file is reported"
        );
        assert_eq!(
            (files.loaded().len(), files.present().len()),
            (1, 0),
            "its last version stays in use"
        );
        assert_eq!(files.status()[0]["gone"], true);
        fs_err::write(&path, pipeline("docs", "")).unwrap();
        assert_eq!(fault_of(&files), None);
        assert_eq!(files.present().len(), 1);

        // An export has no collection, so it has no operations either.
        let lines = pipeline("docs", "");
        let export = lines.split_inclusive('\n').filter(|line| !line.contains("uses: upsert"));
        let sink = "  - { id: out, uses: parquet, from: embed, with: { path: out } }\n";
        fs_err::write(&path, export.chain([sink]).collect::<String>()).unwrap();
        assert!(fault_of(&files).is_some_and(|it| it.contains("writes no collection")));
        fs_err::write(&path, pipeline("docs", "")).unwrap();
        assert_eq!(fault_of(&files), None);

        // A file that returns with invalid content is invalid, also after it is touched.
        fs_err::remove_file(&path).unwrap();
        files.refresh();
        for _ in 0..2 {
            fs_err::write(&path, "nothing of the kind").unwrap();
            assert!(fault_of(&files).is_some_and(|it| !it.contains("No such file")));
        }
        assert_eq!(files.loaded().len(), 1);
        assert!(files.removed().is_empty(), "the pipeline was served throughout");
    }

    #[test]
    fn pipelines_that_no_file_has_any_more_are_named_until_somebody_takes_notice() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        fs_err::write(&a, pipeline("a", "schedule: { cron: \"@daily\" }\n")).unwrap();
        fs_err::write(&b, pipeline("b", "")).unwrap();
        let files = PipelineFiles::new(vec![folder.path().to_owned()], composition());
        assert_eq!(files.status()[0]["schedule"], true);
        // The pipeline is still served under another file name.
        fs_err::rename(&a, folder.path().join("c.yaml")).unwrap();
        files.refresh();
        assert!(files.removed().is_empty());
        fs_err::remove_file(folder.path().join("c.yaml")).unwrap();
        fs_err::write(&b, pipeline("renamed", "")).unwrap();
        files.refresh();
        let gone = files.removed();
        assert_eq!(gone.iter().map(|it| it.key().pipeline).collect::<Vec<_>>(), ["a", "b"]);
        files.acknowledge_removed(&gone);
        files.refresh();
        assert!(files.removed().is_empty());
    }
}
