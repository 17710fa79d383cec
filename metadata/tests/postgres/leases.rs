//! Leases: waiting, expiry, takeover, and the refused writes of a former holder.

use std::time::Duration;

use metadata::{
    Collection, GenerationSlot, OperationLease, OperationOutcome, OperationStatus, OperationType,
    Postgres, WaitPolicy,
};
use pipeline::{MetadataStore as _, Remedy};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, settings, store, stored};

/// Another process, as far as the database can tell.
async fn other_process(database: &Database) -> Postgres {
    Postgres::connect(&database.url).await.unwrap()
}

async fn start(
    postgres: &Postgres,
    collection: &Collection,
    turn: WaitPolicy,
) -> Result<OperationLease, pipeline::StoreError> {
    postgres.start_operation(collection, OperationType::Append, &json!({}), turn).await
}

async fn expire(database: &Database, status: &str) {
    let expire = "UPDATE operation_leases e SET expires_at = now() - interval '1 second'
                  FROM operations o WHERE o.id = e.operation_id AND o.status = $1::text::operation_status";
    sqlx::query(expire).bind(status).execute(&database.sql).await.unwrap();
}

async fn status_of(database: &Database, id: Uuid) -> OperationStatus {
    database.postgres.operations().find(id).await.unwrap().unwrap().status
}

/// Waits until a condition is true in the database.
async fn wait_until(database: &Database, question: &'static str) {
    while !sqlx::query_scalar::<_, bool>(question).fetch_one(&database.sql).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_live_worker_renews_its_lease_and_a_hung_one_loses_it() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let first = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    let metadata = first.metadata(GenerationSlot::Live, settings(1));
    store(&metadata, "file:///a", 1, 1).await;
    let second = other_process(&database).await;

    // It renews its lease while a task waits for `lost`.
    expire(&database, "processing").await;
    tokio::select! {
        () = first.lost() => panic!("the operation was not taken over"),
        () = wait_until(&database, "SELECT expires_at > now() + interval '50 seconds' FROM operation_leases") => {}
    }
    // Even during a long transaction that locks the row of the operation.
    let mut long = database.sql.begin().await.unwrap();
    sqlx::query("SELECT FROM operations FOR NO KEY UPDATE").execute(&mut *long).await.unwrap();
    expire(&database, "processing").await;
    tokio::select! {
        () = first.lost() => panic!("the operation was not taken over"),
        () = wait_until(&database, "SELECT expires_at > now() + interval '50 seconds' FROM operation_leases") => {}
    }
    long.rollback().await.unwrap();
    let refused = start(&second, &collection, WaitPolicy::FailIfBusy).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict, "{}", refused.source);

    expire(&database, "processing").await;
    let next = start(&second, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    assert_eq!(next.recovered(), [first.id()]);
    assert_eq!(status_of(&database, first.id()).await, OperationStatus::Failed);
    first.lost().await;
    // Every further write is refused.
    let refused = metadata.commit(&[stored("file:///b", 2, Uuid::new_v4(), 1)]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert_eq!(first.begin_deletion().await.unwrap_err().remedy, Remedy::Conflict);
    assert_eq!(first.withhold(&[], "me").await.unwrap_err().remedy, Remedy::Conflict);
    assert_eq!(first.remove_source("/corpus").await.unwrap_err().remedy, Remedy::Conflict);
    let refused = first.finish(&OperationOutcome::Completed, &[]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert_eq!(status_of(&database, next.id()).await, OperationStatus::Processing);
    store(&next.metadata(GenerationSlot::Live, settings(1)), "file:///b", 2, 1).await;
    next.finish(&OperationOutcome::Completed, &[]).await.unwrap();
}

#[tokio::test]
async fn waiting_operations_start_in_order_and_can_be_cancelled() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let first = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    let (second, third) = (other_process(&database).await, other_process(&database).await);
    let both = async {
        tokio::join!(
            start(&second, &collection, WaitPolicy::Wait),
            start(&third, &collection, WaitPolicy::Wait)
        )
    };
    let script = async {
        wait_until(&database, "SELECT count(*) = 2 FROM operations WHERE status = 'pending'").await;
        let cancelled: Uuid = sqlx::query_scalar(
            "SELECT id FROM operations WHERE status = 'pending' ORDER BY created_at LIMIT 1",
        )
        .fetch_one(&database.sql)
        .await
        .unwrap();
        database.postgres.operations().cancel(cancelled).await.unwrap();
        first.finish(&OperationOutcome::Completed, &[]).await.unwrap();
        cancelled
    };
    let ((one, other), cancelled) = tokio::join!(both, script);
    let (begun, refused) = match (one, other) {
        (Ok(begun), Err(refused)) | (Err(refused), Ok(begun)) => (begun, refused),
        both => panic!("one of them was cancelled: {both:?}"),
    };
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert_eq!(
        refused.source.to_string(),
        format!("operation {cancelled} was cancelled before it began")
    );
    assert_ne!(begun.id(), cancelled);
    assert_eq!(status_of(&database, begun.id()).await, OperationStatus::Processing);
    begun.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let cancel = database.postgres.operations().cancel(cancelled).await;
    assert!(cancel.is_ok(), "a second call has no effect: {cancel:?}");
}

#[tokio::test]
async fn an_abandoned_waiting_operation_never_starts() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let first = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    let second = other_process(&database).await;
    // The waiting process dies.
    tokio::select! {
        begun = start(&second, &collection, WaitPolicy::Wait) => panic!("the collection was in use: {begun:?}"),
        () = wait_until(&database, "SELECT count(*) = 1 FROM operations WHERE status = 'pending'") => {}
    }
    first.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let waiting: Uuid = sqlx::query_scalar("SELECT id FROM operations WHERE status = 'pending'")
        .fetch_one(&database.sql)
        .await
        .unwrap();
    // While its lease is valid it stays pending; then it is cancelled.
    start(&second, &collection, WaitPolicy::FailIfBusy)
        .await
        .unwrap()
        .finish(&OperationOutcome::Completed, &[])
        .await
        .unwrap();
    assert_eq!(status_of(&database, waiting).await, OperationStatus::Pending);
    expire(&database, "pending").await;
    let next = start(&second, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    assert_eq!(status_of(&database, waiting).await, OperationStatus::Cancelled);
    assert!(next.recovered().is_empty(), "it had not started");
    next.finish(&OperationOutcome::Completed, &[]).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_operation_loses_its_lease() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let operation = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    database.postgres.operations().cancel(operation.id()).await.unwrap();
    operation.lost().await;
    let refused = operation.finish(&OperationOutcome::Completed, &[]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    let refused = database.postgres.operations().cancel(Uuid::new_v4()).await.unwrap_err();
    assert!(refused.source.to_string().starts_with("unknown operation"), "{}", refused.source);
    // The collection is free immediately.
    let next =
        start(&other_process(&database).await, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    let completed = next.id();
    next.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    let refused = database.postgres.operations().cancel(completed).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict, "a completed operation");
}

/// `pg_locks` lists the locks of all databases of a server, one of which may be a copy of another.
#[tokio::test]
async fn locks_of_other_databases_are_ignored() {
    let (database, elsewhere) = (Database::new().await, Database::empty().await);
    let collection = database.collection("docs").await;
    let dead = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
    assert!(database.postgres.ensure_idle(&collection).await.is_err());
    // Its session is closed, and its lease is still valid.
    drop(dead);
    let lock = "SELECT pg_advisory_lock(hashtextextended($1::text, 0))";
    let mut other = elsewhere.sql.acquire().await.unwrap();
    sqlx::query(lock).bind(collection.id).execute(&mut *other).await.unwrap();
    wait_until(
        &database,
        "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database =
                          (SELECT oid FROM pg_database WHERE datname = current_database()))",
    )
    .await;
    database.postgres.ensure_idle(&collection).await.unwrap();
}

/// A run suspended in a transaction holds the row of its operation; a takeover or cancellation
/// terminates the transaction.
#[tokio::test]
async fn an_orphaned_transaction_blocks_no_takeover() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let open = "SELECT pg_advisory_xact_lock_shared(hashtextextended(o.id::text, 1)), o.id
                FROM operations o WHERE o.status = 'processing' FOR NO KEY UPDATE";
    let second = other_process(&database).await;
    for cancels in [false, true] {
        let stopped = start(&database.postgres, &collection, WaitPolicy::FailIfBusy).await.unwrap();
        let mut left = database.sql.begin().await.unwrap();
        sqlx::query(open).execute(&mut *left).await.unwrap();
        if cancels {
            second.operations().cancel(stopped.id()).await.unwrap();
        } else {
            expire(&database, "processing").await;
            let next = start(&second, &collection, WaitPolicy::FailIfBusy).await.unwrap();
            assert_eq!(next.recovered(), [stopped.id()]);
            next.finish(&OperationOutcome::Completed, &[]).await.unwrap();
        }
        let ended = status_of(&database, stopped.id()).await;
        assert_eq!(
            ended,
            if cancels { OperationStatus::Cancelled } else { OperationStatus::Failed }
        );
        sqlx::query("SELECT 1").execute(&mut *left).await.unwrap_err();
        drop(left);
        drop(stopped);
    }
    let leases: i64 = sqlx::query_scalar("SELECT count(*) FROM operation_leases")
        .fetch_one(&database.sql)
        .await
        .unwrap();
    assert_eq!(leases, 0, "ended operations have no lease");
}
