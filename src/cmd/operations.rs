//! `semantik operations`: lists, shows and cancels operations of a collection.

use metadata::{OperationSummary, Operations};
use pipeline::BoxError;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cli::{CollectionArgs, IdPrefix, OperationName, OperationsVerb};
use crate::composition;
use crate::render;

pub(super) async fn operations(verb: OperationsVerb) -> Result<(), BoxError> {
    match verb {
        OperationsVerb::List { of, deleted, before, limit } => {
            list(&of, deleted, before, limit).await
        }
        OperationsVerb::Show { id, of } => show(&of, &id).await,
        OperationsVerb::Cancel { id, of } => {
            let (database, collection) = composition::open_collection(&of.file).await?;
            let operations = database.postgres().operations();
            let id = find(&operations, &[collection.id], &id).await?.id;
            operations.cancel(id).await?;
            if of.json {
                return render::print_json(&json!({ "id": id, "status": "cancelled" }));
            }
            render::print(&format!("cancelled operation {id}\n"))
        }
    }
}

async fn list(
    of: &CollectionArgs,
    deleted: bool,
    before: Option<Uuid>,
    limit: u32,
) -> Result<(), BoxError> {
    let (database, mut ids) = composition::open_with_past_collections(&of.file).await?;
    if !deleted {
        // The current collection, otherwise the last deleted one.
        ids.truncate(1);
    }
    let operations = database.postgres().operations();
    let before = match before {
        Some(id) => {
            Some(operations.find(id).await?.ok_or_else(|| not_found_message(id))?.created_at)
        }
        None => None,
    };
    let mut found = Vec::new();
    for id in ids {
        found.extend(operations.recent(id, before, limit).await?);
    }
    found.sort_by_key(|it| std::cmp::Reverse((it.created_at, it.id)));
    found.truncate(limit as usize);
    if of.json {
        return render::print_json(&found.iter().map(as_json).collect());
    }
    let rows = found.iter().map(|it| {
        vec![
            it.id.to_string(),
            it.kind.to_string(),
            it.status.to_string(),
            render::format_time(it.created_at),
            it.completed_at.map(render::format_time).unwrap_or_default(),
            it.error_message.clone().unwrap_or_default(),
        ]
    });
    let head = ["operation", "type", "status", "requested", "ended", "error"];
    render::print(&render::table(&head, rows))
}

/// Finds the operation of a name on these collections; `latest` is the newest of the first one.
async fn find(
    operations: &Operations<'_>,
    collections: &[Uuid],
    name: &OperationName,
) -> Result<OperationSummary, BoxError> {
    let prefix = match name {
        OperationName::Latest => {
            let first = collections.first().copied().unwrap_or_default();
            let newest = operations.recent(first, None, 1).await?.pop();
            return newest.ok_or_else(|| "the collection has no operation yet".into());
        }
        OperationName::Prefix(prefix) => prefix,
    };
    let IdPrefix { typed, first, last } = prefix;
    let mut found = operations.between(collections, *first, *last).await?;
    if found.len() > 1 {
        let candidates: Vec<_> = found
            .iter()
            .map(|it| format!("{} ({})", it.id, render::format_time(it.created_at)))
            .collect();
        return Err(format!(
            "`{typed}` is a prefix of several ids: {}; type more digits",
            candidates.join(", ")
        )
        .into());
    }
    found.pop().ok_or_else(|| {
        let which = if first == last { first.to_string() } else { format!("`{typed}…`") };
        format!(
            "the collection has no operation {which}; `semantik operations list FILE` shows the ids"
        )
        .into()
    })
}

async fn show(of: &CollectionArgs, name: &OperationName) -> Result<(), BoxError> {
    let (database, ids) = composition::open_with_past_collections(&of.file).await?;
    let operations = database.postgres().operations();
    let found = find(&operations, &ids, name).await?;
    let id = found.id;
    let metrics = operations.metrics(id).await?;
    if of.json {
        let metrics = metrics.into_iter().map(|(name, value)| (name, Value::from(value)));
        let mut json = as_json(&found);
        json["progress"] = serde_json::to_value(operations.progress(id).await?)?;
        json["result"] = operations.result(id).await?;
        json["metrics"] = Value::Object(metrics.collect::<Map<_, _>>());
        return render::print_json(&json);
    }
    let row = |what: &str, words: String| vec![what.to_owned(), words];
    let mut rows = vec![
        row("operation", found.id.to_string()),
        row("type", found.kind.to_string()),
        row("status", found.status.to_string()),
        row("requested", render::format_time(found.created_at)),
    ];
    rows.extend(found.started_at.map(|at| row("started", render::format_time(at))));
    rows.extend(found.completed_at.map(|at| row("ended", render::format_time(at))));
    rows.extend(found.worker.iter().map(|worker| row("worker", worker.clone())));
    if found.attempt > 1 {
        rows.push(row("attempt", found.attempt.to_string()));
    }
    rows.extend(found.continues.map(|id| row("continues", id.to_string())));
    rows.extend(found.error_message.iter().map(|error| row("error", error.clone())));
    let config = found.config.as_object().into_iter().flatten();
    rows.extend(config.map(|(key, value)| {
        let words = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        row(&format!("config {key}"), words)
    }));
    render::print(&render::table(&[], rows))?;
    let rows = metrics.into_iter().map(|(name, value)| vec![name, format!("{value}")]);
    render::print(&render::next_table(&["metric", "value"], rows))
}

fn not_found_message(id: Uuid) -> String {
    format!("the collection has no operation {id}")
}

fn as_json(operation: &OperationSummary) -> Value {
    json!({
        "id": operation.id,
        "type": operation.kind,
        "status": operation.status,
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
