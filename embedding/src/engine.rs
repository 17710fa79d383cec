//! Models by folder, each loaded once.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pipeline::{BoxError, Embedder, EmbedderOptions, Memo, MemoKey, ModelInfo, Models, Tokenizer};
use tch::{Device, TchError};

use crate::batcher::{Batch, Limits, plan};
use crate::budget::{Budget, Find};
use crate::device::Setting;
use crate::folder::Folder;
use crate::model::Model;
use crate::probe;
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
            let (described, identity) = (info.clone(), setting.identity());
            let memo = self.memo.clone();
            let load = move || load(&described, &setting, memo.clone());
            self.remembering(info, identity, Box::new(load))
        })
    }
}

/// Loads the model that was described.
fn load(
    described: &ModelInfo,
    setting: &Setting,
    memo: Option<Arc<dyn Memo>>,
) -> Result<Arc<dyn Embedder>, BoxError> {
    let folder = Folder::read(&described.path)?;
    if folder.info != *described {
        let path = described.path.display();
        return Err(format!("the model in `{path}` was replaced by another one meanwhile").into());
    }
    let (info, vocabulary) = (folder.info.clone(), folder.config.shape().vocabulary);
    let load = |&device: &Device| Model::load(&folder, device, setting.precision);
    let models = setting.devices.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    tracing::info!(model = %info.short_name, ?setting, "model loaded");
    let budget = if setting.probes {
        Budget::to_find(setting.limits, find(models[0].share(), &info, setting, memo))
    } else {
        Budget::of(setting.limits)
    };
    // Thread by thread and not device by device, so that the first batches go to different devices.
    let models = (0..setting.threads).flat_map(|_| &models).map(|model| {
        let model = model.share();
        move |batch: &Batch, sequences: &[&[u32]]| Ok(pass(&model, batch, sequences)?)
    });
    Ok(Arc::new(Worker::start(info, vocabulary, budget, models)?))
}

/// A forward pass by the thread that calls it alone.
fn pass(model: &Model, batch: &Batch, sequences: &[&[u32]]) -> Result<Vec<f32>, TchError> {
    // Set on the thread itself: libtorch keeps both for each thread that starts work. What is called through
    // TorchScript are single functions; there is nothing in them to be optimised at run time.
    tch::set_num_threads(1);
    tch::jit::f_set_graph_executor_optimize(false)?;
    model.forward(batch, sequences)
}

/// Goes into every key of a budget.
const BUDGET: &str = "tokens in a batch 1";

/// Longest sequence of a probe: most chunks are no longer.
const PROBED: usize = 256;

/// How many tokens a batch should have on this device; found out once for a machine, device, model and precision, where
/// there is a memo.
fn find(model: Model, info: &ModelInfo, setting: &Setting, memo: Option<Arc<dyn Memo>>) -> Find {
    // The machine is known by its name; where there is none, the memo is the machine's.
    let machine = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (device, identity) = (format!("{:?}", setting.devices), setting.identity());
    let parts =
        [info.fingerprint.as_bytes(), machine.as_bytes(), device.as_bytes(), identity.as_bytes()];
    let key = MemoKey::of(BUDGET, &parts);
    let (length, limits) = (info.max_tokens.min(PROBED), setting.limits);
    let model = Mutex::new(model);
    Box::new(move || {
        let before = memo.as_ref().and_then(|memo| memo.get(&[key]).pop().flatten());
        if let Some(tokens) =
            before.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
        {
            return usize::try_from(tokens).ok();
        }
        let model = model.lock().unwrap_or_else(PoisonError::into_inner);
        let found = probe::find(|tokens| {
            let sequence = vec![0; length];
            let sequences = vec![&sequence[..]; (tokens / length).max(1)];
            let lengths = vec![length; sequences.len()];
            let started = Instant::now();
            for batch in plan(&lengths, Limits { tokens: usize::MAX, ..limits }) {
                pass(&model, &batch, &sequences)?;
            }
            Ok::<_, TchError>(started.elapsed())
        });
        tracing::info!(?found, "tokens in a batch, found by trying");
        if let (Some(memo), Some(found)) = (&memo, found) {
            memo.put(&[(key, (found as u64).to_le_bytes().to_vec())]);
        }
        found
    })
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
