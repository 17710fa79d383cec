//! Models by folder, each loaded once.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::{BoxError, Embedder, EmbedderOptions, Memo, ModelInfo, Models, Tokenizer};

use crate::batcher::Batch;
use crate::device::Setting;
use crate::folder::Folder;
use crate::model::Model;
use crate::remembering::{Load, Remembering};
use crate::shortened::shortened;
use crate::stand_in::StandIn;
use crate::tokenizer::FolderTokenizer;
use crate::worker::Worker;

/// The embedding engine. A tokenizer or a model that was asked for stays loaded as long as the engine lives.
#[derive(Default)]
pub struct Engine {
    tokenizers: Once<PathBuf, dyn Tokenizer>,
    /// By folder, options as they were given, and what those mean on this machine.
    embedders: Once<(PathBuf, String), dyn Embedder>,
    memo: Option<Arc<dyn Memo>>,
}

impl Engine {
    /// An engine without any model yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that does not embed again what the memo holds, and loads a model's weights only when the
    /// first vector is missing. An engine without a memo loads them when the model is asked for.
    pub fn with_memo(memo: Arc<dyn Memo>) -> Self {
        Self { memo: Some(memo), ..Self::default() }
    }

    /// The model, behind the memo if there is one.
    fn remembering(
        &self,
        info: ModelInfo,
        setting: String,
        load: Load,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        let Some(memo) = &self.memo else { return load() };
        Ok(Arc::new(Remembering::new(info, setting, Arc::clone(memo), load)))
    }
}

impl Models for Engine {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        if let Some(stand_in) = StandIn::asked_for(model) {
            return Ok(stand_in?.info().clone());
        }
        Ok(Folder::read(model)?.info)
    }

    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        if let Some(stand_in) = StandIn::asked_for(model) {
            return Ok(Arc::new(stand_in?));
        }
        self.tokenizers.get(named(model), || {
            let folder = Folder::read(model)?;
            Ok(Arc::new(FolderTokenizer::read(model, &folder.prompts, folder.info.max_tokens)?))
        })
    }

    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        shortened(self.whole(model, options)?, options.dim)
    }
}

impl Engine {
    /// The model with vectors as long as it has them.
    fn whole(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        if let Some(stand_in) = StandIn::asked_for(model) {
            let stand_in = Arc::new(stand_in?);
            let info = stand_in.info().clone();
            return self.embedders.get((info.path.clone(), String::new()), || {
                let load = move || Ok(Arc::clone(&stand_in) as Arc<dyn Embedder>);
                self.remembering(info, String::new(), Box::new(load))
            });
        }
        let setting = Setting::of(options)?;
        self.embedders.get((named(model), format!("{setting:?}")), || {
            let info = Folder::read(model)?.info;
            let described = info.clone();
            let load = move || load(&described, setting);
            self.remembering(info, setting.identity(), Box::new(load))
        })
    }
}

/// Loads the model that was described.
fn load(described: &ModelInfo, setting: Setting) -> Result<Arc<dyn Embedder>, BoxError> {
    let folder = Folder::read(&described.path)?;
    if folder.info != *described {
        let path = described.path.display();
        return Err(format!("the model in `{path}` was replaced by another one meanwhile").into());
    }
    let (info, vocabulary) = (folder.info.clone(), folder.config.shape().vocabulary);
    let model = Model::load(&folder, setting)?;
    tracing::info!(model = %info.short_name, ?setting, "model loaded");
    let models = (0..setting.threads).map(|_| {
        let model = model.share();
        move |batch: &Batch, sequences: &[&[u32]]| {
            // Set on the thread itself: libtorch keeps it for each thread that starts work.
            tch::set_num_threads(1);
            Ok(model.forward(batch, sequences)?)
        }
    });
    Ok(Arc::new(Worker::start(info, vocabulary, setting.limits, models)?))
}

/// One name for a folder, however it was written.
fn named(model: &Path) -> PathBuf {
    fs_err::canonicalize(model).unwrap_or_else(|_| model.to_owned())
}

/// Values that are made when they are first asked for. Two that ask for the same one at the same time get
/// the same; one that could not be made is tried again by the next.
struct Once<K, V: ?Sized>(Mutex<HashMap<K, Slot<V>>>);

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

impl<K, V: ?Sized> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: ?Sized> Once<K, V> {
    fn get(
        &self,
        key: K,
        make: impl FnOnce() -> Result<Arc<V>, BoxError>,
    ) -> Result<Arc<V>, BoxError> {
        let slot = Arc::clone(
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default(),
        );
        // Loading holds the lock of this value alone: others are not kept waiting.
        let mut value = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(Arc::clone(value));
        }
        let made = make()?;
        *value = Some(Arc::clone(&made));
        Ok(made)
    }
}
