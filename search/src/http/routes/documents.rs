//! Documents: what is known of them, their chunks, their text, their story.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;
use uuid::Uuid;

use super::{Accepted, AcceptedAnswer, accepted};
use crate::http::App;
use crate::http::extract::{InPath, InQuery};
use crate::http::guard::{Caller, Target};
use crate::http::ports::Order;
use crate::http::problem::{Answer, Code, Problem};
use crate::http::rate::Class;
use crate::http::wire::{
    Chunk, Chunks, Confirm, Document, Page, Which, WhichChunks, WhichDocuments, within,
};

/// Chunks that are read at a time.
const PART: u32 = 1000;
/// The longest text that is put together for one answer.
const LONGEST_TEXT: usize = 16 << 20;

/// The documents of a collection, in order of id.
#[utoipa::path(get, path = "/collections/{collection}/documents", tag = "documents",
    params(("collection" = Uuid, Path), WhichDocuments), responses((status = OK, body = Page<Document>)))]
pub(crate) async fn list(
    State(app): State<App>,
    target: Target,
    InQuery(which): InQuery<WhichDocuments>,
) -> Answer<Json<Page<Document>>> {
    let limit = within(which.limit, PART)?;
    let parse = |cursor: &String| {
        cursor.parse::<Uuid>().map_err(|_| Problem::new(Code::InvalidQuery, "`cursor` is no id"))
    };
    let after = which.cursor.as_ref().map(parse).transpose()?;
    let id = target.collection.id;
    let documents = app.catalogue.documents(id, which.status, after, limit + 1).await?;
    Ok(Json(Page::new(documents, limit, |it| it.id.to_string())))
}

/// One document.
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

/// The chunks of a document, in their order.
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}/chunks", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path), WhichChunks),
    responses((status = OK, body = Chunks), (status = CONFLICT, description = "Not served",
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn chunks(
    State(app): State<App>,
    InPath((collection, document)): InPath<(Uuid, Uuid)>,
    InQuery(which): InQuery<WhichChunks>,
) -> Answer<Json<Chunks>> {
    let limit = within(which.limit, PART)?;
    found(&app, collection, document).await?;
    Ok(Json(app.work.chunks(collection, document, which.from, limit).await?))
}

/// The text of a document, put together from its chunks. What stood between two chunks is blank.
#[utoipa::path(get, path = "/collections/{collection}/documents/{document}/text", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)),
    responses((status = OK, body = String, content_type = "text/plain; charset=utf-8"),
        (status = CONFLICT, description = "Not served, or the text is too long for one answer",
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
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
        // A long text is as many requests for chunks.
        app.rates.take(Class::Look, caller.client, 1);
        if text.len() > LONGEST_TEXT {
            return Err(Problem::new(Code::LimitReached, "the text is too long; read its chunks"));
        }
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

/// Puts a chunk where it stood: what it shares with the one before is there already.
fn append(text: &mut String, chunk: &Chunk) {
    let Ok(start) = usize::try_from(chunk.start) else { return };
    if start > text.len() {
        text.push_str(&" ".repeat((start - text.len()).min(LONGEST_TEXT)));
    }
    let shared = text.len().saturating_sub(start);
    text.push_str(chunk.text.get(shared..).unwrap_or_default());
}

/// The story of a document, or of a place that never became one: whether it is in, since when, and if not, why.
#[utoipa::path(get, path = "/collections/{collection}/why", tag = "documents",
    params(("collection" = Uuid, Path), Which),
    responses((status = OK, body = Object), (status = CONFLICT, description = "Not served",
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn why(
    State(app): State<App>,
    target: Target,
    InQuery(Which { document }): InQuery<Which>,
) -> Answer<Json<Value>> {
    Ok(Json(app.work.why(target.collection.id, &document).await?))
}

/// Takes a document out, until somebody takes it in again; its file stays where it is.
#[utoipa::path(delete, path = "/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path), Confirm),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Not served, or a limit is reached",
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
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

/// Takes a document in again that somebody has taken out.
#[utoipa::path(post, path = "/collections/{collection}/documents/{document}/undelete", tag = "documents",
    params(("collection" = Uuid, Path), ("document" = Uuid, Path)),
    responses((status = ACCEPTED, body = Accepted), (status = CONFLICT, description = "Not served, or a limit is reached",
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
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
