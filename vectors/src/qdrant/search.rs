//! Search requests to the server: one request per query, with the rankings to fuse as prefetches.

use pipeline::{
    BoxError, Filter, Fusion, Hit, IndexQuery, QueryVectors, SearchAccuracy, SparseVector,
};
use qdrant_client::qdrant::{
    PrefetchQuery, PrefetchQueryBuilder, QuantizationSearchParamsBuilder, Query, QueryPoints,
    QueryPointsBuilder, RrfBuilder, ScoredPoint, SearchParams, SearchParamsBuilder,
    VectorsSelector, vector_output,
};

use crate::memory::cosine;
use crate::qdrant::filter::filter;
use crate::qdrant::request::parse_payload;
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR};
use pipeline::Quantization;

/// Request for the first `limit` hits.
pub(super) fn query_request(
    name: &str,
    query: &IndexQuery,
    quantization: Quantization,
    limit: usize,
) -> QueryPoints {
    let params = search_params(quantization, query.accuracy == SearchAccuracy::Exact);
    let conditions = query.filter.as_ref();
    let whole = QueryPointsBuilder::new(name).limit(limit as u64).with_payload(true);
    let whole = match &query.vectors {
        QueryVectors::Dense(vector) => {
            let dense = whole.query(Query::from(vector.clone())).using(DENSE_VECTOR).params(params);
            let filtered = match conditions {
                Some(conditions) => dense.filter(filter(conditions)),
                None => dense,
            };
            match query.min_similarity {
                Some(threshold) => filtered.score_threshold(threshold),
                None => filtered,
            }
        }
        QueryVectors::Sparse { sparse: words, dense } => {
            let sparse = whole.query(nearest(words)).using(SPARSE_VECTOR);
            let filtered = match conditions {
                Some(conditions) => sparse.filter(filter(conditions)),
                None => sparse,
            };
            if dense.is_some() { filtered.with_vectors(dense_only()) } else { filtered }
        }
        QueryVectors::Hybrid { dense, sparse: words, fusion } => whole
            .prefetch(prefetches(dense, words, fusion, conditions, params))
            .query(fusion_query(fusion, words))
            .with_vectors(dense_only()),
    };
    whole.build()
}

/// The rankings to fuse. A sparse query without terms has no hits and the server refuses it, so it
/// is omitted.
fn prefetches(
    dense: &[f32],
    words: &SparseVector,
    fusion: &Fusion,
    conditions: Option<&Filter>,
    params: SearchParams,
) -> Vec<PrefetchQuery> {
    let leg = |query: Query, name: &str| {
        let leg = PrefetchQueryBuilder::default()
            .query(query)
            .using(name)
            .limit(fusion.candidates as u64);
        match conditions {
            Some(conditions) => leg.filter(filter(conditions)),
            None => leg,
        }
    };
    let mut legs = vec![leg(Query::from(dense.to_vec()), DENSE_VECTOR).params(params).build()];
    if !words.is_empty() {
        legs.push(leg(nearest(words), SPARSE_VECTOR).build());
    }
    legs
}

fn fusion_query(fusion: &Fusion, words: &SparseVector) -> Query {
    let mut weights = vec![fusion.dense];
    if !words.is_empty() {
        weights.push(fusion.sparse);
    }
    Query::new_rrf(RrfBuilder::with_k(fusion.k).weights(weights))
}

fn nearest(words: &SparseVector) -> Query {
    let pairs = words.indices.iter().copied().zip(words.values.iter().copied());
    Query::from(pairs.collect::<Vec<(u32, f32)>>())
}

fn dense_only() -> VectorsSelector {
    VectorsSelector { names: vec![DENSE_VECTOR.to_owned()] }
}

/// Converts a hit. In dense mode the score is the similarity; in the others it is computed from the
/// vector of the hit, if the query has a dense vector.
pub(super) fn hit(point: ScoredPoint, legs: &QueryVectors) -> Result<Hit, BoxError> {
    let similarity = match legs {
        QueryVectors::Dense(_) => Some(point.score),
        QueryVectors::Sparse { dense: None, .. } => None,
        QueryVectors::Sparse { dense: Some(dense), .. } | QueryVectors::Hybrid { dense, .. } => {
            let vector = point.vectors.and_then(|vectors| vectors.get_vector_by_name(DENSE_VECTOR));
            let Some(vector_output::Vector::Dense(vector)) = vector else {
                return Err("a hit has no dense vector".into());
            };
            Some(cosine(&vector.data, dense))
        }
    };
    Ok(Hit { score: point.score, similarity, payload: parse_payload(point.payload)? })
}

/// With int8 quantization, twice as many candidates as requested are ranked by the quantized
/// vectors and rescored with the stored ones. An exact search uses neither quantized vectors nor
/// index.
fn search_params(quantization: Quantization, exact: bool) -> SearchParams {
    let params = SearchParamsBuilder::default().exact(exact);
    if quantization != Quantization::Int8 {
        return params.build();
    }
    let quantization =
        QuantizationSearchParamsBuilder::default().ignore(exact).rescore(true).oversampling(2.0);
    params.quantization(quantization).build()
}
