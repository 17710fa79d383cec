//! Schedules: their due runs and the results. `pipeline::Schedule` calculates due times; this
//! module records each run exactly once, regardless of the number of workers
//! (docs/adr/0017-queue-and-schedules.md).
//!
//! A check is one transaction that locks the row of the schedule. It commits together: the runs due
//! since the last check, their operations, and the time of the check.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::collections::limits::find_reached_limit;
use crate::operations::queue::{QueuedOperation, enqueue};
use crate::operations::{OperationOutcome, OperationStatus, finish_within};
use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

/// Key of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleKey<'a> {
    /// User name of the owner of the collection.
    pub owner: &'a str,
    /// Name of the collection.
    pub collection: &'a str,
    /// Name of the pipeline.
    pub pipeline: &'a str,
}

/// A schedule, as stored.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ScheduleSummary {
    /// Id of the schedule.
    pub id: Uuid,
    /// User name of the owner of the collection.
    pub owner: String,
    /// Name of the collection.
    pub collection: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The schedule in the pipeline file; `null` after its removal from the file.
    pub spec: Value,
    /// Time up to which due runs have been recorded.
    pub looked_until: DateTime<Utc>,
    /// Time of the next run, as calculated at the last check.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Time at which it was paused; `None` if it is active.
    pub paused_at: Option<DateTime<Utc>>,
}

impl ScheduleSummary {
    /// `true` if it is the schedule with this key.
    pub fn is_of(&self, key: &ScheduleKey<'_>) -> bool {
        *key == ScheduleKey {
            owner: &self.owner,
            collection: &self.collection,
            pipeline: &self.pipeline,
        }
    }
}

/// A run of a schedule with its result.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ScheduleRun {
    /// Id of the run.
    pub id: Uuid,
    /// Due time according to the cron expression.
    pub due_at: DateTime<Utc>,
    /// Result: started, skipped or missed.
    pub fate: ScheduledRunOutcome,
    /// Reason why it was not started.
    pub message: Option<String>,
    /// Host and process of the worker that recorded it.
    pub worker: String,
    /// Its operation; the last one if there were several attempts.
    pub operation_id: Option<Uuid>,
    /// Status of the operation.
    pub status: Option<OperationStatus>,
    /// Number of the attempt.
    pub attempt: Option<i32>,
    /// Error message of the operation.
    pub error_message: Option<String>,
    /// Time at which the operation started.
    pub started_at: Option<DateTime<Utc>>,
    /// Time at which the operation ended.
    pub completed_at: Option<DateTime<Utc>>,
}

/// Result for a due run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Serialize)]
#[sqlx(type_name = "schedule_run_fate", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum ScheduledRunOutcome {
    /// An operation was queued for it.
    Fired,
    /// Skipped: the previous run had not ended, or a limit of the collection was reached.
    Skipped,
    /// No worker was running when it was due.
    Missed,
}

impl ScheduledRunOutcome {
    /// All results.
    pub const ALL: [Self; 3] = [Self::Fired, Self::Skipped, Self::Missed];
}

/// Overlap policy: the action if the previous run has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlapPolicy {
    /// Skip the new run.
    Skip,
    /// Queue the new run.
    Queue,
    /// Cancel the previous run.
    Cancel,
}

/// A due run.
#[derive(Clone, Debug)]
pub struct DueRun {
    /// Due time according to the cron expression.
    pub at: DateTime<Utc>,
    /// Reason for not starting it; `None` starts it.
    pub missed: Option<String>,
    /// Earliest start.
    pub not_before: DateTime<Utc>,
    /// Overlap policy.
    pub overlap_policy: OverlapPolicy,
}

/// Result of a worker's check of a schedule.
#[derive(Clone, Debug)]
pub struct SchedulePoll {
    /// [`ScheduleSummary::looked_until`] at the start of the check.
    pub since: DateTime<Utc>,
    /// Time of the check.
    pub until: DateTime<Utc>,
    /// Runs due in between, oldest first.
    pub due: Vec<DueRun>,
    /// Due time of the next run.
    pub next: Option<DateTime<Utc>>,
}

/// The schedules of the metadata store.
pub struct Schedules<'a>(&'a PgPool);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, collection, pipeline, spec, looked_until, next_due_at, paused_at FROM schedules ",
            $rest
        )
    };
}

impl Postgres {
    /// The schedules of pipelines.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules(&self.pool)
    }

    /// Current time of the database server, common to all its clients.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        retry_call(&self.pool, "read the time of the store", || async {
            Ok(sqlx::query_scalar("SELECT now()").fetch_one(&self.pool).await?)
        })
        .await
    }
}

impl Schedules<'_> {
    /// Returns the schedule of a pipeline and creates it if it does not exist. After a change of
    /// the spec, runs count from now on: earlier due times of the new spec are ignored.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn register(
        &self,
        key: &ScheduleKey<'_>,
        spec: &Value,
    ) -> Result<ScheduleSummary, StoreError> {
        retry_call(self.0, "register the schedule", || async {
            // Reads first to avoid a write without changes; several workers call this concurrently.
            let known = self.try_find(key).await?;
            if let Some(known) = known.filter(|known| known.spec == *spec) {
                return Ok(known);
            }
            sqlx::query(
                "INSERT INTO schedules (owner, collection, pipeline, spec) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (owner, collection, pipeline) DO UPDATE
                 SET spec = EXCLUDED.spec, looked_until = now(), next_due_at = NULL
                 WHERE schedules.spec <> EXCLUDED.spec",
            )
            .bind(key.owner)
            .bind(key.collection)
            .bind(key.pipeline)
            .bind(spec)
            .execute(self.0)
            .await?;
            self.try_find(key)
                .await?
                .ok_or_else(|| QueryError::Conflict("it was deleted".to_owned()))
        })
        .await
    }

    /// The schedule of a pipeline; `None` if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find(&self, key: &ScheduleKey<'_>) -> Result<Option<ScheduleSummary>, StoreError> {
        retry_call(self.0, "find the schedule", || self.try_find(key)).await
    }

    async fn try_find(&self, key: &ScheduleKey<'_>) -> Result<Option<ScheduleSummary>, QueryError> {
        Ok(sqlx::query_as(select!("WHERE owner = $1 AND collection = $2 AND pipeline = $3"))
            .bind(key.owner)
            .bind(key.collection)
            .bind(key.pipeline)
            .fetch_optional(self.0)
            .await?)
    }

    /// All schedules in order of owner, collection and pipeline.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self) -> Result<Vec<ScheduleSummary>, StoreError> {
        retry_call(self.0, "list schedules", || async {
            Ok(sqlx::query_as(select!("ORDER BY owner, collection, pipeline"))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// The existing schedules of these pipelines, with the time of the database server. While no
    /// run is due, a worker needs only this query.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn poll(
        &self,
        keys: &[ScheduleKey<'_>],
    ) -> Result<(DateTime<Utc>, Vec<ScheduleSummary>), StoreError> {
        #[derive(FromRow)]
        struct Row {
            now: DateTime<Utc>,
            #[sqlx(flatten)]
            schedule: ScheduleSummary,
        }
        let of = |part: fn(&ScheduleKey<'_>) -> String| keys.iter().map(part).collect::<Vec<_>>();
        let owners = of(|it| it.owner.to_owned());
        let collections = of(|it| it.collection.to_owned());
        let pipelines = of(|it| it.pipeline.to_owned());
        retry_call(self.0, "check schedules", || async {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT now() AS now, id, owner, collection, pipeline, spec, looked_until, next_due_at, paused_at
                 FROM schedules
                 JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (owner, collection, pipeline)
                      USING (owner, collection, pipeline)",
            )
            .bind(&owners)
            .bind(&collections)
            .bind(&pipelines)
            .fetch_all(self.0)
            .await?;
            // Without schedules the time is not used.
            let now = rows.first().map_or_else(Utc::now, |row| row.now);
            Ok((now, rows.into_iter().map(|row| row.schedule).collect()))
        })
        .await
    }

    /// Records that the schedule was removed from its file: it is never due, and its history is
    /// kept. If it returns to a file, runs count from then on.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn withdraw(&self, schedule: Uuid) -> Result<(), StoreError> {
        retry_call(self.0, "withdraw the schedule", || async {
            sqlx::query(
                "UPDATE schedules SET spec = 'null', next_due_at = NULL, looked_until = now() WHERE id = $1",
            )
            .bind(schedule)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }

    /// Pauses or resumes a schedule; runs due during the pause are not missed runs.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn pause(&self, schedule: Uuid, paused: bool) -> Result<(), StoreError> {
        retry_call(self.0, "pause the schedule", || async {
            sqlx::query(
                "UPDATE schedules
                 SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, now()) END,
                     looked_until = CASE WHEN paused_at IS NOT NULL AND NOT $2 THEN now() ELSE looked_until END,
                     next_due_at = NULL
                 WHERE id = $1",
            )
            .bind(schedule)
            .bind(paused)
            .execute(self.0)
            .await?;
            Ok(())
        })
        .await
    }

    /// Records due runs and returns their operations. If another worker has checked in the
    /// meantime, nothing is written, because these runs are already recorded.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn fire(
        &self,
        schedule: Uuid,
        look: &SchedulePoll,
        errand: &QueuedOperation<'_>,
    ) -> Result<Vec<Uuid>, StoreError> {
        retry_call(self.0, "start due runs", || self.try_fire(schedule, look, errand)).await
    }

    async fn try_fire(
        &self,
        schedule: Uuid,
        look: &SchedulePoll,
        errand: &QueuedOperation<'_>,
    ) -> Result<Vec<Uuid>, QueryError> {
        let mut transaction = self.0.begin().await?;
        let ours: Option<Uuid> = sqlx::query_scalar(
            "UPDATE schedules SET looked_until = $3, next_due_at = $4
             WHERE id = $1 AND looked_until = $2 AND paused_at IS NULL RETURNING id",
        )
        .bind(schedule)
        .bind(look.since)
        .bind(look.until)
        .bind(look.next)
        .fetch_optional(&mut *transaction)
        .await?;
        if ours.is_none() {
            return Ok(Vec::new());
        }
        let mut fired = Vec::new();
        for due in &look.due {
            fired.extend(fire_run(&mut transaction, schedule, due, errand).await?);
        }
        transaction.commit().await?;
        Ok(fired)
    }

    /// Starts a run now, regardless of the cron expression, and returns its operation.
    ///
    /// # Errors
    /// If a limit of the collection is reached, or the store cannot be reached.
    pub async fn run_now(
        &self,
        schedule: Uuid,
        errand: &QueuedOperation<'_>,
    ) -> Result<Uuid, StoreError> {
        retry_call(self.0, "run the schedule now", || async {
            let mut transaction = self.0.begin().await?;
            // A client requested the run and receives an error; skipping would hide it.
            let collection = errand.collection;
            if let Some(limit) = find_reached_limit(&mut transaction, collection.id, true).await? {
                return Err(limit.to_conflict(&collection.name));
            }
            let at: DateTime<Utc> =
                sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
            let due =
                DueRun { at, missed: None, not_before: at, overlap_policy: OverlapPolicy::Queue };
            let fired = fire_run(&mut transaction, schedule, &due, errand).await?;
            transaction.commit().await?;
            fired.ok_or_else(|| QueryError::Conflict("it was just requested".to_owned()))
        })
        .await
    }

    /// The last runs of a schedule, newest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn history(
        &self,
        schedule: Uuid,
        limit: u32,
    ) -> Result<Vec<ScheduleRun>, StoreError> {
        retry_call(self.0, "list the runs of the schedule", || async {
            Ok(sqlx::query_as(
                "SELECT r.id, r.due_at, r.fate, r.message, r.worker, o.id AS operation_id, o.status, o.attempt,
                        o.error_message, o.started_at, o.completed_at
                 FROM schedule_runs r
                 LEFT JOIN LATERAL (SELECT * FROM operations o WHERE o.schedule_run_id = r.id
                                    ORDER BY o.created_at DESC, o.attempt DESC LIMIT 1) o ON TRUE
                 WHERE r.schedule_id = $1 ORDER BY r.due_at DESC LIMIT $2",
            )
            .bind(schedule)
            .bind(i64::from(limit))
            .fetch_all(self.0)
            .await?)
        })
        .await
    }
}

/// Records one due run and returns its operation; `None` if it is not started or was recorded
/// before. If a limit of the collection is reached, the run is skipped: an error would roll back
/// this check and all later ones.
async fn fire_run(
    connection: &mut PgConnection,
    schedule: Uuid,
    due: &DueRun,
    errand: &QueuedOperation<'_>,
) -> Result<Option<Uuid>, QueryError> {
    let before = if due.missed.is_some() || due.overlap_policy == OverlapPolicy::Queue {
        Vec::new()
    } else {
        unfinished_operations(connection, schedule).await?
    };
    let (mut fate, mut message) = match (&due.missed, due.overlap_policy, before.first()) {
        (Some(why), _, _) => (ScheduledRunOutcome::Missed, Some(why.clone())),
        (None, OverlapPolicy::Skip, Some(other)) => (
            ScheduledRunOutcome::Skipped,
            Some(format!("operation {other} of the previous run has not ended")),
        ),
        (None, _, _) => (ScheduledRunOutcome::Fired, None),
    };
    if fate == ScheduledRunOutcome::Fired
        && let Some(limit) = find_reached_limit(connection, errand.collection.id, true).await?
    {
        (fate, message) =
            (ScheduledRunOutcome::Skipped, Some(limit.message(&errand.collection.name)));
    }
    let run: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO schedule_runs (schedule_id, due_at, fate, message, worker) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (schedule_id, due_at) DO NOTHING RETURNING id",
    )
    .bind(schedule)
    .bind(due.at)
    .bind(fate)
    .bind(message)
    .bind(crate::operations::lease::worker_name())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(run) = run.filter(|_| fate == ScheduledRunOutcome::Fired) else { return Ok(None) };
    if due.overlap_policy == OverlapPolicy::Cancel {
        for other in before {
            finish_within(connection, other, &OperationOutcome::Cancelled, &[]).await?;
        }
    }
    Ok(Some(enqueue(connection, errand, Some((run, due.not_before))).await?))
}

/// Operations of earlier runs that have not ended.
async fn unfinished_operations(
    connection: &mut PgConnection,
    schedule: Uuid,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT o.id FROM schedule_runs r JOIN operations o ON o.schedule_run_id = r.id
         WHERE r.schedule_id = $1 AND o.status IN ('pending', 'processing') ORDER BY o.created_at",
    )
    .bind(schedule)
    .fetch_all(connection)
    .await
}
