//! Search requests in Edge's form, the query language of the server: one request per query, with
//! the rankings to fuse as prefetches.

use pipeline::{
    BoxError, Filter, Fusion, Hit, IndexQuery, QueryVectors, SearchAccuracy, SparseVector,
};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Fusion as EdgeFusion, NamedQuery, Prefetch, QuantizationSearchParams, QueryEnum, QueryRequest,
    ScoredPoint, ScoringQuery, SearchParams, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};

use crate::edge::filter::filter;
use crate::edge::record::parse_payload;
use crate::memory::cosine;
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR};
use pipeline::Quantization;

/// Request for the first `limit` hits.
pub(super) fn query_request(
    query: &IndexQuery,
    quantization: Quantization,
    limit: usize,
) -> QueryRequest {
    let exact = query.accuracy == SearchAccuracy::Exact;
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
    match &query.vectors {
        QueryVectors::Dense(vector) => QueryRequest {
            query: Some(nearest(DENSE_VECTOR, VectorInternal::Dense(vector.clone()))),
            filter: conditions.map(filter),
            score_threshold: query.min_similarity.map(OrderedFloat),
            params: Some(params),
            ..whole
        },
        QueryVectors::Sparse { sparse: words, dense } => QueryRequest {
            query: Some(nearest(SPARSE_VECTOR, sparse(words))),
            filter: conditions.map(filter),
            with_vector: dense_only(dense.is_some()),
            ..whole
        },
        QueryVectors::Hybrid { dense, sparse: words, fusion } => QueryRequest {
            prefetches: prefetches(dense, words, fusion, conditions, params),
            query: Some(ScoringQuery::Fusion(fusion_query(fusion, words))),
            with_vector: dense_only(true),
            ..whole
        },
    }
}

/// The rankings to fuse. A sparse query without terms has no hits and Edge refuses it, so it is
/// omitted.
fn prefetches(
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
    let mut legs =
        vec![leg(nearest(DENSE_VECTOR, VectorInternal::Dense(dense.to_vec())), Some(params))];
    if !words.is_empty() {
        legs.push(leg(nearest(SPARSE_VECTOR, sparse(words)), None));
    }
    legs
}

fn fusion_query(fusion: &Fusion, words: &SparseVector) -> EdgeFusion {
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
    if wanted {
        WithVector::Selector(vec![DENSE_VECTOR.to_owned()])
    } else {
        WithVector::Bool(false)
    }
}

/// Converts a hit. In dense mode the score is the similarity; in the others it is computed from the
/// vector of the hit, if the query has a dense vector.
pub(super) fn hit(point: ScoredPoint, legs: &QueryVectors) -> Result<Hit, BoxError> {
    let similarity = match legs {
        QueryVectors::Dense(_) => Some(point.score),
        QueryVectors::Sparse { dense: None, .. } => None,
        QueryVectors::Sparse { dense: Some(dense), .. } | QueryVectors::Hybrid { dense, .. } => {
            let Some(VectorStructInternal::Named(vectors)) = &point.vector else {
                return Err("a hit has no vector".into());
            };
            let Some(VectorInternal::Dense(vector)) = vectors.get(DENSE_VECTOR) else {
                return Err("a hit has no dense vector".into());
            };
            Some(cosine(vector, dense))
        }
    };
    Ok(Hit { score: point.score, similarity, payload: parse_payload(point.payload)? })
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
