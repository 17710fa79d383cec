//! Creation of a collection at its first use, from the settings in its pipeline file.

use pipeline::{StoreError, VectorsConfig};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::CollectionEvent;
use crate::collections::generations::{self, GenerationSettings, quantization_name};
use crate::collections::{Collection, Collections, select_collection};
use crate::query_error::QueryError;
use crate::{LOCAL_ACCOUNT, Postgres, retry_call};

/// The settings of a collection in a pipeline file.
#[derive(Clone, Debug)]
pub struct NewCollection {
    /// User name of the owner; `None` is the built-in account.
    pub owner: Option<String>,
    /// Unique among the collections of the owner.
    pub name: String,
    /// The description in the file.
    pub description: Option<String>,
    /// The vector settings in the file. They apply to the first generation if the collection is
    /// created; the live generation of an existing collection decides whether it accepts such
    /// vectors.
    pub settings: GenerationSettings,
}

impl Postgres {
    /// Returns the collection with this owner and name. Creates it if it does not exist: row, first
    /// generation, limits and audit entry in one transaction.
    ///
    /// # Errors
    /// If the owner does not exist, or the store cannot be reached.
    pub async fn ensure_collection(&self, new: &NewCollection) -> Result<Collection, StoreError> {
        let collections = self.collections();
        retry_call(&self.pool, "open the collection", || collections.ensure(new)).await
    }
}

impl Collections<'_> {
    async fn ensure(&self, new: &NewCollection) -> Result<Collection, QueryError> {
        let mut transaction = self.0.begin().await?;
        let owner = resolve_owner(&mut transaction, new).await?;
        insert(&mut transaction, owner, new).await?;
        update_description(&mut transaction, owner, new).await?;
        // Not FOR UPDATE: that waits for every transaction that writes documents of the collection.
        let collection: Collection = sqlx::query_as(select_collection!(
            "",
            "",
            "WHERE c.owner_id = $1 AND c.name = $2 FOR NO KEY UPDATE"
        ))
        .bind(owner)
        .bind(&new.name)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(collection)
    }
}

async fn resolve_owner(
    connection: &mut PgConnection,
    new: &NewCollection,
) -> Result<Uuid, QueryError> {
    let name = new.owner.as_deref().unwrap_or(LOCAL_ACCOUNT);
    let id: Option<Uuid> = sqlx::query_scalar("SELECT id FROM users WHERE username = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    id.ok_or_else(|| QueryError::Permanent(format!("account `{name}` does not exist")))
}

/// Creates the collection if it does not exist.
async fn insert(
    connection: &mut PgConnection,
    owner: Uuid,
    new: &NewCollection,
) -> Result<(), QueryError> {
    let id = Uuid::new_v4();
    let settings = &new.settings;
    let vectors = VectorsConfig::name_of(id, &settings.model_short, settings.quantization, 1);
    let made = sqlx::query(
        "INSERT INTO collections (id, name, owner_id, vector_store_name, embedding_model, quantization,
                                  chunk_size, chunk_overlap, qdrant_collections)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, jsonb_build_array($4))
         ON CONFLICT (owner_id, name) DO NOTHING",
    )
    .bind(id)
    .bind(&new.name)
    .bind(owner)
    .bind(&vectors)
    .bind(&settings.model)
    .bind(quantization_name(settings.quantization))
    .bind(i32::try_from(settings.chunk_size).unwrap_or(i32::MAX))
    .bind(i32::try_from(settings.chunk_overlap).unwrap_or(i32::MAX))
    .execute(&mut *connection)
    .await?
    .rows_affected()
        > 0;
    if !made {
        return Ok(());
    }
    generations::insert_first(connection, id, settings).await?;
    sqlx::query("INSERT INTO collection_resource_limits (collection_id) VALUES ($1)")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let entry = CollectionEvent {
        collection: id,
        operation: None,
        user: owner,
        action: "collection_created",
        details: json!({ "name": new.name, "model": settings.model, "vectors": vectors }),
    };
    Ok(entry.insert(connection).await?)
}

/// Updates the description from the pipeline file if the file changed and the API has not changed
/// the description since. `meta.described_by_file` is the last value from the file.
async fn update_description(
    connection: &mut PgConnection,
    owner: Uuid,
    new: &NewCollection,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE collections
         SET description = $3, meta = jsonb_set(meta, '{described_by_file}', coalesce(to_jsonb($3::text), 'null'))
         WHERE owner_id = $1 AND name = $2 AND deleting_since IS NULL
           AND meta ->> 'described_by_file' IS DISTINCT FROM $3
           AND description IS NOT DISTINCT FROM meta ->> 'described_by_file'",
    )
    .bind(owner)
    .bind(&new.name)
    .bind(&new.description)
    .execute(connection)
    .await
    .map(drop)
}
