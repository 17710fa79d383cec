//! What a vector store holds, for comparing it with the metadata.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::{StoreError, VectorIndex, VectorStore, point_id};

/// Says what a store holds, for comparing it with the metadata.
#[async_trait]
pub trait Inventory: Send + Sync {
    /// Every document with points in the store, and how many it has.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError>;

    /// Which chunk each point is of, in order of the points' ids, `after` excluded. Reads neither vectors nor
    /// texts.
    ///
    /// # Errors
    /// If the store cannot be reached, or a point in it was not written by semantik.
    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError>;

    /// The same, with what is wrong with a point. The embedded store reads all that a point holds, and compares it with
    /// what was written; of others, which have files of their own to look after, this is [`Inventory::keys`].
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn inspect(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Inspected>, StoreError> {
        let keys = self.keys(after, limit).await?.into_iter();
        Ok(keys.map(|key| Inspected { id: key.id, key: Some(key), fault: None }).collect())
    }
}

/// A point that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its id.
    pub id: Uuid,
    /// Which chunk it is of; `None` where that cannot be read any more.
    pub key: Option<PointKey>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// A point without what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointKey {
    /// Its id.
    pub id: Uuid,
    /// The document.
    pub document: Uuid,
    /// Position of the chunk in the document, from 0.
    pub chunk_index: u32,
}

impl PointKey {
    /// Whether the id is the one that this chunk has.
    pub fn is_its_own(&self) -> bool {
        self.id == point_id(self.document, self.chunk_index)
    }
}

/// Everything that a store of vectors can do.
pub trait Vectors: VectorStore + VectorIndex + Inventory {}

impl<T: VectorStore + VectorIndex + Inventory> Vectors for T {}
