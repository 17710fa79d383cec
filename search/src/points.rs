//! Reads the points of one generation by their ids, through the cache.

use std::collections::HashMap;
use std::sync::Arc;

use pipeline::{Point, StoreError};
use uuid::Uuid;

use crate::caches::{GenerationVersion, SearchCaches};
use crate::target::Target;

/// Points by id.
pub(crate) type Points = HashMap<Uuid, Arc<Point>>;

/// The points of one generation in the state `version`.
pub(crate) struct PointReader<'a> {
    pub(crate) caches: &'a SearchCaches,
    pub(crate) target: &'a Target,
    pub(crate) version: &'a GenerationVersion,
}

impl PointReader<'_> {
    /// The points with these ids, without their sparse vectors; missing ones are left out.
    pub(crate) async fn fetch(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Points, StoreError> {
        let mut points = Points::new();
        let mut missing = Vec::new();
        for id in ids {
            match self.caches.point(self.version, id) {
                Some(point) => drop(points.insert(id, point)),
                None => missing.push(id),
            }
        }
        if !missing.is_empty() {
            for point in self.target.index.fetch(&missing).await? {
                let point = Arc::new(point);
                self.caches.insert_point(self.version, &point);
                points.insert(point.id, point);
            }
        }
        Ok(points)
    }
}
