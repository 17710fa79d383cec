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
    /// The number of chunks in the collection.
    pub(crate) async fn chunk_count(&self) -> Result<u64, StoreError> {
        if let Some(count) = self.caches.chunk_count(self.version) {
            return Ok(count);
        }
        let count = self.target.index.count().await?;
        self.caches.insert_chunk_count(self.version.clone(), count);
        Ok(count)
    }

    /// The number of chunks with each of these terms.
    pub(crate) async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        let known: Vec<Option<u64>> =
            terms.iter().map(|term| self.caches.term_count(self.version, *term)).collect();
        let missing = terms.iter().zip(&known).filter(|(_, count)| count.is_none());
        let missing: Vec<u32> = missing.map(|(term, _)| *term).collect();
        let mut counts = if missing.is_empty() {
            Vec::new().into_iter()
        } else {
            self.target.index.term_counts(&missing).await?.into_iter()
        };
        let found = terms.iter().zip(known).map(|(term, known)| {
            known.unwrap_or_else(|| {
                let count = counts.next().unwrap_or(0);
                self.caches.insert_term_count(self.version, *term, count);
                count
            })
        });
        Ok(found.collect())
    }

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
