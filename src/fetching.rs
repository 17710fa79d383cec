//! Models of the hub that a pipeline file names are fetched before the file is compiled, by verbs that do something. Verbs
//! that only look change nothing and need no network.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use embedding::Progress;
use indicatif::ProgressBar;
use pipeline::{BoxError, HubModel, PipelineSpec, Plan};
use tokio::sync::oneshot;

use crate::{render, wiring};

/// How long to wait before a fetch in the background that failed is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// Reads and checks a pipeline file whose models may have to be fetched.
///
/// # Errors
/// If a model cannot be had, or the file is faulty.
pub(crate) async fn load(file: &Path) -> Result<(PipelineSpec, Plan), BoxError> {
    models_of(file).await?;
    wiring::load(file, &embedding::Engine::new())
}

/// Fetches the models of a pipeline file that are not here.
///
/// # Errors
/// If one cannot be had, or the file cannot be read.
pub(crate) async fn models_of(file: &Path) -> Result<(), BoxError> {
    for model in missing(&wiring::read(file)?) {
        aside(model).await?;
    }
    Ok(())
}

/// The models of the hub that a file names and that are not here.
pub(crate) fn missing(spec: &PipelineSpec) -> Vec<PathBuf> {
    let named = spec.file.nodes.iter().filter_map(|node| node.with.get("model")?.as_str());
    let models = named.map(PathBuf::from);
    models
        .filter(|model| HubModel::named(model).is_some_and(|it| it.is_ok()))
        .filter(|model| !embedding::is_here(model))
        .collect()
}

/// Fetches a model on a thread of its own, which holds nobody up who has heard a signal.
pub(crate) async fn aside(model: PathBuf) -> Result<(), BoxError> {
    let (sender, fetched) = oneshot::channel();
    // Nobody may be waiting any more.
    std::thread::Builder::new().spawn(move || sender.send(now(&model)).ok())?;
    fetched.await?
}

/// Fetches a model if it is not here, and shows how far it is.
pub(crate) fn now(model: &Path) -> Result<(), BoxError> {
    shown(model, embedding::fetch)
}

/// Fetches what a model is now, and shows how far it is.
pub(crate) fn again(model: &Path) -> Result<(), BoxError> {
    shown(model, embedding::fetch_again)
}

type Fetch = fn(&Path, &dyn Fn(Progress)) -> Result<(), BoxError>;

/// Says at the beginning and at the end what comes, if anything does; between them is a bar where there is a terminal.
fn shown(model: &Path, fetch: Fetch) -> Result<(), BoxError> {
    let (begun, bar) = (Instant::now(), OnceCell::new());
    let name = model.display();
    let tell = |progress| match progress {
        Progress::Waits => {
            render::say(format_args!("semantik: waiting for another process that fetches {name}"));
        }
        Progress::Comes { bytes, of } => {
            let bar = bar.get_or_init(|| {
                render::say(format_args!("semantik: fetching {name}"));
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
            let seconds = render::seconds(begun.elapsed().as_secs_f64());
            let bytes = render::bytes(bar.position());
            render::say(format_args!("semantik: fetched {name}, {bytes} in {seconds}"));
        }
    }
    fetched
}

/// Fetches models while everything else goes on, each by one thread at a time.
#[derive(Clone, Default)]
pub(crate) struct Background(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Background {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fetch a model, unless that has begun. One that does not come is tried again after a while, if it is
    /// still asked for then.
    pub(crate) fn begin(&self, model: &Path) {
        if !self.lock().insert(model.to_owned()) {
            return;
        }
        let begun = Begun { background: self.clone(), model: model.to_owned() };
        let fetch = move || {
            if let Err(error) = now(&begun.model) {
                let error = pipeline::chain(error.as_ref());
                tracing::warn!(error, "a model could not be fetched");
                std::thread::sleep(PAUSE);
            }
        };
        if let Err(error) = std::thread::Builder::new().spawn(fetch) {
            tracing::warn!(%error, "a model cannot be fetched now");
        }
    }
}

/// A fetch that has begun, and has ended when this goes.
struct Begun {
    background: Background,
    model: PathBuf,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.background.lock().remove(&self.model);
    }
}
