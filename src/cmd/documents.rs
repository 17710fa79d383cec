//! `semantik documents`: single documents of a collection.

use pipeline::BoxError;
use uuid::Uuid;

use super::{Exit, change};
use crate::cli::DocumentsVerb;
use crate::operate::Operator;
use crate::render;

pub(super) async fn documents(verb: DocumentsVerb) -> Exit {
    match try_documents(verb).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_documents(verb: DocumentsVerb) -> Result<Exit, BoxError> {
    match verb {
        DocumentsVerb::Delete { documents, change } => {
            let operator = change::operator(&change).await?;
            let ids = ids(&operator, &documents).await?;
            change::confirm(&change, &format!("delete {} documents", ids.len()))?;
            let removed = operator.delete_documents(&ids).await?;
            render::out(&format!("{} documents are deleted\n", removed.documents))?;
        }
        DocumentsVerb::Undelete { documents, change } => {
            let operator = change::operator(&change).await?;
            let ids = ids(&operator, &documents).await?;
            let readmitted = operator.undelete_documents(&ids).await?;
            if readmitted == 0 {
                return Err("none of them was deleted by `semantik documents delete` and has its file still".into());
            }
            let report = operator.run().await?.report;
            render::out(&format!("{readmitted} documents are undeleted\n"))?;
            if report.failed() > 0 {
                return Ok(Exit::DocumentsFailed);
            }
        }
    }
    Ok(Exit::Fine)
}

/// The documents that a person names by id, path or URL.
async fn ids(operator: &Operator, named: &[String]) -> Result<Vec<Uuid>, BoxError> {
    let collection = operator.database.collection(&operator.spec).await?;
    let documents = operator.database.postgres().documents();
    let mut ids = Vec::with_capacity(named.len());
    for name in named {
        let found = match name.parse::<Uuid>() {
            Ok(id) => documents.find(collection.id, id).await?.map(|it| it.id),
            Err(_) => documents.at(collection.id, &crate::wiring::uri_of(name)?).await?,
        };
        ids.push(found.ok_or_else(|| {
            format!("the collection `{}` has no document {name}", collection.name)
        })?);
    }
    Ok(ids)
}
