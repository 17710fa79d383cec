//! The content of a vector store, for comparison with the metadata.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{StoreError, VectorIndex, VectorStore, point_id};

/// Lists the content of a store, for comparison with the metadata.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Every document with points in the store, and the number of its points.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError>;

    /// The chunk of each point, in order of point id, `after` excluded. Reads neither vectors nor
    /// texts.
    ///
    /// # Errors
    /// If the store cannot be reached, or a point in it was not written by semantik.
    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError>;

    /// Like [`Inventory::keys`], with the damage of each point. The embedded store reads each point
    /// completely and compares it with the data that was written. Servers verify their own files,
    /// so the default implementation reports no damage.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn inspect(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<InspectedPoint>, StoreError> {
        let keys = self.keys(after, limit).await?.into_iter();
        Ok(keys.map(|key| InspectedPoint { id: key.id, key: Some(key), fault: None }).collect())
    }
}

/// A point that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedPoint {
    /// Id of the point.
    pub id: Uuid,
    /// Chunk of the point; `None` if it cannot be read.
    pub key: Option<PointKey>,
    /// Description of the damage; `None` for an intact point.
    pub fault: Option<String>,
}

/// A point without its content.
///
/// ```
/// use pipeline::{PointKey, point_id};
/// use uuid::Uuid;
///
/// let document = Uuid::from_u128(7);
/// let key = PointKey { id: point_id(document, 3), document, chunk_index: 3 };
/// assert!(key.has_derived_id());
/// assert!(!PointKey { chunk_index: 4, ..key }.has_derived_id());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointKey {
    /// Id of the point.
    pub id: Uuid,
    /// Id of the document.
    pub document: Uuid,
    /// Position of the chunk in the document, from 0.
    pub chunk_index: u32,
}

impl PointKey {
    /// `true` if the id is the one derived from document and chunk.
    pub fn has_derived_id(&self) -> bool {
        self.id == point_id(self.document, self.chunk_index)
    }
}

/// All interfaces of a vector store.
pub trait Vectors: VectorStore + VectorIndex + Inventory {}

impl<T: VectorStore + VectorIndex + Inventory> Vectors for T {}
