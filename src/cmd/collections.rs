//! `semantik collections`: what collections there are, and taking one away.

use pipeline::BoxError;

use super::change;
use crate::cli::CollectionsVerb;
use crate::render;

pub(super) async fn collections(verb: CollectionsVerb) -> Result<(), BoxError> {
    match verb {
        CollectionsVerb::Delete { change } => {
            let operator = change::operator(&change).await?;
            let collection = operator.database.collection(&operator.spec).await?;
            let (name, documents) = (&collection.name, collection.document_count);
            change::confirm(
                &change,
                &format!("delete the collection `{name}` with its {documents} documents, for good"),
            )?;
            operator.delete(&collection).await?;
            render::out(&format!("the collection `{name}` is deleted\n"))
        }
    }
}
