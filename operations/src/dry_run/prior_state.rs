//! The read-only part of a dry run: answers and records the queries of nodes to the metadata store,
//! and counts their writes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use metadata::{ContentMatch, LocationEntry, RunMetadata};
use pipeline::column::{CHUNKS, CONTENT_HASH};
use pipeline::{
    BoxError, ContentHash, DocumentIdentity, IncomingDocument, KnownHashes, KnownLocation,
    KnownState, Lifecycle as _, Location, MetadataStore, Rejection, Resources, Sink, SinkConfig,
    StoreError, StoredDocument, chunk_and_token_counts,
};
use uuid::Uuid;

use super::ledger::Ledger;

/// The state of the collection before the run.
#[derive(Debug, Default)]
pub(super) struct PriorState {
    /// `None` if the collection does not exist.
    pub(super) metadata: Option<RunMetadata>,
    /// `true` if a new generation would be started, which has no document yet.
    pub(super) is_rebuild: bool,
}

impl PriorState {
    pub(super) async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        match &self.metadata {
            Some(metadata) if !self.is_rebuild => metadata.known_hashes().await,
            Some(_) | None => Ok(KnownHashes::new()),
        }
    }

    async fn locate(&self, uris: &[String]) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let Some(metadata) = &self.metadata else { return Ok(vec![None; uris.len()]) };
        let mut known = metadata.lookup_locations(uris).await?;
        if self.is_rebuild {
            known.iter_mut().flatten().for_each(forget_document);
        }
        Ok(known)
    }

    async fn content_matches(
        &self,
        contents: &[ContentHash],
    ) -> Result<Vec<ContentMatch>, StoreError> {
        let nothing = ContentMatch { status: None, is_current: false, was_deleted: false };
        let Some(metadata) = &self.metadata else { return Ok(vec![nothing; contents.len()]) };
        let mut prospects = metadata.content_matches(contents).await?;
        if self.is_rebuild {
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
    pub(super) async fn known_locations(
        &self,
        after: Option<&LocationEntry>,
    ) -> Result<Vec<LocationEntry>, StoreError> {
        const PAGE: u32 = 10_000;
        match &self.metadata {
            Some(metadata) => metadata.known_locations(after, PAGE).await,
            None => Ok(Vec::new()),
        }
    }
}

/// A new generation copies locations, but no state of documents.
fn forget_document(known: &mut KnownLocation) {
    let of_document = match known.state {
        KnownState::Stored => true,
        KnownState::Rejected { .. } => known.content_hash.is_some(),
        KnownState::Unreadable { .. } | KnownState::Withheld { .. } | KnownState::Stale => false,
    };
    if of_document {
        known.state = KnownState::Stale;
    }
}

/// A metadata store that drops all writes except for recording them in the ledger.
pub(super) struct DryRunMetadata {
    pub(super) prior_state: Arc<PriorState>,
    pub(super) ledger: Arc<Ledger>,
}

#[async_trait]
impl MetadataStore for DryRunMetadata {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        let known = self.prior_state.locate(uris).await?;
        self.ledger.record_known(uris, &known);
        Ok(known)
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        self.prior_state.known_hashes().await
    }

    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        let unused =
            DocumentIdentity { document: Uuid::nil(), previous_chunks: 0, previous_digest: None };
        Ok(vec![unused; incoming.len()])
    }

    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        Ok(Vec::new())
    }

    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError> {
        for (_, document) in set_aside {
            self.ledger.record_rejection(document);
        }
        Ok(Vec::new())
    }

    async fn mark_purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Replaces a model or a sink, and counts its input.
#[derive(Clone)]
pub(super) struct CountingNode {
    pub(super) prior_state: Arc<PriorState>,
    pub(super) ledger: Arc<Ledger>,
}

impl SinkConfig for CountingNode {
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for CountingNode {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        let hashes = CONTENT_HASH.of(&rows)?;
        let contents = (0..rows.num_rows()).map(|row| ContentHash::try_from(hashes.value(row)));
        let contents: Vec<ContentHash> = contents.collect::<Result<_, _>>()?;
        let prospects = self.prior_state.content_matches(&contents).await?;
        let chunks = CHUNKS.of(&rows).ok();
        for (row, (content, prospect)) in contents.into_iter().zip(prospects).enumerate() {
            let size = chunks.map_or((0, 0), |chunks| chunk_and_token_counts(chunks, row));
            self.ledger.record_stored(&Location::from_row(&rows, row)?, content, prospect, size);
        }
        Ok(())
    }
}
