//! The runs of schedules: recorded when they are due, started, listed.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::collections::limits::find_reached_limit;
use crate::operations::lease_rows::worker_name;
use crate::operations::queue::{QueuedOperation, enqueue};
use crate::operations::{OperationOutcome, OperationStatus, finish_within};
use crate::query_error::QueryError;
use crate::retry_call;
use crate::schedules::Schedules;

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
    /// [`crate::ScheduleSummary::looked_until`] at the start of the check.
    pub since: DateTime<Utc>,
    /// Time of the check.
    pub until: DateTime<Utc>,
    /// Runs due in between, oldest first.
    pub due: Vec<DueRun>,
    /// Due time of the next run.
    pub next: Option<DateTime<Utc>>,
}

impl Schedules<'_> {
    /// Records due runs and returns their operations. If another worker has checked in the
    /// meantime, nothing is written, because these runs are already recorded.
    pub async fn fire(
        &self,
        schedule: Uuid,
        poll: &SchedulePoll,
        operation: &QueuedOperation<'_>,
    ) -> Result<Vec<Uuid>, StoreError> {
        retry_call(self.0, "start due runs", || self.try_fire(schedule, poll, operation)).await
    }

    async fn try_fire(
        &self,
        schedule: Uuid,
        poll: &SchedulePoll,
        operation: &QueuedOperation<'_>,
    ) -> Result<Vec<Uuid>, QueryError> {
        let mut transaction = self.0.begin().await?;
        let ours: Option<Uuid> = sqlx::query_scalar(
            "UPDATE schedules SET looked_until = $3, next_due_at = $4
             WHERE id = $1 AND looked_until = $2 AND paused_at IS NULL RETURNING id",
        )
        .bind(schedule)
        .bind(poll.since)
        .bind(poll.until)
        .bind(poll.next)
        .fetch_optional(&mut *transaction)
        .await?;
        if ours.is_none() {
            return Ok(Vec::new());
        }
        let mut fired = Vec::new();
        for due in &poll.due {
            fired.extend(fire_run(&mut transaction, schedule, due, operation).await?);
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
        operation: &QueuedOperation<'_>,
    ) -> Result<Uuid, StoreError> {
        retry_call(self.0, "run the schedule now", || async {
            let mut transaction = self.0.begin().await?;
            // A client requested the run and receives an error; skipping would hide it.
            let collection = operation.collection;
            if let Some(limit) = find_reached_limit(&mut transaction, collection.id, true).await? {
                return Err(limit.to_conflict(&collection.name));
            }
            let at: DateTime<Utc> =
                sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
            let due =
                DueRun { at, missed: None, not_before: at, overlap_policy: OverlapPolicy::Queue };
            let fired = fire_run(&mut transaction, schedule, &due, operation).await?;
            transaction.commit().await?;
            fired.ok_or_else(|| QueryError::Conflict("it was just requested".to_owned()))
        })
        .await
    }

    /// The last runs of a schedule, newest first.
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
    operation: &QueuedOperation<'_>,
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
        && let Some(limit) = find_reached_limit(connection, operation.collection.id, true).await?
    {
        (fate, message) =
            (ScheduledRunOutcome::Skipped, Some(limit.message(&operation.collection.name)));
    }
    let run: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO schedule_runs (schedule_id, due_at, fate, message, worker) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (schedule_id, due_at) DO NOTHING RETURNING id",
    )
    .bind(schedule)
    .bind(due.at)
    .bind(fate)
    .bind(message)
    .bind(worker_name())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(run) = run.filter(|_| fate == ScheduledRunOutcome::Fired) else { return Ok(None) };
    if due.overlap_policy == OverlapPolicy::Cancel {
        for other in before {
            finish_within(connection, other, &OperationOutcome::Cancelled, &[]).await?;
        }
    }
    Ok(Some(enqueue(connection, operation, Some((run, due.not_before))).await?))
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
