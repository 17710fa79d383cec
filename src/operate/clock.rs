//! Has runs take place that are due: looks at the schedules of the files that are served, by the store's clock, and
//! hands over what is due. Any number of processes may do so; Postgres sees to it that each run is there once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pipeline::{BoxError, Due, Fate, Overlap, Schedule, ScheduleSpec, ScheduledOperation};
use serde_json::Value;
use sinks::{
    Collection, DueRun, HandedOver, Look, Meeting, Postgres, ScheduleKey, ScheduleSummary,
};
use uuid::Uuid;

use super::files::Loaded;
use super::{Errand, Wish, config_of, model_of};
use crate::wiring;

/// What a schedule is of.
pub(crate) fn key_of(loaded: &Loaded) -> ScheduleKey<'_> {
    let file = &loaded.spec.file;
    ScheduleKey { owner: &file.owner, collection: &file.collection, pipeline: &file.name }
}

/// Looks at the schedule of a file once; gives the operations that were handed over.
pub(super) async fn tick(postgres: &Postgres, loaded: &Arc<Loaded>) -> Result<Vec<Uuid>, BoxError> {
    let Some(spec) = &loaded.spec.file.schedule else { return Ok(Vec::new()) };
    let known = register(postgres, loaded, spec).await?;
    if spec.paused || known.paused_at.is_some() {
        return Ok(Vec::new());
    }
    let now = postgres.now().await?;
    if known.next_due_at.is_some_and(|next| next > now) {
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
    let errand = errand(spec);
    let handed_over = HandedOver { collection: &collection, kind: errand.kind(), config: &config };
    Ok(postgres.schedules().fire(known.id, &look, &handed_over).await?)
}

/// The schedule of a file as it is stored.
pub(crate) async fn register(
    postgres: &Postgres,
    loaded: &Loaded,
    spec: &ScheduleSpec,
) -> Result<ScheduleSummary, BoxError> {
    let says = serde_json::to_value(spec)?;
    Ok(postgres.schedules().register(&key_of(loaded), &says).await?)
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
    let missed = (fate == Fate::Missed).then(|| "no worker was there when it was due".to_owned());
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
