//! Collections and operations: start, end, takeover and refused transitions.

use futures::future::join_all;
use metadata::{
    Actor, CollectionStatus, CollectionUpdate, GenerationSlot, NewCollection, OperationOutcome,
    OperationStatus, OperationType, Postgres, WaitPolicy,
};
use pipeline::{MetadataStore as _, RejectReason, Remedy};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, corrupt, generation, new_collection, rejected, settings, store};

#[tokio::test]
async fn a_collection_is_made_once_with_its_limits_and_its_entry() {
    let database = Database::new().await;
    let new = new_collection("docs");
    let opened = join_all((0..8).map(|_| database.postgres.ensure_collection(&new))).await;
    let first = opened[0].as_ref().unwrap();
    assert!(opened.iter().all(|one| one.as_ref().unwrap() == first), "{opened:?}");
    assert_eq!(first.vector_store_name, format!("{}_minilml6_f16", first.id));
    assert_eq!(first.status, CollectionStatus::Pending);
    let limits: (i64, f64, i64, i64) = sqlx::query_as(
        "SELECT max_documents, max_storage_gb, max_operations_per_hour, max_sources
         FROM collection_resource_limits WHERE collection_id = $1",
    )
    .bind(first.id)
    .fetch_one(&database.sql)
    .await
    .unwrap();
    assert_eq!(limits, (100_000, 50.0, 10, 10));
    assert_eq!(actions(&database, first.id).await, ["collection_created"]);
    assert_eq!(
        database.postgres.collections().find(None, "docs").await.unwrap().as_ref(),
        Some(first)
    );
    assert_eq!(database.postgres.collections().find(None, "other").await.unwrap(), None);
}

async fn actions(database: &Database, collection: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT action FROM collection_audit_log WHERE collection_id = $1 ORDER BY created_at",
    )
    .bind(collection)
    .fetch_all(&database.sql)
    .await
    .unwrap()
}

#[tokio::test]
async fn two_owners_may_have_a_collection_of_the_same_name() {
    let database = Database::new().await;
    sqlx::query("INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'a@x', '!')")
        .execute(&database.sql)
        .await
        .unwrap();
    let ours = database.collection("docs").await;
    let new = NewCollection { owner: Some("ada".to_owned()), ..new_collection("docs") };
    let hers = database.postgres.ensure_collection(&new).await.unwrap();
    assert_ne!(ours.id, hers.id);
    let nobody = NewCollection { owner: Some("bob".to_owned()), ..new_collection("docs") };
    let refused = database.postgres.ensure_collection(&nobody).await.unwrap_err();
    assert_eq!(refused.source.to_string(), "account `bob` does not exist");
    let mut listed = database.postgres.collections().list(None, 10).await.unwrap();
    let page = database.postgres.collections().list(Some(listed[0].id), 10).await.unwrap();
    assert_eq!(page, listed.split_off(1));
}

#[tokio::test]
async fn a_collection_that_is_there_stays_as_it_is() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let other = NewCollection { settings: generation(2), ..new_collection("docs") };
    let found = database.postgres.ensure_collection(&other).await.unwrap();
    assert_eq!(found, collection);
    let live = database.postgres.generations().live(collection.id).await.unwrap();
    assert!(live.is_compatible_with(&generation(1)) && !live.is_compatible_with(&generation(2)));
}

#[tokio::test]
async fn an_operation_ends_with_everything_that_goes_with_it() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    let metadata = operation.metadata(GenerationSlot::Live, settings(1));
    store(&metadata, "file:///a", 1, 3).await;
    store(&metadata, "file:///b", 2, 4).await;
    metadata
        .record_rejections(&[
            rejected("file:///c", Some(2), RejectReason::Duplicate),
            rejected("file:///d", Some(3), corrupt()),
        ])
        .await
        .unwrap();
    let id = operation.id();
    let metrics = [("documents_stored".to_owned(), 2.0), ("seconds".to_owned(), 0.5)];
    operation.finish(&OperationOutcome::Completed, &metrics).await.unwrap();
    database
        .postgres
        .operations()
        .finish(id, &OperationOutcome::Completed, &metrics)
        .await
        .unwrap();

    let found = database.postgres.collections().find(None, "docs").await.unwrap().unwrap();
    assert_eq!(found.status, CollectionStatus::Ready);
    assert_eq!((found.document_count, found.vector_count, found.total_size_bytes), (2, 7, 20));
    let source: (String, i64, i64, bool) = sqlx::query_as(
        "SELECT source_path, document_count, size_bytes, last_indexed_at IS NOT NULL FROM collection_sources",
    )
    .fetch_one(&database.sql)
    .await
    .unwrap();
    assert_eq!(source, ("/corpus".to_owned(), 2, 20, true));
    let written: Vec<(String, f64)> = sqlx::query_as(
        "SELECT metric_name, metric_value FROM operation_metrics WHERE operation_id = $1 ORDER BY metric_name",
    )
    .bind(id)
    .fetch_all(&database.sql)
    .await
    .unwrap();
    assert_eq!(written, metrics, "once, although it was ended twice");
    assert_eq!(
        actions(&database, collection.id).await,
        ["collection_created", "operation_completed"]
    );
    let recent = database.postgres.operations().recent(collection.id, None, 5).await.unwrap();
    assert_eq!((recent.len(), recent[0].status), (1, OperationStatus::Completed));
    assert!(recent[0].started_at.unwrap() <= recent[0].completed_at.unwrap());
}

#[tokio::test]
async fn a_failed_operation_leaves_the_collection_usable_and_says_why() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let failed = OperationOutcome::Failed("no space left on device".to_owned());
    database.operation(&collection).await.finish(&failed, &[]).await.unwrap();
    let find =
        || async { database.postgres.collections().find(None, "docs").await.unwrap().unwrap() };
    assert_eq!(find().await.status, CollectionStatus::Error);

    let operation = database.operation(&collection).await;
    assert_eq!(find().await.status, CollectionStatus::Processing);
    store(&operation.metadata(GenerationSlot::Live, settings(1)), "file:///a", 1, 3).await;
    operation.finish(&failed, &[]).await.unwrap();
    let found = find().await;
    assert_eq!(found.status, CollectionStatus::Degraded);
    assert_eq!(found.status_message.as_deref(), Some("no space left on device"));
    database.operation(&collection).await.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    assert_eq!((find().await.status, find().await.status_message), (CollectionStatus::Ready, None));
}

#[tokio::test]
async fn one_operation_at_a_time() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let other = database.collection("other").await;
    let operation = database.operation(&collection).await;
    let second = Postgres::connect(&database.url).await.unwrap();
    let refused = second
        .start_operation(&collection, OperationType::Append, &json!({}), WaitPolicy::FailIfBusy)
        .await
        .unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    let said = refused.source.to_string();
    let wanted =
        format!("operation {} (index), process {} on ", operation.id(), std::process::id());
    assert!(
        said.contains("`docs`") && said.contains(&wanted) && said.contains(", since 2"),
        "{said}"
    );
    database.operation(&other).await.finish(&OperationOutcome::Completed, &[]).await.unwrap();

    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let next = second
        .start_operation(&collection, OperationType::Append, &json!({}), WaitPolicy::FailIfBusy)
        .await
        .unwrap();
    assert!(next.recovered().is_empty());
}

#[tokio::test]
async fn an_operation_whose_process_died_is_taken_over() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let dead = database.operation(&collection).await;
    let (id, metadata) = (dead.id(), dead.metadata(GenerationSlot::Live, settings(1)));
    store(&metadata, "file:///a", 1, 1).await;
    drop(dead);
    let next = database.operation(&collection).await;
    assert_eq!(next.recovered(), [id]);
    let recent = database.postgres.operations().recent(collection.id, None, 5).await.unwrap();
    assert_eq!(recent[1].status, OperationStatus::Failed);
    insta::assert_snapshot!(recent[1].error_message.as_deref().unwrap(), @"the process that worked on it died");
    // The process was alive but lost its operation: every write is refused.
    let refused = metadata.mark_purged(&[]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert_eq!(
        next.metadata(GenerationSlot::Live, settings(1)).known_hashes().await.unwrap().len(),
        1,
        "its committed documents stay"
    );
}

#[tokio::test]
async fn the_database_refuses_illegal_moves() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let states = ["pending", "processing", "completed", "failed", "cancelled"];
    let ways: [&[&str]; 5] = [
        &[],
        &["processing"],
        &["processing", "completed"],
        &["processing", "failed"],
        &["cancelled"],
    ];
    let mut allowed = Vec::new();
    for (from, way) in states.iter().zip(ways) {
        for to in states {
            let mut transaction = database.sql.begin().await.unwrap();
            let id: Uuid = sqlx::query_scalar(
                "INSERT INTO operations (collection_id, user_id, type, config) VALUES ($1, $2, 'index', '{}')
                 RETURNING id",
            )
            .bind(collection.id)
            .bind(collection.owner_id)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
            let step = "UPDATE operations SET status = $2::text::operation_status WHERE id = $1";
            for state in way {
                sqlx::query(step).bind(id).bind(state).execute(&mut *transaction).await.unwrap();
            }
            let moved = sqlx::query(step).bind(id).bind(to).execute(&mut *transaction).await;
            match moved {
                Ok(_) if *from != to => allowed.push(format!("{from} → {to}")),
                Ok(_) => {}
                Err(error) => {
                    let said = error.into_database_error().unwrap();
                    assert_eq!(said.constraint(), Some("check_operations_transition"), "{said}");
                }
            }
        }
    }
    assert_eq!(
        allowed,
        [
            "pending → processing",
            "pending → cancelled",
            "processing → completed",
            "processing → failed",
            "processing → cancelled",
        ]
    );
    let born = sqlx::query(
        "INSERT INTO operations (collection_id, user_id, type, config, status, completed_at)
         VALUES ($1, $2, 'index', '{}', 'completed', now())",
    );
    born.bind(collection.id).bind(collection.owner_id).execute(&database.sql).await.unwrap_err();
}

#[tokio::test]
async fn a_cancelled_operation_is_never_completed() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    let id = operation.id();
    database.postgres.operations().finish(id, &OperationOutcome::Cancelled, &[]).await.unwrap();
    let refused =
        operation.finish(&OperationOutcome::Completed, &[("x".to_owned(), 1.0)]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    let recent = database.postgres.operations().recent(collection.id, None, 5).await.unwrap();
    assert_eq!(recent[0].status, OperationStatus::Cancelled);
}

#[tokio::test]
async fn deleting_a_collection_leaves_what_was_done_to_it_and_no_other_row() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    store(&metadata, "file:///a", 1, 1).await;
    metadata.record_rejections(&[rejected("file:///d", Some(3), corrupt())]).await.unwrap();
    metadata.assign_ids(&[crate::support::incoming("file:///x", 9)]).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[("x".to_owned(), 1.0)]).await.unwrap();
    // A requested operation that no worker starts.
    sqlx::query(
        "INSERT INTO operations (collection_id, user_id, type, config, handed_over)
         SELECT id, owner_id, 'append', '{}', TRUE FROM collections",
    )
    .execute(&database.sql)
    .await
    .unwrap();
    sqlx::query("DELETE FROM collections").execute(&database.sql).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap();
    let kept = ["operations", "operation_metrics", "collection_audit_log", "deleted_collections"];
    for table in
        tables.iter().filter(|table| !["users", "_sqlx_migrations"].contains(&table.as_str()))
    {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(count).fetch_one(&database.sql).await.unwrap();
        assert_eq!(left > 0, kept.contains(&table.as_str()), "{table}");
    }
    assert!(tables.len() > 10);
    let statuses: Vec<String> =
        sqlx::query_scalar("SELECT status::text FROM operations ORDER BY created_at")
            .fetch_all(&database.sql)
            .await
            .unwrap();
    assert_eq!(statuses, ["completed", "cancelled"]);
}

#[tokio::test]
async fn no_error_has_a_secret_in_it() {
    let database = Database::new().await;
    let urls = [
        "postgres://user:s3cr3t@127.0.0.1:1/db",
        "postgres://user:s3cr3t@127.0.0.1:99999/db",
        "postgres://user:s3cr3t@[::1/db",
        "s3cr3t",
        "mysql://user:s3cr3t@localhost/db",
        "postgres://user@localhost/db?password=s3cr3t&sslmode=s3cr3t",
        &database.url.replace("semantik@", "nobody_here:s3cr3t@"),
        &format!("{}&password=s3cr3t&dbname=absent", database.url),
    ];
    for url in urls {
        let error = Postgres::connect(url).await.unwrap_err();
        let said = format!("{error} {error:?} {} {:?}", error.source, error.source);
        assert!(!said.contains("s3cr3t"), "{said}");
    }
    let with = format!("{}&password=s3cr3t", database.url);
    let postgres = Postgres::connect(&with).await.unwrap();
    let operation = postgres
        .start_operation(
            &database.collection("docs").await,
            OperationType::Index,
            &json!({}),
            WaitPolicy::FailIfBusy,
        )
        .await
        .unwrap();
    let metadata = operation.metadata(GenerationSlot::Live, settings(1));
    for said in [format!("{postgres:?}"), format!("{operation:?}"), format!("{metadata:?}")] {
        assert!(!said.contains("s3cr3t"), "{said}");
    }
}

/// The description in the file is set by the first run and follows the file until the API changes
/// it.
#[tokio::test]
async fn a_collection_is_described_by_its_file_until_somebody_describes_it() {
    let database = Database::new().await;
    let open = |description: Option<&'static str>| {
        let description = description.map(str::to_owned);
        let new = NewCollection { description, ..new_collection("docs") };
        let postgres = database.postgres.clone();
        async move { postgres.ensure_collection(&new).await.unwrap().description }
    };
    assert_eq!(open(Some("the handbook")).await.as_deref(), Some("the handbook"));
    assert_eq!(open(Some("all handbooks")).await.as_deref(), Some("all handbooks"));
    assert_eq!(open(None).await, None);
    assert_eq!(open(Some("the handbook")).await.as_deref(), Some("the handbook"));
    let collection = database.collection("docs").await;
    assert_eq!(collection.description, None, "a file without one resets the description of a file");
    let change = CollectionUpdate { description: Some("mine".to_owned()), ..Default::default() };
    let collections = database.postgres.collections();
    collections.update(collection.id, &change, &Actor::default()).await.unwrap();
    for said in [None, Some("the handbook"), Some("all handbooks")] {
        assert_eq!(open(said).await.as_deref(), Some("mine"), "{said:?}");
    }
}
