//! Search requests in Edge's form, the query language of the server: one request per query, with
//! the rankings to fuse as prefetches.

use pipeline::{BoxError, Effort, Filter, Fusion, Hit, IndexQuery, Legs, SparseVector};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Fusion as EdgeFusion, NamedQuery, Prefetch, QuantizationSearchParams, QueryEnum, QueryRequest,
    ScoredPoint, ScoringQuery, SearchParams, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};

use crate::edge::filter::filter;
use crate::edge::stored;
use crate::memory::cosine;
use crate::shape::{DENSE, SPARSE};
use pipeline::Quantization;

/// Request for the first `limit` hits.
pub(super) fn request(
    query: &IndexQuery,
    quantization: Quantization,
    limit: usize,
) -> QueryRequest {
    let exact = query.effort == Effort::Exact;
    let params = search_params(quantization, exact);
    let conditions = query.filter.as_ref();
    let whole = QueryRequest {
        prefetches: Vec::new(),
        query: None,
        filter: None,
        score_threshold: None,
        limit,
        offset: 0,
        params: None,
        with_vector: WithVector::Bool(false),
        with_payload: WithPayloadInterface::Bool(true),
    };
    match &query.legs {
        Legs::Dense(vector) => QueryRequest {
            query: Some(nearest(DENSE, VectorInternal::Dense(vector.clone()))),
            filter: conditions.map(filter),
            score_threshold: query.threshold.map(OrderedFloat),
            params: Some(params),
            ..whole
        },
        Legs::Sparse { words, dense } => QueryRequest {
            query: Some(nearest(SPARSE, sparse(words))),
            filter: conditions.map(filter),
            with_vector: dense_only(dense.is_some()),
            ..whole
        },
        Legs::Hybrid { dense, words, fusion } => QueryRequest {
            prefetches: legs(dense, words, fusion, conditions, params),
            query: Some(ScoringQuery::Fusion(fused(fusion, words))),
            with_vector: dense_only(true),
            ..whole
        },
    }
}

/// The rankings to fuse. A sparse query without terms has no hits and Edge refuses it, so it is
/// omitted.
fn legs(
    dense: &[f32],
    words: &SparseVector,
    fusion: &Fusion,
    conditions: Option<&Filter>,
    params: SearchParams,
) -> Vec<Prefetch> {
    let leg = |query, params| Prefetch {
        prefetches: Vec::new(),
        query: Some(query),
        limit: fusion.candidates,
        params,
        filter: conditions.map(filter),
        score_threshold: None,
    };
    let mut legs = vec![leg(nearest(DENSE, VectorInternal::Dense(dense.to_vec())), Some(params))];
    if !words.is_empty() {
        legs.push(leg(nearest(SPARSE, sparse(words)), None));
    }
    legs
}

fn fused(fusion: &Fusion, words: &SparseVector) -> EdgeFusion {
    let mut weights = vec![OrderedFloat(fusion.dense)];
    if !words.is_empty() {
        weights.push(OrderedFloat(fusion.sparse));
    }
    let k = usize::try_from(fusion.k).unwrap_or(usize::MAX);
    EdgeFusion::Rrf { k, weights: Some(weights) }
}

fn nearest(name: &str, vector: VectorInternal) -> ScoringQuery {
    ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(vector, name)))
}

fn sparse(words: &SparseVector) -> VectorInternal {
    VectorInternal::Sparse(qdrant_edge::SparseVector {
        indices: words.indices.clone(),
        values: words.values.clone(),
    })
}

fn dense_only(wanted: bool) -> WithVector {
    if wanted { WithVector::Selector(vec![DENSE.to_owned()]) } else { WithVector::Bool(false) }
}

/// Converts a hit. In dense mode the score is the similarity; in the others it is computed from the
/// vector of the hit, if the query has a dense vector.
pub(super) fn hit(point: ScoredPoint, legs: &Legs) -> Result<Hit, BoxError> {
    let similarity = match legs {
        Legs::Dense(_) => Some(point.score),
        Legs::Sparse { dense: None, .. } => None,
        Legs::Sparse { dense: Some(dense), .. } | Legs::Hybrid { dense, .. } => {
            let Some(VectorStructInternal::Named(vectors)) = &point.vector else {
                return Err("a hit has no vector".into());
            };
            let Some(VectorInternal::Dense(vector)) = vectors.get(DENSE) else {
                return Err("a hit has no dense vector".into());
            };
            Some(cosine(vector, dense))
        }
    };
    Ok(Hit { score: point.score, similarity, payload: stored(point.payload)? })
}

/// With int8 quantization, twice as many candidates as requested are ranked by the quantized
/// vectors and rescored with the stored ones. An exact search uses neither quantized vectors nor
/// index.
fn search_params(quantization: Quantization, exact: bool) -> SearchParams {
    let quantization = (quantization == Quantization::Int8).then_some(QuantizationSearchParams {
        ignore: exact,
        rescore: Some(true),
        oversampling: Some(2.0),
    });
    SearchParams { quantization, exact, ..SearchParams::default() }
}
