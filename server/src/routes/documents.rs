//! Documents: metadata, chunks, text, history, deletion.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metadata::{DocumentList, ListedDocument};
use pipeline::{OperationRequest, RunRequest, repeated_header_len};
use serde_json::Value;
use uuid::Uuid;

use super::{Accepted, AcceptedAnswer, accepted, live_target};
use crate::App;
use crate::extract::{PathParams, QueryParams};
use crate::guard::{AuthorizedCollection, Caller};
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::rate::RateClass;
use crate::wire::{
    Chunk, Chunks, ChunksQuery, Confirm, Document, DocumentCounts, DocumentQuery, DocumentsQuery,
    Page, check_limit, document_cursor,
};
use search::{Target, title};

/// Chunks or documents read per request to a store.
const CHUNKS_PER_READ: u32 = 1000;
/// Documents scanned for a text per request, at most.
const MAX_SCANNED_DOCUMENTS: u32 = 10_000;
/// Size limit of a text in a response, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// List documents
///
/// Filtered by status, reason and text, in the requested order.
#[utoipa::path(get, path = "/collections/{collection}/documents", tag = "documents",
    params(("collection" = Uuid, Path), DocumentsQuery), responses((status = OK, body = Page<Document>)))]
pub(crate) async fn list(
    State(app): State<App>,
    target: AuthorizedCollection,
    QueryParams(which): QueryParams<DocumentsQuery>,
) -> HandlerResult<Json<Page<Document>>> {
    let (list, limit) = which.to_list()?;
    let id = target.collection.id;
    if which.is_contradictory() {
        return Ok(Json(Page { items: Vec::new(), next: None }));
    }
    if let Some(text) = which.search_text() {
        return Ok(Json(filter_by_text(&app, id, list, &text, limit).await?));
    }
    let documents = app.metadata.documents().page(id, &list, limit + 1).await?;
    let Page { items, next } = Page::new(documents, limit, |it| document_cursor(&list, it));
    Ok(Json(Page { items: items.into_iter().map(Document::from).collect(), next }))
}

/// The documents of a list that contain a text. They are read in the order of the list, in parts;
/// the cursor continues after the last one read.
async fn filter_by_text(
    app: &App,
    collection: Uuid,
    mut list: DocumentList,
    text: &str,
    limit: u32,
) -> HandlerResult<Page<Document>> {
    let (mut items, mut next, mut looked) = (Vec::new(), None, 0);
    while looked < MAX_SCANNED_DOCUMENTS {
        let part = app.metadata.documents().page(collection, &list, CHUNKS_PER_READ).await?;
        let is_last = part.len() < CHUNKS_PER_READ as usize;
        looked += CHUNKS_PER_READ;
        for listed in part {
            let (cursor, after) = (document_cursor(&list, &listed), listed.key(list.sort));
            let id = listed.id;
            let document = Document::from(listed);
            let has_it = contains_text(&document, text);
            if has_it && items.len() == limit as usize {
                return Ok(Page { items, next });
            }
            next = Some(cursor);
            list.after = Some((after, id));
            items.extend(has_it.then_some(document));
        }
        if is_last {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next })
}

fn contains_text(document: &Document, text: &str) -> bool {
    let Document { path, title, message, .. } = document;
    let texts = [Some(path), title.as_ref(), message.as_ref()];
    texts.into_iter().flatten().any(|it| it.to_lowercase().contains(text))
}

/// Count documents
///
/// By status, and those set aside by reason.
#[utoipa::path(get, path = "/collections/{collection}/documents/counts", tag = "documents",
    params(("collection" = Uuid, Path)), responses((status = OK, body = DocumentCounts)))]
pub(crate) async fn counts(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<DocumentCounts>> {
    let counts = app.caches.counts(&app.metadata, target.collection.id).await?;
    Ok(Json(DocumentCounts::clone(&counts)))
}

/// Get a document
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)), responses((status = OK, body = Document)))]
pub(crate) async fn show(
    State(app): State<App>,
    PathParams((collection, document)): PathParams<(Uuid, Uuid)>,
) -> HandlerResult<Json<Document>> {
    Ok(Json(find_document(&app, collection, document).await?.into()))
}

async fn find_document(
    app: &App,
    collection: Uuid,
    document: Uuid,
) -> HandlerResult<ListedDocument> {
    let found = app.metadata.documents().find(collection, document).await?;
    found.ok_or_else(|| Problem::not_found("document"))
}

/// List the chunks of a document
///
/// In order of their index.
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}/chunks", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path), ChunksQuery),
    responses((status = OK, body = Chunks), (status = CONFLICT, description = "Collection not served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn chunks(
    State(app): State<App>,
    target: AuthorizedCollection,
    PathParams((collection, document)): PathParams<(Uuid, Uuid)>,
    QueryParams(which): QueryParams<ChunksQuery>,
) -> HandlerResult<Json<Chunks>> {
    let limit = check_limit(which.limit, CHUNKS_PER_READ)?;
    let found = find_document(&app, collection, document).await?;
    let live = live_target(&app, &target).await?;
    let items = read_chunks(&live, document, which.from, limit).await?;
    Ok(Json(Chunks { items, total: u32::try_from(found.chunk_count).unwrap_or(u32::MAX) }))
}

async fn read_chunks(
    live: &Target,
    document: Uuid,
    from: u32,
    limit: u32,
) -> HandlerResult<Vec<Chunk>> {
    let chunks = live.index.chunks(document, from, limit).await?;
    let chunks = chunks.into_iter().map(|chunk| Chunk {
        index: chunk.chunk_index,
        text: chunk.content,
        headings: chunk.headings,
        page: chunk.page,
        start: chunk.start,
        end: chunk.end,
    });
    Ok(chunks.collect())
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
    target: AuthorizedCollection,
    PathParams((collection, document)): PathParams<(Uuid, Uuid)>,
) -> HandlerResult<impl IntoResponse> {
    find_document(&app, collection, document).await?;
    let (mut text, mut next) = (String::new(), 0);
    loop {
        let live = live_target(&app, &target).await?;
        let part = read_chunks(&live, document, next, CHUNKS_PER_READ).await?;
        let Some(last) = part.last() else { break };
        next = last.index + 1;
        part.iter().for_each(|chunk| append_chunk(&mut text, chunk));
        // A long text counts as several requests for chunks.
        app.request_limiter.charge(RateClass::ReadOnly, caller.client, 1);
        if text.len() > MAX_TEXT_BYTES {
            return Err(Problem::new(
                ProblemCode::LimitReached,
                "the text is too long for one response: read its chunks",
            ));
        }
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

/// Appends a chunk at its offset, without the overlap with the previous one and without a repeated
/// table header.
fn append_chunk(text: &mut String, chunk: &Chunk) {
    let Ok(start) = usize::try_from(chunk.start) else { return };
    if start > text.len() {
        text.push_str(&" ".repeat((start - text.len()).min(MAX_TEXT_BYTES)));
    }
    let shared = text.len().saturating_sub(start);
    let header = repeated_header_len(&chunk.text, chunk.start, chunk.end).unwrap_or_default();
    text.push_str(chunk.text.get(header + shared..).unwrap_or_default());
}

/// Explain the state of a document
///
/// The history of a document or location: whether it is stored, since when, and otherwise why not.
#[utoipa::path(get, path = "/collections/{collection}/why", tag = "documents",
    params(("collection" = Uuid, Path), DocumentQuery),
    responses((status = OK, body = Object), (status = CONFLICT, description = "Collection not served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn why(
    State(app): State<App>,
    target: AuthorizedCollection,
    QueryParams(DocumentQuery { document }): QueryParams<DocumentQuery>,
) -> HandlerResult<Json<Value>> {
    let mut told = app.service.why(target.collection.id, &document).await?;
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
    target: AuthorizedCollection,
    PathParams((collection, document)): PathParams<(Uuid, Uuid)>,
    QueryParams(confirm): QueryParams<Confirm>,
) -> HandlerResult<AcceptedAnswer> {
    find_document(&app, collection, document).await?;
    confirm.ensure_names(&target.collection.name)?;
    let request = OperationRequest::DeleteDocuments { documents: vec![document] };
    Ok(accepted(app.service.start_operation(collection, request, &caller.actor()).await?))
}

/// Restore a deleted document
#[utoipa::path(post, path = "/collections/{collection}/documents/{document}/undelete", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Collection not served, or limit reached",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn undelete(
    State(app): State<App>,
    caller: Caller,
    PathParams((collection, document)): PathParams<(Uuid, Uuid)>,
) -> HandlerResult<AcceptedAnswer> {
    find_document(&app, collection, document).await?;
    // The run restores the document, so it is stored when the operation ends.
    let run = RunRequest { undelete: vec![document], ..RunRequest::default() };
    let request = OperationRequest::Run(run);
    Ok(accepted(app.service.start_operation(collection, request, &caller.actor()).await?))
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
        let row = Chunk { text: "| a |\n|-|\n| row |".to_owned(), end: 29, ..chunk(22, "") };
        let chunks =
            [chunk(0, "größer"), chunk(6, "er als"), chunk(14, "nichts"), chunk(15, "ichts"), row];
        let mut text = String::new();
        chunks.iter().for_each(|chunk| append_chunk(&mut text, chunk));
        assert_eq!(text, "größer als  nichts  | row |");
    }
}
