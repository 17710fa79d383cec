//! Downloads of the hub models that a pipeline file names, on threads of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use pipeline::{BoxError, HubModel, PipelineSpec, Plan};
use tokio::sync::oneshot;

use crate::composition::{Composition, Models};

/// Pause after a failed download in the background.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The hub models that a file names, in its nodes and for reranking, and that are not downloaded.
pub fn missing_models(composition: &Composition, spec: &PipelineSpec) -> Vec<PathBuf> {
    let reranker = spec.file.search.rerank.as_ref().map(|it| it.resolved_model(&spec.base));
    Plan::named_models(spec, &composition.nodes)
        .into_iter()
        .chain(reranker)
        .filter(|model| HubModel::from_path(model).is_some_and(|it| it.is_ok()))
        .filter(|model| !composition.models.is_available(model))
        .collect()
}

/// Downloads a model on a separate thread, so that the caller stays responsive to signals.
///
/// # Errors
/// As [`Models::fetch`].
pub async fn fetch_on_thread(models: Arc<dyn Models>, model: PathBuf) -> Result<(), BoxError> {
    let (sender, fetched) = oneshot::channel();
    // The receiver may have been dropped.
    std::thread::Builder::new().spawn(move || sender.send(models.fetch(&model)).ok())?;
    fetched.await?
}

/// Downloads models in the background, each on one thread at a time.
#[derive(Clone, Default)]
pub(crate) struct BackgroundFetcher(Arc<Mutex<BTreeSet<PathBuf>>>);

impl BackgroundFetcher {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        pipeline::lock(&self.0)
    }

    /// Starts to download a model unless a download of it is in progress. After a failure, the next
    /// call starts it again once [`RETRY_DELAY`] has passed.
    pub(crate) fn start(&self, models: &Arc<dyn Models>, model: &Path) {
        if !self.lock().insert(model.to_owned()) {
            return;
        }
        let begun = FetchGuard { background: self.clone(), model: model.to_owned() };
        let models = Arc::clone(models);
        let fetch = move || {
            if let Err(error) = models.fetch(&begun.model) {
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

/// A download in progress; dropping it marks it as finished.
struct FetchGuard {
    background: BackgroundFetcher,
    model: PathBuf,
}

impl Drop for FetchGuard {
    fn drop(&mut self) {
        self.background.lock().remove(&self.model);
    }
}
