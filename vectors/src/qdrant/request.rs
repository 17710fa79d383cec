//! Points in the form of the Qdrant client, and their division into requests.

use std::collections::HashMap;

use pipeline::{BoxError, Point, SparseVector};
use qdrant_client::Payload;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{NamedVectors, PointId, PointStruct, RetrievedPoint, vector_output};
use uuid::Uuid;

use crate::payload;
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR};
use pipeline::PointKey;

/// Converts a point to the client's form.
pub(super) fn point_struct(point: Point) -> PointStruct {
    let mut vectors = NamedVectors::default().add_vector(DENSE_VECTOR, point.vector);
    if let Some(SparseVector { indices, values }) = point.sparse.filter(|it| !it.is_empty()) {
        let pairs: Vec<(u32, f32)> = indices.into_iter().zip(values).collect();
        vectors = vectors.add_vector(SPARSE_VECTOR, pairs);
    }
    PointStruct::new(point.id.to_string(), vectors, Payload::from(payload::to_json(point.payload)))
}

fn id_of(id: Option<PointId>) -> Result<Uuid, BoxError> {
    match id.and_then(|PointId { point_id_options }| point_id_options) {
        Some(PointIdOptions::Uuid(id)) => Ok(id.parse::<Uuid>()?),
        Some(PointIdOptions::Num(id)) => {
            Err(format!("point {id} was not written by semantik").into())
        }
        None => Err("a point without an id was not written by semantik".into()),
    }
}

/// Converts a point without content from the client's form.
pub(super) fn point_key(retrieved: RetrievedPoint) -> Result<PointKey, BoxError> {
    parse_key(retrieved.id, retrieved.payload)
}

/// Converts an id with the payload fields that identify a chunk from the client's form.
pub(super) fn parse_key(
    id: Option<PointId>,
    payload: HashMap<String, qdrant_client::qdrant::Value>,
) -> Result<PointKey, BoxError> {
    let payload: serde_json::Value = Payload::from(payload).into();
    let fields = payload.as_object().cloned().unwrap_or_default();
    payload::point_key(id_of(id)?, &fields)
}

/// Converts a point from the client's form.
pub(super) fn point(retrieved: RetrievedPoint) -> Result<Point, BoxError> {
    let id = id_of(retrieved.id)?;
    let vectors = retrieved.vectors;
    let named = |name| vectors.as_ref().and_then(|vectors| vectors.get_vector_by_name(name));
    let vector = named(DENSE_VECTOR);
    let sparse = match named(SPARSE_VECTOR) {
        Some(vector_output::Vector::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    };
    let Some(vector_output::Vector::Dense(vector)) = vector else {
        return Err(format!("point {id} has no dense vector").into());
    };
    Ok(Point { id, vector: vector.data, sparse, payload: parse_payload(retrieved.payload)? })
}

/// Converts a payload from the client's form.
pub(super) fn parse_payload(
    payload: HashMap<String, qdrant_client::qdrant::Value>,
) -> Result<pipeline::Payload, serde_json::Error> {
    payload::from_json(Payload::from(payload).into())
}

/// Divides points into requests of at most `most` bytes, in order. A document is split only if it
/// fills more than one request; a point larger than `most` is a request by itself.
pub(super) fn split_requests(points: Vec<Point>, most: usize) -> Vec<Vec<Point>> {
    let mut requests = Vec::new();
    let mut request: Vec<Point> = Vec::new();
    let (mut bytes, mut first_of_document) = (0, 0);
    for point in points {
        let weight = point_bytes(&point);
        let last = request.last();
        if last.is_some_and(|last| last.payload.document != point.payload.document) {
            first_of_document = request.len();
        }
        if bytes + weight > most && !request.is_empty() {
            let cut = if first_of_document == 0 { request.len() } else { first_of_document };
            let rest = request.split_off(cut);
            requests.push(std::mem::replace(&mut request, rest));
            bytes = request.iter().map(point_bytes).sum();
            first_of_document = 0;
        }
        bytes += weight;
        request.push(point);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

/// Approximate size of a point in a request, in bytes.
fn point_bytes(point: &Point) -> usize {
    let payload = &point.payload;
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = payload.content.len()
        + payload.uri.len()
        + payload.source.len()
        + optional(&payload.title)
        + optional(&payload.headings);
    let words = point.sparse.as_ref().map_or(0, |words| words.indices.len() * 10);
    let facts: usize = payload.facts.iter().map(|fact| fact.len() + 8).sum();
    point.vector.len() * size_of::<f32>() + words + facts + texts + 512
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::chunks;

    proptest! {
        #[test]
        fn requests_keep_points_in_order_and_documents_together(
            documents in prop::collection::vec(1_u32..12, 0..20),
            most in 1_usize..20_000,
        ) {
            let points: Vec<Point> =
                (0..).zip(&documents).flat_map(|(number, count)| chunks(number, *count, 1)).collect();
            let requests = split_requests(points.clone(), most);
            prop_assert_eq!(requests.concat(), points);
            for request in &requests {
                let bytes: usize = request.iter().map(point_bytes).sum();
                prop_assert!(bytes <= most || request.len() == 1);
            }
            // A document is split only if it fills more than one request.
            for two in requests.windows(2) {
                let document = two[1][0].payload.document;
                let both = two.iter().flatten().filter(|point| point.payload.document == document);
                let bytes: usize = both.map(point_bytes).sum();
                let cut = two[0].last().is_some_and(|last| last.payload.document == document);
                prop_assert!(!cut || bytes > most);
            }
        }
    }
}
