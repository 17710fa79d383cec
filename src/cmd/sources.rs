//! `semantik sources`: lists and deletes the sources of a collection.

use pipeline::{BoxError, OperationRequest};
use serde_json::json;

use super::confirm;
use crate::cli::SourcesVerb;
use crate::composition;
use crate::render;

pub(super) async fn sources(verb: SourcesVerb) -> Result<(), BoxError> {
    match verb {
        SourcesVerb::List { of } => {
            let (database, collection) = composition::open_collection(&of.file).await?;
            let sources = database.postgres().collections().sources(collection.id).await?;
            if of.json {
                return render::print_as_json(&sources);
            }
            let rows = sources.iter().map(|it| {
                vec![
                    it.source_path.clone(),
                    it.source_type.clone(),
                    render::format_count(it.document_count),
                    render::format_bytes(it.size_bytes),
                    it.last_indexed_at.map(render::format_time).unwrap_or_default(),
                ]
            });
            render::print(&render::table(
                &["source", "type", "documents", "size", "last read"],
                rows,
            ))
        }
        SourcesVerb::Delete { source, change } => {
            let operator = confirm::open_operator(&change).await?;
            confirm::confirm(
                &change,
                &format!("delete the documents that only {source} provides"),
            )?;
            let request = OperationRequest::RemoveSource { source: source.clone() };
            let documents = operator.execute(&request).await?.documents.unwrap_or(0);
            let words = format!(
                "removed {source} with {}; if the file still names it, the next run stores it \
                 again\n",
                render::count_of(documents, "document"),
            );
            let answer = json!({ "source": source, "documents": documents });
            render::print_answer(change.json, &answer, &words)
        }
    }
}
