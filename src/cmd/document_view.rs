//! Documents and their locations as JSON and as table rows, shared by several verbs.

use metadata::{DocumentDetails, DocumentStatus, SeenLocation};
use serde_json::{Value, json};

use crate::render;

/// The outcome of a document in the terms of the run report.
pub(super) fn status_text(status: DocumentStatus) -> String {
    match status {
        DocumentStatus::Completed => "stored".to_owned(),
        DocumentStatus::Failed => "set aside".to_owned(),
        DocumentStatus::Pending | DocumentStatus::Processing | DocumentStatus::Deleted => {
            status.to_string()
        }
    }
}

/// Table rows with the numbers of documents by outcome, and of locations that are set aside by
/// reason.
pub(super) fn count_rows(
    documents: &[(DocumentStatus, i64)],
    set_aside: &[(String, i64)],
) -> Vec<Vec<String>> {
    let row = |what: String, number: i64| vec![what, render::format_count(number)];
    let others = documents.iter().filter(|(status, _)| *status != DocumentStatus::Failed);
    let mut rows: Vec<_> = others
        .map(|(status, number)| row(format!("documents {}", status_text(*status)), *number))
        .collect();
    if !set_aside.is_empty() {
        let sum = set_aside.iter().map(|(_, number)| number).sum();
        rows.push(row("documents set aside".to_owned(), sum));
        rows.extend(set_aside.iter().map(|(reason, number)| row(format!("  {reason}"), *number)));
    }
    rows
}

/// The numbers of locations that are set aside, by reason.
pub(super) fn set_aside_json(set_aside: &[(String, i64)]) -> Value {
    set_aside.iter().map(|(reason, number)| (reason.clone(), Value::from(*number))).collect()
}

pub(super) fn document_json(document: &DocumentDetails) -> Value {
    json!({
        "id": document.id,
        "path": document.file_path,
        "status": document.status,
        "size": document.file_size,
        "mime_type": document.mime_type,
        "chunks": document.chunk_count,
        "set_aside": document.set_aside,
        "message": document.error_message,
        "attempts": document.attempts,
        "retry_at": document.retry_at,
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "deleted_at": document.deleted_at,
        "operation": document.operation_id.map(|id| json!({
            "id": id,
            "type": document.operation_type,
            "started_at": document.operation_started_at,
        })),
        "title": document.meta["title"],
        "language": document.meta["language"],
        "metadata": document.meta["metadata"],
    })
}

pub(super) fn location_json(place: &SeenLocation) -> Value {
    json!({
        "uri": place.uri,
        "source": place.source,
        "size": place.size,
        "modified_at": place.mtime,
        "set_aside": place.set_aside,
        "first_seen_at": place.created_at,
        "last_seen_at": place.last_seen_at,
    })
}

/// The table rows that describe a document.
pub(super) fn document_rows(document: &DocumentDetails) -> Vec<Vec<String>> {
    let row = |what: &str, words: String| vec![what.to_owned(), words];
    let mut rows = vec![
        row("document", document.id.to_string()),
        row("status", status_text(document.status)),
        row("created", render::format_time(document.created_at)),
        row("updated", render::format_time(document.updated_at)),
    ];
    if let Some(operation) = document.operation_id {
        let kind = document.operation_type.map(|it| it.to_string()).unwrap_or_default();
        let began = document.operation_started_at.map(render::format_time).unwrap_or_default();
        rows.push(row("written by", format!("{kind} {operation}, started {began}")));
    }
    rows.push(row("chunks", render::format_count(document.chunk_count)));
    rows.extend(document.meta["title"].as_str().map(|title| row("title", title.to_owned())));
    rows.extend(document.mime_type.iter().map(|mime_type| row("type", mime_type.clone())));
    rows.push(row("size", render::format_bytes(document.file_size)));
    if let Some(set_aside) = &document.set_aside {
        let text = |key: &str| set_aside[key].as_str().unwrap_or_default().to_owned();
        let message = document.error_message.as_deref().unwrap_or_default();
        rows.push(row("set aside at", format!("`{}`, because it {message}", text("node"))));
        rows.push(row("reason", text("reason")));
        rows.push(row("attempts", document.attempts.to_string()));
    }
    if let Some(at) = document.retry_at {
        rows.push(row(
            "retry",
            format!("with `run --retry-failed`, from {}", render::format_time(at)),
        ));
    }
    rows.extend(document.deleted_at.map(|at| row("deleted", render::format_time(at))));
    rows
}

pub(super) fn location_rows(places: &[SeenLocation]) -> Vec<Vec<String>> {
    let rows = places.iter().map(|place| {
        let why = place.set_aside.as_ref().and_then(|it| it["message"].as_str());
        vec![
            place.uri.clone(),
            render::format_bytes(place.size),
            render::format_time(place.created_at),
            render::format_time(place.last_seen_at),
            why.unwrap_or_default().to_owned(),
        ]
    });
    rows.collect()
}

/// Column heads of [`location_rows`].
pub(super) const LOCATION_COLUMNS: [&str; 5] =
    ["location", "size", "first seen", "last seen", "message"];
