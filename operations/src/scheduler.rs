//! The scheduler: reads the schedules of the served files, by the clock of the store, and queues
//! due runs. Several processes may do so concurrently; Postgres ensures that each run is queued
//! once.

use chrono::{DateTime, Utc};
use metadata::{
    Collection, DueRun, OperationType, OverlapPolicy, Postgres, QueuedOperation, ScheduleKey,
    SchedulePoll, ScheduleSummary,
};
use pipeline::{
    BoxError, Occurrence, OccurrenceStatus, OperationRequest, Overlap, Schedule, ScheduleSpec,
};
use uuid::Uuid;

use crate::loaded_pipeline::{LoadedPipeline, RemovedPipeline};
use crate::pipeline_files::PipelineFiles;
use crate::queue::request_config;
use crate::stores;

/// Queues the due runs of these files and withdraws schedules that were removed from their files.
/// An error in one schedule does not affect the others.
///
/// # Errors
/// If the store cannot return the schedules.
pub(crate) async fn tick(postgres: &Postgres, files: &PipelineFiles) -> Result<(), BoxError> {
    let (present, gone) = (files.present(), files.removed());
    let keys: Vec<ScheduleKey<'_>> =
        present.iter().map(|it| it.key()).chain(gone.iter().map(RemovedPipeline::key)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let (now, known) = postgres.schedules().poll(&keys).await?;
    let kept: Vec<_> =
        present.iter().filter_map(|it| Some((it, it.spec.file.schedule.as_ref()?))).collect();
    for schedule in known.iter().filter(|it| !it.spec.is_null()) {
        if !kept.iter().any(|(loaded, _)| schedule.is_of(&loaded.key())) {
            postgres.schedules().withdraw(schedule.id).await?;
            tracing::info!(pipeline = schedule.pipeline, "schedule removed: no served file has it");
        }
    }
    files.acknowledge_removed(&gone);
    for (loaded, spec) in kept {
        let known = known.iter().find(|it| it.is_of(&loaded.key()));
        let pipeline = &loaded.spec.file.name;
        match enqueue_due_runs(postgres, loaded, spec, known, now).await {
            Ok(fired) => {
                for id in fired {
                    tracing::info!(operation = %id, pipeline, "a run is due");
                }
            }
            Err(error) => {
                let error = pipeline::error_chain(error.as_ref());
                tracing::warn!(pipeline, error, "cannot process the schedule");
            }
        }
    }
    Ok(())
}

/// Queues the due runs of a file's schedule and returns the ids of their operations.
async fn enqueue_due_runs(
    postgres: &Postgres,
    loaded: &LoadedPipeline,
    spec: &ScheduleSpec,
    known: Option<&ScheduleSummary>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, BoxError> {
    let says = serde_json::to_value(spec)?;
    let Some(known) = known.filter(|it| it.spec == says) else {
        // A new or changed schedule counts from now; the next tick finds its due runs.
        register(postgres, loaded, spec).await?;
        return Ok(Vec::new());
    };
    if spec.paused || known.paused_at.is_some() || known.next_due_at.is_some_and(|it| it > now) {
        return Ok(Vec::new());
    }
    let schedule = Schedule::from_spec(spec).map_err(|_| "the schedule was checked")?;
    let look = SchedulePoll {
        since: known.looked_until,
        until: now,
        due: schedule
            .due(known.looked_until, now)
            .into_iter()
            .map(|due| to_due_run(&schedule, spec, &loaded.spec.file.name, due))
            .collect(),
        next: schedule.next_after(now),
    };
    let collection = collection_of(postgres, loaded).await?;
    let request = OperationRequest::from(spec.operation);
    let config = request_config(&loaded.spec, &request);
    let kind = OperationType::of(&request);
    let queued = QueuedOperation { collection: &collection, kind, config: &config };
    Ok(postgres.schedules().fire(known.id, &look, &queued).await?)
}

/// Stores the schedule of a file and returns the stored one.
pub async fn register(
    postgres: &Postgres,
    loaded: &LoadedPipeline,
    spec: &ScheduleSpec,
) -> Result<ScheduleSummary, BoxError> {
    let says = serde_json::to_value(spec)?;
    Ok(postgres.schedules().register(&loaded.key(), &says).await?)
}

/// Queues a run of the schedule immediately and returns the id of the operation.
pub async fn run_now(postgres: &Postgres, loaded: &LoadedPipeline) -> Result<Uuid, BoxError> {
    let spec = loaded.spec.file.schedule.as_ref().ok_or("the file has no `schedule`")?;
    let known = register(postgres, loaded, spec).await?;
    let collection = collection_of(postgres, loaded).await?;
    let request = OperationRequest::from(spec.operation);
    let config = request_config(&loaded.spec, &request);
    let kind = OperationType::of(&request);
    let queued = QueuedOperation { collection: &collection, kind, config: &config };
    Ok(postgres.schedules().run_now(known.id, &queued).await?)
}

fn to_due_run(schedule: &Schedule, spec: &ScheduleSpec, name: &str, due: Occurrence) -> DueRun {
    let Occurrence { at, status: fate } = due;
    let meeting = match (fate, spec.overlap) {
        // Caught-up runs are queued together, so `skip` would drop all but the first.
        (OccurrenceStatus::CatchUp, _) | (_, Overlap::Queue) => OverlapPolicy::Queue,
        (_, Overlap::Skip) => OverlapPolicy::Skip,
        (_, Overlap::CancelPrevious) => OverlapPolicy::Cancel,
    };
    let missed = (fate == OccurrenceStatus::Missed)
        .then(|| "no worker was running when it was due".to_owned());
    let not_before: DateTime<Utc> = match fate {
        OccurrenceStatus::Fired => at + schedule.jitter_delay(name, at),
        OccurrenceStatus::CatchUp | OccurrenceStatus::Missed => at,
    };
    DueRun { at, missed, not_before, overlap_policy: meeting }
}

/// Returns the collection of a file; creates it if it does not exist.
async fn collection_of(
    postgres: &Postgres,
    loaded: &LoadedPipeline,
) -> Result<Collection, BoxError> {
    let file = &loaded.spec.file;
    let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
    if let Some(collection) = found {
        return Ok(collection);
    }
    let settings = stores::generation_settings(&loaded.plan, &loaded.facts);
    Ok(postgres.ensure_collection(&stores::new_collection(&loaded.spec, settings)).await?)
}
