//! `semantik schedule`: schedules, their due times and their past runs.

use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use metadata::{ScheduleRun, ScheduleSummary, ScheduledRunOutcome};
use operations::{LoadedPipeline, Runtime, scheduler};
use pipeline::{BoxError, Schedule, ScheduleSpec};
use serde_json::{Value, json};

use crate::cli::ScheduleVerb;
use crate::composition;
use crate::render;
use crate::telemetry::Telemetry;

pub(super) async fn schedule(verb: ScheduleVerb) -> Result<(), BoxError> {
    match verb {
        ScheduleVerb::List { file, json } => list(&file, json).await,
        ScheduleVerb::Next { file, count, json } => next(&file, count, json),
        ScheduleVerb::RunNow { file, json } => run_now(&file, json).await,
        ScheduleVerb::Pause { file, json } => pause(&file, true, json).await,
        ScheduleVerb::Resume { file, json } => pause(&file, false, json).await,
        ScheduleVerb::History { file, limit, json } => history(&file, limit, json).await,
    }
}

async fn list(file: &Path, json: bool) -> Result<(), BoxError> {
    let loaded = LoadedPipeline::read(file, &composition::composition())?;
    let runtime = composition::open_read_only(&loaded.spec).await?;
    if runtime.database.is_empty(&file.display().to_string()).await? {
        return print_empty(json);
    }
    let found = runtime.database.postgres().schedules().list().await?;
    let alive = runtime.database.postgres().workers().list_alive(None).await?;
    let files: Vec<&Value> = alive.iter().filter_map(|it| it.files.as_array()).flatten().collect();
    let state_of = |schedule: &ScheduleSummary| schedule_state(schedule, &files, &loaded);
    if json {
        let found = found.iter().map(|it| {
            json!({
                "owner": it.owner,
                "collection": it.collection,
                "pipeline": it.pipeline,
                "schedule": it.spec,
                "next_due_at": next_run_of(it, state_of(it)),
                "looked_until": it.looked_until,
                "paused_at": it.paused_at,
                "state": state_of(it).text(),
                "served": state_of(it) == ScheduleState::Served,
            })
        });
        return render::print_json(&found.collect());
    }
    let rows = found.iter().map(|it| {
        let says = |key: &str| it.spec[key].as_str().unwrap_or_default().to_owned();
        let state = state_of(it);
        vec![
            it.pipeline.clone(),
            it.collection.clone(),
            says("cron"),
            says("timezone"),
            says("operation"),
            next_run_of(it, state).map(render::format_time).unwrap_or_default(),
            state.text().to_owned(),
        ]
    });
    let head = ["pipeline", "collection", "cron", "time zone", "operation", "next", "state"];
    render::print(&render::table(&head, rows))
}

/// The state of a schedule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScheduleState {
    Orphaned,
    Paused,
    PausedByFile,
    FileGone,
    Served,
    Unserved,
}

impl ScheduleState {
    fn text(self) -> &'static str {
        match self {
            Self::Orphaned => "not in its file any more",
            Self::Paused => "paused",
            Self::PausedByFile => "paused by its file",
            Self::FileGone => "its file is gone",
            Self::Served => "served",
            Self::Unserved => "nobody serves it",
        }
    }
}

/// Determines the state of a schedule by the files of live workers and by the given file.
fn schedule_state(
    schedule: &ScheduleSummary,
    files: &[&Value],
    at_hand: &LoadedPipeline,
) -> ScheduleState {
    let is_at_hand = schedule.is_of(&at_hand.key());
    let is_of_it = |file: &&&Value| {
        file["owner"] == schedule.owner.as_str()
            && file["collection"] == schedule.collection.as_str()
            && file["pipeline"] == schedule.pipeline.as_str()
    };
    let says = |key: &str| files.iter().filter(is_of_it).any(|file| file[key] == true);
    if schedule.spec.is_null() || (is_at_hand && at_hand.spec.file.schedule.is_none()) {
        ScheduleState::Orphaned
    } else if schedule.paused_at.is_some() {
        ScheduleState::Paused
    } else if schedule.spec["paused"] == true {
        ScheduleState::PausedByFile
    } else if says("schedule") {
        ScheduleState::Served
    } else if says("gone") {
        ScheduleState::FileGone
    } else {
        ScheduleState::Unserved
    }
}

/// The next due time of a schedule, also if no worker has processed the schedule yet.
fn next_run_of(it: &ScheduleSummary, state: ScheduleState) -> Option<DateTime<Utc>> {
    match state {
        ScheduleState::Orphaned
        | ScheduleState::Paused
        | ScheduleState::PausedByFile
        | ScheduleState::FileGone => return None,
        ScheduleState::Served | ScheduleState::Unserved => {}
    }
    let spec: ScheduleSpec = serde_json::from_value(it.spec.clone()).ok()?;
    it.next_due_at.or_else(|| Schedule::from_spec(&spec).ok()?.next_after(it.looked_until))
}

/// Computed from the file alone, without the store.
fn next(file: &Path, count: usize, json: bool) -> Result<(), BoxError> {
    let loaded = LoadedPipeline::read(file, &composition::composition())?;
    let (_, schedule) = schedule_of(&loaded)?;
    let times: Vec<_> = schedule.upcoming(Utc::now()).take(count).collect();
    if json {
        let times = times.iter().map(|at| {
            let begins = *at + schedule.jitter_delay(&loaded.spec.file.name, *at);
            json!({ "due_at": at, "local": local(*at, schedule.timezone()), "begins_at": begins })
        });
        return render::print_json(&times.collect());
    }
    let rows = times.iter().map(|at| {
        let delay = schedule.jitter_delay(&loaded.spec.file.name, *at);
        #[expect(clippy::cast_precision_loss, reason = "seconds for display")]
        let delay = render::format_seconds(delay.num_seconds() as f64);
        vec![local(*at, schedule.timezone()), render::format_time(at), delay]
    });
    render::print(&render::table(&["due", "in UTC", "delay"], rows))
}

fn local(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
}

fn schedule_of(loaded: &LoadedPipeline) -> Result<(&ScheduleSpec, Schedule), BoxError> {
    let spec = loaded.spec.file.schedule.as_ref().ok_or("the file has no `schedule`")?;
    let schedule = Schedule::from_spec(spec).map_err(|_| "the schedule was checked")?;
    Ok((spec, schedule))
}

/// The schedule of a file, as stored.
async fn open_stored_schedule(
    file: &Path,
) -> Result<(LoadedPipeline, Runtime, ScheduleSummary), BoxError> {
    let loaded = LoadedPipeline::read(file, &composition::composition())?;
    let (spec, _) = schedule_of(&loaded)?;
    let runtime = composition::open_runtime(&loaded.spec, &Telemetry::new()).await?;
    let known = scheduler::register(runtime.database.postgres(), &loaded, spec).await?;
    Ok((loaded, runtime, known))
}

async fn run_now(file: &Path, as_json: bool) -> Result<(), BoxError> {
    let loaded = LoadedPipeline::read(file, &composition::composition())?;
    schedule_of(&loaded)?;
    let runtime = composition::open_runtime(&loaded.spec, &Telemetry::new()).await?;
    let postgres = runtime.database.postgres();
    let operation = scheduler::run_now(postgres, &loaded).await?;
    let found = postgres.operations().find(operation).await?;
    let collection = found.map(|it| it.collection_id);
    let alive = postgres.workers().list_alive(collection).await?;
    let note = if alive.is_empty() { "; no worker serves the collection yet" } else { "" };
    let answer = json!({ "operation": operation, "served": !alive.is_empty() });
    render::print_answer(as_json, &answer, &format!("requested operation {operation}{note}\n"))
}

async fn pause(file: &Path, paused: bool, as_json: bool) -> Result<(), BoxError> {
    let (loaded, runtime, known) = open_stored_schedule(file).await?;
    runtime.database.postgres().schedules().pause(known.id, paused).await?;
    let name = &loaded.spec.file.name;
    let words = if paused { "paused" } else { "resumed" };
    let answer = json!({ "pipeline": name, "paused": paused });
    render::print_answer(as_json, &answer, &format!("{words} the schedule of `{name}`\n"))
}

/// The output of a store without tables.
fn print_empty(json: bool) -> Result<(), BoxError> {
    if json { render::print_json(&json!([])) } else { render::print("the store is empty\n") }
}

async fn history(file: &Path, limit: u32, json: bool) -> Result<(), BoxError> {
    let loaded = LoadedPipeline::read(file, &composition::composition())?;
    let runtime = composition::open_read_only(&loaded.spec).await?;
    if runtime.database.is_empty(&file.display().to_string()).await? {
        return print_empty(json);
    }
    let schedules = runtime.database.postgres().schedules();
    // Also for a schedule that was removed from its file.
    let known = schedules.find(&loaded.key()).await?;
    if known.is_none() {
        schedule_of(&loaded)?;
    }
    let runs = match known {
        Some(known) => schedules.history(known.id, limit).await?,
        None => Vec::new(),
    };
    if json {
        return render::print_json(&runs.iter().map(as_json).collect());
    }
    let rows = runs.iter().map(|run| {
        vec![
            render::format_time(run.due_at),
            run_state(run),
            run.started_at.map(render::format_time).unwrap_or_default(),
            run.completed_at.map(render::format_time).unwrap_or_default(),
            run.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
            run.operation_id.map(|id| id.to_string()).unwrap_or_default(),
            run.error_message.clone().or_else(|| run.message.clone()).unwrap_or_default(),
        ]
    });
    let head = ["due", "state", "started", "ended", "attempt", "operation", "message"];
    render::print(&render::table(&head, rows))
}

/// The state of a run: that of its operation, if it has one.
fn run_state(run: &ScheduleRun) -> String {
    match (run.fate, run.status) {
        (ScheduledRunOutcome::Fired, Some(status)) => status.to_string(),
        (ScheduledRunOutcome::Fired, None) => "gone with its collection".to_owned(),
        (ScheduledRunOutcome::Skipped | ScheduledRunOutcome::Missed, _) => run.fate.to_string(),
    }
}

fn as_json(run: &ScheduleRun) -> Value {
    json!({
        "due_at": run.due_at,
        "state": run_state(run),
        "message": run.message,
        "operation": run.operation_id,
        "attempt": run.attempt,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "error": run.error_message,
        "put_there_by": run.worker,
    })
}
