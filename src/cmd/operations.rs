//! `semantik operations`: what was and is being done to a collection.

use metadata::OperationSummary;
use pipeline::BoxError;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cli::{OfFile, OperationsVerb};
use crate::render::{self, word};
use crate::wiring;

pub(super) async fn operations(verb: OperationsVerb) -> Result<(), BoxError> {
    match verb {
        OperationsVerb::List { of, deleted, before, limit } => {
            list(&of, deleted, before, limit).await
        }
        OperationsVerb::Show { id, of } => show(&of, id).await,
        OperationsVerb::Cancel { id, of } => {
            let (database, collection) = wiring::opened(&of.config).await?;
            let operations = database.postgres().operations();
            let is_ours =
                operations.find(id).await?.is_some_and(|it| it.collection_id == collection.id);
            if !is_ours {
                return Err(missing(id).into());
            }
            operations.cancel(id).await?;
            if of.json {
                return render::json(&json!({ "id": id, "status": "cancelled" }));
            }
            render::out(&format!("operation {id} is cancelled\n"))
        }
    }
}

async fn list(
    of: &OfFile,
    deleted: bool,
    before: Option<Uuid>,
    limit: u32,
) -> Result<(), BoxError> {
    let (database, mut ids) = wiring::ever(&of.config).await?;
    if !deleted {
        // The collection that there is, or else the one that there was last.
        ids.truncate(1);
    }
    let operations = database.postgres().operations();
    let before = match before {
        Some(id) => Some(operations.find(id).await?.ok_or_else(|| missing(id))?.created_at),
        None => None,
    };
    let mut found = Vec::new();
    for id in ids {
        found.extend(operations.recent(id, before, limit).await?);
    }
    found.sort_by_key(|it| std::cmp::Reverse((it.created_at, it.id)));
    found.truncate(limit as usize);
    if of.json {
        return render::json(&found.iter().map(as_json).collect());
    }
    let rows = found.iter().map(|it| {
        vec![
            it.id.to_string(),
            word(it.kind),
            word(it.status),
            render::time(it.created_at),
            it.completed_at.map(render::time).unwrap_or_default(),
            it.error_message.clone().unwrap_or_default(),
        ]
    });
    let head = ["operation", "type", "status", "asked for", "ended", "error"];
    render::out(&render::table(&head, rows))
}

async fn show(of: &OfFile, id: Uuid) -> Result<(), BoxError> {
    let (database, ids) = wiring::ever(&of.config).await?;
    let operations = database.postgres().operations();
    let found = operations.find(id).await?.filter(|it| ids.contains(&it.collection_id));
    let found = found.ok_or_else(|| missing(id))?;
    let metrics = operations.metrics(id).await?;
    if of.json {
        let metrics = metrics.into_iter().map(|(name, value)| (name, Value::from(value)));
        let mut json = as_json(&found);
        json["progress"] = serde_json::to_value(operations.progress(id).await?)?;
        json["result"] = operations.result(id).await?;
        json["metrics"] = Value::Object(metrics.collect::<Map<_, _>>());
        return render::json(&json);
    }
    let row = |what: &str, words: String| vec![what.to_owned(), words];
    let mut rows = vec![
        row("operation", found.id.to_string()),
        row("type", word(found.kind)),
        row("status", word(found.status)),
        row("asked for", render::time(found.created_at)),
    ];
    rows.extend(found.started_at.map(|at| row("begun", render::time(at))));
    rows.extend(found.completed_at.map(|at| row("ended", render::time(at))));
    rows.extend(found.worker.iter().map(|worker| row("worker", worker.clone())));
    if found.attempt > 1 {
        rows.push(row("try", found.attempt.to_string()));
    }
    rows.extend(found.continues.map(|id| row("goes on with", id.to_string())));
    rows.extend(found.error_message.iter().map(|error| row("error", error.clone())));
    let config = found.config.as_object().into_iter().flatten();
    rows.extend(config.map(|(key, value)| {
        let words = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        row(&format!("config {key}"), words)
    }));
    render::out(&render::table(&[], rows))?;
    let rows = metrics.into_iter().map(|(name, value)| vec![name, format!("{value}")]);
    render::out(&render::next_table(&["metric", "value"], rows))
}

fn missing(id: Uuid) -> String {
    format!("there is no operation {id} on the collection")
}

fn as_json(operation: &OperationSummary) -> Value {
    json!({
        "id": operation.id,
        "type": word(operation.kind),
        "status": word(operation.status),
        "worker": operation.worker,
        "config": operation.config,
        "error": operation.error_message,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "completed_at": operation.completed_at,
        "lease_expires_at": operation.lease_expires_at,
        "handed_over": operation.handed_over,
        "attempt": operation.attempt,
        "continues": operation.continues,
        "schedule_run": operation.schedule_run_id,
    })
}
