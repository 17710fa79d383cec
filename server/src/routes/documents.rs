//! Documents: metadata, chunks, text, history, deletion.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;
use uuid::Uuid;

use super::{Accepted, AcceptedAnswer, accepted};
use crate::App;
use crate::extract::{InPath, InQuery};
use crate::guard::{Caller, Target};
use crate::ports::Order;
use crate::problem::{Answer, Code, Problem};
use crate::rate::Class;
use crate::wire::{
    Chunk, Chunks, Confirm, Document, DocumentCounts, DocumentList, DocumentStatus, Page, Which,
    WhichChunks, WhichDocuments, within,
};
use search::title;

/// Chunks or documents read per request to a store.
const PART: u32 = 1000;
/// Documents scanned for a text per request, at most.
const LOOKED_AT: u32 = 10_000;
/// Size limit of a text in a response, in bytes.
const LONGEST_TEXT: usize = 16 << 20;

/// List documents
///
/// Filtered by status, reason and text, in the requested order.
#[utoipa::path(get, path = "/collections/{collection}/documents", tag = "documents",
    params(("collection" = Uuid, Path), WhichDocuments), responses((status = OK, body = Page<Document>)))]
pub(crate) async fn list(
    State(app): State<App>,
    target: Target,
    InQuery(which): InQuery<WhichDocuments>,
) -> Answer<Json<Page<Document>>> {
    let (list, limit) = which.list()?;
    let id = target.collection.id;
    // Only failed documents have a reason.
    if list.reason.is_some() && list.status.is_some_and(|it| it != DocumentStatus::Failed) {
        return Ok(Json(Page { items: Vec::new(), next: None }));
    }
    if let Some(text) = which.text() {
        return Ok(Json(looked_for(&app, id, list, &text, limit).await?));
    }
    let documents = app.catalogue.documents(id, &list, limit + 1).await?;
    let Page { items, next } = Page::new(documents, limit, |it| list.cursor(it));
    Ok(Json(Page { items: items.into_iter().map(|it| it.document).collect(), next }))
}

/// The documents of a list that contain a text. They are read in the order of the list, in parts;
/// the cursor continues after the last one read.
async fn looked_for(
    app: &App,
    collection: Uuid,
    mut list: DocumentList,
    text: &str,
    limit: u32,
) -> Answer<Page<Document>> {
    let (mut items, mut next, mut looked) = (Vec::new(), None, 0);
    while looked < LOOKED_AT {
        let part = app.catalogue.documents(collection, &list, PART).await?;
        let is_last = part.len() < PART as usize;
        looked += PART;
        for it in part {
            let has_it = has(&it.document, text);
            if has_it && items.len() == limit as usize {
                return Ok(Page { items, next });
            }
            next = Some(list.cursor(&it));
            list.after = Some((it.key, it.document.id));
            items.extend(has_it.then_some(it.document));
        }
        if is_last {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next })
}

fn has(document: &Document, text: &str) -> bool {
    let Document { path, title, message, .. } = document;
    let texts = [Some(path), title.as_ref(), message.as_ref()];
    texts.into_iter().flatten().any(|it| it.to_lowercase().contains(text))
}

/// Count documents
///
/// By status, and those set aside by reason.
#[utoipa::path(get, path = "/collections/{collection}/documents/counts", tag = "documents",
    params(("collection" = Uuid, Path)), responses((status = OK, body = DocumentCounts)))]
pub(crate) async fn counts(State(app): State<App>, target: Target) -> Answer<Json<DocumentCounts>> {
    let counts = app.caches.counts(app.catalogue.as_ref(), target.collection.id).await?;
    Ok(Json(DocumentCounts::clone(&counts)))
}

/// Get a document
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)), responses((status = OK, body = Document)))]
pub(crate) async fn show(
    State(app): State<App>,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
) -> Answer<Json<Document>> {
    Ok(Json(found(&app, collection, document).await?))
}

async fn found(app: &App, collection: Uuid, document: Uuid) -> Answer<Document> {
    let found = app.catalogue.document(collection, document).await?;
    found.ok_or_else(|| Problem::not_found("document"))
}

/// List the chunks of a document
///
/// In order of their index.
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}/chunks", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path), WhichChunks),
    responses((status = OK, body = Chunks), (status = CONFLICT, description = "Collection not served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn chunks(
    State(app): State<App>,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
    InQuery(which): InQuery<WhichChunks>,
) -> Answer<Json<Chunks>> {
    let limit = within(which.limit, PART)?;
    found(&app, collection, document).await?;
    Ok(Json(app.work.chunks(collection, document, which.from, limit).await?))
}

/// Get the text of a document
///
/// Assembled from the chunks. Text between two chunks is replaced by spaces.
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}/text", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)),
    responses((status = OK, body = String, content_type = "text/plain; charset=utf-8"),
        (status = CONFLICT, description = "Collection not served, or text too long for one response",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn text(
    State(app): State<App>,
    caller: Caller,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
) -> Answer<impl IntoResponse> {
    found(&app, collection, document).await?;
    let (mut text, mut next) = (String::new(), 0);
    loop {
        let part = app.work.chunks(collection, document, next, PART).await?;
        let Some(last) = part.items.last() else { break };
        next = last.index + 1;
        part.items.iter().for_each(|chunk| append(&mut text, chunk));
        // A long text counts as several requests for chunks.
        app.rates.take(Class::Look, caller.client, 1);
        if text.len() > LONGEST_TEXT {
            return Err(Problem::new(
                Code::LimitReached,
                "the text is too long for one response: read its chunks",
            ));
        }
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

/// Appends a chunk at its offset, without the overlap with the previous one.
fn append(text: &mut String, chunk: &Chunk) {
    let Ok(start) = usize::try_from(chunk.start) else { return };
    if start > text.len() {
        text.push_str(&" ".repeat((start - text.len()).min(LONGEST_TEXT)));
    }
    let shared = text.len().saturating_sub(start);
    text.push_str(chunk.text.get(shared..).unwrap_or_default());
}

/// Explain the state of a document
///
/// The history of a document or location: whether it is stored, since when, and otherwise why not.
#[utoipa::path(get, path = "/collections/{collection}/why", tag = "documents",
    params(("collection" = Uuid, Path), Which),
    responses((status = OK, body = Object), (status = CONFLICT, description = "Collection not served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn why(
    State(app): State<App>,
    target: Target,
    InQuery(Which { document }): InQuery<Which>,
) -> Answer<Json<Value>> {
    let mut told = app.work.why(target.collection.id, &document).await?;
    // Cleaned like the title in a list.
    if let Some(named) = told.pointer_mut("/document/title") {
        *named = title::meaningful(named.as_str()).into();
    }
    Ok(Json(told))
}

/// Delete a document
///
/// It stays deleted until it is restored. Its file is not changed.
#[utoipa::path(delete, path = "/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path), Confirm),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Collection not served, or limit reached",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    target: Target,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
    InQuery(confirm): InQuery<Confirm>,
) -> Answer<AcceptedAnswer> {
    found(&app, collection, document).await?;
    confirm.names(&target.collection.name)?;
    let order = Order::DeleteDocuments(vec![document]);
    Ok(accepted(app.work.start(collection, order, &caller.by()).await?))
}

/// Restore a deleted document
#[utoipa::path(post, path = "/collections/{collection}/documents/{document}/undelete", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Collection not served, or limit reached",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn undelete(
    State(app): State<App>,
    caller: Caller,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
) -> Answer<AcceptedAnswer> {
    found(&app, collection, document).await?;
    let order = Order::UndeleteDocuments(vec![document]);
    Ok(accepted(app.work.start(collection, order, &caller.by()).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_put_together_where_its_chunks_stood() {
        let chunk = |start: u64, text: &str| Chunk {
            index: 0,
            text: text.to_owned(),
            headings: None,
            page: None,
            start,
            end: start + text.len() as u64,
        };
        let mut text = String::new();
        for chunk in
            [chunk(0, "größer"), chunk(6, "er als"), chunk(14, "nichts"), chunk(15, "ichts")]
        {
            append(&mut text, &chunk);
        }
        assert_eq!(text, "größer als  nichts");
    }
}
