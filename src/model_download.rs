//! Verbs that execute a pipeline fetch the hub models of a pipeline file before they compile it.
//! Verbs that only read change nothing and need no network.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use embedding::FetchProgress;
use indicatif::ProgressBar;
use pipeline::{BoxError, HubModel, PipelineSpec, Plan};
use tokio::sync::oneshot;

use crate::{compose, render};

/// Pause after a failed fetch in the background.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// Loads a pipeline file and fetches its models first.
///
/// # Errors
/// If a model cannot be fetched, or the file is invalid.
pub(crate) async fn load(file: &Path) -> Result<(PipelineSpec, Plan), BoxError> {
    fetch_models_of(file).await?;
    compose::load(file, &embedding::EmbeddingEngine::new())
}

/// Fetches the models of a pipeline file that are not in the cache.
///
/// # Errors
/// If a model cannot be fetched, or the file cannot be read.
pub(crate) async fn fetch_models_of(file: &Path) -> Result<(), BoxError> {
    for model in missing_models(&compose::read_spec(file)?) {
        fetch_on_thread(model).await?;
    }
    Ok(())
}

/// The hub models that a file names and that are not in the cache.
pub(crate) fn missing_models(spec: &PipelineSpec) -> Vec<PathBuf> {
    let models = Plan::named_models(spec, &compose::registry()).into_iter();
    models
        .filter(|model| HubModel::from_path(model).is_some_and(|it| it.is_ok()))
        .filter(|model| !embedding::is_available_locally(model))
        .collect()
}

/// Fetches a model on a separate thread, so that the caller stays responsive to signals.
pub(crate) async fn fetch_on_thread(model: PathBuf) -> Result<(), BoxError> {
    let (sender, fetched) = oneshot::channel();
    // The receiver may have been dropped.
    std::thread::Builder::new().spawn(move || sender.send(fetch_if_missing(&model)).ok())?;
    fetched.await?
}

/// Fetches a model that is not in the cache, and shows the progress.
pub(crate) fn fetch_if_missing(model: &Path) -> Result<(), BoxError> {
    fetch_with_progress(model, embedding::fetch)
}

/// Fetches the current state of a model, and shows the progress.
pub(crate) fn refetch(model: &Path) -> Result<(), BoxError> {
    fetch_with_progress(model, embedding::fetch_latest)
}

type Fetch = fn(&Path, &dyn Fn(FetchProgress)) -> Result<(), BoxError>;

/// Reports the beginning and the end of a download, if there is one; a terminal shows a bar in
/// between.
fn fetch_with_progress(model: &Path, fetch: Fetch) -> Result<(), BoxError> {
    let (begun, bar) = (Instant::now(), OnceCell::new());
    let name = model.display();
    let tell = |progress| match progress {
        FetchProgress::Waiting => {
            render::print_error_line(format_args!(
                "semantik: waiting for another process to fetch {name}"
            ));
        }
        FetchProgress::Downloading { bytes, total_bytes: of } => {
            let bar = bar.get_or_init(|| {
                render::print_error_line(format_args!("semantik: fetching {name}"));
                ProgressBar::new(of)
            });
            bar.set_length(of);
            bar.set_position(bytes);
        }
    };
    let fetched = fetch(model, &tell);
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
        if fetched.is_ok() {
            let seconds = render::format_seconds(begun.elapsed().as_secs_f64());
            let bytes = render::format_bytes(bar.position());
            render::print_error_line(format_args!(
                "semantik: fetched {name}, {bytes} in {seconds}"
            ));
        }
    }
    fetched
}

/// Fetches models in the background, each on one thread at a time.
#[derive(Clone, Default)]
pub(crate) struct BackgroundFetcher(Arc<Mutex<BTreeSet<PathBuf>>>);

impl BackgroundFetcher {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to fetch a model unless a fetch of it is in progress. After a failure, the next call
    /// starts it again once [`RETRY_DELAY`] has passed.
    pub(crate) fn start(&self, model: &Path) {
        if !self.lock().insert(model.to_owned()) {
            return;
        }
        let begun = FetchGuard { background: self.clone(), model: model.to_owned() };
        let fetch = move || {
            if let Err(error) = fetch_if_missing(&begun.model) {
                let error = pipeline::error_chain(error.as_ref());
                tracing::warn!(error, "failed to fetch a model");
                std::thread::sleep(RETRY_DELAY);
            }
        };
        if let Err(error) = std::thread::Builder::new().spawn(fetch) {
            tracing::warn!(%error, "failed to start a thread to fetch a model");
        }
    }
}

/// A fetch in progress; dropping it marks it as finished.
struct FetchGuard {
    background: BackgroundFetcher,
    model: PathBuf,
}

impl Drop for FetchGuard {
    fn drop(&mut self) {
        self.background.lock().remove(&self.model);
    }
}
