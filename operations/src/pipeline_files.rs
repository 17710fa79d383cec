//! The pipeline files that a process serves, reloaded when they change. If a file becomes invalid,
//! the error is reported and its last valid version stays in use.

mod file_state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pipeline::{PipelineSpec, PostgresSpec};
use serde_json::{Value, json};

use self::file_state::{FileState, error_text, file_stamp};
use crate::composition::Composition;
use crate::loaded_pipeline::{LoadedPipeline, RemovedPipeline};
use crate::model_downloads::{self, BackgroundFetcher};

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
        let mut gone = pipeline::lock(&self.0.removed);
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
        pipeline::lock(&self.0.removed).clone()
    }

    /// Acknowledges removed pipelines.
    pub fn acknowledge_removed(&self, gone: &BTreeSet<RemovedPipeline>) {
        let mut known = pipeline::lock(&self.0.removed);
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
        pipeline::lock(&self.0.known)
    }
}

/// The pipelines of these files.
fn pipelines(known: &BTreeMap<PathBuf, FileState>) -> BTreeSet<RemovedPipeline> {
    known.values().filter_map(|it| it.loaded.as_deref()).map(RemovedPipeline::from).collect()
}

fn is_pipeline(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().and_then(|it| it.to_str());
    !is_hidden && matches!(ending, Some("yaml" | "yml"))
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
mod tests;
