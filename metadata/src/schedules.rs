//! Schedules: their due runs and the results. `pipeline::Schedule` calculates due times; this
//! module records each run exactly once, regardless of the number of workers
//! (docs/adr/0017-queue-and-schedules.md).
//!
//! A check is one transaction that locks the row of the schedule. It commits together: the runs due
//! since the last check, their operations, and the time of the check.

pub(crate) mod runs;

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

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

/// The schedules of the metadata store.
///
/// # Errors
/// Every method fails if the store cannot be reached; methods with further errors list them.
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
}
