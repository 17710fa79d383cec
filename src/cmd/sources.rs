//! `semantik sources`: lists and deletes the sources of a collection.

use pipeline::BoxError;
use serde_json::json;

use super::confirm;
use crate::cli::SourcesVerb;
use crate::compose;
use crate::render;

pub(super) async fn sources(verb: SourcesVerb) -> Result<(), BoxError> {
    match verb {
        SourcesVerb::List { of } => {
            let (database, collection) = compose::open_collection(&of.file).await?;
            let sources = database.postgres().sources().list(collection.id).await?;
            if of.json {
                let sources = sources.iter().map(|it| {
                    json!({
                        "id": it.id,
                        "source": it.source_path,
                        "type": it.source_type,
                        "document_count": it.document_count,
                        "size_bytes": it.size_bytes,
                        "last_indexed_at": it.last_indexed_at,
                    })
                });
                return render::print_json(&sources.collect());
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
            let removed = operator.remove_source(&source).await?;
            let words = format!(
                "removed {source} with {}; if the file still names it, the next run stores it \
                 again\n",
                render::count_of(removed.documents, "document"),
            );
            let answer = json!({ "source": source, "documents": removed.documents });
            render::print_answer(change.json, &answer, &words)
        }
    }
}
