//! `semantik documents`: single documents of a collection.

use pipeline::BoxError;
use serde_json::json;
use sinks::DocumentStatus;
use uuid::Uuid;

use super::story::{self, Named};
use super::{Exit, change};
use crate::cli::{DocumentsVerb, OfFile, Status};
use crate::operate::Operator;
use crate::render::{self, word};
use crate::wiring;

pub(super) async fn documents(verb: DocumentsVerb) -> Exit {
    match try_documents(verb).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_documents(verb: DocumentsVerb) -> Result<Exit, BoxError> {
    match verb {
        DocumentsVerb::List { of, status, after, limit } => {
            list(&of, status.map(status_of), after, limit).await?;
        }
        DocumentsVerb::Show { document, of } => show(&of, &document).await?,
        DocumentsVerb::Delete { documents, change } => {
            let operator = change::operator(&change).await?;
            let ids = ids(&operator, &documents).await?;
            let what = render::several(ids.len(), "document");
            change::confirm(&change, &format!("delete {what}"))?;
            let removed = operator.delete_documents(&ids).await?;
            render::out(&format!("deleted {}\n", render::several(removed.documents, "document")))?;
        }
        DocumentsVerb::Undelete { documents, change } => {
            let operator = change::operator(&change).await?;
            let ids = ids(&operator, &documents).await?;
            let readmitted = operator.undelete_documents(&ids).await?;
            if readmitted == 0 {
                let what =
                    if ids.len() == 1 { "the document was" } else { "none of the documents was" };
                let not = if ids.len() == 1 { "not " } else { "" };
                return Err(format!(
                    "nothing to undelete: {what} {not}deleted by `semantik documents delete`, or the file is gone; \
                     `semantik why` tells what became of a document"
                )
                .into());
            }
            let report = operator.run().await?.report;
            let what = render::several(readmitted, "document");
            render::out(&format!("undeleted {what}\n"))?;
            if report.failed() > 0 {
                return Ok(Exit::DocumentsFailed);
            }
        }
    }
    Ok(Exit::Fine)
}

async fn list(
    of: &OfFile,
    status: Option<DocumentStatus>,
    after: Option<Uuid>,
    limit: u32,
) -> Result<(), BoxError> {
    let (database, collection) = wiring::opened(&of.config).await?;
    let documents = database.postgres().documents();
    let found = match status {
        Some(status) => documents.list_by_status(collection.id, status, after, limit).await?,
        None => documents.list(collection.id, after, limit).await?,
    };
    if of.json {
        let found = found.iter().map(|it| {
            json!({
                "id": it.id,
                "path": it.file_path,
                "status": word(it.status),
                "size": it.file_size,
                "mime_type": it.mime_type,
                "chunks": it.chunk_count,
                "title": it.meta["title"],
                "message": it.error_message,
                "updated_at": it.updated_at,
            })
        });
        return render::json(&found.collect());
    }
    let rows = found.iter().map(|it| {
        vec![
            it.id.to_string(),
            word(it.status),
            render::count(it.chunk_count),
            it.file_path.clone(),
            it.error_message.clone().unwrap_or_default(),
        ]
    });
    let head = ["document", "status", "chunks", "path", "set aside, since it"];
    render::out(&render::table(&head, rows))?;
    if let Some(last) = found.last().filter(|_| found.len() == limit as usize) {
        render::out(&format!("there may be more: `--after {}`\n", last.id))?;
    }
    Ok(())
}

async fn show(of: &OfFile, named: &str) -> Result<(), BoxError> {
    let (database, collection) = wiring::opened(&of.config).await?;
    let told = Named::read(named)?.story(database.postgres(), &collection).await?;
    let document = told.document.ok_or_else(|| no_document(&collection.name, named))?;
    if of.json {
        let mut json = story::document_json(&document);
        json["places"] = told.places.iter().map(story::place_json).collect();
        return render::json(&json);
    }
    render::out(&render::table(&[], story::document_rows(&document)))?;
    render::out(&render::table(&story::PLACE_HEAD, story::place_rows(&told.places)))
}

fn no_document(collection: &str, named: &str) -> String {
    format!("the collection `{collection}` has no document {named}; `semantik why` says more")
}

fn status_of(status: Status) -> DocumentStatus {
    match status {
        Status::Pending => DocumentStatus::Pending,
        Status::Processing => DocumentStatus::Processing,
        Status::Completed => DocumentStatus::Completed,
        Status::Failed => DocumentStatus::Failed,
        Status::Deleted => DocumentStatus::Deleted,
    }
}

/// The documents that a person names by id, path or URL.
async fn ids(operator: &Operator, named: &[String]) -> Result<Vec<Uuid>, BoxError> {
    let collection = operator.database.collection(&operator.spec).await?;
    let documents = operator.database.postgres().documents();
    let mut ids = Vec::with_capacity(named.len());
    for name in named {
        let found = match Named::read(name)? {
            Named::Id(id) => documents.find(collection.id, id).await?.map(|it| it.id),
            Named::At(uri) => documents.at(collection.id, &uri).await?,
        };
        ids.push(found.ok_or_else(|| no_document(&collection.name, name))?);
    }
    Ok(ids)
}
