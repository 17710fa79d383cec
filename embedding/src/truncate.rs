//! An embedder that truncates vectors to their first dimensions and scales them to length 1
//! (Matryoshka: Kusupati et al. 2022, <https://arxiv.org/abs/2205.13147>).
//!
//! It wraps the cached embedder, so that the cache holds full vectors, which serve any dimension.

use std::sync::Arc;

use pipeline::{BoxError, Embedder, EmbedderUsage, ModelInfo};

struct TruncatedEmbedder {
    info: ModelInfo,
    inner: Arc<dyn Embedder>,
}

/// The model with vectors of dimension `dim`; unchanged for `None`.
///
/// # Errors
/// If the model's dimension is smaller.
pub(crate) fn truncate_dimensions(
    whole: Arc<dyn Embedder>,
    dim: Option<usize>,
) -> Result<Arc<dyn Embedder>, BoxError> {
    let info = whole.info().clone().with_truncated_dim(dim);
    match dim {
        Some(dim) if dim != info.dim => {
            let (name, has) = (&info.short_name, info.dim);
            Err(format!("invalid dimension {dim}: model `{name}` has {has} dimensions").into())
        }
        _ if info.dim == whole.info().dim => Ok(whole),
        _ => Ok(Arc::new(TruncatedEmbedder { info, inner: whole })),
    }
}

impl Embedder for TruncatedEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let whole = self.inner.embed(sequences)?;
        let vectors = whole.chunks_exact(self.inner.info().dim).flat_map(|vector| {
            let vector = &vector[..self.info.dim];
            let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(1e-12);
            vector.iter().map(move |number| number / length)
        });
        Ok(vectors.collect())
    }

    fn usage(&self) -> EmbedderUsage {
        self.inner.usage()
    }
}
