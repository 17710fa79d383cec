//! `semantik status`: the content of a collection and its last operations.

use pipeline::BoxError;
use serde_json::json;

use super::document_view;
use crate::cli::StatusArgs;
use crate::composition;
use crate::render;

/// Operations shown.
const RECENT: u32 = 5;

pub(super) async fn status(args: &StatusArgs) -> Result<(), BoxError> {
    let (database, collection) = composition::open_collection(&args.file).await?;
    let operations = database.postgres().operations().recent(collection.id, None, RECENT).await?;
    let documents = database.postgres().documents().count_by_status(collection.id).await?;
    let set_aside = database.postgres().documents().count_rejected_locations(collection.id).await?;

    if args.json {
        let documents: serde_json::Map<String, serde_json::Value> =
            documents.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
        let operations: Vec<_> = operations
            .iter()
            .map(|operation| {
                json!({
                    "id": operation.id,
                    "type": operation.kind,
                    "status": operation.status,
                    "started_at": operation.started_at,
                    "completed_at": operation.completed_at,
                    "error": operation.error_message,
                })
            })
            .collect();
        let status = json!({
            "collection": collection.name,
            "id": collection.id,
            "status": collection.status,
            "message": collection.status_message,
            "model": collection.embedding_model,
            "vectors": collection.vector_store_name,
            "documents": documents,
            "set_aside": document_view::set_aside_json(&set_aside),
            "document_count": collection.document_count,
            "vector_count": collection.vector_count,
            "total_size_bytes": collection.total_size_bytes,
            "operations": operations,
        });
        return render::print_json(&status);
    }

    let mut rows = vec![
        vec!["collection".to_owned(), collection.name.clone()],
        vec!["status".to_owned(), collection.status.to_string()],
    ];
    rows.extend(
        collection.status_message.iter().map(|why| vec!["message".to_owned(), why.clone()]),
    );
    rows.extend([
        vec!["model".to_owned(), collection.embedding_model.clone()],
        vec!["vectors".to_owned(), collection.vector_store_name.clone()],
        vec!["chunks".to_owned(), render::format_count(collection.vector_count)],
        vec!["size".to_owned(), render::format_bytes(collection.total_size_bytes)],
    ]);
    rows.extend(document_view::count_rows(&documents, &set_aside));
    render::print(&render::table(&[], rows))?;
    let rows = operations.iter().map(|operation| {
        vec![
            operation.kind.to_string(),
            operation.status.to_string(),
            operation.started_at.map_or_else(String::new, render::format_time),
            operation.completed_at.map_or_else(String::new, render::format_time),
            operation.error_message.clone().unwrap_or_default(),
        ]
    });
    render::print(&render::next_table(&["operation", "status", "started", "ended", "error"], rows))
}
