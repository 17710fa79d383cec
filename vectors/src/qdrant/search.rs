//! Search requests to the server: one request per ranking.

use pipeline::cosine;
use pipeline::{
    BoxError, IndexQuery, PointKey, Quantization, QueryVectors, RankedChunk, SearchAccuracy,
    SparseVector,
};
use qdrant_client::qdrant::{
    PayloadIncludeSelector, QuantizationSearchParamsBuilder, Query, QueryPoints,
    QueryPointsBuilder, ScoredPoint, SearchParams, SearchParamsBuilder, VectorsSelector,
    vector_output,
};

use crate::qdrant::filter::filter;
use crate::qdrant::request::parse_key;
use crate::shape::{CHUNK_INDEX_FIELD, DENSE_VECTOR, DOCUMENT_FIELD, SPARSE_VECTOR};

/// Selects the fields of a payload that identify a chunk.
pub(super) fn key_fields() -> PayloadIncludeSelector {
    let fields = [DOCUMENT_FIELD, CHUNK_INDEX_FIELD].map(str::to_owned).to_vec();
    PayloadIncludeSelector { fields }
}

/// Request for the first `limit` hits.
pub(super) fn query_request(
    name: &str,
    query: &IndexQuery,
    quantization: Quantization,
    limit: usize,
) -> QueryPoints {
    let params = search_params(quantization, query.accuracy == SearchAccuracy::Exact);
    let conditions = query.filter.as_ref();
    let whole = QueryPointsBuilder::new(name).limit(limit as u64).with_payload(key_fields());
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
            if dense.is_some() {
                filtered.with_vectors(named_vector(DENSE_VECTOR))
            } else {
                filtered
            }
        }
    };
    whole.build()
}

/// Request for the best point with a term, with its sparse vector.
pub(super) fn term_request(name: &str, term: u32) -> QueryPoints {
    let words = SparseVector { indices: vec![term], values: vec![1.0] };
    QueryPointsBuilder::new(name)
        .query(nearest(&words))
        .using(SPARSE_VECTOR)
        .limit(1)
        .with_payload(false)
        .with_vectors(named_vector(SPARSE_VECTOR))
        .build()
}

/// The rarity of a term in the collection, from the score of a point for this term alone: the
/// weight of the term in the point times its rarity.
pub(super) fn rarity(point: &ScoredPoint, term: u32) -> Option<f64> {
    let vector = point.vectors.as_ref()?.get_vector_by_name(SPARSE_VECTOR)?;
    let vector_output::Vector::Sparse(words) = vector else { return None };
    let at = words.indices.iter().position(|index| *index == term)?;
    Some(f64::from(point.score) / f64::from(words.values[at]))
}

fn nearest(words: &SparseVector) -> Query {
    let pairs = words.indices.iter().copied().zip(words.values.iter().copied());
    Query::from(pairs.collect::<Vec<(u32, f32)>>())
}

pub(super) fn named_vector(name: &str) -> VectorsSelector {
    VectorsSelector { names: vec![name.to_owned()] }
}

/// Converts a hit. In a dense ranking the score is the similarity; in a sparse one it is computed
/// from the vector of the hit, if the query has a dense vector.
pub(super) fn ranked_chunk(
    point: ScoredPoint,
    vectors: &QueryVectors,
) -> Result<RankedChunk, BoxError> {
    let similarity = match vectors {
        QueryVectors::Dense(_) => Some(point.score),
        QueryVectors::Sparse { dense: None, .. } => None,
        QueryVectors::Sparse { dense: Some(dense), .. } => {
            let vector = point.vectors.and_then(|vectors| vectors.get_vector_by_name(DENSE_VECTOR));
            let Some(vector_output::Vector::Dense(vector)) = vector else {
                return Err("a hit has no dense vector".into());
            };
            Some(cosine(&vector.data, dense))
        }
    };
    let PointKey { id, document, chunk_index } = parse_key(point.id, point.payload)?;
    Ok(RankedChunk { id, document, chunk_index, score: point.score, similarity })
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
