//! `semantik collections`: lists, shows, audits and deletes collections.

use metadata::{Collection, DeletedCollection, Generation};
use pipeline::BoxError;
use serde_json::{Value, json};

use super::{confirm, document_view, migrate};
use crate::cli::{CollectionArgs, CollectionsVerb};
use crate::composition;
use crate::render;

pub(super) async fn collections(verb: CollectionsVerb) -> Result<(), BoxError> {
    match verb {
        CollectionsVerb::List { store, after, limit, deleted, json } => {
            let database = migrate::open_read_only(&store).await?;
            if deleted {
                let found = database.postgres().collections().deleted(None, limit).await?;
                return list_deleted(&found, json);
            }
            let collections = database.postgres().collections().list(after, limit).await?;
            if json {
                return render::print_json(&collections.iter().map(collection_json).collect());
            }
            let rows = collections.iter().map(|it| {
                vec![
                    it.id.to_string(),
                    it.name.clone(),
                    it.status.to_string(),
                    it.embedding_model.clone(),
                    render::format_count(it.document_count),
                    render::format_count(it.vector_count),
                    render::format_bytes(it.total_size_bytes),
                ]
            });
            let head = ["collection", "name", "status", "model", "documents", "chunks", "size"];
            render::print(&render::table(&head, rows))
        }
        CollectionsVerb::Show { of } => show(&of).await,
        CollectionsVerb::Audit { of, limit } => show_audit_log(&of, limit).await,
        CollectionsVerb::Delete { change } => {
            let operator = confirm::open_operator(&change).await?;
            let collection = operator.collection().await?;
            let (name, documents) = (&collection.name, collection.document_count);
            confirm::confirm(
                &change,
                &format!(
                    "permanently delete the collection `{name}` with {}",
                    render::count_of(documents, "document")
                ),
            )?;
            operator.delete_collection(&collection).await?;
            let answer = json!({ "collection": name, "documents": documents, "deleted": true });
            render::print_answer(change.json, &answer, &format!("deleted collection `{name}`\n"))
        }
    }
}

fn list_deleted(found: &[DeletedCollection], json: bool) -> Result<(), BoxError> {
    if json {
        return render::print_as_json(&found);
    }
    let rows = found.iter().map(|it| {
        vec![
            it.id.to_string(),
            it.name.clone(),
            it.owner.clone(),
            render::format_count(it.document_count),
            render::format_time(it.created_at),
            render::format_time(it.deleted_at),
        ]
    });
    let head = ["collection", "name", "owner", "documents", "created", "deleted"];
    render::print(&render::table(&head, rows))
}

/// Prints the audit log of the file's collection, including deleted collections of that name.
async fn show_audit_log(of: &CollectionArgs, limit: u32) -> Result<(), BoxError> {
    let (database, ids) = composition::open_with_past_collections(&of.file).await?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(database.postgres().audit_log().for_collection(id, None, limit).await?);
    }
    found.sort_by_key(|it| std::cmp::Reverse((it.created_at, it.id)));
    found.truncate(limit as usize);
    if of.json {
        let found = found.iter().map(|it| {
            json!({
                "id": it.id,
                "action": it.action,
                "by": it.by,
                "operation": it.operation_id,
                "details": it.details,
                "ip_address": it.ip_address,
                "user_agent": it.user_agent,
                "created_at": it.created_at,
            })
        });
        return render::print_json(&found.collect());
    }
    let rows = found.iter().map(|it| {
        vec![
            render::format_time(it.created_at),
            it.action.clone(),
            it.by.clone().unwrap_or_default(),
            it.operation_id.map(|id| id.to_string()).unwrap_or_default(),
            it.details.to_string(),
        ]
    });
    render::print(&render::table(&["time", "action", "user", "operation", "details"], rows))
}

async fn show(of: &CollectionArgs) -> Result<(), BoxError> {
    let (database, collection) = composition::open_collection(&of.file).await?;
    let generations = database.postgres().generations().list(collection.id).await?;
    let documents = database.postgres().documents().count_by_status(collection.id).await?;
    let set_aside = database.postgres().documents().count_rejected_locations(collection.id).await?;
    if of.json {
        let mut json = collection_json(&collection);
        let counts = documents.iter().map(|(status, n)| (status.to_string(), Value::from(*n)));
        json["documents"] = Value::Object(counts.collect());
        json["set_aside"] = document_view::set_aside_json(&set_aside);
        json["generations"] = generations.iter().map(generation_json).collect();
        return render::print_json(&json);
    }
    let row = |what: &str, words: String| vec![what.to_owned(), words];
    let mut rows = vec![
        row("collection", collection.name.clone()),
        row("id", collection.id.to_string()),
        row("status", collection.status.to_string()),
    ];
    rows.extend(collection.description.iter().map(|about| row("description", about.clone())));
    rows.extend(collection.status_message.iter().map(|why| row("message", why.clone())));
    rows.extend([
        row("created", render::format_time(collection.created_at)),
        row("updated", render::format_time(collection.updated_at)),
        row("chunks", render::format_count(collection.vector_count)),
        row("size", render::format_bytes(collection.total_size_bytes)),
    ]);
    rows.extend(document_view::count_rows(&documents, &set_aside));
    render::print(&render::table(&[], rows))?;
    let rows = generations.iter().map(|it| {
        let since = it.retired_at.or(it.live_at).unwrap_or(it.created_at);
        vec![
            it.number.to_string(),
            if it.rolled_back_at.is_some() {
                "rolled back".to_owned()
            } else {
                it.status.to_string()
            },
            render::format_time(since),
            it.embedding_model.clone(),
            it.dim.to_string(),
            it.quantization.clone(),
            format!("{} / {}", it.chunk_size, it.chunk_overlap),
            it.vector_store_name.clone(),
        ]
    });
    let head = [
        "generation",
        "status",
        "since",
        "model",
        "dim",
        "quantization",
        "size / overlap",
        "vectors",
    ];
    render::print(&render::next_table(&head, rows))
}

fn collection_json(collection: &Collection) -> Value {
    json!({
        "id": collection.id,
        "name": collection.name,
        "owner_id": collection.owner_id,
        "description": collection.description,
        "status": collection.status,
        "message": collection.status_message,
        "model": collection.embedding_model,
        "quantization": collection.quantization,
        "chunk_size": collection.chunk_size,
        "chunk_overlap": collection.chunk_overlap,
        "vectors": collection.vector_store_name,
        "document_count": collection.document_count,
        "vector_count": collection.vector_count,
        "total_size_bytes": collection.total_size_bytes,
        "is_public": collection.is_public,
        "created_at": collection.created_at,
        "updated_at": collection.updated_at,
    })
}

fn generation_json(generation: &Generation) -> Value {
    json!({
        "number": generation.number,
        "status": generation.status,
        "model": generation.embedding_model,
        "model_path": generation.model_path,
        "dim": generation.dim,
        "quantization": generation.quantization,
        "chunk_size": generation.chunk_size,
        "chunk_overlap": generation.chunk_overlap,
        "vectors": generation.vector_store_name,
        "created_at": generation.created_at,
        "live_at": generation.live_at,
        "retired_at": generation.retired_at,
        "rolled_back_at": generation.rolled_back_at,
    })
}
