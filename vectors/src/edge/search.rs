//! Search requests in Edge's form, the query language of the server: one request per ranking.

use pipeline::cosine;
use pipeline::{
    BoxError, IndexQuery, PointKey, Quantization, QueryVectors, RankedChunk, SearchAccuracy,
    SparseVector,
};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    NamedQuery, PointId, QuantizationSearchParams, QueryEnum, QueryRequest, ScoredPoint,
    ScoringQuery, SearchParams, VectorInternal, VectorStructInternal, WithPayloadInterface,
    WithVector,
};

use crate::edge::filter::filter;
use crate::payload;
use crate::shape::{CHUNK_INDEX_FIELD, DENSE_VECTOR, DOCUMENT_FIELD, SPARSE_VECTOR};

/// Selects the fields of a payload that identify a chunk.
pub(super) fn key_fields() -> WithPayloadInterface {
    let fields =
        [DOCUMENT_FIELD, CHUNK_INDEX_FIELD].map(|it| it.parse().expect("a field name is a path"));
    WithPayloadInterface::Fields(fields.to_vec())
}

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
        with_payload: key_fields(),
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
    }
}

/// Request for the best point with a term, with its sparse vector.
pub(super) fn term_request(term: u32) -> QueryRequest {
    let words = SparseVector { indices: vec![term], values: vec![1.0] };
    QueryRequest {
        prefetches: Vec::new(),
        query: Some(nearest(SPARSE_VECTOR, sparse(&words))),
        filter: None,
        score_threshold: None,
        limit: 1,
        offset: 0,
        params: None,
        with_vector: WithVector::Selector(vec![SPARSE_VECTOR.to_owned()]),
        with_payload: WithPayloadInterface::Bool(false),
    }
}

/// The rarity of a term in the shard, from the score of a point for this term alone: the weight of
/// the term in the point times its rarity.
pub(super) fn rarity(point: &ScoredPoint, term: u32) -> Option<f64> {
    let Some(VectorStructInternal::Named(vectors)) = &point.vector else { return None };
    let Some(VectorInternal::Sparse(words)) = vectors.get(SPARSE_VECTOR) else { return None };
    let at = words.indices.iter().position(|index| *index == term)?;
    Some(f64::from(point.score) / f64::from(words.values[at]))
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
            let Some(VectorStructInternal::Named(vectors)) = &point.vector else {
                return Err("a hit has no vector".into());
            };
            let Some(VectorInternal::Dense(vector)) = vectors.get(DENSE_VECTOR) else {
                return Err("a hit has no dense vector".into());
            };
            Some(cosine(vector, dense))
        }
    };
    let PointId::Uuid(id) = point.id else {
        return Err(format!("point {} was not written by semantik", point.id).into());
    };
    let fields = point.payload.map(|payload| payload.0).unwrap_or_default();
    let PointKey { id, document, chunk_index } = payload::point_key(id, &fields)?;
    Ok(RankedChunk { id, document, chunk_index, score: point.score, similarity })
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
