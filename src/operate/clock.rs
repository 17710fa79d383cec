//! Has runs take place that are due: looks at the schedules of the files that are served, by the store's clock, and
//! hands over what is due. Any number of processes may do so; Postgres sees to it that each run is there once.

use chrono::{DateTime, Utc};
use metadata::{
    Collection, DueRun, HandedOver, Look, Meeting, Postgres, ScheduleKey, ScheduleSummary,
};
use pipeline::{BoxError, Due, Fate, Overlap, Schedule, ScheduleSpec, ScheduledOperation};
use serde_json::Value;
use uuid::Uuid;

use super::files::{Files, Gone, Loaded};
use super::{Errand, Wish, config_of, model_of};
use crate::wiring;

/// Looks once at the schedules of these files: has take place what is due, and withdraws those that no file has any
/// more. What goes wrong with one holds no other up.
///
/// # Errors
/// If the store cannot be asked for the schedules.
pub(super) async fn tick(postgres: &Postgres, files: &Files) -> Result<(), BoxError> {
    let (present, gone) = (files.present(), files.gone());
    let keys: Vec<ScheduleKey<'_>> =
        present.iter().map(|it| it.key()).chain(gone.iter().map(Gone::key)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let (now, known) = postgres.schedules().look(&keys).await?;
    let kept: Vec<_> =
        present.iter().filter_map(|it| Some((it, it.spec.file.schedule.as_ref()?))).collect();
    for schedule in known.iter().filter(|it| !it.spec.is_null()) {
        if !kept.iter().any(|(loaded, _)| schedule.is_of(&loaded.key())) {
            postgres.schedules().withdraw(schedule.id).await?;
            tracing::info!(pipeline = schedule.pipeline, "no file has its schedule any more");
        }
    }
    files.forget(&gone);
    for (loaded, spec) in kept {
        let known = known.iter().find(|it| it.is_of(&loaded.key()));
        let pipeline = &loaded.spec.file.name;
        match fire(postgres, loaded, spec, known, now).await {
            Ok(fired) => {
                for id in fired {
                    tracing::info!(operation = %id, pipeline, "a run is due");
                }
            }
            Err(error) => {
                let error = pipeline::chain(error.as_ref());
                tracing::warn!(pipeline, error, "its schedule could not be looked at");
            }
        }
    }
    Ok(())
}

/// Hands over what is due by the schedule of a file; gives the operations.
async fn fire(
    postgres: &Postgres,
    loaded: &Loaded,
    spec: &ScheduleSpec,
    known: Option<&ScheduleSummary>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, BoxError> {
    let says = serde_json::to_value(spec)?;
    let Some(known) = known.filter(|it| it.spec == says) else {
        // What is due from now on is seen at the next look.
        register(postgres, loaded, spec).await?;
        return Ok(Vec::new());
    };
    if spec.paused || known.paused_at.is_some() || known.next_due_at.is_some_and(|it| it > now) {
        return Ok(Vec::new());
    }
    let schedule = Schedule::read(spec).map_err(|_| "the schedule was checked")?;
    let look = Look {
        since: known.looked_until,
        until: now,
        due: schedule
            .due(known.looked_until, now)
            .into_iter()
            .map(|due| due_run(&schedule, spec, &loaded.spec.file.name, due))
            .collect(),
        next: schedule.next_after(now),
    };
    let collection = collection_of(postgres, loaded).await?;
    let config = config(loaded, spec);
    let kind = errand(spec).kind();
    let handed_over = HandedOver { collection: &collection, kind, config: &config };
    Ok(postgres.schedules().fire(known.id, &look, &handed_over).await?)
}

/// The schedule of a file as it is stored.
pub(crate) async fn register(
    postgres: &Postgres,
    loaded: &Loaded,
    spec: &ScheduleSpec,
) -> Result<ScheduleSummary, BoxError> {
    let says = serde_json::to_value(spec)?;
    Ok(postgres.schedules().register(&loaded.key(), &says).await?)
}

/// Has the schedule of a file run now; gives the operation.
pub(crate) async fn run_now(postgres: &Postgres, loaded: &Loaded) -> Result<Uuid, BoxError> {
    let spec = loaded.spec.file.schedule.as_ref().ok_or("the file has no `schedule`")?;
    let known = register(postgres, loaded, spec).await?;
    let collection = collection_of(postgres, loaded).await?;
    let config = config(loaded, spec);
    let kind = errand(spec).kind();
    let handed_over = HandedOver { collection: &collection, kind, config: &config };
    Ok(postgres.schedules().run_now(known.id, &handed_over).await?)
}

fn due_run(schedule: &Schedule, spec: &ScheduleSpec, name: &str, due: Due) -> DueRun {
    let Due { at, fate } = due;
    let meeting = match (fate, spec.overlap) {
        // Those that are made up for come at once, and would all but the first be skipped.
        (Fate::MadeUp, _) | (_, Overlap::Queue) => Meeting::Queue,
        (_, Overlap::Skip) => Meeting::Skip,
        (_, Overlap::CancelPrevious) => Meeting::Cancel,
    };
    let missed = (fate == Fate::Missed).then(|| "nobody was there when it was due".to_owned());
    let not_before: DateTime<Utc> = match fate {
        Fate::Fired => at + schedule.delay(name, at),
        Fate::MadeUp | Fate::Missed => at,
    };
    DueRun { at, missed, not_before, meeting }
}

fn errand(spec: &ScheduleSpec) -> Errand {
    let anew = spec.operation == ScheduledOperation::Reindex;
    Errand::run(Wish { anew, ..Wish::default() })
}

/// What the operation is asked to do. It says nothing of the file's options: the run takes place by the file as it
/// is then.
fn config(loaded: &Loaded, spec: &ScheduleSpec) -> Value {
    config_of(&loaded.spec, errand(spec).details())
}

/// The collection of a file; made when it is not there.
async fn collection_of(postgres: &Postgres, loaded: &Loaded) -> Result<Collection, BoxError> {
    let file = &loaded.spec.file;
    let found = postgres.collections().find(Some(&file.owner), &file.collection).await?;
    if let Some(collection) = found {
        return Ok(collection);
    }
    let model = model_of(&loaded.plan)?;
    let settings = wiring::generation_settings(&loaded.spec, &loaded.plan, &model);
    Ok(postgres.open_collection(&wiring::new_collection(&loaded.spec, settings)).await?)
}
