//! The node `upsert`: Writes documents to the vector store and the metadata store.
//!
//! It does not chunk, embed or detect changes; it defines the order of writes, and thereby the
//! states that a crash can leave behind. For each window of documents:
//!
//! 1. `identify` gives every document the id that its points derive from;
//! 2. points of documents that no run has committed are removed, the points are written, and points
//!    beyond the document's current chunks are truncated;
//! 3. `flush` makes that durable;
//! 4. `commit` records documents and locations in one transaction;
//! 5. points of documents that lost their last location in `commit` are removed, flushed, and
//!    `purged`.
//!
//! States after a SIGKILL, and their repair by the next run:
//!
//! - before 3: points that may or may not exist, of documents that the metadata store does not know
//!   or knows in their previous state. Their locations still look new or changed, so the documents
//!   are processed again; without a commit, `identify` returns the same ids, and the same points
//!   are overwritten. Chunks beyond the new ones (the file or the settings may have changed in
//!   between) are removed in step 2, which for that reason ignores the number of chunks in the
//!   metadata store.
//! - between 3 and 4: the same, except that the points certainly exist.
//! - in 4: a transaction is complete or absent.
//! - in 5: points of deleted documents. The metadata store returns their ids again until they are
//!   `purged`, and removing points that do not exist is harmless.
//!
//! `identify` records a write in progress before the first point is written (`document_writes`),
//! and `commit` clears it. So the points of a run that died are known to be unreliable, even if a
//! file changes again before the next run, or is deleted.
//!
//! Points whose digest equals the stored one are not written again: settings that change without
//! changing the points of a document cost no write.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pipeline::column::{self, CHUNKS, CONTENT_HASH, LANGUAGE, METADATA, MIME_TYPE, TEXT, TITLE};
use pipeline::{
    BatchPolicy, BoxError, DocumentIdentity, Location, MetadataStore, NodeDef, NodeKind,
    Parallelism, Resources, SchemaError, SchemaExt as _, Sink, SinkConfig, SinkFacts, StoreError,
    StoredDocument, VectorStore, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::upsert::batch::{UpsertBatch, plan_requests};
use pipeline::{Quantization, VectorLayout, Vectors};

pub(crate) mod batch;

/// Longest wait of documents for a full window.
const MAX_GATHER_DELAY: Duration = Duration::from_secs(2);

/// An idle sink starts with this part of a window. A smaller window costs more than the wait for
/// the rest saves.
const IDLE_SHARE: usize = 8;

/// Documents per call that removes points.
const ORPHANS_PER_CALL: usize = 1000;

/// Entry in the table of nodes.
pub(crate) const NODE: NodeDef = NodeDef {
    name: "upsert",
    summary: "Writes documents to the vector store and the metadata store",
    version: 1,
    // Two concurrent windows could get the same location for different documents.
    parallelism: Parallelism::Single,
    schema: options_schema::<UpsertOptions>,
    parse: |options, _: &Path| {
        let options: UpsertOptions = serde_json::from_value(options)?;
        Ok(NodeKind::Sink(Box::new(options)))
    },
};

/// Options of the node `upsert`. Those of the collection apply when it is created; an existing
/// collection keeps its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpsertOptions {
    /// Points per request to the vector store. A document is not split between requests unless it
    /// has more than a thousand chunks, so a request may be larger.
    #[schemars(range(min = 1, max = 1000))]
    batch: usize,
    /// Maximum concurrent requests to the vector store.
    #[schemars(range(min = 1, max = 64))]
    in_flight: usize,
    /// Chunks to collect before documents are written, and committed in one transaction. If no
    /// further documents are ready, an eighth of them is enough; documents wait at most two
    /// seconds.
    #[schemars(range(min = 1, max = 100_000))]
    window: usize,
    /// Storage format of the values of a vector.
    quantization: Quantization,
    /// Edges per node of the HNSW graph.
    #[schemars(range(min = 4, max = 128))]
    hnsw_m: usize,
    /// Neighbours considered while the HNSW graph is built.
    #[schemars(range(min = 4, max = 4096))]
    hnsw_ef_construct: usize,
    /// Kilobytes of vectors in a segment above which it gets an HNSW graph; 0 for never.
    indexing_threshold: usize,
    /// Kilobytes of vectors in a segment above which a server maps it from disk; 0 for never.
    memmap_threshold: usize,
}

impl Default for UpsertOptions {
    fn default() -> Self {
        let specified = VectorLayout::default();
        Self {
            batch: 100,
            in_flight: 4,
            window: 2048,
            quantization: specified.quantization,
            hnsw_m: specified.hnsw_m,
            hnsw_ef_construct: specified.hnsw_ef_construct,
            indexing_threshold: specified.indexing_threshold,
            memmap_threshold: specified.memmap_threshold,
        }
    }
}

impl UpsertOptions {
    /// Layout of a collection that these options create.
    fn layout(&self) -> VectorLayout {
        VectorLayout {
            quantization: self.quantization,
            hnsw_m: self.hnsw_m,
            hnsw_ef_construct: self.hnsw_ef_construct,
            indexing_threshold: self.indexing_threshold,
            memmap_threshold: self.memmap_threshold,
        }
    }
}

impl SinkConfig for UpsertOptions {
    fn accepts(&self, input: &Schema) -> Result<(), SchemaError> {
        let own = [
            MIME_TYPE.field(),
            CONTENT_HASH.field(),
            TEXT.field(),
            TITLE.field(),
            LANGUAGE.field(),
            METADATA.field(),
            CHUNKS.field(),
        ];
        for field in Location::fields().into_iter().chain(own) {
            input.require(field)?;
        }
        input.require(column::vectors_column(dim_of(input).unwrap_or(0)).field())
    }

    fn facts(&self) -> SinkFacts {
        SinkFacts { collection: Some(self.layout()), artefacts: Vec::new() }
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(Upsert {
            options: self.clone(),
            collection: with.collection,
            metadata: Arc::clone(&with.metadata),
            vectors: Arc::clone(&with.vectors),
        }))
    }

    fn batch_policy(&self) -> Option<BatchPolicy> {
        let (at_least, weight) = (self.window, batch::batch_weight);
        Some(BatchPolicy {
            target_weight: at_least,
            weight,
            initial_weight: None,
            idle_weight: Some(at_least.div_ceil(IDLE_SHARE)),
            max_wait: Some(MAX_GATHER_DELAY),
        })
    }
}

/// Dimension of the vectors in a schema; `None` without vectors.
pub(crate) fn dim_of(schema: &Schema) -> Option<usize> {
    let vectors = column::vectors_column(0);
    let DataType::List(item) = schema.field_with_name(vectors.name()).ok()?.data_type() else {
        return None;
    };
    let DataType::FixedSizeList(_, dim) = item.data_type() else {
        return None;
    };
    usize::try_from(*dim).ok()
}

struct Upsert {
    options: UpsertOptions,
    collection: Uuid,
    metadata: Arc<dyn MetadataStore>,
    vectors: Arc<dyn VectorStore>,
}

#[async_trait]
impl Sink for Upsert {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let documents = UpsertBatch::of(&rows, self.collection)?;
        let incoming = documents.incoming()?;
        let places = self.metadata.assign_ids(&incoming).await?;
        let chunks = documents.chunk_counts();
        let digests: Vec<[u8; 32]> = (0..incoming.len()).map(|row| documents.digest(row)).collect();

        let to_write: Vec<Option<usize>> = places
            .iter()
            .zip(&digests)
            .zip(&chunks)
            .map(|((place, digest), &chunks)| {
                let is_there = place.previous_digest == Some(*digest)
                    && place.previous_chunks as usize == chunks;
                (!is_there).then_some(chunks)
            })
            .collect();
        self.write_points(&documents, &places, &to_write).await?;
        self.vectors.flush().await?;

        let mut stored = Vec::with_capacity(incoming.len());
        for (row, incoming) in incoming.into_iter().enumerate() {
            stored.push(StoredDocument {
                incoming,
                document: places[row].document,
                mime_type: documents.mime_type(row).to_owned(),
                title: documents.title(row).map(str::to_owned),
                language: documents.language(row).map(str::to_owned),
                metadata: serde_json::from_str::<Value>(documents.metadata(row))?,
                chunks: u32::try_from(chunks[row])?,
                digest: digests[row],
            });
        }
        let orphans = self.metadata.commit(&stored).await?;
        purge(&*self.metadata, &*self.vectors, &orphans).await?;
        Ok(())
    }
}

impl Upsert {
    /// Writes the points of documents. `to_write` has the number of chunks per document; `None` if
    /// its points are already stored.
    async fn write_points(
        &self,
        documents: &UpsertBatch<'_>,
        places: &[DocumentIdentity],
        to_write: &[Option<usize>],
    ) -> Result<(), BoxError> {
        let written =
            || places.iter().zip(to_write).filter_map(|(place, chunks)| Some((place, (*chunks)?)));
        let new = written().filter(|(place, _)| place.previous_chunks == 0);
        let new: Vec<Uuid> = new.map(|(place, _)| place.document).collect();
        self.vectors.remove(&new).await?;

        let chunks: Vec<usize> = to_write.iter().map(|chunks| chunks.unwrap_or(0)).collect();
        let requests =
            plan_requests(&chunks, self.options.batch).into_iter().map(|pieces| async move {
                // Created lazily, so that only the points of concurrent requests are in memory.
                let points = documents.points(&pieces, places)?;
                self.vectors.upsert(points).await.map_err(BoxError::from)
            });
        let in_flight = self.options.in_flight;
        stream::iter(requests).buffer_unordered(in_flight).try_collect::<()>().await?;

        let mut cut = Vec::new();
        for (place, chunks) in written() {
            // Even if the number of chunks did not shrink: a killed run may have written more.
            if place.previous_chunks > 0 {
                cut.push((place.document, u32::try_from(chunks)?));
            }
        }
        let cut = cut.into_iter().map(|(document, chunks)| async move {
            self.vectors.truncate(document, chunks).await.map_err(BoxError::from)
        });
        stream::iter(cut).buffer_unordered(in_flight).try_collect::<()>().await
    }
}

/// Removes the points of deleted documents, and reports them as `purged` once that is durable.
///
/// # Errors
/// If a store cannot be reached; a retry is safe.
pub async fn purge(
    metadata: &dyn MetadataStore,
    vectors: &dyn VectorStore,
    documents: &[Uuid],
) -> Result<(), StoreError> {
    if documents.is_empty() {
        return Ok(());
    }
    vectors.remove(documents).await?;
    vectors.flush().await?;
    metadata.mark_purged(documents).await
}

/// Removes points that the metadata store does not know: `known` has every document that is not
/// deleted, with its number of chunks. Returns the number of affected documents.
///
/// # Errors
/// If the store cannot be reached; a retry is safe.
pub async fn remove_orphaned_points(
    vectors: &dyn Vectors,
    known: &HashMap<Uuid, u64>,
) -> Result<usize, StoreError> {
    let (mut unknown, mut surplus) = (Vec::new(), Vec::new());
    for (document, held) in vectors.documents().await? {
        match known.get(&document) {
            None => unknown.push(document),
            Some(&chunks) if held > chunks => surplus.push((document, chunks)),
            Some(_) => {}
        }
    }
    for some in unknown.chunks(ORPHANS_PER_CALL) {
        vectors.remove(some).await?;
    }
    for &(document, chunks) in &surplus {
        vectors.truncate(document, u32::try_from(chunks).unwrap_or(u32::MAX)).await?;
    }
    vectors.flush().await?;
    Ok(unknown.len() + surplus.len())
}
