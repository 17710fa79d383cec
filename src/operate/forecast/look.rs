//! The read-only part of a dry run: answers and records the queries of nodes to the metadata store,
//! and counts their writes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use metadata::{KnownPlace, Prospect, RunMetadata};
use pipeline::column::{CHUNKS, CONTENT_HASH};
use pipeline::{
    BoxError, ContentHash, Identity, Incoming, KnownHashes, KnownLocation, KnownState, Location,
    MetadataStore, Resources, SchemaError, SetAside, Sink, SinkConfig, StoreError, StoredDocument,
    chunks_and_tokens,
};
use uuid::Uuid;

use super::ledger::Ledger;

/// The state of the collection before the run.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// `None` if the collection does not exist.
    pub(super) metadata: Option<RunMetadata>,
    /// `true` if a new generation would be started, which has no document yet.
    pub(super) is_anew: bool,
}

impl Look {
    pub(super) async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        match &self.metadata {
            Some(metadata) if !self.is_anew => metadata.known_hashes().await,
            Some(_) | None => Ok(KnownHashes::new()),
        }
    }

    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let Some(metadata) = &self.metadata else { return Ok(vec![None; uris.len()]) };
        let mut known = metadata.locate(uris).await?;
        if self.is_anew {
            known.iter_mut().flatten().for_each(forget_document);
        }
        Ok(known)
    }

    async fn prospects(&self, contents: &[ContentHash]) -> Result<Vec<Prospect>, StoreError> {
        let nothing = Prospect { status: None, is_current: false, was_deleted: false };
        let Some(metadata) = &self.metadata else { return Ok(vec![nothing; contents.len()]) };
        let mut prospects = metadata.prospects(contents).await?;
        if self.is_anew {
            prospects.iter_mut().for_each(|prospect| prospect.is_current = false);
        }
        Ok(prospects)
    }

    /// The devices of the sources at their last run.
    pub(super) async fn devices(&self) -> Result<HashMap<String, i64>, StoreError> {
        match &self.metadata {
            Some(metadata) => metadata.devices().await,
            None => Ok(HashMap::new()),
        }
    }

    /// The sources among these that have never provided a document.
    pub(super) async fn unknown_sources(
        &self,
        sources: &[String],
    ) -> Result<Vec<String>, StoreError> {
        match &self.metadata {
            Some(metadata) => metadata.unknown_sources(sources).await,
            None => Ok(sources.to_vec()),
        }
    }

    /// The known locations after `after`, at most 10,000; empty at the end.
    pub(super) async fn places(
        &self,
        after: Option<&KnownPlace>,
    ) -> Result<Vec<KnownPlace>, StoreError> {
        const PAGE: u32 = 10_000;
        match &self.metadata {
            Some(metadata) => metadata.places(after, PAGE).await,
            None => Ok(Vec::new()),
        }
    }
}

/// A new generation copies locations, but no state of documents.
fn forget_document(known: &mut KnownLocation) {
    let of_document = match known.state {
        KnownState::Stored => true,
        KnownState::SetAside { .. } => known.content_hash.is_some(),
        KnownState::Unreadable { .. } | KnownState::Withheld { .. } | KnownState::Stale => false,
    };
    if of_document {
        known.state = KnownState::Stale;
    }
}

/// A metadata store that drops all writes except for recording them in the ledger.
pub(super) struct Reader {
    pub(super) look: Arc<Look>,
    pub(super) ledger: Arc<Ledger>,
}

#[async_trait]
impl MetadataStore for Reader {
    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let known = self.look.locate(uris).await?;
        self.ledger.located(uris, &known);
        Ok(known)
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        self.look.known_hashes().await
    }

    async fn identify(&self, incoming: &[Incoming]) -> Result<Vec<Identity>, StoreError> {
        let nobody = Identity { document: Uuid::nil(), chunks_before: 0, digest: None };
        Ok(vec![nobody; incoming.len()])
    }

    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        Ok(Vec::new())
    }

    async fn record(&self, set_aside: &[(String, SetAside)]) -> Result<Vec<Uuid>, StoreError> {
        for (_, document) in set_aside {
            self.ledger.set_aside(document);
        }
        Ok(Vec::new())
    }

    async fn purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Replaces a model or a sink, and counts its input.
#[derive(Clone)]
pub(super) struct Counting {
    pub(super) look: Arc<Look>,
    pub(super) ledger: Arc<Ledger>,
}

impl SinkConfig for Counting {
    fn accepts(&self, _: &Schema) -> Result<(), SchemaError> {
        Ok(())
    }

    fn collection_settings(&self) -> Option<serde_json::Value> {
        None
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Counting {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        let hashes = CONTENT_HASH.of(&rows)?;
        let contents = (0..rows.num_rows()).map(|row| ContentHash::try_from(hashes.value(row)));
        let contents: Vec<ContentHash> = contents.collect::<Result<_, _>>()?;
        let prospects = self.look.prospects(&contents).await?;
        let chunks = CHUNKS.of(&rows).ok();
        for (row, (content, prospect)) in contents.into_iter().zip(prospects).enumerate() {
            let size = chunks.map_or((0, 0), |chunks| chunks_and_tokens(chunks, row));
            self.ledger.stored(&Location::of(&rows, row)?, content, prospect, size);
        }
        Ok(())
    }
}
