//! The node `upsert` with stores in memory that can fail and die.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use metadata::{MemoryDocument, MemoryMetadata};
use pipeline::{
    DocumentIdentity, DocumentLocation, IncomingDocument, KnownHashes, KnownLocation,
    MetadataStore, NodeKind, Point, Rejection, Remedy, Resources, Sink, SinkConfig, StoreError,
    StoredDocument, VectorIndex, VectorStore,
};
use proptest::prelude::*;
use serde_json::json;
use sinks::remove_orphaned_points;
use tokio::runtime::Runtime;
use uuid::Uuid;
use vectors::MemoryVectors;
use vectors::contract::{DIM, scroll};

use crate::support::{COLLECTION, resources};
use sinks::test_util::{Doc, chunk_vector, doc, rows};

fn options(options: serde_json::Value) -> Box<dyn SinkConfig> {
    let node = sinks::NODES.iter().find(|node| node.name == "upsert").unwrap();
    match (node.parse)(options, Path::new("/")).unwrap() {
        NodeKind::Sink(sink) => sink,
        NodeKind::Source(_) | NodeKind::Stage(_) => unreachable!("upsert is a sink"),
    }
}

fn sink(metadata: Arc<dyn MetadataStore>, vectors: Arc<dyn VectorStore>) -> Box<dyn Sink> {
    let resources = Resources { metadata, vectors, ..resources() };
    options(json!({ "batch": 3, "in_flight": 2 })).build(&resources).unwrap()
}

/// Both stores, without failures.
struct Stores {
    metadata: Arc<MemoryMetadata>,
    vectors: Arc<MemoryVectors>,
}

impl Stores {
    fn new() -> Self {
        let metadata = Arc::new(MemoryMetadata::new(COLLECTION));
        Self { metadata, vectors: Arc::new(MemoryVectors::new(DIM)) }
    }

    async fn write(&self, docs: &[Doc]) {
        let metadata: Arc<dyn MetadataStore> = Arc::clone(&self.metadata) as _;
        let vectors: Arc<dyn VectorStore> = Arc::clone(&self.vectors) as _;
        sink(metadata, vectors).write(rows(docs, true)).await.unwrap();
    }

    /// Stored state by location: document id, and the texts of its chunks in order. Checks its
    /// consistency.
    async fn state(&self) -> BTreeMap<String, (Uuid, Vec<String>)> {
        let points = scroll(&*self.vectors, 1000).await;
        let mut state = BTreeMap::new();
        let mut owned = 0;
        for MemoryDocument { id, chunks, locations, .. } in self.metadata.documents() {
            let mut own: Vec<&Point> =
                points.iter().filter(|it| it.payload.document == id).collect();
            own.sort_by_key(|point| point.payload.chunk_index);
            assert!((0..).zip(&own).all(|(at, point)| point.payload.chunk_index == at), "a gap");
            assert_eq!(own.len(), chunks as usize, "chunk count in the metadata");
            owned += own.len();
            for point in &own {
                assert_eq!(
                    point.vector,
                    chunk_vector(&point.payload.content),
                    "the vector of another text"
                );
            }
            let texts: Vec<_> = own.iter().map(|point| point.payload.content.clone()).collect();
            for location in locations {
                state.insert(location, (id, texts.clone()));
            }
        }
        assert_eq!(owned, points.len(), "points without a document");
        state
    }
}

#[tokio::test]
async fn documents_become_points_with_their_payload() {
    let stores = Stores::new();
    stores.write(&[doc("file:///a", "alpha naïve"), doc("file:///empty", "")]).await;
    let state = stores.state().await;
    assert_eq!(state["file:///a"].1, ["alpha", "naïve"]);
    assert!(state["file:///empty"].1.is_empty());
    let points = scroll(&*stores.vectors, 10).await;
    let point = points.iter().find(|point| point.payload.chunk_index == 1).unwrap();
    let payload = &point.payload;
    assert_eq!(point.id, pipeline::point_id(payload.document, 1));
    assert_eq!(payload.collection, COLLECTION);
    assert_eq!((payload.start, payload.end), (6, 12));
    assert_eq!(payload.uri, "file:///a");
    assert_eq!(payload.source, "/corpus");
    assert_eq!(payload.mime_type, "text/plain");
    assert_eq!(payload.title.as_deref(), Some("alpha"));
    assert_eq!((payload.headings.as_deref(), payload.page), (None, None));
    assert_eq!((points[0].payload.headings.as_deref(), payload.language.as_deref()), {
        let first = points[0].payload.chunk_index == 0;
        (first.then_some("Part > Chapter"), None)
    });
    assert_eq!(payload.modified_at, Some(1_700_000_000_000_000));
}

#[tokio::test]
async fn the_same_rows_twice_are_there_once() {
    let stores = Stores::new();
    let docs = [doc("file:///a", "one two three four"), doc("file:///b", "five six")];
    stores.write(&docs).await;
    let once = stores.state().await;
    stores.write(&docs).await;
    assert_eq!(stores.state().await, once);
}

#[tokio::test]
async fn an_edited_document_keeps_its_id_and_loses_surplus_chunks() {
    let stores = Stores::new();
    stores.write(&[doc("file:///a", "one two three four five")]).await;
    let (before, _) = stores.state().await.remove("file:///a").unwrap();
    stores.write(&[doc("file:///a", "six seven")]).await;
    assert_eq!(stores.state().await["file:///a"], (before, vec!["six".into(), "seven".into()]));
    stores.write(&[doc("file:///a", "")]).await;
    assert_eq!(stores.state().await["file:///a"], (before, vec![]));
}

#[tokio::test]
async fn a_document_that_lost_its_last_location_loses_its_points() {
    let stores = Stores::new();
    stores.write(&[doc("file:///a", "one two"), doc("file:///b", "three")]).await;
    stores.write(&[doc("file:///a", "three")]).await;
    let state = stores.state().await;
    assert_eq!(state["file:///a"], state["file:///b"]);
    assert_eq!(stores.vectors.count().await.unwrap(), 1);
}

#[tokio::test]
async fn contents_that_change_places_keep_their_chunks() {
    let stores = Stores::new();
    stores.write(&[doc("file:///a", "one two"), doc("file:///b", "three four five")]).await;
    stores.write(&[doc("file:///b", "one two"), doc("file:///a", "three four five")]).await;
    let state = stores.state().await;
    assert_eq!(state["file:///a"].1, ["three", "four", "five"]);
    assert_eq!(state["file:///b"].1, ["one", "two"]);
}

#[test]
fn rows_without_vectors_are_refused() {
    let sink = options(json!({}));
    let error = sink.accepts(rows(&[], false).schema_ref()).unwrap_err();
    insta::assert_snapshot!(error, @"needs the column `vectors`, but its input has only: uri, source, size, mtime, ctime, inode, mime_type, content_hash, text, title, language, metadata, chunks");
    sink.accepts(rows(&[], true).schema_ref()).unwrap();
}

#[test]
fn unknown_options_are_errors() {
    let node = sinks::NODES.iter().find(|node| node.name == "upsert").unwrap();
    let error = (node.parse)(json!({ "bach": 10 }), Path::new("/")).err().unwrap();
    assert!(error.to_string().starts_with("unknown field `bach`"), "{error}");
}

/// The moment of the simulated kill: a number of calls, counted over both stores.
struct SimulatedCrash {
    calls_left: AtomicUsize,
    /// `true` if the last call takes effect before the kill.
    applies_last_call: bool,
}

impl SimulatedCrash {
    fn call(&self) -> Result<CallFate, StoreError> {
        let left = self
            .calls_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match (left, self.applies_last_call) {
            (Ok(1), true) => Ok(CallFate::CrashesAfter),
            (Ok(1), false) | (Err(_), _) => Err(dead()),
            (Ok(_), _) => Ok(CallFate::Succeeds),
        }
    }
}

enum CallFate {
    Succeeds,
    CrashesAfter,
}

impl CallFate {
    fn answer<T>(self, answer: T) -> Result<T, StoreError> {
        match self {
            Self::Succeeds => Ok(answer),
            Self::CrashesAfter => Err(dead()),
        }
    }
}

fn dead() -> StoreError {
    StoreError { doing: "live", remedy: Remedy::GiveUp, source: "the process was killed".into() }
}

/// Vectors that can lose unflushed changes when the process dies, as Edge does.
struct CrashingVectors {
    durable: Arc<MemoryVectors>,
    unflushed: Mutex<Vec<Change>>,
    death: Arc<SimulatedCrash>,
}

enum Change {
    Upsert(Vec<Point>),
    Truncate(Uuid, u32),
    Remove(Vec<Uuid>),
}

impl CrashingVectors {
    async fn persist(&self) -> Result<(), StoreError> {
        let changes = std::mem::take(&mut *self.unflushed.lock().unwrap());
        for change in changes {
            match change {
                Change::Upsert(points) => self.durable.upsert(points).await?,
                Change::Truncate(document, from) => self.durable.truncate(document, from).await?,
                Change::Remove(documents) => self.durable.remove(&documents).await?,
            }
        }
        Ok(())
    }

    fn change(&self, change: Change) -> Result<(), StoreError> {
        let fate = self.death.call()?;
        self.unflushed.lock().unwrap().push(change);
        fate.answer(())
    }
}

#[async_trait]
impl VectorStore for CrashingVectors {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.change(Change::Upsert(points))
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        self.durable.update_location(document, place).await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        self.change(Change::Truncate(document, from_chunk))
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        self.change(Change::Remove(documents.to_vec()))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let fate = self.death.call()?;
        self.persist().await?;
        fate.answer(())
    }
}

/// Metadata in a database that outlives the process.
struct CrashingMetadata {
    durable: Arc<MemoryMetadata>,
    death: Arc<SimulatedCrash>,
}

#[async_trait]
impl MetadataStore for CrashingMetadata {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        self.durable.lookup_locations(uris).await
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        self.durable.known_hashes().await
    }

    async fn assign_ids(
        &self,
        incoming: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        let fate = self.death.call()?;
        fate.answer(self.durable.assign_ids(incoming).await?)
    }

    async fn commit(&self, documents: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        let fate = self.death.call()?;
        fate.answer(self.durable.commit(documents).await?)
    }

    async fn record_rejections(
        &self,
        set_aside: &[(String, Rejection)],
    ) -> Result<Vec<Uuid>, StoreError> {
        self.durable.record_rejections(set_aside).await
    }

    async fn mark_purged(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        let fate = self.death.call()?;
        fate.answer(self.durable.mark_purged(documents).await?)
    }
}

impl Stores {
    /// Writes in a process that dies. `keeps`: unflushed changes survive.
    async fn write_and_crash(&self, docs: &[Doc], calls: usize, after_it: bool, keeps: bool) {
        let death = Arc::new(SimulatedCrash {
            calls_left: AtomicUsize::new(calls),
            applies_last_call: after_it,
        });
        let metadata = Arc::new(CrashingMetadata {
            durable: Arc::clone(&self.metadata),
            death: Arc::clone(&death),
        });
        let vectors = Arc::new(CrashingVectors {
            durable: Arc::clone(&self.vectors),
            unflushed: Mutex::default(),
            death,
        });
        let result = sink(metadata, Arc::clone(&vectors) as _).write(rows(docs, true)).await;
        if keeps || result.is_ok() {
            vectors.persist().await.unwrap();
        }
    }
}

/// Four locations with texts from a small pool, so that contents coincide and swap locations.
fn corpus() -> impl Strategy<Value = Vec<Doc>> {
    let text = prop::sample::select(vec![
        "one",
        "one two three four five six seven eight",
        "three four",
        "nine ten eleven twelve thirteen",
        "",
    ]);
    (prop::collection::vec(text, 4), 1..4_usize).prop_map(|(texts, words)| {
        let uris = ["file:///a", "file:///b", "file:///c", "file:///d"];
        let docs = uris.iter().zip(texts).map(|(uri, text)| Doc { words, ..doc(uri, text) });
        docs.collect()
    })
}

proptest! {
    /// After any kill, the next run leaves the stores in the state of an undisturbed run: each
    /// document complete, no points of other settings, no points without a document.
    #[test]
    fn the_next_run_repairs_what_a_killed_one_left(
        first in corpus(),
        killed in corpus(),
        next in corpus(),
        calls in 1..25_usize,
        after_it: bool,
        keeps: bool,
    ) {
        Runtime::new().unwrap().block_on(async {
            let stores = Stores::new();
            stores.write(&first).await;
            stores.state().await;
            stores.write_and_crash(&killed, calls, after_it, keeps).await;
            let known = stores.metadata.documents().into_iter();
            let known = known.map(|it| (it.id, u64::from(it.chunks))).collect();
            remove_orphaned_points(&*stores.vectors, &known).await.unwrap();
            stores.write(&next).await;
            let state = stores.state().await;
            for doc in &next {
                prop_assert_eq!(&state[&doc.uri].1, &doc.chunks(), "{}", doc.uri);
            }
            Ok(())
        })?;
    }
}
