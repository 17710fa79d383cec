//! What the two stores of Qdrant share when they read points.

use std::collections::{BTreeMap, HashMap};

use pipeline::{Facet, Point, StoreError, point_id};
use uuid::Uuid;

use crate::shape::permanent_error;

/// The first id of a page behind a point; `Some(None)` for the first page, `None` if no id can
/// follow. Qdrant includes the id at which a page starts, and no id lies between an id and its
/// successor.
pub(crate) fn page_start(after: Option<Uuid>) -> Option<Option<Uuid>> {
    match after {
        Some(after) => after.as_u128().checked_add(1).map(|from| Some(Uuid::from_u128(from))),
        None => Some(None),
    }
}

/// The ids of up to `limit` chunks of a document.
pub(crate) fn chunk_ids(document: Uuid, from_chunk: u32, limit: u32) -> impl Iterator<Item = Uuid> {
    (from_chunk..from_chunk.saturating_add(limit)).map(move |index| point_id(document, index))
}

/// Points in the order of these ids.
pub(crate) fn in_order(ids: &[Uuid], points: Vec<Point>) -> Vec<Point> {
    let mut by_id: HashMap<Uuid, Point> = points.into_iter().map(|it| (it.id, it)).collect();
    ids.iter().filter_map(|id| by_id.remove(id)).collect()
}

/// The number of points by document, from the values of the document field.
pub(crate) fn documents_of(
    doing: &'static str,
    facets: Vec<Facet>,
) -> Result<BTreeMap<Uuid, u64>, StoreError> {
    let documents = facets.into_iter().map(|Facet { value, count }| {
        let id = value.parse::<Uuid>().map_err(|e| permanent_error(doing, e))?;
        Ok((id, count))
    });
    documents.collect()
}
