//! Schedules: which runs were due, and what became of each. When runs are due is `pipeline::Schedule`'s to say;
//! here it is seen to that each is there once, however many workers look (docs/adr/0017-queue-and-schedules.md).
//!
//! A look is one transaction that locks the schedule's row: the runs that were due since the last look, their
//! operations, and the moment up to which was looked now stand there together or not at all.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::failure::Failure;
use super::limits::reached;
use super::operations::{Ending, OperationStatus, finish_within};
use super::queue::{HandedOver, hand_over};
use super::{Postgres, attempt};

/// What a schedule is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleKey<'a> {
    /// The owner of the collection.
    pub owner: &'a str,
    /// The collection.
    pub collection: &'a str,
    /// The pipeline.
    pub pipeline: &'a str,
}

/// A schedule as it is stored.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ScheduleSummary {
    /// Its id.
    pub id: Uuid,
    /// The owner of the collection.
    pub owner: String,
    /// The collection.
    pub collection: String,
    /// The pipeline.
    pub pipeline: String,
    /// As the file says it; `null` once no file says anything any more.
    pub spec: Value,
    /// Up to when it was looked for runs that were due.
    pub looked_until: DateTime<Utc>,
    /// When the next run is due, as far as it was foreseen.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Since when somebody has paused it.
    pub paused_at: Option<DateTime<Utc>>,
}

impl ScheduleSummary {
    /// Whether it is the schedule of this pipeline.
    pub fn is_of(&self, key: &ScheduleKey<'_>) -> bool {
        *key == ScheduleKey {
            owner: &self.owner,
            collection: &self.collection,
            pipeline: &self.pipeline,
        }
    }
}

/// A run with what became of it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ScheduleRun {
    /// Its id.
    pub id: Uuid,
    /// By the calendar.
    pub due_at: DateTime<Utc>,
    /// Whether it took place.
    pub fate: RunFate,
    /// Why not.
    pub message: Option<String>,
    /// Who put it there.
    pub worker: String,
    /// Its operation; the last one, if it was tried several times.
    pub operation_id: Option<Uuid>,
    /// Where that stands.
    pub status: Option<OperationStatus>,
    /// Which try it is.
    pub attempt: Option<i32>,
    /// Why that failed.
    pub error_message: Option<String>,
    /// When that began.
    pub started_at: Option<DateTime<Utc>>,
    /// When that ended.
    pub completed_at: Option<DateTime<Utc>>,
}

/// What becomes of a run that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "schedule_run_fate", rename_all = "lowercase")]
pub enum RunFate {
    /// An operation carries it out.
    Fired,
    /// The run before had not ended, or a limit of the collection was reached.
    Skipped,
    /// Nobody was there when it was due.
    Missed,
}

/// What is done where the run before has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// The new one is skipped.
    Skip,
    /// The new one waits.
    Queue,
    /// The one before is cancelled.
    Cancel,
}

/// A run that is due.
#[derive(Clone, Debug)]
pub struct DueRun {
    /// By the calendar.
    pub at: DateTime<Utc>,
    /// Why it does not take place; `None` has it take place.
    pub missed: Option<String>,
    /// When it may begin at the earliest.
    pub not_before: DateTime<Utc>,
    /// What is done where the run before has not ended.
    pub meeting: Meeting,
}

/// What a worker found when it looked.
#[derive(Clone, Debug)]
pub struct Look {
    /// [`ScheduleSummary::looked_until`] as it was when it began.
    pub since: DateTime<Utc>,
    /// Up to when it looked.
    pub until: DateTime<Utc>,
    /// What was due in between, oldest first.
    pub due: Vec<DueRun>,
    /// When the next run will be due.
    pub next: Option<DateTime<Utc>>,
}

/// The schedules of a store.
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
    /// The schedules.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules(&self.pool)
    }

    /// The time by the store's clock, which all who use it share.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        attempt(&self.pool, "ask the store for the time", || async {
            Ok(sqlx::query_scalar("SELECT now()").fetch_one(&self.pool).await?)
        })
        .await
    }
}

impl Schedules<'_> {
    /// Gives the schedule of a pipeline, and makes it if there is none. One that says something else than before
    /// is looked at from now on: what it would have said in the past was never due.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn register(
        &self,
        key: &ScheduleKey<'_>,
        spec: &Value,
    ) -> Result<ScheduleSummary, StoreError> {
        attempt(self.0, "register the schedule", || async {
            // Without a write where nothing has changed; several workers do this at once.
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
                .ok_or_else(|| Failure::Conflict("it is gone again".to_owned()))
        })
        .await
    }

    /// The schedule of a pipeline.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find(&self, key: &ScheduleKey<'_>) -> Result<Option<ScheduleSummary>, StoreError> {
        attempt(self.0, "find the schedule", || self.try_find(key)).await
    }

    async fn try_find(&self, key: &ScheduleKey<'_>) -> Result<Option<ScheduleSummary>, Failure> {
        Ok(sqlx::query_as(select!("WHERE owner = $1 AND collection = $2 AND pipeline = $3"))
            .bind(key.owner)
            .bind(key.collection)
            .bind(key.pipeline)
            .fetch_optional(self.0)
            .await?)
    }

    /// All of them, in order of owner, collection and pipeline.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self) -> Result<Vec<ScheduleSummary>, StoreError> {
        attempt(self.0, "list schedules", || async {
            Ok(sqlx::query_as(select!("ORDER BY owner, collection, pipeline"))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// The schedules of these pipelines, as far as there are any, with the time by the store's clock. All that a worker
    /// asks as long as nothing is due.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn look(
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
        attempt(self.0, "look at schedules", || async {
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
            // Without any there is nothing that could be due.
            let now = rows.first().map_or_else(Utc::now, |row| row.now);
            Ok((now, rows.into_iter().map(|row| row.schedule).collect()))
        })
        .await
    }

    /// Notes that no file has a schedule any more: it is due no more, and its history stays. One that is in a file
    /// again is looked at from then on.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn withdraw(&self, schedule: Uuid) -> Result<(), StoreError> {
        attempt(self.0, "withdraw the schedule", || async {
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

    /// Pauses a schedule, or has it go on; what was due while it was paused was not missed.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn pause(&self, schedule: Uuid, paused: bool) -> Result<(), StoreError> {
        attempt(self.0, "pause the schedule", || async {
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

    /// Writes down what was due; gives the operations that carry it out. If another worker has looked meanwhile,
    /// nothing is written: what was due is there already.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn fire(
        &self,
        schedule: Uuid,
        look: &Look,
        errand: &HandedOver<'_>,
    ) -> Result<Vec<Uuid>, StoreError> {
        attempt(self.0, "fire what is due", || self.try_fire(schedule, look, errand)).await
    }

    async fn try_fire(
        &self,
        schedule: Uuid,
        look: &Look,
        errand: &HandedOver<'_>,
    ) -> Result<Vec<Uuid>, Failure> {
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
            fired.extend(fire_one(&mut transaction, schedule, due, errand).await?);
        }
        transaction.commit().await?;
        Ok(fired)
    }

    /// Has a run take place now, whatever the calendar says; gives its operation.
    ///
    /// # Errors
    /// If a limit of the collection is reached, or the store cannot be reached.
    pub async fn run_now(
        &self,
        schedule: Uuid,
        errand: &HandedOver<'_>,
    ) -> Result<Uuid, StoreError> {
        attempt(self.0, "have the schedule run now", || async {
            let mut transaction = self.0.begin().await?;
            // Somebody asks, and is told; nothing is skipped.
            let collection = errand.collection;
            if let Some(limit) = reached(&mut transaction, collection.id, true).await? {
                return Err(limit.refusal(&collection.name));
            }
            let at: DateTime<Utc> =
                sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
            let due = DueRun { at, missed: None, not_before: at, meeting: Meeting::Queue };
            let fired = fire_one(&mut transaction, schedule, &due, errand).await?;
            transaction.commit().await?;
            fired.ok_or_else(|| Failure::Conflict("it was asked for just now".to_owned()))
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
        attempt(self.0, "list the runs of the schedule", || async {
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

/// Writes down one run that is due; gives its operation, if it takes place and was not there already. Where a limit of
/// the collection is reached the run is skipped: an error would take back the look, and every later one after it.
async fn fire_one(
    connection: &mut PgConnection,
    schedule: Uuid,
    due: &DueRun,
    errand: &HandedOver<'_>,
) -> Result<Option<Uuid>, Failure> {
    let before = if due.missed.is_some() || due.meeting == Meeting::Queue {
        Vec::new()
    } else {
        unfinished(connection, schedule).await?
    };
    let (mut fate, mut message) = match (&due.missed, due.meeting, before.first()) {
        (Some(why), _, _) => (RunFate::Missed, Some(why.clone())),
        (None, Meeting::Skip, Some(other)) => {
            (RunFate::Skipped, Some(format!("operation {other} of the run before has not ended")))
        }
        (None, _, _) => (RunFate::Fired, None),
    };
    if fate == RunFate::Fired
        && let Some(limit) = reached(connection, errand.collection.id, true).await?
    {
        (fate, message) = (RunFate::Skipped, Some(limit.in_words(&errand.collection.name)));
    }
    let run: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO schedule_runs (schedule_id, due_at, fate, message, worker) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (schedule_id, due_at) DO NOTHING RETURNING id",
    )
    .bind(schedule)
    .bind(due.at)
    .bind(fate)
    .bind(message)
    .bind(super::claim::worker())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(run) = run.filter(|_| fate == RunFate::Fired) else { return Ok(None) };
    if due.meeting == Meeting::Cancel {
        for other in before {
            finish_within(connection, other, &Ending::Cancelled, &[]).await?;
        }
    }
    Ok(Some(hand_over(connection, errand, Some((run, due.not_before))).await?))
}

/// Operations of earlier runs that have not ended.
async fn unfinished(
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
