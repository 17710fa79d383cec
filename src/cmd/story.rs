//! What is told of one document and its places, as JSON and as words: shared by the verbs that do.

use pipeline::BoxError;
use serde_json::{Value, json};
use sinks::{Collection, DocumentStory, Place, Postgres, Story};
use uuid::Uuid;

use crate::render::{self, word};
use crate::wiring;

/// What a person names a document by.
pub(super) enum Named {
    Id(Uuid),
    At(String),
}

impl Named {
    /// An id as it stands in lists, else a path or URL.
    pub(super) fn read(words: &str) -> Result<Self, BoxError> {
        Ok(match words.parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::At(wiring::uri_of(words)?),
        })
    }

    /// What is known of it.
    pub(super) async fn story(
        &self,
        postgres: &Postgres,
        collection: &Collection,
    ) -> Result<Story, BoxError> {
        let documents = postgres.documents();
        Ok(match self {
            Self::Id(id) => documents.story_of(collection.id, *id).await?,
            Self::At(uri) => documents.story_at(collection.id, uri).await?,
        })
    }
}

pub(super) fn document_json(document: &DocumentStory) -> Value {
    json!({
        "id": document.id,
        "path": document.file_path,
        "status": word(document.status),
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
            "type": document.operation_type.map(word),
            "started_at": document.operation_started_at,
        })),
        "title": document.meta["title"],
        "language": document.meta["language"],
        "metadata": document.meta["metadata"],
    })
}

pub(super) fn place_json(place: &Place) -> Value {
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

/// What is said of a document whatever the question is.
pub(super) fn document_rows(document: &DocumentStory) -> Vec<Vec<String>> {
    let row = |what: &str, words: String| vec![what.to_owned(), words];
    let mut rows = vec![
        row("document", document.id.to_string()),
        row("status", word(document.status)),
        row("taken in", render::time(document.created_at)),
        row("changed last", render::time(document.updated_at)),
    ];
    if let Some(operation) = document.operation_id {
        let kind = document.operation_type.map(word).unwrap_or_default();
        let began = document.operation_started_at.map(render::time).unwrap_or_default();
        rows.push(row("written by", format!("{kind} {operation}, begun {began}")));
    }
    rows.push(row("chunks", render::count(document.chunk_count)));
    rows.extend(document.meta["title"].as_str().map(|title| row("title", title.to_owned())));
    rows.extend(document.mime_type.iter().map(|mime_type| row("type", mime_type.clone())));
    rows.push(row("size", render::bytes(document.file_size)));
    if let Some(set_aside) = &document.set_aside {
        let text = |key: &str| set_aside[key].as_str().unwrap_or_default().to_owned();
        let message = document.error_message.as_deref().unwrap_or_default();
        rows.push(row("set aside at", format!("`{}`, since it {message}", text("node"))));
        rows.push(row("reason", text("reason")));
        rows.push(row("attempts", document.attempts.to_string()));
    }
    if let Some(at) = document.retry_at {
        rows.push(row(
            "tried again",
            format!("by `run --retry-failed`, from {}", render::time(at)),
        ));
    }
    rows.extend(document.deleted_at.map(|at| row("deleted", render::time(at))));
    rows
}

pub(super) fn place_rows(places: &[Place]) -> Vec<Vec<String>> {
    let rows = places.iter().map(|place| {
        let why = place.set_aside.as_ref().and_then(|it| it["message"].as_str());
        vec![
            place.uri.clone(),
            render::bytes(place.size),
            render::time(place.created_at),
            render::time(place.last_seen_at),
            why.unwrap_or_default().to_owned(),
        ]
    });
    rows.collect()
}

/// Heads of the columns of [`place_rows`].
pub(super) const PLACE_HEAD: [&str; 5] =
    ["place", "size", "first seen", "last seen", "set aside, since it"];
