//! `semantik documents`: single documents of a collection.

use std::ffi::{OsStr, OsString};

use metadata::{
    Collection, DocumentList, DocumentSelection, DocumentSort, DocumentStatus, ListedDocument,
    Postgres, RejectedLocation,
};
use operations::Operator;
use pipeline::{BoxError, OperationRequest, RunRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::document_ref::{self, DocumentRef};
use super::{Exit, confirm, document_view};
use crate::cli::{CollectionArgs, DocumentsVerb, ReasonArg, StatusArg};
use crate::composition;
use crate::render;

pub(super) async fn documents(verb: DocumentsVerb) -> Exit {
    match try_documents(verb).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_documents(verb: DocumentsVerb) -> Result<Exit, BoxError> {
    match verb {
        DocumentsVerb::List { of, status, reason, after, limit } => {
            let reason = reason.map(ReasonArg::name);
            list(&of, DocumentFilter { status, reason, after, limit }).await?;
        }
        DocumentsVerb::Show { document, of } => show(&of, &document).await?,
        DocumentsVerb::Delete { documents, change } => {
            let operator = confirm::open_operator(&change).await?;
            let ids = resolve_ids(&operator, &documents).await?;
            let many = render::count_of(ids.len(), "document");
            confirm::confirm(&change, &format!("delete {many}"))?;
            let request = OperationRequest::DeleteDocuments { documents: ids };
            let deleted = operator.execute(&request).await?.documents.unwrap_or(0);
            let words = format!("deleted {}\n", render::count_of(deleted, "document"));
            render::print_answer(change.json, &json!({ "documents": deleted }), &words)?;
        }
        DocumentsVerb::Undelete { documents, change } => {
            let operator = confirm::open_operator(&change).await?;
            let ids = resolve_ids(&operator, &documents).await?;
            let request = OperationRequest::UndeleteDocuments { documents: ids.clone() };
            let readmitted = operator.execute(&request).await?.documents.unwrap_or(0);
            if readmitted == 0 {
                let what =
                    if ids.len() == 1 { "the document was" } else { "none of the documents was" };
                let not = if ids.len() == 1 { "not " } else { "" };
                return Err(format!(
                    "nothing to undelete: {what} {not}deleted by `semantik documents delete`, or \
                     the file no longer exists; `semantik why FILE PATH` explains the state of a \
                     document"
                )
                .into());
            }
            let run = OperationRequest::Run(RunRequest::default());
            let report = operator.execute(&run).await?.report.unwrap_or_default();
            let words = format!("undeleted {}\n", render::count_of(readmitted, "document"));
            render::print_answer(change.json, &json!({ "documents": readmitted }), &words)?;
            if report.newly_failed > 0 {
                return Ok(Exit::DocumentsFailed);
            }
        }
    }
    Ok(Exit::Success)
}

/// Filter and position of a list of documents.
struct DocumentFilter {
    status: Option<StatusArg>,
    reason: Option<&'static str>,
    after: Option<String>,
    limit: u32,
}

async fn list(of: &CollectionArgs, which: DocumentFilter) -> Result<(), BoxError> {
    let DocumentFilter { status, reason, after, limit } = which;
    if reason.is_some() && status.is_some_and(|status| status != StatusArg::Failed) {
        return Err("`--reason` requires `--status failed` or no `--status`".into());
    }
    // Documents that are set aside include locations without a document, which have no id.
    let with_places = reason.is_some() || status == Some(StatusArg::Failed);
    let after_id = after.as_deref().map(str::parse::<Uuid>).transpose();
    let (after_id, after_uri) = match (after_id, &after) {
        (Ok(id), _) => (id, None),
        (Err(_), Some(uri)) if with_places => (None, Some(DocumentRef::from_request(uri))),
        (Err(_), _) => return Err("invalid `--after`: expected the id of a document".into()),
    };
    let after_uri = after_uri.as_ref().and_then(DocumentRef::uri);
    let (database, collection) = composition::open_collection(&of.file).await?;
    let documents = database.postgres().documents();
    let list = DocumentList {
        selection: selection(status, reason),
        sort: DocumentSort::Id,
        is_descending: false,
        after: after_id.map(|id| (String::new(), id)),
    };
    let found = match after_uri {
        // Locations follow after all documents.
        Some(_) => Vec::new(),
        None => documents.page(collection.id, &list, limit).await?,
    };
    let more = limit.saturating_sub(u32::try_from(found.len())?);
    let places = if with_places && more > 0 {
        documents.rejected_locations(collection.id, reason, after_uri, more).await?
    } else {
        Vec::new()
    };
    if of.json {
        let found = found.iter().map(document_json);
        return render::print_json(&found.chain(places.iter().map(location_json)).collect());
    }
    let rows = found.iter().map(|it| {
        vec![
            it.id.to_string(),
            status_text(it.status, it.reason.as_deref()),
            render::format_count(it.chunk_count),
            document_ref::display_path(it),
            it.error_message.clone().unwrap_or_default(),
        ]
    });
    let places_rows = places.iter().map(|it| {
        vec![
            String::new(),
            status_text(DocumentStatus::Failed, Some(&it.reason)),
            String::new(),
            document_ref::display_uri(&it.uri),
            it.message.clone().unwrap_or_default(),
        ]
    });
    let head = ["document", "status", "chunks", "path", "message"];
    render::print(&render::table(&head, rows.chain(places_rows)))?;
    if found.len() + places.len() == limit as usize {
        let last = match (places.last(), found.last()) {
            (Some(place), _) => document_ref::display_uri(&place.uri),
            (None, Some(document)) => document.id.to_string(),
            (None, None) => return Ok(()),
        };
        render::print(&format!("there may be more; continue with `--after {last}`\n"))?;
    }
    Ok(())
}

fn selection(status: Option<StatusArg>, reason: Option<&str>) -> DocumentSelection {
    match (reason, status) {
        (Some(reason), _) => DocumentSelection::Reason(reason.to_owned()),
        (None, Some(status)) => DocumentSelection::Status(status_of(status)),
        (None, None) => DocumentSelection::All,
    }
}

fn document_json(document: &ListedDocument) -> Value {
    json!({
        "id": document.id,
        "path": document.file_path,
        "uri": document.uri,
        "status": document.status,
        "reason": document.reason,
        "size": document.file_size,
        "mime_type": document.mime_type,
        "chunks": document.chunk_count,
        "title": document.meta["title"],
        "message": document.error_message,
        "updated_at": document.updated_at,
    })
}

/// A location without a document, with the keys of a document.
fn location_json(place: &RejectedLocation) -> Value {
    let path = pipeline::uri::to_path(&place.uri);
    json!({
        "id": null,
        "path": path.map_or_else(|| place.uri.clone(), |path| path.to_string_lossy().into_owned()),
        "uri": place.uri,
        "status": DocumentStatus::Failed,
        "reason": place.reason,
        "size": place.size,
        "mime_type": null,
        "chunks": 0,
        "title": null,
        "message": place.message,
        "updated_at": place.last_seen_at,
    })
}

/// The outcome of a document in the terms of the run report.
fn status_text(status: DocumentStatus, reason: Option<&str>) -> String {
    match (status, reason) {
        (DocumentStatus::Failed, Some(reason)) => format!("set aside: {reason}"),
        (status, _) => document_view::status_text(status),
    }
}

async fn show(of: &CollectionArgs, document: &OsStr) -> Result<(), BoxError> {
    let (database, collection) = composition::open_collection(&of.file).await?;
    let named = resolve_argument(document, database.postgres(), &collection).await?;
    let (told, _) = named.history(database.postgres(), &collection).await?;
    let document = told.document.ok_or_else(|| not_found_message(&collection.name, document))?;
    if of.json {
        let mut json = document_view::document_json(&document);
        json["places"] = told.locations.iter().map(document_view::location_json).collect();
        return render::print_json(&json);
    }
    render::print(&render::table(&[], document_view::document_rows(&document)))?;
    render::print(&render::next_table(
        &document_view::LOCATION_COLUMNS,
        document_view::location_rows(&told.locations),
    ))
}

/// Parses an id, a URL or a path, which may differ in spelling from the sources of the collection.
async fn resolve_argument(
    words: &OsStr,
    postgres: &Postgres,
    collection: &Collection,
) -> Result<DocumentRef, BoxError> {
    let sources = postgres.collections().sources(collection.id).await?;
    let places: Vec<String> = sources.into_iter().map(|source| source.source_path).collect();
    DocumentRef::from_argument(words, &places)
}

fn not_found_message(collection: &str, named: &OsStr) -> String {
    let named = named.display();
    format!(
        "collection `{collection}` has no document {named}; `semantik why FILE PATH` gives the \
         reason"
    )
}

fn status_of(status: StatusArg) -> DocumentStatus {
    match status {
        StatusArg::Pending => DocumentStatus::Pending,
        StatusArg::Processing => DocumentStatus::Processing,
        StatusArg::Completed => DocumentStatus::Completed,
        StatusArg::Failed => DocumentStatus::Failed,
        StatusArg::Deleted => DocumentStatus::Deleted,
    }
}

/// The ids of documents given by id, path or URL.
async fn resolve_ids(operator: &Operator, named: &[OsString]) -> Result<Vec<Uuid>, BoxError> {
    let collection = operator.collection().await?;
    let postgres = operator.database().postgres();
    let mut ids = Vec::with_capacity(named.len());
    for name in named {
        let found = resolve_argument(name, postgres, &collection).await?;
        let found = found.find_document(postgres, &collection).await?;
        ids.push(found.ok_or_else(|| not_found_message(&collection.name, name))?);
    }
    Ok(ids)
}
