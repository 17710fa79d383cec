//! `semantik sources`: where the documents of a collection come from.

use pipeline::BoxError;

use super::change;
use crate::cli::SourcesVerb;
use crate::render;

pub(super) async fn sources(verb: SourcesVerb) -> Result<(), BoxError> {
    match verb {
        SourcesVerb::Delete { source, change } => {
            let operator = change::operator(&change).await?;
            change::confirm(&change, &format!("delete the documents that only {source} gives"))?;
            let removed = operator.remove_source(&source).await?;
            render::out(&format!(
                "{source} is removed, and with it {} documents; as long as the file names it, the next run takes \
                 it in again\n",
                removed.documents
            ))
        }
    }
}
