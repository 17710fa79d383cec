//! An embedder with a cache: a text that any earlier run embedded is not embedded again.
//!
//! The cache key contains everything that a vector depends on: the model's fingerprint, kind of
//! device, precision, and the encoded input with prompt and special tokens. A cached vector is
//! bitwise identical to the computed one. The model is loaded for the first missing vector: a run
//! without new text never reads the weights.
//!
//! Long computations are cached in parts, so that a run that is interrupted within a very long
//! document keeps the finished parts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pipeline::{BoxError, Cache, CacheKey, Embedder, EmbedderUsage, ModelInfo, lock};

use crate::batcher::deduplicate;

/// Part of every cache key; the number changes with the storage format of vectors.
const KEY_KIND: &str = "vector 1";

/// Target computation time of a part. A batch of the runtime takes less and is one part.
const TARGET_PART_TIME: Duration = Duration::from_secs(8);

/// Sequences of the smallest part, and of the first one, whose time is unknown.
const MIN_PART: usize = 64;

/// Loads a model.
pub(crate) type LoadModel = Box<dyn Fn() -> Result<Arc<dyn Embedder>, BoxError> + Send + Sync>;

/// A model behind a cache.
pub(crate) struct CachedEmbedder {
    info: ModelInfo,
    /// The settings that vectors depend on; see [`crate::device::ExecutionConfig::identity`].
    execution: String,
    cache: Arc<dyn Cache>,
    load: LoadModel,
    model: Mutex<Option<Arc<dyn Embedder>>>,
    /// Sequences and tokens that the cache answered.
    reused: Mutex<(u64, u64)>,
    /// Sequences per part, adapted to the time of the last part.
    part_size: Mutex<usize>,
}

impl CachedEmbedder {
    pub(crate) fn new(
        info: ModelInfo,
        setting: String,
        memo: Arc<dyn Cache>,
        load: LoadModel,
    ) -> Self {
        let (model, reused) = (Mutex::default(), Mutex::default());
        Self {
            info,
            execution: setting,
            cache: memo,
            load,
            model,
            reused,
            part_size: Mutex::new(MIN_PART),
        }
    }

    /// The model; loads it on first use.
    fn model(&self) -> Result<Arc<dyn Embedder>, BoxError> {
        let mut model = lock(&self.model);
        if let Some(model) = &*model {
            return Ok(Arc::clone(model));
        }
        let loaded = (self.load)()?;
        *model = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    fn key(&self, sequence: &[u32]) -> CacheKey {
        let ids: Vec<u8> = sequence.iter().flat_map(|id| id.to_le_bytes()).collect();
        CacheKey::new(
            KEY_KIND,
            &[self.info.fingerprint.as_bytes(), self.execution.as_bytes(), &ids],
        )
    }

    /// Embeds sequences that are not cached, and caches their vectors.
    fn compute(&self, sequences: &[&[u32]], keys: &[CacheKey]) -> Result<Vec<f32>, BoxError> {
        let mut vectors = Vec::with_capacity(sequences.len() * self.info.dim);
        let mut done = 0;
        while done < sequences.len() {
            let part = *lock(&self.part_size);
            let end = sequences.len().min(done + part);
            // Outside the measured time, which must not include loading.
            let model = self.model()?;
            let begun = Instant::now();
            vectors.extend(self.compute_part(&*model, &sequences[done..end], &keys[done..end])?);
            let part = next_part(end - done, begun.elapsed());
            *lock(&self.part_size) = part;
            done = end;
        }
        Ok(vectors)
    }

    fn compute_part(
        &self,
        model: &dyn Embedder,
        sequences: &[&[u32]],
        keys: &[CacheKey],
    ) -> Result<Vec<f32>, BoxError> {
        let vectors = model.embed(sequences)?;
        if vectors.len() != sequences.len() * self.info.dim {
            let (found, count, dim) = (vectors.len(), sequences.len(), self.info.dim);
            return Err(
                format!("the model returned {found} values instead of {count} × {dim}").into()
            );
        }
        // A non-finite vector can be transient or a model defect; it must not be cached.
        let sound = |vector: &[f32]| vector.iter().all(|number| number.is_finite());
        let entries: Vec<_> = keys
            .iter()
            .zip(vectors.chunks_exact(self.info.dim))
            .filter(|(_, vector)| sound(vector))
            .map(|(key, vector)| (*key, to_bytes(vector)))
            .collect();
        self.cache.put(&entries);
        Ok(vectors)
    }
}

impl Embedder for CachedEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let dim = self.info.dim;
        let (different, which) = deduplicate(sequences);
        let keys: Vec<CacheKey> = different.iter().map(|sequence| self.key(sequence)).collect();
        let before: Vec<Option<Vec<u8>>> = self
            .cache
            .get(&keys)
            .into_iter()
            .map(|value| value.filter(|bytes| bytes.len() == dim * size_of::<f32>()))
            .collect();

        let missing: Vec<usize> =
            (0..different.len()).filter(|&at| before.get(at).is_none_or(Option::is_none)).collect();
        let new: Vec<&[u32]> = missing.iter().map(|&at| different[at]).collect();
        let new_keys: Vec<CacheKey> = missing.iter().map(|&at| keys[at]).collect();
        let computed = self.compute(&new, &new_keys)?;

        let mut vectors = vec![0.0; different.len() * dim];
        for (vector, bytes) in vectors.chunks_exact_mut(dim).zip(before) {
            read_bytes(&bytes.unwrap_or_default(), vector);
        }
        for (at, vector) in missing.into_iter().zip(computed.chunks_exact(dim)) {
            vectors[at * dim..][..dim].copy_from_slice(vector);
        }
        let mut reused = lock(&self.reused);
        reused.0 += (sequences.len() - new.len()) as u64;
        reused.1 += tokens(sequences) - tokens(&new);
        drop(reused);
        if different.len() == sequences.len() {
            return Ok(vectors);
        }
        Ok(which.iter().flat_map(|&at| &vectors[at * dim..][..dim]).copied().collect())
    }

    fn usage(&self) -> EmbedderUsage {
        let model = lock(&self.model);
        let mut usage = model.as_ref().map(|model| model.usage()).unwrap_or_default();
        let reused = lock(&self.reused);
        usage.reused_sequences += reused.0;
        usage.reused_tokens += reused.1;
        usage
    }
}

/// Sequences of the next part, given the time of the last one.
fn next_part(sequences: usize, took: Duration) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "saturates"
    )]
    let fits =
        (sequences as f64 * TARGET_PART_TIME.as_secs_f64() / took.as_secs_f64().max(1e-9)) as usize;
    fits.max(MIN_PART)
}

fn tokens(sequences: &[&[u32]]) -> u64 {
    sequences.iter().map(|sequence| sequence.len() as u64).sum()
}

fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn read_bytes(bytes: &[u8], vector: &mut [f32]) {
    for (number, bytes) in vector.iter_mut().zip(bytes.chunks_exact(size_of::<f32>())) {
        *number = f32::from_le_bytes(bytes.try_into().expect("every chunk has four bytes"));
    }
}
