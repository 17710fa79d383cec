//! Cache of loaded models by folder.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use pipeline::{
    BoxError, Cache, CacheKey, Embedder, EmbedderOptions, ModelInfo, ModelProvider, Reranker,
    RerankerInfo, RerankerOptions, Tokenizer, lock,
};
use tch::{Device, TchError};

use crate::batcher::{Batch, BatchLimits, plan_batches};
use crate::budget::{BudgetProbe, TokenBudget};
use crate::cached_embedder::{CachedEmbedder, LoadModel};
use crate::cross_encoder::CrossEncoderFolder;
use crate::device::ExecutionConfig;
use crate::folder::ModelFolder;
use crate::model::Model;
use crate::model_threads::{ModelHandle, ModelThreads};
use crate::pair_tokenizer::PairTokenizer;
use crate::probe;
use crate::reranker::CrossEncoder;
use crate::stand_in::StandInEmbedder;
use crate::tokenizer::FolderTokenizer;
use crate::truncate::truncate_dimensions;

/// The embedding engine. Requested tokenizers and models stay loaded for the lifetime of the
/// engine.
///
/// Several engines can share models ([`EmbeddingEngine::sharing_models`]): a model is loaded once,
/// and dropped with the last engine that uses it.
#[derive(Default)]
pub struct EmbeddingEngine {
    tokenizers: OnceMap<PathBuf, dyn Tokenizer>,
    /// By folder and resolved options; the stand-in has no options.
    embedders: OnceMap<(PathBuf, Option<ExecutionConfig>), dyn Embedder>,
    /// By folder and resolved options.
    rerankers: OnceMap<(PathBuf, ExecutionConfig), dyn Reranker>,
    cache: Option<Arc<dyn Cache>>,
    loaded: Arc<LoadedModels>,
}

/// Tokens per thread in a wave of a cross-encoder on a CPU: large enough for the full rate, and a
/// few hundredths of a second for a small model.
const CPU_WAVE_TOKENS: usize = 512;

/// Models and tokenizers that engines share. The key contains the fingerprint: if a folder is
/// replaced, its model is a different one.
#[derive(Default)]
struct LoadedModels {
    tokenizers: WeakMap<(PathBuf, String), FolderTokenizer>,
    models: WeakMap<(PathBuf, String, ExecutionConfig), ModelThreads>,
    /// The cache of one of the engines; it stores results of probes.
    cache: Mutex<Option<Weak<dyn Cache>>>,
}

impl LoadedModels {
    fn cache(&self) -> Option<Arc<dyn Cache>> {
        lock(&self.cache).as_ref()?.upgrade()
    }
}

impl EmbeddingEngine {
    /// An engine without a cache; models are loaded on request.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that reads vectors from the cache, and loads the weights of a model only for the
    /// first missing vector. Without a cache, a model is loaded on request.
    pub fn with_cache(memo: Arc<dyn Cache>) -> Self {
        Self::new().sharing_models(Some(memo))
    }

    /// Another engine that shares the loaded models of this one, with its own cache and statistics.
    #[must_use]
    pub fn sharing_models(&self, memo: Option<Arc<dyn Cache>>) -> Self {
        if let Some(memo) = &memo {
            let mut known = lock(&self.loaded.cache);
            *known = Some(Arc::downgrade(memo));
        }
        Self { cache: memo, loaded: Arc::clone(&self.loaded), ..Self::default() }
    }

    /// The model, wrapped in the cache if there is one.
    fn cached(
        &self,
        info: ModelInfo,
        setting: String,
        load: LoadModel,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        let Some(memo) = &self.cache else { return load() };
        Ok(Arc::new(CachedEmbedder::new(info, setting, Arc::clone(memo), load)))
    }
}

impl ModelProvider for EmbeddingEngine {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        if let Some(stand_in) = StandInEmbedder::from_path(model) {
            return Ok(stand_in?.info().clone());
        }
        Ok(ModelFolder::read(model)?.info)
    }

    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        if let Some(stand_in) = StandInEmbedder::from_path(model) {
            return Ok(Arc::new(stand_in?));
        }
        self.tokenizers.get(canonical_path(model), || {
            let folder = ModelFolder::read(model)?;
            let key = (canonical_path(model), folder.info.fingerprint.clone());
            let read =
                || FolderTokenizer::read(&folder.path, &folder.prompts, folder.info.max_tokens);
            Ok(self.loaded.tokenizers.get(key, read)? as Arc<dyn Tokenizer>)
        })
    }

    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        truncate_dimensions(self.full_dim_embedder(model, options)?, options.dim)
    }

    fn describe_reranker(&self, model: &Path) -> Result<RerankerInfo, BoxError> {
        if let Some(stand_in) = StandInEmbedder::from_path(model) {
            stand_in?;
            return Err(
                format!("model `{}` is no reranker: it creates vectors", model.display()).into()
            );
        }
        Ok(CrossEncoderFolder::read(model)?.info)
    }

    fn reranker(
        &self,
        model: &Path,
        options: &RerankerOptions,
    ) -> Result<Arc<dyn Reranker>, BoxError> {
        let setting = ExecutionConfig::from_options(&EmbedderOptions {
            device: options.device.clone(),
            dtype: options.dtype.clone(),
            tokens_per_batch: None,
            dim: None,
        })?;
        self.rerankers.get((canonical_path(model), setting.clone()), || {
            self.describe_reranker(model)?;
            Ok(Arc::new(load_cross_encoder(model, &setting, &self.loaded)?) as Arc<dyn Reranker>)
        })
    }
}

impl EmbeddingEngine {
    /// The model with vectors of full dimension.
    fn full_dim_embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        if let Some(stand_in) = StandInEmbedder::from_path(model) {
            let stand_in = Arc::new(stand_in?);
            let info = stand_in.info().clone();
            return self.embedders.get((info.path.clone(), None), || {
                let load = move || Ok(Arc::clone(&stand_in) as Arc<dyn Embedder>);
                self.cached(info, String::new(), Box::new(load))
            });
        }
        let setting = ExecutionConfig::from_options(options)?;
        self.embedders.get((canonical_path(model), Some(setting.clone())), || {
            let info = ModelFolder::read(model)?.info;
            let (described, identity) = (info.clone(), setting.identity());
            let key = (canonical_path(model), described.fingerprint.clone(), setting.clone());
            let loaded = Arc::clone(&self.loaded);
            let load = move || {
                let load = || load(&described, &setting, &loaded);
                let threads = loaded.models.get(key.clone(), load)?;
                Ok(Arc::new(ModelHandle::new(threads)) as Arc<dyn Embedder>)
            };
            self.cached(info, identity, Box::new(load))
        })
    }
}

/// Loads the model if its folder still matches the description.
fn load(
    described: &ModelInfo,
    setting: &ExecutionConfig,
    loaded: &Arc<LoadedModels>,
) -> Result<ModelThreads, BoxError> {
    let folder = ModelFolder::read(&described.path)?;
    if folder.info != *described {
        let path = described.path.display();
        return Err(format!("the model in `{path}` was replaced while it was in use").into());
    }
    let (info, vocabulary) = (folder.info.clone(), folder.config.shape().vocab_size);
    let load = |&device: &Device| Model::load(&folder, device, setting.precision);
    let models = setting.devices.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    tracing::info!(model = %info.short_name, ?setting, "model loaded");
    let budget = if setting.probes_budget {
        TokenBudget::probed(
            setting.limits,
            budget_probe(models[0].clone_shared(), &info, setting, loaded),
        )
    } else {
        TokenBudget::fixed(setting.limits)
    };
    start_threads(info, vocabulary, budget, setting, &models)
}

/// Starts the threads of a model that is loaded on each device.
fn start_threads(
    info: ModelInfo,
    vocabulary: usize,
    budget: TokenBudget,
    setting: &ExecutionConfig,
    models: &[Model],
) -> Result<ModelThreads, BoxError> {
    // Ordered by thread, then by device, so that the first batches go to different devices.
    let models = (0..setting.threads_per_device).flat_map(|_| models).map(|model| {
        let model = model.clone_shared();
        move |batch: &Batch, sequences: &[&[u32]]| Ok(forward_pass(&model, batch, sequences)?)
    });
    ModelThreads::start(info, vocabulary, budget, models)
}

/// Loads a cross-encoder; its threads are shared with other engines.
fn load_cross_encoder(
    model: &Path,
    setting: &ExecutionConfig,
    loaded: &LoadedModels,
) -> Result<CrossEncoder, BoxError> {
    let folder = CrossEncoderFolder::read(model)?;
    let info = folder.info.clone();
    let tokenizer = PairTokenizer::read(&folder.path, info.max_tokens, folder.has_token_types())?;
    let encoder = folder.encoder(tokenizer.type_separator())?;
    let key = (canonical_path(model), info.fingerprint.clone(), setting.clone());
    let threads = loaded.models.get(key, || {
        let load = |&device: &Device| {
            Model::load_cross_encoder(&folder, &*encoder, device, setting.precision)
        };
        let models = setting.devices.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        tracing::info!(model = %info.short_name, ?setting, "reranker loaded");
        let described = ModelInfo {
            path: info.path.clone(),
            short_name: info.short_name.clone(),
            dim: 1,
            max_tokens: info.max_tokens,
            fingerprint: info.fingerprint.clone(),
        };
        let budget = TokenBudget::fixed(setting.limits);
        start_threads(described, encoder.shape().vocab_size, budget, setting, &models)
    })?;
    let wave = if setting.devices[0] == Device::Cpu {
        CPU_WAVE_TOKENS * setting.threads_per_device
    } else {
        setting.limits.max_tokens
    };
    Ok(CrossEncoder::new(info, tokenizer, ModelHandle::new(threads), wave))
}

/// A forward pass on the calling thread only.
fn forward_pass(model: &Model, batch: &Batch, sequences: &[&[u32]]) -> Result<Vec<f32>, TchError> {
    // Both settings are per thread in libtorch. The TorchScript methods are single operators, so
    // run-time optimisation gains nothing.
    tch::set_num_threads(1);
    tch::jit::f_set_graph_executor_optimize(false)?;
    model.forward(batch, sequences)
}

/// Part of the cache key of every budget.
const BUDGET_KEY_KIND: &str = "tokens in a batch 2";

/// Longest sequence of a probe, in tokens; most chunks are not longer.
const PROBE_LENGTH: usize = 256;

/// Probes for the best number of tokens per batch on this device. With a cache, the result is
/// stored by machine, device, model and precision.
fn budget_probe(
    model: Model,
    info: &ModelInfo,
    setting: &ExecutionConfig,
    loaded: &Arc<LoadedModels>,
) -> BudgetProbe {
    // The host name identifies the machine; without one, the cache is assumed to be local to it.
    let machine = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (device, identity) = (setting.device_list(), setting.identity());
    let parts =
        [info.fingerprint.as_bytes(), machine.as_bytes(), device.as_bytes(), identity.as_bytes()];
    let key = CacheKey::new(BUDGET_KEY_KIND, &parts);
    let (length, limits) = (info.max_tokens.min(PROBE_LENGTH), setting.limits);
    let (model, loaded) = (Mutex::new(model), Arc::downgrade(loaded));
    Box::new(move || {
        let memo = loaded.upgrade().and_then(|loaded| loaded.cache());
        let before = memo.as_ref().and_then(|memo| memo.get(&[key]).pop().flatten());
        if let Some(tokens) =
            before.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
        {
            return usize::try_from(tokens).ok();
        }
        let model = lock(&model);
        let found = probe::best_budget(|tokens| {
            let sequence = vec![0; length];
            let sequences = vec![&sequence[..]; (tokens / length).max(1)];
            let lengths = vec![length; sequences.len()];
            let started = Instant::now();
            for batch in plan_batches(&lengths, BatchLimits { max_tokens: usize::MAX, ..limits }) {
                forward_pass(&model, &batch, &sequences)?;
            }
            Ok::<_, TchError>(started.elapsed())
        });
        tracing::info!(?found, "probed the token budget");
        if let (Some(memo), Some(found)) = (&memo, found) {
            memo.put(&[(key, (found as u64).to_le_bytes().to_vec())]);
        }
        found
    })
}

/// Canonical path of a folder.
fn canonical_path(model: &Path) -> PathBuf {
    fs_err::canonicalize(model).unwrap_or_else(|_| model.to_owned())
}

/// Values that are created on first request. Concurrent requests for a key share one value; after
/// an error, the next request tries again.
struct OnceMap<K, V: ?Sized>(Mutex<HashMap<K, Slot<V>>>);

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

impl<K, V: ?Sized> Default for OnceMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: ?Sized> OnceMap<K, V> {
    fn get(
        &self,
        key: K,
        make: impl FnOnce() -> Result<Arc<V>, BoxError>,
    ) -> Result<Arc<V>, BoxError> {
        let slot = Arc::clone(lock(&self.0).entry(key).or_default());
        // Only the slot of this key is locked while the value loads; other keys are not blocked.
        let mut value = lock(&slot);
        if let Some(value) = &*value {
            return Ok(Arc::clone(value));
        }
        let made = make()?;
        *value = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Values that live as long as a caller holds them; concurrent holders of a key share one value.
struct WeakMap<K, V>(Mutex<HashMap<K, Arc<Mutex<Weak<V>>>>>);

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    fn get(&self, key: K, make: impl FnOnce() -> Result<V, BoxError>) -> Result<Arc<V>, BoxError> {
        let slot = Arc::clone(lock(&self.0).entry(key).or_default());
        // As in `Once`: only requests for the same key wait.
        let mut value = lock(&slot);
        if let Some(value) = value.upgrade() {
            return Ok(value);
        }
        let made = Arc::new(make()?);
        *value = Arc::downgrade(&made);
        Ok(made)
    }
}
