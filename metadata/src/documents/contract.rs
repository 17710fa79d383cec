//! The contract of [`Lifecycle`], as functions: the same checks run against Postgres and against
//! the store in memory. A check panics at the first violation and expects a store without
//! documents.

use std::sync::Arc;

use futures::future::BoxFuture;
use pipeline::{
    ContentHash, DocumentError, DocumentLocation, IncomingDocument, KnownState, Lifecycle,
    Location, RejectReason, Rejection, StoredDocument,
};
use serde_json::json;
use uuid::Uuid;

/// A store whose passes a check begins.
pub trait Passes: Send + Sync {
    /// Begins another pass, and returns the store during that pass.
    fn begin(&self) -> BoxFuture<'_, Arc<dyn Lifecycle>>;
}

/// One check of the contract.
pub type LifecycleCheck = fn(&dyn Passes) -> BoxFuture<'_, ()>;

/// The contract of every metadata store.
pub static LIFECYCLE_CHECKS: &[(&str, LifecycleCheck)] = &[
    ("a document is deleted with its last location", |s| Box::pin(missing_files_are_deleted(s))),
    ("a document with another location stays, and moves", |s| Box::pin(copies_survive(s))),
    ("an unreadable folder hides what is below it", |s| Box::pin(unreadable_folders_hide(s))),
    ("locations are deleted in steps", |s| Box::pin(deletion_in_steps(s))),
    ("a copy of edited content is read again", |s| Box::pin(unattached_copies(s))),
    ("sources and their devices are known", |s| Box::pin(sources_are_known(s))),
];

const SOURCE: &str = "/corpus";

const NO_IDS: [Uuid; 0] = [];

fn sources() -> [String; 1] {
    [SOURCE.to_owned()]
}

fn at(uri: &str) -> Location {
    Location {
        uri: uri.to_owned(),
        source: SOURCE.to_owned(),
        size: 10,
        mtime: Some(1_700_000_000_000_001),
        ctime: None,
        inode: Some(7),
    }
}

/// Stores a content at a location, and returns the id of its document.
async fn store(metadata: &dyn Lifecycle, uri: &str, content: u8) -> Uuid {
    let incoming = IncomingDocument { location: at(uri), content_hash: ContentHash([content; 32]) };
    let ids = metadata.assign_ids(std::slice::from_ref(&incoming)).await.expect("ids");
    let stored = StoredDocument {
        incoming,
        document: ids[0].document,
        mime_type: "text/plain".to_owned(),
        title: Some("title".to_owned()),
        language: None,
        metadata: json!({}),
        chunks: 2,
        digest: [content; 32],
    };
    metadata.commit(&[stored]).await.expect("a commit");
    ids[0].document
}

async fn reject(metadata: &dyn Lifecycle, at: Location, content: Option<u8>, why: RejectReason) {
    let content_hash = content.map(|content| ContentHash([content; 32]));
    let rejection = Rejection { location: at, content_hash, reason: why };
    metadata.record_rejections(&[("node".to_owned(), rejection)]).await.expect("a rejection");
}

/// Deletes all missing locations, and returns the number of deleted documents.
async fn forget(metadata: &dyn Lifecycle, limit: u32) -> u64 {
    let (mut documents, mut after) = (0, Vec::new());
    while let Some(batch) =
        metadata.forget_missing(&sources(), &after, limit).await.expect("a step")
    {
        documents += batch.documents;
        after = batch.last;
    }
    documents
}

async fn missing_files_are_deleted(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    first.recover().await.expect("nothing to recover");
    let kept = store(&*first, "file:///corpus/kept", 1).await;
    let gone = store(&*first, "file:///corpus/gone", 2).await;
    assert_eq!(first.missing_documents(&sources()).await.expect("a list"), []);

    let second = store_of.begin().await;
    reject(&*second, at("file:///corpus/kept"), None, RejectReason::Unchanged).await;
    let missing = second.missing_documents(&sources()).await.expect("a list");
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].documents, missing[0].of, missing[0].locations), (1, 2, 1));
    assert_eq!(second.unpurged(10).await.expect("a list"), NO_IDS, "nothing is deleted yet");
    assert_eq!(forget(&*second, 10).await, 1);
    assert_eq!(second.unpurged(10).await.expect("a list"), [gone]);
    second.mark_purged(&[gone]).await.expect("a mark");
    assert_eq!(second.unpurged(10).await.expect("a list"), NO_IDS);
    assert_eq!(second.missing_documents(&sources()).await.expect("a list"), []);
    let hashes = second.known_hashes().await.expect("hashes");
    assert_eq!(hashes, [ContentHash([1; 32])].into(), "{kept} is stored");
}

async fn copies_survive(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    let document = store(&*first, "file:///corpus/a.txt", 1).await;
    reject(&*first, at("file:///corpus/b.txt"), Some(1), RejectReason::Duplicate).await;
    let moved = first.pending_relocations(Uuid::nil(), 10).await.expect("a list");
    assert_eq!(moved, [], "the points have a location of the document");

    let second = store_of.begin().await;
    reject(&*second, at("file:///corpus/b.txt"), None, RejectReason::Unchanged).await;
    let missing = second.missing_documents(&sources()).await.expect("a list");
    assert_eq!((missing[0].documents, missing[0].locations), (0, 1));
    assert_eq!(forget(&*second, 10).await, 0);
    let moved = second.pending_relocations(Uuid::nil(), 10).await.expect("a list");
    assert_eq!(moved.len(), 1);
    let relocation = &moved[0];
    assert_eq!((relocation.document, &*relocation.before), (document, "/corpus/a.txt"));
    assert_eq!(relocation.uri, "file:///corpus/b.txt");
    assert_eq!(relocation.source.as_deref(), Some(SOURCE));
    assert_eq!(second.pending_relocations(document, 10).await.expect("a list"), []);

    second.mark_relocating(&[document]).await.expect("a mark");
    let again = second.pending_relocations(Uuid::nil(), 10).await.expect("a list");
    assert_eq!(again, moved, "an interrupted relocation is pending");
    let place = DocumentLocation {
        uri: relocation.uri.clone(),
        source: SOURCE.to_owned(),
        title: None,
        modified_at: None,
    };
    second.mark_relocated(&[(document, place)]).await.expect("a mark");
    assert_eq!(second.pending_relocations(Uuid::nil(), 10).await.expect("a list"), []);
}

async fn unreadable_folders_hide(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    store(&*first, "file:///corpus/closed/a", 1).await;
    store(&*first, "file:///corpus/closed-by-name", 2).await;

    let second = store_of.begin().await;
    let folder = Location { mtime: None, inode: None, ..at("file:///corpus/closed") };
    let cause = "permission denied".to_owned();
    let failure = RejectReason::Failed(DocumentError::Unreadable { cause });
    reject(&*second, folder, None, failure).await;
    let missing = second.missing_documents(&sources()).await.expect("a list");
    assert_eq!((missing[0].documents, missing[0].locations), (1, 1));
    assert_eq!(forget(&*second, 10).await, 1);
    let hashes = second.known_hashes().await.expect("hashes");
    assert_eq!(hashes, [ContentHash([1; 32])].into(), "the hidden document stays");
}

async fn deletion_in_steps(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    for number in 1..=5 {
        store(&*first, &format!("file:///corpus/{number}"), number).await;
    }
    let second = store_of.begin().await;
    let step = second.forget_missing(&sources(), &[], 2).await.expect("a step");
    assert_eq!(step.expect("missing locations").documents, 2);
    assert_eq!(forget(&*second, 2).await, 3, "another call continues");
    assert_eq!(second.unpurged(3).await.expect("a list").len(), 3, "no more than the limit");
}

async fn unattached_copies(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    let document = store(&*first, "file:///corpus/a", 1).await;
    let second = store_of.begin().await;
    assert_eq!(store(&*second, "file:///corpus/a", 2).await, document, "an edit keeps the id");
    // It was a duplicate of the content that `a` had at the start of the run.
    reject(&*second, at("file:///corpus/copy"), Some(1), RejectReason::Duplicate).await;
    assert_eq!(second.count_unattached().await.expect("a count"), 1);
    let uris = ["file:///corpus/copy".to_owned()];
    let known = second.lookup_locations(&uris).await.expect("a lookup").remove(0);
    assert_eq!(known.expect("a known location").state, KnownState::Stale, "it is read again");
    store(&*second, "file:///corpus/copy", 1).await;
    assert_eq!(second.count_unattached().await.expect("a count"), 0);
}

async fn sources_are_known(store_of: &dyn Passes) {
    let first = store_of.begin().await;
    let other = "/other".to_owned();
    let asked = [SOURCE.to_owned(), other.clone()];
    assert_eq!(first.unknown_sources(&asked).await.expect("a list"), asked);
    store(&*first, "file:///corpus/a", 1).await;
    assert_eq!(first.unknown_sources(&asked).await.expect("a list"), std::slice::from_ref(&other));
    first.record_devices(&[(SOURCE.to_owned(), 42), (other, 43)]).await.expect("a record");

    let second = store_of.begin().await;
    let missing = second.missing_documents(&asked).await.expect("a list");
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].device, Some(42));
}
