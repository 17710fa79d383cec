//! Whether a point that was read holds what was written.

use pipeline::{BoxError, SparseVector};
use qdrant_edge::{PointId, Record, VectorInternal, VectorStructInternal};
use uuid::Uuid;

use crate::payload;
use crate::shape::{DENSE, SPARSE, Shape};
use pipeline::Inspected;

/// By how much the length of a vector may differ from one: float16 has ten bits of a number.
const TOLERANCE: f32 = 0.01;

/// What is to be said of a point.
pub(super) fn record(record: Record, shape: Shape) -> Inspected {
    let Record { id, payload, vector, .. } = record;
    let PointId::Uuid(uuid) = id else {
        return unreadable(id, "was not written by semantik");
    };
    let payload = payload.map(|it| it.0).unwrap_or_default();
    let key = payload::point_key(uuid, &payload).ok();
    let fault = vectors(vector, shape)
        .and_then(|sparse| match payload::has_its_checksum(&payload, sparse.as_ref()) {
            true => Ok(()),
            false => Err("its payload or its words are not what was written"),
        })
        .err();
    Inspected { id: uuid, key, fault: fault.map(str::to_owned) }
}

/// A point that cannot be read.
pub(super) fn unreadable(id: PointId, why: impl Into<BoxError>) -> Inspected {
    let id = match id {
        PointId::Uuid(id) => id,
        PointId::NumId(number) => Uuid::from_u128(number.into()),
    };
    Inspected { id, key: None, fault: Some(why.into().to_string()) }
}

/// The words of a point whose dense vector can be one: Edge stores it with a length of one.
fn vectors(
    vector: Option<VectorStructInternal>,
    shape: Shape,
) -> Result<Option<SparseVector>, &'static str> {
    let Some(VectorStructInternal::Named(mut vectors)) = vector else {
        return Err("it has no vector");
    };
    let Some(VectorInternal::Dense(dense)) = vectors.remove(DENSE) else {
        return Err("it has no dense vector");
    };
    if dense.len() != shape.dim {
        return Err("its vector has another length");
    }
    let length = dense.iter().map(|number| number * number).sum::<f32>().sqrt();
    // A vector of zeros has no direction, and is stored as it is.
    let is_one = (length - 1.0).abs() <= TOLERANCE || dense.iter().all(|number| *number == 0.0);
    if !is_one {
        return Err("its vector is not of length one");
    }
    Ok(match vectors.remove(SPARSE) {
        Some(VectorInternal::Sparse(it)) if !it.indices.is_empty() => {
            Some(SparseVector { indices: it.indices, values: it.values })
        }
        Some(_) | None => None,
    })
}
