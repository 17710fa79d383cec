//! Conversion of points to and from Edge's form.

use pipeline::{BoxError, Payload, Point, PointKey, SparseVector};
use qdrant_edge::{
    PointId, PointStruct, PointStructPersisted, Record, Vector, VectorInternal,
    VectorStructInternal, Vectors,
};

use crate::payload;
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR};

/// Converts a point to Edge's form.
pub(super) fn persisted(point: Point) -> PointStructPersisted {
    let mut payload = payload::to_json(point.payload);
    payload::add_checksum(&mut payload, point.sparse.as_ref());
    let payload = serde_json::Value::Object(payload);
    let mut vectors = vec![(DENSE_VECTOR, Vector::from(point.vector))];
    if let Some(SparseVector { indices, values }) = point.sparse.filter(|it| !it.is_empty()) {
        vectors.push((SPARSE_VECTOR, Vector::from(qdrant_edge::SparseVector { indices, values })));
    }
    PointStruct::new(PointId::Uuid(point.id), Vectors::new_named(vectors), payload).into()
}

/// Converts a point from Edge's form.
pub(super) fn point(record: Record) -> Result<Point, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    let Some(VectorStructInternal::Named(mut vectors)) = record.vector else {
        return Err(format!("point {id} has no vector").into());
    };
    let Some(VectorInternal::Dense(vector)) = vectors.remove(DENSE_VECTOR) else {
        return Err(format!("point {id} has no dense vector").into());
    };
    let sparse = match vectors.remove(SPARSE_VECTOR) {
        Some(VectorInternal::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    };
    Ok(Point { id, vector, sparse, payload: parse_payload(record.payload)? })
}

/// Converts a payload from Edge's form.
pub(super) fn parse_payload(
    payload: Option<qdrant_edge::Payload>,
) -> Result<Payload, serde_json::Error> {
    payload::from_json(payload.map(|payload| payload.0).unwrap_or_default())
}

/// Converts a point without content from Edge's form.
pub(super) fn point_key(record: Record) -> Result<PointKey, BoxError> {
    let PointId::Uuid(id) = record.id else {
        return Err(format!("point {} was not written by semantik", record.id).into());
    };
    payload::point_key(id, &record.payload.map(|payload| payload.0).unwrap_or_default())
}
