//! Checks that a point holds the data that was written.

use pipeline::{BoxError, SparseVector};
use qdrant_edge::{PointId, Record, VectorInternal, VectorStructInternal};
use uuid::Uuid;

use crate::payload;
use crate::shape::{DENSE_VECTOR, SPARSE_VECTOR, VectorLayout};
use pipeline::InspectedPoint;

/// Allowed deviation of the length of a vector from 1: float16 has a mantissa of ten bits.
const NORM_TOLERANCE: f32 = 0.01;

/// Key and fault of a point; a valid point has no fault.
pub(super) fn inspect_record(record: Record, shape: VectorLayout) -> InspectedPoint {
    let Record { id, payload, vector, .. } = record;
    let PointId::Uuid(uuid) = id else {
        return unreadable_point(id, "was not written by semantik");
    };
    let payload = payload.map(|it| it.0).unwrap_or_default();
    let key = payload::point_key(uuid, &payload).ok();
    let fault = vectors(vector, shape)
        .and_then(|sparse| match payload::checksum_matches(&payload, sparse.as_ref()) {
            true => Ok(()),
            false => Err("its payload or sparse vector does not match its checksum"),
        })
        .err();
    InspectedPoint { id: uuid, key, fault: fault.map(str::to_owned) }
}

/// The result for a point that cannot be read.
pub(super) fn unreadable_point(id: PointId, why: impl Into<BoxError>) -> InspectedPoint {
    let id = match id {
        PointId::Uuid(id) => id,
        PointId::NumId(number) => Uuid::from_u128(number.into()),
    };
    InspectedPoint { id, key: None, fault: Some(why.into().to_string()) }
}

/// Checks the dense vector and returns the sparse one. Edge stores dense vectors normalised to
/// length 1.
fn vectors(
    vector: Option<VectorStructInternal>,
    shape: VectorLayout,
) -> Result<Option<SparseVector>, &'static str> {
    let Some(VectorStructInternal::Named(mut vectors)) = vector else {
        return Err("it has no vector");
    };
    let Some(VectorInternal::Dense(dense)) = vectors.remove(DENSE_VECTOR) else {
        return Err("it has no dense vector");
    };
    if dense.len() != shape.dim {
        return Err("its dense vector has another dimension than the collection");
    }
    let length = dense.iter().map(|number| number * number).sum::<f32>().sqrt();
    // A zero vector has no direction and is stored unchanged.
    let is_one =
        (length - 1.0).abs() <= NORM_TOLERANCE || dense.iter().all(|number| *number == 0.0);
    if !is_one {
        return Err("its dense vector is not normalised to length 1");
    }
    Ok(match vectors.remove(SPARSE_VECTOR) {
        Some(VectorInternal::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    })
}
