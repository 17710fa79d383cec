//! The queue: live workers execute each operation once and in order. Schedules: each run is
//! recorded once.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use metadata::{
    Actor, Collection, DueRun, NewCollection, OperationEvent, OperationOutcome, OperationStatus,
    OperationType, OverlapPolicy, Postgres, QueuedOperation, ResourceLimits, ScheduleKey,
    SchedulePoll, ScheduledRunOutcome,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, new_collection};

/// Another process, as far as the database can tell.
async fn other_process(database: &Database) -> Postgres {
    Postgres::connect(&database.url).await.unwrap()
}

async fn enqueue(database: &Database, collection: &Collection) -> Uuid {
    let config = json!({ "do": "run" });
    let what = QueuedOperation { collection, kind: OperationType::Append, config: &config };
    database.postgres.operations().enqueue(&what).await.unwrap()
}

async fn status_of(database: &Database, id: Uuid) -> OperationStatus {
    database.postgres.operations().find(id).await.unwrap().unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_dequeued_once_and_in_order() {
    let database = Database::new().await;
    let mut wanted: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    let mut collections = Vec::new();
    for name in ["a", "b", "c"] {
        collections.push(database.collection(name).await);
    }
    for _ in 0..8 {
        for collection in &collections {
            wanted.entry(collection.id).or_default().push(enqueue(&database, collection).await);
        }
    }
    let ids: Vec<Uuid> = collections.iter().map(|it| it.id).collect();
    let worker = || async {
        let postgres = other_process(&database).await;
        let mut taken = Vec::new();
        let mut idle = 0;
        while idle < 5 {
            match postgres.dequeue(&ids).await.unwrap() {
                Some((operation, summary)) => {
                    taken.push((
                        summary.started_at.unwrap(),
                        summary.collection_id,
                        operation.id(),
                    ));
                    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
                    idle = 0;
                }
                None => {
                    idle += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        taken
    };
    let mut taken: Vec<_> =
        join_all((0..6).map(|_| worker())).await.into_iter().flatten().collect();
    taken.sort();
    let mut found: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (_, collection, id) in taken {
        found.entry(collection).or_default().push(id);
    }
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn only_served_and_due_operations_are_dequeued() {
    let database = Database::new().await;
    let (ours, others) = (database.collection("ours").await, database.collection("others").await);
    let postgres = &database.postgres;
    enqueue(&database, &others).await;
    // A process waits for this one, so it has a lease.
    let waits = enqueue(&database, &ours).await;
    let lease = "INSERT INTO operation_leases (operation_id, expires_at) VALUES ($1, now() + interval '1 minute')";
    sqlx::query(lease).bind(waits).execute(&database.sql).await.unwrap();
    assert!(postgres.dequeue(&[ours.id]).await.unwrap().is_none());
    // This one is for later.
    let later = enqueue(&database, &ours).await;
    let delay = "UPDATE operations SET not_before = now() + interval '1 minute' WHERE id = $1";
    sqlx::query(delay).bind(later).execute(&database.sql).await.unwrap();
    assert!(postgres.dequeue(&[ours.id]).await.unwrap().is_none());
    let now = enqueue(&database, &ours).await;
    let (operation, _) = postgres.dequeue(&[ours.id]).await.unwrap().unwrap();
    assert_eq!(operation.id(), now);
    // While it runs, no other operation on the collection starts.
    enqueue(&database, &ours).await;
    assert!(other_process(&database).await.dequeue(&[ours.id]).await.unwrap().is_none());
}

#[tokio::test]
async fn operations_of_dead_workers_are_requeued_at_most_three_times() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let mut id = enqueue(&database, &collection).await;
    for attempt in 1..=3 {
        let dying = other_process(&database).await;
        let (operation, summary) = loop {
            // The server may need a moment to notice that the previous process is dead.
            if let Some(taken) = dying.dequeue(&[collection.id]).await.unwrap() {
                break taken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(summary.attempt, attempt);
        assert_eq!(summary.continues, (attempt > 1).then_some(id));
        id = operation.id();
        drop(operation);
    }
    let next = loop {
        let taken = other_process(&database).await.dequeue(&[collection.id]).await.unwrap();
        if taken.is_some() || status_of(&database, id).await == OperationStatus::Failed {
            break taken;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(next.is_none(), "the operation may kill its workers");
}

#[tokio::test]
async fn returned_operations_resume_and_finished_ones_do_not() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let operations = database.postgres.operations();
    let id = enqueue(&database, &collection).await;
    assert_eq!(operations.return_to_queue(id, None).await.unwrap(), None, "it has not started");
    let (operation, _) = database.postgres.dequeue(&[collection.id]).await.unwrap().unwrap();
    let next = operations.return_to_queue(id, None).await.unwrap().unwrap();
    assert_eq!(operations.return_to_queue(id, None).await.unwrap(), None, "once");
    operation.release().await;
    assert_eq!(status_of(&database, id).await, OperationStatus::Cancelled);
    let found = operations.continuation(id).await.unwrap().unwrap();
    assert_eq!((found.id, found.attempt, found.status), (next, 1, OperationStatus::Pending));
    // An operation that was not queued is repeated by its requester.
    operations.cancel(next).await.unwrap();
    let own = database.operation(&collection).await;
    assert_eq!(operations.return_to_queue(own.id(), None).await.unwrap(), None);
    assert_eq!(status_of(&database, own.id()).await, OperationStatus::Cancelled);
}

#[tokio::test]
async fn events_arrive_live_and_after_a_reconnect() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let mut changes = database.postgres.listen().await.unwrap();
    let id = enqueue(&database, &collection).await;
    let told = |status| OperationEvent::StatusChanged { id, collection: collection.id, status };
    assert_eq!(changes.next().await, told(OperationStatus::Pending));
    let (operation, _) = database.postgres.dequeue(&[collection.id]).await.unwrap().unwrap();
    assert_eq!(changes.next().await, told(OperationStatus::Processing));
    let progress = pipeline::Progress { seen: 7, ..pipeline::Progress::default() };
    operation.record_result(&json!({ "documents": 1 }), Some(&progress)).await.unwrap();
    assert_eq!(changes.next().await, OperationEvent::Progress(id));
    let operations = database.postgres.operations();
    assert_eq!(operations.progress(id).await.unwrap().unwrap().seen, 7);
    assert_eq!(operations.result(id).await.unwrap(), json!({ "documents": 1 }));
    // The same update again sends no notification; the next one comes after the connection was
    // terminated.
    operation.record_result(&json!({ "documents": 1 }), Some(&progress)).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    sqlx::query(cut).execute(&database.sql).await.unwrap();
    assert_eq!(changes.next().await, OperationEvent::Lagged);
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    assert_eq!(changes.next().await, told(OperationStatus::Completed));
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_run_is_created_once_by_concurrent_polls() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let key = ScheduleKey { owner: "local", collection: "docs", pipeline: "docs" };
    let spec = json!({ "cron": "* * * * *" });
    let schedules = database.postgres.schedules();
    let known = schedules.register(&key, &spec).await.unwrap();
    let config = json!({ "do": "run" });
    let look = |since: DateTime<Utc>, minute: i64| SchedulePoll {
        since,
        until: at("2026-01-01T00:00:00Z") + chrono::Duration::minutes(minute + 1),
        due: vec![DueRun {
            at: at("2026-01-01T00:00:00Z") + chrono::Duration::minutes(minute),
            missed: None,
            not_before: at("2026-01-01T00:00:00Z"),
            overlap_policy: OverlapPolicy::Queue,
        }],
        next: None,
    };
    let mut since = known.looked_until;
    for minute in 0..30 {
        let now = look(since, minute);
        let fire = || async {
            let postgres = other_process(&database).await;
            let what = QueuedOperation {
                collection: &collection,
                kind: OperationType::Append,
                config: &config,
            };
            postgres.schedules().fire(known.id, &now, &what).await.unwrap().len()
        };
        let fired: usize = join_all((0..3).map(|_| fire())).await.into_iter().sum();
        assert_eq!(fired, 1);
        since = now.until;
    }
    let history = schedules.history(known.id, 100).await.unwrap();
    assert_eq!(history.len(), 30);
    assert!(
        history
            .iter()
            .all(|run| run.operation_id.is_some() && run.fate == ScheduledRunOutcome::Fired)
    );
    // After another cron expression, runs count from now on; the same expression changes nothing.
    assert_eq!(schedules.register(&key, &spec).await.unwrap().looked_until, since);
    let changed = schedules.register(&key, &json!({ "cron": "@daily" })).await.unwrap();
    assert!(changed.looked_until > since && changed.id == known.id);
    // A pause takes precedence over concurrent checks and applies immediately.
    schedules.pause(known.id, true).await.unwrap();
    let what =
        QueuedOperation { collection: &collection, kind: OperationType::Append, config: &config };
    let late = look(changed.looked_until, 40);
    assert!(schedules.fire(known.id, &late, &what).await.unwrap().is_empty());
}

/// A check of a schedule that finds a run for each of these minutes.
fn minutes(since: DateTime<Utc>, minutes: std::ops::Range<i64>) -> SchedulePoll {
    let first = at("2026-01-01T00:00:00Z");
    let moment = |minute| first + chrono::Duration::minutes(minute);
    let due = |minute| DueRun {
        at: moment(minute),
        missed: None,
        not_before: first,
        overlap_policy: OverlapPolicy::Queue,
    };
    let until = moment(minutes.end);
    SchedulePoll { since, until, due: minutes.map(due).collect(), next: None }
}

/// A limit of the collection never blocks its schedule.
#[tokio::test]
async fn a_run_beyond_a_limit_is_skipped_and_the_next_one_takes_place() {
    let database = Database::new().await;
    sqlx::query("INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'a@x', '!')")
        .execute(&database.sql)
        .await
        .unwrap();
    let new = NewCollection { owner: Some("ada".to_owned()), ..new_collection("docs") };
    let collection = database.postgres.ensure_collection(&new).await.unwrap();
    let key = ScheduleKey { owner: "ada", collection: "docs", pipeline: "docs" };
    let schedules = database.postgres.schedules();
    let known = schedules.register(&key, &json!({ "cron": "* * * * *" })).await.unwrap();
    let config = json!({ "do": "run" });
    let what =
        QueuedOperation { collection: &collection, kind: OperationType::Append, config: &config };
    let collections = database.postgres.collections();
    let ten = collections.limits(collection.id).await.unwrap().unwrap().limits;
    assert_eq!(ten.max_operations_per_hour, 10);

    let look = minutes(known.looked_until, 0..11);
    assert_eq!(schedules.fire(known.id, &look, &what).await.unwrap().len(), 10);
    let looked = schedules.find(&key).await.unwrap().unwrap();
    assert_eq!(looked.looked_until, look.until);
    let skipped = &schedules.history(known.id, 1).await.unwrap()[0];
    let why = "collection `docs` has reached its limit of 10 operations within an hour";
    assert_eq!(
        (skipped.fate, skipped.message.as_deref()),
        (ScheduledRunOutcome::Skipped, Some(why))
    );
    let refused = schedules.run_now(known.id, &what).await.unwrap_err();
    assert!(pipeline::error_chain(&refused).contains(why), "{refused:?}");
    assert!(database.postgres.operations().enqueue(&what).await.is_err());

    // The limit of operations is raised, then the limit of documents is reached.
    let more = ResourceLimits { max_operations_per_hour: 100, ..ten };
    collections.set_limits(collection.id, &more, &Actor::default()).await.unwrap();
    let look = minutes(looked.looked_until, 12..13);
    assert_eq!(schedules.fire(known.id, &look, &what).await.unwrap().len(), 1);
    let full = ResourceLimits { max_documents: 1, ..more };
    collections.set_limits(collection.id, &full, &Actor::default()).await.unwrap();
    sqlx::query("UPDATE collections SET document_count = 1").execute(&database.sql).await.unwrap();
    let look = minutes(look.until, 13..14);
    assert!(schedules.fire(known.id, &look, &what).await.unwrap().is_empty());
    let skipped = &schedules.history(known.id, 1).await.unwrap()[0];
    let why = "collection `docs` has reached its limit of 1 documents";
    assert_eq!(
        (skipped.fate, skipped.message.as_deref()),
        (ScheduledRunOutcome::Skipped, Some(why))
    );
    assert!(collections.check_quota(&collection).await.is_err());
    // An operation that removes documents is allowed.
    database.postgres.operations().enqueue(&what).await.unwrap();
}

#[tokio::test]
async fn a_schedule_without_a_success_stands_there_since_it_was_made() {
    let database = Database::new().await;
    let key = ScheduleKey { owner: "local", collection: "docs", pipeline: "docs" };
    let schedules = database.postgres.schedules();
    let known = schedules.register(&key, &json!({ "cron": "* * * * *" })).await.unwrap();
    let standing = database.postgres.status().await.unwrap();
    assert!(standing.last_success.is_empty());
    let found = &standing.schedules[0];
    assert_eq!((found.pipeline.as_str(), found.created_at), ("docs", known.looked_until));
    // No run is expected of a schedule that an API call or the file pauses.
    schedules.pause(known.id, true).await.unwrap();
    assert!(database.postgres.status().await.unwrap().schedules.is_empty());
    schedules.pause(known.id, false).await.unwrap();
    assert_eq!(database.postgres.status().await.unwrap().schedules.len(), 1);
    let paused = json!({ "cron": "* * * * *", "paused": true });
    schedules.register(&key, &paused).await.unwrap();
    assert!(database.postgres.status().await.unwrap().schedules.is_empty());
}

#[tokio::test]
async fn a_schedule_that_no_file_has_is_due_no_more_and_keeps_its_history() {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let key = ScheduleKey { owner: "local", collection: "docs", pipeline: "docs" };
    let other = ScheduleKey { pipeline: "other", ..key };
    let spec = json!({ "cron": "* * * * *" });
    let schedules = database.postgres.schedules();
    let known = schedules.register(&key, &spec).await.unwrap();
    let config = json!({ "do": "run" });
    let what =
        QueuedOperation { collection: &collection, kind: OperationType::Append, config: &config };
    schedules.run_now(known.id, &what).await.unwrap();
    let (now, found) = schedules.poll(&[other, key]).await.unwrap();
    assert!(now >= known.looked_until);
    assert_eq!(found, std::slice::from_ref(&known), "the other one has no schedule");
    assert!(schedules.poll(&[]).await.unwrap().1.is_empty());

    schedules.withdraw(known.id).await.unwrap();
    let gone = schedules.find(&key).await.unwrap().unwrap();
    assert!(gone.spec.is_null() && gone.next_due_at.is_none());
    assert!(database.postgres.status().await.unwrap().schedules.is_empty());
    assert_eq!(schedules.history(known.id, 10).await.unwrap().len(), 1);
    // Back in a file, runs count from then on.
    let again = schedules.register(&key, &spec).await.unwrap();
    assert!(again.id == known.id && again.looked_until >= gone.looked_until);
}
