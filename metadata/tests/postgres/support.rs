//! A database for a test, and helpers for documents.

use std::path::Path;

use metadata::test_util::TestDatabase;
use metadata::{
    Collection, GenerationSettings, GenerationSlot, NewCollection, OperationLease, OperationType,
    Postgres, RunMetadata, WaitPolicy,
};
use pipeline::Quantization;
use pipeline::{
    ContentHash, DocumentError, Fingerprint, IncomingDocument, Location, MetadataStore as _,
    RejectReason, Rejection, StoredDocument,
};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

const POOL: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres-pool");

/// A database of the pool, see `metadata::test_util`.
pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    /// Direct access to the database, bypassing the store.
    pub(crate) sql: PgPool,
    pub(crate) url: String,
    _database: TestDatabase,
}

impl Database {
    /// A database without tables.
    pub(crate) async fn empty() -> Self {
        Self::open(TestDatabase::empty(Path::new(POOL)).await).await
    }

    /// A database with all tables.
    pub(crate) async fn new() -> Self {
        Self::open(TestDatabase::migrated(Path::new(POOL)).await).await
    }

    async fn open(database: TestDatabase) -> Self {
        let url = database.url().to_owned();
        let postgres = Postgres::connect(&url).await.unwrap();
        let sql = PgPool::connect(&url).await.unwrap();
        Self { postgres, sql, url, _database: database }
    }

    pub(crate) async fn collection(&self, name: &str) -> Collection {
        self.postgres.ensure_collection(&new_collection(name)).await.unwrap()
    }

    pub(crate) async fn operation(&self, collection: &Collection) -> OperationLease {
        self.postgres
            .start_operation(collection, OperationType::Index, &json!({}), WaitPolicy::FailIfBusy)
            .await
            .unwrap()
    }

    /// A collection with a run on it. The run continues while the operation lives.
    pub(crate) async fn run(&self) -> (OperationLease, RunMetadata) {
        let collection = self.collection("docs").await;
        let operation = self.operation(&collection).await;
        let metadata = operation.metadata(GenerationSlot::Live, settings(1));
        (operation, metadata)
    }
}

pub(crate) fn new_collection(name: &str) -> NewCollection {
    NewCollection { owner: None, name: name.to_owned(), description: None, settings: generation(1) }
}

/// Settings of a generation; another number is another model.
pub(crate) fn generation(number: u8) -> GenerationSettings {
    GenerationSettings {
        model: "all-MiniLM-L6-v2".to_owned(),
        model_short: "minilml6".to_owned(),
        model_path: "/models/all-MiniLM-L6-v2".to_owned(),
        model_fingerprint: format!("model {number}"),
        dim: 384,
        quantization: Quantization::Float16,
        sparse: None,
        chunk_size: 256,
        chunk_overlap: 32,
        fingerprint: settings(number),
    }
}

pub(crate) fn settings(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

pub(crate) fn content(number: u8) -> ContentHash {
    ContentHash([number; 32])
}

pub(crate) fn at(uri: &str) -> Location {
    Location {
        uri: uri.to_owned(),
        source: "/corpus".to_owned(),
        size: 10,
        mtime: Some(1_700_000_000_000_001),
        ctime: Some(1_700_000_000_000_002),
        inode: Some(u64::MAX - 3),
    }
}

pub(crate) fn incoming(uri: &str, number: u8) -> IncomingDocument {
    IncomingDocument { location: at(uri), content_hash: content(number) }
}

pub(crate) fn stored(uri: &str, number: u8, document: Uuid, chunks: u32) -> StoredDocument {
    StoredDocument {
        incoming: incoming(uri, number),
        document,
        mime_type: "text/plain".to_owned(),
        title: Some("A title".to_owned()),
        language: Some("en".to_owned()),
        metadata: json!({ "author": "N. N." }),
        chunks,
        digest: [number; 32],
    }
}

pub(crate) fn rejected(uri: &str, number: Option<u8>, why: RejectReason) -> (String, Rejection) {
    (
        "extract".to_owned(),
        Rejection { location: at(uri), content_hash: number.map(content), reason: why },
    )
}

pub(crate) fn corrupt() -> RejectReason {
    RejectReason::Failed(DocumentError::Corrupt {
        format: "PDF".into(),
        cause: "no trailer".to_owned(),
    })
}

pub(crate) fn unreadable() -> RejectReason {
    RejectReason::Failed(DocumentError::Unreadable { cause: "permission denied".to_owned() })
}

/// The calls of the sink for one document: `identify`, (vectors,) `commit`.
pub(crate) async fn store(
    metadata: &RunMetadata,
    uri: &str,
    number: u8,
    chunks: u32,
) -> (Uuid, Vec<Uuid>) {
    let identity = metadata.assign_ids(&[incoming(uri, number)]).await.unwrap()[0];
    let lost = metadata.commit(&[stored(uri, number, identity.document, chunks)]).await.unwrap();
    (identity.document, lost)
}
