//! Verbs that execute a pipeline fetch the hub models of a pipeline file before they compile it.
//! Verbs that only read change nothing and need no network.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use embedding::FetchProgress;
use indicatif::ProgressBar;
use operations::{fetch_on_thread, missing_models};
use pipeline::{BoxError, PipelineSpec, Plan};

use crate::{composition, render};

/// Loads a pipeline file and fetches its models first.
///
/// # Errors
/// If a model cannot be fetched, or the file is invalid.
pub(crate) async fn load(file: &Path) -> Result<(PipelineSpec, Plan), BoxError> {
    fetch_models_of(file).await?;
    composition::load(file)
}

/// Fetches the models of a pipeline file that are not in the cache.
///
/// # Errors
/// If a model cannot be fetched, or the file cannot be read.
pub(crate) async fn fetch_models_of(file: &Path) -> Result<(), BoxError> {
    let composition = composition::composition();
    let models = &composition.models;
    for model in missing_models(&composition, &composition.read_spec(file)?) {
        fetch_on_thread(Arc::clone(models), model).await?;
    }
    Ok(())
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
