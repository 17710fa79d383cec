//! Missing files and deletions: the count of missing documents, deleted documents stay deleted, in
//! every generation.

use metadata::{
    GenerationSlot, MissingDocuments, OperationLease, OperationOutcome, OperationType,
    QueuedOperation, RunMetadata, WaitPolicy,
};
use pipeline::{KnownState, Location, MetadataStore as _, RejectReason, Rejection};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::{Database, at, generation, rejected, settings, store, unreadable};

const NONE: [Uuid; 0] = [];

/// Records that this run has seen locations.
async fn mark_seen(metadata: &RunMetadata, uris: &[(&str, u8)]) {
    let seen: Vec<_> = uris
        .iter()
        .map(|(uri, number)| rejected(uri, Some(*number), RejectReason::Unchanged))
        .collect();
    metadata.record_rejections(&seen).await.unwrap();
}

fn sources() -> Vec<String> {
    vec!["/corpus".to_owned()]
}

/// A collection with five documents at six locations, and a second run on it.
async fn second_run(database: &Database) -> (OperationLease, RunMetadata, Vec<Uuid>) {
    let (operation, metadata) = database.run().await;
    let mut ids = Vec::new();
    for (number, uri) in (1_u8..).zip(["/a", "/dir/b", "/dir/sub/c", "/dirt", "/e"]) {
        ids.push(store(&metadata, &format!("file://{uri}"), number, 2).await.0);
    }
    metadata
        .record_rejections(&[rejected("file:///copy of e", Some(5), RejectReason::Duplicate)])
        .await
        .unwrap();
    operation.record_settings(&generation(1)).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    let metadata = operation.metadata(GenerationSlot::Live, settings(1));
    (operation, metadata, ids)
}

#[tokio::test]
async fn unseen_locations_are_counted_as_missing() {
    let database = Database::new().await;
    let (_operation, metadata, ids) = second_run(&database).await;
    mark_seen(&metadata, &[("file:///a", 1), ("file:///dir/b", 2)]).await;
    let missing = |documents, locations| {
        let source = "/corpus".to_owned();
        vec![(source, documents, 5, locations)]
    };
    let told = |found: Vec<MissingDocuments>| -> Vec<(String, i64, i64, i64)> {
        found.into_iter().map(|it| (it.source, it.documents, it.of, it.locations)).collect()
    };
    assert_eq!(told(metadata.missing_documents(&sources()).await.unwrap()), missing(3, 4));
    assert!(
        metadata.missing_documents(&["/elsewhere".to_owned()]).await.unwrap().is_empty(),
        "the source was not read"
    );
    // One of two locations of a document is no loss.
    mark_seen(&metadata, &[("file:///copy of e", 5)]).await;
    assert_eq!(told(metadata.missing_documents(&sources()).await.unwrap()), missing(2, 3));

    // A few at a time, until no location is missing.
    let mut deleted = 0;
    let mut turns = 0;
    let mut after = Vec::new();
    while let Some(some) = metadata.forget_missing(&sources(), &after, 2).await.unwrap() {
        deleted += some.documents;
        after = some.last;
        turns += 1;
    }
    assert_eq!((deleted, turns), (2, 2));
    let unpurged = metadata.unpurged(10).await.unwrap();
    let mut wanted = vec![ids[2], ids[3]];
    wanted.sort_unstable();
    assert_eq!(unpurged, wanted);
    assert!(metadata.missing_documents(&sources()).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_below_a_folder_that_cannot_be_read_is_not_missing() {
    let database = Database::new().await;
    let (_operation, metadata, ids) = second_run(&database).await;
    mark_seen(&metadata, &[("file:///a", 1), ("file:///e", 5)]).await;
    // An unreadable folder has no time.
    let mut hidden = rejected("file:///dir", None, unreadable());
    hidden.1.location.mtime = None;
    metadata.record_rejections(&[hidden]).await.unwrap();
    // `/dirt` is not in `/dir`.
    let missing = metadata.missing_documents(&sources()).await.unwrap();
    assert_eq!((missing[0].documents, missing[0].locations), (1, 2), "{missing:?}");
    while metadata.forget_missing(&sources(), &[], 10).await.unwrap().is_some() {}
    assert_eq!(metadata.unpurged(10).await.unwrap(), [ids[3]]);
    // After the folder became readable, a later pass finds its missing files, and its own row is
    // deleted.
    let metadata = metadata.with_current_time().await.unwrap();
    mark_seen(&metadata, &[("file:///a", 1), ("file:///e", 5), ("file:///dir/b", 2)]).await;
    while metadata.forget_missing(&sources(), &[], 10).await.unwrap().is_some() {}
    let known = metadata
        .lookup_locations(&["file:///dir".to_owned(), "file:///dir/sub/c".to_owned()])
        .await;
    assert_eq!(known.unwrap(), [None, None]);
}

/// Three schemas with the document of `/a`, and an operation with the right to write.
async fn three_generations(database: &Database) -> (OperationLease, Vec<Uuid>) {
    let (operation, _, ids) = second_run(database).await;
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let collection = database.collection("docs").await;
    let start = || async {
        let postgres = &database.postgres;
        let operation = postgres
            .start_operation(
                &collection,
                OperationType::Reindex,
                &json!({}),
                WaitPolicy::FailIfBusy,
            )
            .await;
        operation.unwrap()
    };
    let operation = start().await;
    let built = operation.building_generation(&generation(2)).await.unwrap();
    let metadata = operation.metadata(GenerationSlot::Building, settings(2));
    store(&metadata, "file:///a", 1, 2).await;
    operation.swap(&built, &[]).await.unwrap();
    operation.release().await;
    let operation = start().await;
    operation.building_generation(&generation(3)).await.unwrap();
    let metadata = operation.metadata(GenerationSlot::Building, settings(3));
    store(&metadata, "file:///a", 1, 2).await;
    (operation, ids)
}

/// Status of a document and reject reason of its location, by schema.
async fn in_each(database: &Database, document: Uuid, uri: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for schema in ["public", "building", "retired"] {
        let query = format!(
            "SELECT d.status::text, (SELECT coalesce(l.set_aside ->> 'reason', 'has one')
                                     FROM {schema}.document_locations l WHERE l.uri = $2)
             FROM {schema}.documents d WHERE d.id = $1"
        );
        let row = sqlx::query_as(AssertSqlSafe(query)).bind(document).bind(uri);
        found.push(row.fetch_one(&database.sql).await.unwrap());
    }
    found
}

#[tokio::test]
async fn a_document_is_deleted_and_readmitted_in_every_generation() {
    let database = Database::new().await;
    let (operation, ids) = three_generations(&database).await;
    assert_eq!(operation.withhold(&ids[..1], "somebody").await.unwrap(), ids[..1]);
    assert_eq!(
        operation.withhold(&ids[..1], "somebody").await.unwrap(),
        NONE,
        "it was deleted before"
    );
    let deleted = ("deleted".to_owned(), Some("withheld".to_owned()));
    let all = [deleted.clone(), deleted.clone(), deleted.clone()];
    assert_eq!(in_each(&database, ids[0], "file:///a").await, all);

    // It stays deleted with any settings, and the message names the actor.
    for number in [1, 2, 9] {
        let metadata = operation.metadata(GenerationSlot::Live, settings(number));
        let known =
            metadata.lookup_locations(&["file:///a".to_owned()]).await.unwrap().remove(0).unwrap();
        let KnownState::Withheld { message } = known.state else { panic!("{:?}", known.state) };
        assert!(message.starts_with("was deleted by somebody on 20"), "{message}");
        let location = Location { mtime: Some(7), ..at("file:///a") };
        let content_hash = known.content_hash;
        let why = RejectReason::Withheld { message };
        metadata
            .record_rejections(&[(
                "scan".to_owned(),
                Rejection { location, content_hash, reason: why },
            )])
            .await
            .unwrap();
    }
    assert_eq!(in_each(&database, ids[0], "file:///a").await, all, "seeing it changes nothing");

    // The same content from another location is indexed, but does not restore this location.
    let metadata = operation.metadata(GenerationSlot::Live, settings(2));
    let (elsewhere, _) = store(&metadata, "file:///elsewhere", 1, 2).await;
    assert_eq!(elsewhere, ids[0], "the document of this content");
    assert_eq!(in_each(&database, ids[0], "file:///a").await[0].1.as_deref(), Some("withheld"));

    assert_eq!(operation.readmit(&ids[..1]).await.unwrap(), ids[..1]);
    assert_eq!(operation.readmit(&ids[..1]).await.unwrap(), NONE);
    let reasons = in_each(&database, ids[0], "file:///a").await;
    assert!(reasons.iter().all(|(_, reason)| reason.as_deref() == Some("has one")), "{reasons:?}");
    let known =
        metadata.lookup_locations(&["file:///a".to_owned()]).await.unwrap().remove(0).unwrap();
    assert_eq!(known.state, KnownState::Stale, "the next run reads it");
}

#[tokio::test]
async fn a_source_is_removed_from_every_generation() {
    let database = Database::new().await;
    let (operation, ids) = three_generations(&database).await;
    let mut documents = 0;
    while let Some(removed) = operation.remove_source("/corpus").await.unwrap() {
        documents += removed.documents;
    }
    assert_eq!(documents, 5, "counted in the live generation");
    let statuses = in_each(&database, ids[0], "file:///a").await;
    assert_eq!(statuses, [(); 3].map(|()| ("deleted".to_owned(), None)));
    for table in ["public", "building", "retired"] {
        let query = format!("SELECT count(*) FROM {table}.document_locations");
        let left: i64 =
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&database.sql).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(
        operation.remove_source("/corpus").await.unwrap(),
        None,
        "a second call has no effect"
    );
}

#[tokio::test]
async fn a_collection_is_deleted_from_every_generation() {
    let database = Database::new().await;
    let (operation, _) = three_generations(&database).await;
    operation.begin_deletion().await.unwrap();
    let collection = database.collection("docs").await;
    assert!(collection.deleting_since.is_some(), "visible to every client");
    operation.delete_collection(&[("documents_deleted".to_owned(), 5.0)]).await.unwrap();
    operation.delete_collection(&[]).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname || '.' || tablename FROM pg_tables
         WHERE schemaname IN ('public', 'building', 'retired') AND tablename NOT IN ('users', '_sqlx_migrations')",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    let kept = ["operations", "operation_metrics", "collection_audit_log", "deleted_collections"];
    for table in tables {
        let query = format!("SELECT count(*) FROM {table}");
        let left: i64 =
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&database.sql).await.unwrap();
        let is_kept = kept.iter().any(|name| table == format!("public.{name}"));
        assert_eq!(left > 0, is_kept, "{table}");
    }
    // The operation ended with the deletion and can still be queried.
    let past = database.postgres.operations().find_record(operation.id()).await.unwrap().unwrap();
    let past = serde_json::to_value(past).unwrap();
    assert_eq!((&past["status"], &past["collection"]), (&json!("completed"), &json!("docs")));
    let metrics = database.postgres.operations().metrics(operation.id()).await.unwrap();
    let names: Vec<_> = metrics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["documents_deleted", "seconds"]);
    let log = database.postgres.audit_log().for_collection(collection.id, None, 100).await.unwrap();
    assert_eq!(log[0].action, "operation_completed");
    assert_eq!(log[1].action, "collection_deleted");
    assert_eq!(log.last().unwrap().action, "collection_created");
    let deleted =
        database.postgres.collections().deleted(Some(("local", "docs")), 10).await.unwrap();
    assert_eq!((deleted.len(), deleted[0].id), (1, collection.id));
    // A request for a deleted collection fails.
    let config = json!({});
    let what =
        QueuedOperation { collection: &collection, kind: OperationType::Append, config: &config };
    database.postgres.operations().enqueue(&what).await.unwrap_err();
    assert_ne!(database.collection("docs").await.id, collection.id);
}

#[tokio::test]
async fn deleted_documents_are_remembered_for_a_while_and_as_long_as_they_have_points() {
    let database = Database::new().await;
    let (operation, metadata, ids) = second_run(&database).await;
    operation.withhold(&ids[..2], "somebody").await.unwrap();
    metadata.mark_purged(&ids[1..2]).await.unwrap();
    sqlx::query(
        "UPDATE documents SET deleted_at = now() - interval '2 days' WHERE status = 'deleted'",
    )
    .execute(&database.sql)
    .await
    .unwrap();
    let days = |days: u64| std::time::Duration::from_secs(days * 24 * 60 * 60);
    assert_eq!(operation.purge_deleted(days(3)).await.unwrap(), 0);
    assert_eq!(operation.purge_deleted(days(1)).await.unwrap(), 0, "both can be undeleted");
    let known =
        metadata.lookup_locations(&["file:///dir/b".to_owned()]).await.unwrap().remove(0).unwrap();
    assert!(
        matches!(known.state, KnownState::Withheld { .. }),
        "its location stays withheld: {known:?}"
    );
    // Their files are deleted too.
    sqlx::query("DELETE FROM document_locations WHERE set_aside ->> 'reason' = 'withheld'")
        .execute(&database.sql)
        .await
        .unwrap();
    assert_eq!(operation.purge_deleted(days(3)).await.unwrap(), 0);
    assert_eq!(operation.purge_deleted(days(1)).await.unwrap(), 1, "the other document has points");
    assert_eq!(metadata.unpurged(10).await.unwrap(), ids[..1]);
}

#[tokio::test]
async fn what_fails_again_and_again_is_tried_again_after_a_week_at_most() {
    let database = Database::new().await;
    let (_operation, metadata) = database.run().await;
    let fail = || async {
        metadata
            .record_rejections(&[rejected("file:///a", Some(1), crate::support::corrupt())])
            .await
            .unwrap();
        let query = "SELECT attempts, extract(epoch FROM retry_at - updated_at)::bigint / 60 FROM documents";
        sqlx::query_as::<_, (i64, i64)>(query).fetch_one(&database.sql).await.unwrap()
    };
    let mut waits = Vec::new();
    for attempt in 1..=14 {
        let (attempts, minutes) = fail().await;
        assert_eq!(attempts, attempt);
        waits.push(minutes);
    }
    let week = 7 * 24 * 60;
    assert_eq!(waits[..7], [5, 20, 80, 320, 1280, 5120, week]);
    assert!(waits[7..].iter().all(|minutes| *minutes == week), "{waits:?}");
    // Documents set aside by choice are not retried by time.
    metadata
        .record_rejections(&[rejected("file:///b", Some(2), RejectReason::Empty)])
        .await
        .unwrap();
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM documents WHERE retry_at IS NOT NULL")
            .fetch_one(&database.sql)
            .await
            .unwrap();
    assert_eq!(waiting, 1);
}
