//! A collection as a search target: a generation with its model, sparse encoder and vectors.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Collection, Generation, Postgres};
use pipeline::{
    CollectionFacts, EmbedderOptions, ModelInfo, ModelProvider, PipelineSpec, SearchSpec,
};
use search::{Freshness, Proximity, QueryModel, RerankSettings, SearchSettings, Target};

use crate::stores::GenerationVectors;

/// The search target of a generation; `info` is the model that created its vectors
/// ([`crate::resolve_model`]), `spec` the pipeline file whose settings apply to the search.
#[expect(clippy::too_many_arguments, reason = "each is used once, by different parts")]
pub fn build_target(
    spec: &PipelineSpec,
    facts: &CollectionFacts,
    models: &Arc<dyn ModelProvider>,
    collection: &Collection,
    generation: &Generation,
    info: ModelInfo,
    vectors: &GenerationVectors,
    postgres: &Postgres,
) -> Target {
    // The dimension of this generation; the file may request another one now.
    let options = EmbedderOptions { dim: Some(info.dim), ..facts.embedder.clone() };
    let words = generation.sparse.as_ref().map(stages::sparse_encoder);
    let (words, sparse) = match words {
        Some(Ok(words)) => (words, true),
        Some(Err(error)) => {
            let number = generation.number;
            tracing::warn!(
                error = pipeline::error_chain(error.as_ref()),
                "cannot create the sparse encoder of generation {number} of `{}`; searching its \
                 dense vectors only",
                collection.name
            );
            (stages::default_sparse_encoder(), false)
        }
        None => (stages::default_sparse_encoder(), false),
    };
    Target {
        collection: collection.id,
        name: collection.name.clone(),
        generation: generation.number,
        store: generation.vector_store_name.clone(),
        model: QueryModel { info, options, models: Arc::clone(models) },
        sparse_encoder: words,
        sparse,
        settings: Arc::new(search_settings(&spec.file.search, &spec.base)),
        index: Arc::clone(&vectors.store) as _,
        vocabulary: Some(Arc::new(postgres.vocabulary(generation.id))),
    }
}

/// The settings of a search from those of a pipeline file.
pub fn search_settings(spec: &SearchSpec, base: &Path) -> SearchSettings {
    let rerank = spec.rerank.as_ref().map(|rerank| RerankSettings {
        model: rerank.resolved_model(base),
        device: rerank.device.clone(),
        dtype: rerank.dtype.clone(),
        candidates: rerank.candidates,
        budget: Duration::from_millis(rerank.budget_ms.into()),
    });
    SearchSettings {
        fusion: spec.fusion.into(),
        exact_terms: spec.exact_terms,
        typos: spec.typos,
        siblings: spec.documents.siblings,
        lead: spec.documents.lead,
        freshness: spec
            .freshness
            .as_ref()
            .map(|it| Freshness { half_life: it.half_life.as_secs().max(1), weight: it.weight }),
        proximity: spec.proximity.map(Proximity::from),
        diversity: spec.diversity,
        merge_adjacent: spec.documents.merge_adjacent,
        rerank,
    }
}
