//! Stored documents and locations after every kind of change to a file.

use metadata::{GenerationSlot, OperationOutcome};
use pipeline::{KnownState, Lifecycle as _, MetadataStore as _, RejectReason, Remedy};
use uuid::Uuid;

use crate::support::{
    Database, at, content, corrupt, incoming, rejected, settings, store, stored, unreadable,
};

const NONE: [Uuid; 0] = [];

async fn state(metadata: &metadata::RunMetadata, uri: &str) -> Option<KnownState> {
    let known = metadata.lookup_locations(&[uri.to_owned()]).await.unwrap().remove(0)?;
    assert_eq!(known.location.uri, uri);
    Some(match known.state {
        KnownState::Rejected { node, reason, message, since } => {
            assert!(since.is_some(), "{uri}");
            KnownState::Rejected { node, reason, message, since: None }
        }
        KnownState::Unreadable { node, message, since } => {
            assert!(since.is_some(), "{uri}");
            KnownState::Unreadable { node, message, since: None }
        }
        state @ (KnownState::Stored | KnownState::Withheld { .. } | KnownState::Stale) => state,
    })
}

fn set_aside(reason: &str, message: &str) -> KnownState {
    let (node, reason, message) = ("extract".to_owned(), reason.to_owned(), message.to_owned());
    KnownState::Rejected { node, reason, message, since: None }
}

/// The state of an unreadable location, which every run retries.
fn cannot_be_read() -> KnownState {
    let (node, message) = ("extract".to_owned(), unreadable().to_string());
    KnownState::Unreadable { node, message, since: None }
}

#[tokio::test]
async fn a_new_document_is_known_once_it_is_committed() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    assert_eq!(state(&metadata, "file:///a").await, None);

    let first =
        metadata.assign_ids(&[incoming("file:///a", 1), incoming("file:///b", 2)]).await.unwrap();
    let again =
        metadata.assign_ids(&[incoming("file:///b", 2), incoming("file:///a", 1)]).await.unwrap();
    assert_eq!((first[0], first[1]), (again[1], again[0]), "a second call gives the same result");
    assert_eq!(first[0].previous_chunks, 0);
    assert_eq!(state(&metadata, "file:///a").await, None, "`identify` stores no location");

    metadata.commit(&[stored("file:///a", 1, first[0].document, 3)]).await.unwrap();
    let uris = ["file:///b", "file:///a"].map(str::to_owned);
    let known = metadata.lookup_locations(&uris).await.unwrap();
    assert_eq!(known[0], None);
    let known = known[1].clone().unwrap();
    assert_eq!(known.location, at("file:///a"), "size, times and inode are returned exactly");
    assert_eq!((known.state, known.content_hash), (KnownState::Stored, Some(content(1))));
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(1)].into());
}

#[tokio::test]
async fn an_edited_file_keeps_its_document() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    let identity = metadata.assign_ids(&[incoming("file:///a", 2)]).await.unwrap()[0];
    assert_eq!((identity.document, identity.previous_chunks), (document, 5));
    let lost = metadata.commit(&[stored("file:///a", 2, document, 2)]).await.unwrap();
    assert_eq!(lost, NONE);
    assert_eq!(
        metadata.known_hashes().await.unwrap(),
        [content(2)].into(),
        "the old content has no document"
    );
    let (other, _) = store(&metadata, "file:///b", 1, 1).await;
    assert_ne!(other, document, "the id derived from this content is in use");
}

#[tokio::test]
async fn a_copy_splits_off_when_it_is_edited() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    metadata
        .record_rejections(&[rejected("file:///copy", Some(1), RejectReason::Duplicate)])
        .await
        .unwrap();
    assert_eq!(state(&metadata, "file:///copy").await, Some(KnownState::Stored));

    let (split, lost) = store(&metadata, "file:///copy", 2, 1).await;
    assert_ne!(split, document);
    assert_eq!(lost, NONE);
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(1), content(2)].into());
}

#[tokio::test]
async fn a_document_without_a_location_is_deleted_and_comes_back_under_its_id() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (first, _) = store(&metadata, "file:///a", 1, 4).await;
    let (second, _) = store(&metadata, "file:///b", 2, 1).await;
    // `a` is overwritten by a copy of `b`.
    let lost = metadata
        .record_rejections(&[rejected("file:///a", Some(2), RejectReason::Duplicate)])
        .await
        .unwrap();
    assert_eq!(lost, [first]);
    assert_eq!(metadata.unpurged(10).await.unwrap(), [first]);
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(2)].into());

    let back = metadata.assign_ids(&[incoming("file:///c", 1)]).await.unwrap()[0];
    assert_eq!((back.document, back.previous_chunks), (first, 4), "its points may still exist");
    metadata.mark_purged(&[first]).await.unwrap();
    assert_eq!(metadata.unpurged(10).await.unwrap(), NONE);
    let back = metadata.assign_ids(&[incoming("file:///c", 1)]).await.unwrap()[0];
    assert_eq!((back.document, back.previous_chunks), (first, 0));
    metadata.commit(&[stored("file:///c", 1, first, 4)]).await.unwrap();
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(1), content(2)].into());

    // A late report of removed points has no effect on a document that has returned.
    metadata.mark_purged(&[first, second]).await.unwrap();
    let again = metadata.assign_ids(&[incoming("file:///c", 1)]).await.unwrap()[0];
    assert_eq!(again.previous_chunks, 4);
}

#[tokio::test]
async fn other_settings_make_everything_stale_and_keep_the_ids() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    metadata.record_rejections(&[rejected("file:///bad", Some(9), corrupt())]).await.unwrap();
    metadata
        .record_rejections(&[rejected(
            "file:///big",
            None,
            RejectReason::TooLarge { size: 9, limit: 3 },
        )])
        .await
        .unwrap();

    let changed = operation.metadata(GenerationSlot::Live, settings(2));
    for uri in ["file:///a", "file:///bad", "file:///big"] {
        assert_eq!(state(&changed, uri).await, Some(KnownState::Stale), "{uri}");
    }
    assert!(changed.known_hashes().await.unwrap().is_empty());
    let identity = changed.assign_ids(&[incoming("file:///a", 1)]).await.unwrap()[0];
    assert_eq!((identity.document, identity.previous_chunks), (document, 5));
    assert_eq!(
        state(&metadata, "file:///a").await,
        Some(KnownState::Stored),
        "it is current for the old settings"
    );
}

#[tokio::test]
async fn a_document_that_was_set_aside_says_why() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let too_large = RejectReason::TooLarge { size: 900, limit: 300 };
    let left = [
        rejected("file:///bad.pdf", Some(1), corrupt()),
        rejected("file:///big", None, too_large.clone()),
        rejected("file:///empty", Some(2), RejectReason::Empty),
        rejected("file:///locked", None, unreadable()),
    ];
    assert_eq!(metadata.record_rejections(&left).await.unwrap(), NONE);
    assert_eq!(
        metadata.record_rejections(&left).await.unwrap(),
        NONE,
        "a second call has no effect"
    );

    let bad = Some(set_aside("failed", "is not a valid PDF file: no trailer"));
    assert_eq!(state(&metadata, "file:///bad.pdf").await, bad);
    assert_eq!(state(&metadata, "file:///empty").await, Some(set_aside("empty", "has no text")));
    assert_eq!(
        state(&metadata, "file:///big").await,
        Some(set_aside("too_large", &too_large.to_string()))
    );
    // A file can become readable without any change, so every run retries it.
    assert_eq!(state(&metadata, "file:///locked").await, Some(cannot_be_read()));
    assert!(metadata.known_hashes().await.unwrap().is_empty());

    let before = RejectReason::PreviouslyRejected {
        node: "extract".to_owned(),
        reason: "failed".to_owned(),
        message: "something else".to_owned(),
        since: None,
    };
    metadata.record_rejections(&[rejected("file:///bad.pdf", Some(1), before)]).await.unwrap();
    assert_eq!(state(&metadata, "file:///bad.pdf").await, bad, "the first message is kept");

    // A copy is set aside with it; after a repair, the document keeps its id.
    metadata
        .record_rejections(&[rejected("file:///copy.pdf", Some(1), RejectReason::Duplicate)])
        .await
        .unwrap();
    assert_eq!(state(&metadata, "file:///copy.pdf").await, bad);
    let (mended, _) = store(&metadata, "file:///bad.pdf", 1, 2).await;
    assert_eq!(state(&metadata, "file:///copy.pdf").await, Some(KnownState::Stored));
    let (status, message): (String, Option<String>) =
        sqlx::query_as("SELECT status::text, error_message FROM documents WHERE id = $1")
            .bind(mended)
            .fetch_one(&database.sql)
            .await
            .unwrap();
    assert_eq!((status.as_str(), message), ("completed", None));
}

#[tokio::test]
async fn an_edit_that_fails_takes_the_old_points_away() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    let lost =
        metadata.record_rejections(&[rejected("file:///a", Some(2), corrupt())]).await.unwrap();
    assert_eq!(lost, [document]);
    assert_eq!(metadata.unpurged(10).await.unwrap(), [document]);
    metadata.mark_purged(&lost).await.unwrap();
    assert_eq!(metadata.unpurged(10).await.unwrap(), NONE);
    let mended = metadata.assign_ids(&[incoming("file:///a", 3)]).await.unwrap()[0];
    assert_eq!(
        (mended.document, mended.previous_chunks),
        (document, 0),
        "the document keeps its id"
    );
}

#[tokio::test]
async fn what_cannot_be_read_deletes_nothing_but_what_has_grown_too_large_does() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    assert_eq!(
        metadata.record_rejections(&[rejected("file:///a", None, unreadable())]).await.unwrap(),
        NONE
    );
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(1)].into());
    assert_eq!(
        state(&metadata, "file:///a").await,
        Some(cannot_be_read()),
        "the next run retries it"
    );

    metadata
        .record_rejections(&[rejected("file:///a", Some(1), RejectReason::MetadataChanged)])
        .await
        .unwrap();
    assert_eq!(state(&metadata, "file:///a").await, Some(KnownState::Stored));

    let grown = RejectReason::TooLarge { size: 900, limit: 300 };
    assert_eq!(
        metadata.record_rejections(&[rejected("file:///a", None, grown)]).await.unwrap(),
        [document]
    );
    assert!(metadata.known_hashes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_touched_file_is_known_as_it_is_now() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    store(&metadata, "file:///a", 1, 5).await;
    let mut touched = rejected("file:///a", Some(1), RejectReason::MetadataChanged);
    touched.1.location.mtime = Some(5);
    touched.1.location.inode = None;
    metadata.record_rejections(std::slice::from_ref(&touched)).await.unwrap();
    let known =
        metadata.lookup_locations(&["file:///a".to_owned()]).await.unwrap().remove(0).unwrap();
    assert_eq!(known.location, touched.1.location);
    assert_eq!((known.state, known.content_hash), (KnownState::Stored, Some(content(1))));
}

#[tokio::test]
async fn a_copy_seen_before_its_original_is_stored_waits_for_it() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let identity = metadata.assign_ids(&[incoming("file:///a", 1)]).await.unwrap()[0];
    metadata
        .record_rejections(&[rejected("file:///copy", Some(1), RejectReason::Duplicate)])
        .await
        .unwrap();
    assert_eq!(state(&metadata, "file:///copy").await, Some(KnownState::Stale));
    assert_eq!(metadata.count_unattached().await.unwrap(), 1);
    metadata.commit(&[stored("file:///a", 1, identity.document, 1)]).await.unwrap();
    assert_eq!(state(&metadata, "file:///copy").await, Some(KnownState::Stored));
    assert_eq!(metadata.count_unattached().await.unwrap(), 0);
}

/// `mv a b; echo new > a`: the copy of the old content counts as a duplicate of the replaced
/// content.
#[tokio::test]
async fn a_content_that_moves_on_while_it_is_replaced_is_read_again() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let (document, _) = store(&metadata, "file:///a", 1, 1).await;
    let identity = metadata.assign_ids(&[incoming("file:///a", 2)]).await.unwrap()[0];
    assert_eq!(identity.document, document);
    metadata
        .record_rejections(&[rejected("file:///b", Some(1), RejectReason::Duplicate)])
        .await
        .unwrap();
    metadata.commit(&[stored("file:///a", 2, document, 1)]).await.unwrap();
    assert_eq!(state(&metadata, "file:///a").await, Some(KnownState::Stored));
    assert_eq!(state(&metadata, "file:///b").await, Some(KnownState::Stale));
    assert_eq!(metadata.count_unattached().await.unwrap(), 1, "a second pass is required");
    store(&metadata, "file:///b", 1, 1).await;
    assert_eq!(metadata.count_unattached().await.unwrap(), 0);
}

#[tokio::test]
async fn documents_in_flight_at_a_crash_are_written_again() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let first = database.operation(&collection).await;
    let metadata = first.metadata(GenerationSlot::Live, settings(1));
    let (document, _) = store(&metadata, "file:///a", 1, 5).await;
    // Ten points of an edit and of a new document are written, then the process dies.
    let edited =
        metadata.assign_ids(&[incoming("file:///a", 2), incoming("file:///new", 3)]).await.unwrap();
    assert_eq!(edited[0].document, document);
    let died = first.id();
    drop(first);

    let second = database.operation(&collection).await;
    assert_eq!(second.recovered(), [died]);
    let metadata = second.metadata(GenerationSlot::Live, settings(1));
    metadata.recover().await.unwrap();
    // The file is unchanged, but its points are not.
    assert_eq!(state(&metadata, "file:///a").await, Some(KnownState::Stale));
    assert!(metadata.known_hashes().await.unwrap().is_empty());
    let restored = metadata.assign_ids(&[incoming("file:///a", 1)]).await.unwrap()[0];
    assert_eq!((restored.document, restored.previous_chunks), (document, u32::MAX));
    assert_eq!(
        metadata.unpurged(10).await.unwrap(),
        [edited[1].document],
        "no file may have it again"
    );
    metadata.mark_purged(&[edited[1].document]).await.unwrap();
    metadata.commit(&[stored("file:///a", 1, document, 5)]).await.unwrap();
    assert_eq!(state(&metadata, "file:///a").await, Some(KnownState::Stored));
    assert_eq!(metadata.unpurged(10).await.unwrap(), NONE);
}

#[tokio::test]
async fn a_run_whose_operation_was_ended_writes_nothing_more() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    let identity = metadata.assign_ids(&[incoming("file:///a", 1)]).await.unwrap()[0];
    database
        .postgres
        .operations()
        .finish(operation.id(), &OperationOutcome::Cancelled, &[])
        .await
        .unwrap();
    let refused =
        metadata.commit(&[stored("file:///a", 1, identity.document, 1)]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert!(refused.source.to_string().contains("is cancelled"), "{}", refused.source);
    assert_eq!(state(&metadata, "file:///a").await, None);
}

#[tokio::test]
async fn a_batch_may_have_the_same_content_and_the_same_place_twice() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let twice = [
        incoming("file:///a", 1),
        incoming("file:///b", 1),
        incoming("file:///c", 2),
        incoming("file:///c", 3),
    ];
    let ids = metadata.assign_ids(&twice).await.unwrap();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[2], ids[3]);
    let documents = [
        stored("file:///a", 1, ids[0].document, 1),
        stored("file:///b", 1, ids[1].document, 1),
        stored("file:///c", 2, ids[2].document, 1),
        stored("file:///c", 3, ids[3].document, 1),
    ];
    let lost = metadata.commit(&documents).await.unwrap();
    assert_eq!(lost, [ids[2].document], "the last row of a location counts");
    assert_eq!(metadata.known_hashes().await.unwrap(), [content(1), content(3)].into());
    assert_eq!(
        metadata.commit(&documents[..2]).await.unwrap(),
        NONE,
        "a second call has no effect"
    );
}

#[tokio::test]
async fn a_chain_of_edits_in_one_batch_gives_each_content_one_document() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    let (first, _) = store(&metadata, "file:///a", 1, 1).await;
    let (second, _) = store(&metadata, "file:///b", 2, 1).await;
    // With other settings all documents come again: `a` now has the content of `b`, `b` a new one.
    let changed = operation.metadata(GenerationSlot::Live, settings(2));
    let batch = [incoming("file:///a", 2), incoming("file:///b", 3)];
    let ids = changed.assign_ids(&batch).await.unwrap();
    assert_eq!(ids[0].document, second, "the content decides");
    assert!(ids[1].document != second && ids[1].document != first);
    let documents =
        [stored("file:///a", 2, ids[0].document, 1), stored("file:///b", 3, ids[1].document, 1)];
    assert_eq!(changed.commit(&documents).await.unwrap(), [first]);
    assert_eq!(changed.known_hashes().await.unwrap(), [content(2), content(3)].into());
}

#[tokio::test]
async fn nul_characters_and_long_paths_are_accepted() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let noise: String = (0..200).map(|n| Uuid::new_v5(&Uuid::nil(), &[n]).to_string()).collect();
    let long = format!("file:///%C3%A4/{noise}/naïve \u{1F980}");
    let identity = metadata.assign_ids(&[incoming(&long, 1)]).await.unwrap()[0];
    let mut document = stored(&long, 1, identity.document, 1);
    document.title = Some("a\0b".to_owned());
    document.metadata = serde_json::json!({ "k\0ey": ["\0", { "x": "y\0" }], "n": 1 });
    document.incoming.location.mtime = Some(i64::MAX);
    document.incoming.location.ctime = Some(i64::MIN);
    metadata.commit(&[document]).await.unwrap();
    assert_eq!(state(&metadata, &long).await, Some(KnownState::Stored));
    let (path, meta): (String, serde_json::Value) =
        sqlx::query_as("SELECT file_path, meta FROM documents")
            .fetch_one(&database.sql)
            .await
            .unwrap();
    assert_eq!(path, format!("/ä/{noise}/naïve \u{1F980}"));
    let metadata = serde_json::json!({ "key": ["", { "x": "y" }], "n": 1 });
    assert_eq!(meta, serde_json::json!({ "title": "ab", "language": "en", "metadata": metadata }));
}

#[tokio::test]
async fn one_content_that_goes_two_ways_stays_one_document() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    // Without a dedup stage: `a.bin` fails, then `a.txt` with the same bytes is stored, then again.
    metadata.record_rejections(&[rejected("file:///a.bin", Some(1), corrupt())]).await.unwrap();
    let (document, lost) = store(&metadata, "file:///a.txt", 1, 2).await;
    assert_eq!(lost, NONE);
    metadata.record_rejections(&[rejected("file:///b.bin", Some(1), corrupt())]).await.unwrap();
    for uri in ["file:///a.bin", "file:///a.txt", "file:///b.bin"] {
        assert_eq!(state(&metadata, uri).await, Some(KnownState::Stored), "{uri}");
    }
    assert_eq!(
        metadata.assign_ids(&[incoming("file:///x", 1)]).await.unwrap()[0].document,
        document
    );
    // A document identified at one location while its content failed at another.
    let mine = metadata.assign_ids(&[incoming("file:///a.txt", 5)]).await.unwrap()[0].document;
    metadata.record_rejections(&[rejected("file:///c.bin", Some(5), corrupt())]).await.unwrap();
    metadata.commit(&[stored("file:///a.txt", 5, mine, 1)]).await.unwrap();
    assert_eq!(state(&metadata, "file:///c.bin").await, Some(KnownState::Stored));
}
