//! Generations: complete sets of vectors of a collection, one of which is live
//! (docs/adr/0010-generations.md).
//!
//! The metadata of documents is in three schemas with the same tables: `public` for the live
//! generation, `building` for the generation being built, `retired` for earlier ones. A swap moves
//! rows between them in one transaction (`generations/swap.rs`). This module stores no vectors.

mod building;
mod swap;

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, StoreError};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::retry_call;
use pipeline::{Quantization, VectorsConfig};

pub use building::GenerationComparison;
pub use swap::SwapResult;

/// Everything that the vectors of a generation depend on, and its display data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationSettings {
    /// Name of the embedding model, as displayed.
    pub model: String,
    /// The short model name in [`crate::Collection::vector_store_name`], such as `minilml6`.
    pub model_short: String,
    /// Folder of the model.
    pub model_path: String,
    /// Fingerprint of the model; it changes whenever its vectors would change.
    pub model_fingerprint: String,
    /// Dimension of the vectors.
    pub dim: usize,
    /// Number type of the stored vectors.
    pub quantization: Quantization,
    /// Settings of the sparse encoder; `None` without sparse vectors.
    pub sparse: Option<Value>,
    /// Maximum size of a chunk in the unit of the pipeline file; 0 without a size limit.
    pub chunk_size: u32,
    /// Overlap of neighbouring chunks, in the same unit.
    pub chunk_overlap: u32,
    /// Fingerprint of everything that documents depend on, including these settings.
    pub fingerprint: Fingerprint,
}

/// Status of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Serialize)]
#[sqlx(type_name = "generation_status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum GenerationStatus {
    /// Being built; no search reads it.
    Building,
    /// Searches read it.
    Live,
    /// Formerly live; kept for a rollback.
    Retired,
}

impl GenerationStatus {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Building, Self::Live, Self::Retired];
}

/// A generation, as stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Generation {
    /// Id of the generation.
    pub id: Uuid,
    /// Counted from 1 in order of creation.
    pub number: i32,
    /// Status of the generation.
    pub status: GenerationStatus,
    /// Name of its vector collection.
    pub vector_store_name: String,
    /// Name of the embedding model, as displayed.
    pub embedding_model: String,
    /// Folder of the model at creation; may be empty.
    pub model_path: String,
    /// See [`GenerationSettings::model_fingerprint`]; may be empty.
    pub model_fingerprint: String,
    /// Dimension of its vectors; 0 if it was not recorded.
    pub dim: i32,
    /// `float32`, `float16` or `int8`.
    pub quantization: String,
    /// See [`GenerationSettings::sparse`].
    pub sparse: Option<Value>,
    /// Maximum size of a chunk.
    pub chunk_size: i32,
    /// Overlap of neighbouring chunks.
    pub chunk_overlap: i32,
    /// Settings of the last complete run on it.
    pub fingerprint: Option<Vec<u8>>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time at which it became live.
    pub live_at: Option<DateTime<Utc>>,
    /// Time at which another generation replaced it.
    pub retired_at: Option<DateTime<Utc>>,
    /// Time of a rollback from it to the previous generation.
    pub rolled_back_at: Option<DateTime<Utc>>,
    /// Time at which a swap was refused because the checks failed.
    pub refused_at: Option<DateTime<Utc>>,
}

impl Generation {
    /// `true` if documents with these settings can be written to it: same model, precision and
    /// sparse encoder.
    pub fn is_compatible_with(&self, settings: &GenerationSettings) -> bool {
        let same_model = if self.model_fingerprint.is_empty() {
            self.embedding_model == settings.model
        } else {
            self.model_fingerprint == settings.model_fingerprint
        };
        same_model
            && self.quantization == quantization_name(settings.quantization)
            && self.sparse == settings.sparse
    }

    /// `true` if the last complete run on it had exactly these settings.
    pub fn matches_settings(&self, settings: &GenerationSettings) -> bool {
        self.is_compatible_with(settings)
            && self.fingerprint.as_deref() == Some(&settings.fingerprint.0[..])
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, status, vector_store_name, embedding_model, model_path, model_fingerprint, dim,
                    quantization, sparse, chunk_size, chunk_overlap, fingerprint, created_at, live_at, retired_at,
                    rolled_back_at, refused_at
             FROM generations ",
            $rest
        )
    };
}
use select;

/// The generations of the metadata store.
pub struct Generations<'a>(pub(crate) &'a PgPool);

impl Generations<'_> {
    /// The generations of a collection, oldest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self, collection: Uuid) -> Result<Vec<Generation>, StoreError> {
        retry_call(self.0, "list generations", || async {
            Ok(sqlx::query_as(select!("WHERE collection_id = $1 ORDER BY number"))
                .bind(collection)
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// The generation that searches read.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn live(&self, collection: Uuid) -> Result<Generation, StoreError> {
        retry_call(self.0, "find the live generation", || async {
            Ok(sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'live'"))
                .bind(collection)
                .fetch_one(self.0)
                .await?)
        })
        .await
    }
}

/// Creates the first generation of a new collection.
pub(super) async fn insert_first(
    connection: &mut PgConnection,
    collection: Uuid,
    settings: &GenerationSettings,
) -> Result<(), sqlx::Error> {
    insert(connection, collection, 1, GenerationStatus::Live, settings).await.map(drop)
}

async fn insert(
    connection: &mut PgConnection,
    collection: Uuid,
    number: i32,
    status: GenerationStatus,
    settings: &GenerationSettings,
) -> Result<Uuid, sqlx::Error> {
    let name = VectorsConfig::name_of(
        collection,
        &settings.model_short,
        settings.quantization,
        number.unsigned_abs(),
    );
    sqlx::query_scalar(
        "INSERT INTO generations (collection_id, number, status, vector_store_name, embedding_model, model_path,
                                  model_fingerprint, dim, quantization, chunk_size, chunk_overlap, fingerprint,
                                  sparse, live_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                 CASE WHEN $3 = 'live'::generation_status THEN now() END)
         RETURNING id",
    )
    .bind(collection)
    .bind(number)
    .bind(status)
    .bind(name)
    .bind(&settings.model)
    .bind(&settings.model_path)
    .bind(&settings.model_fingerprint)
    .bind(i32::try_from(settings.dim).unwrap_or(i32::MAX))
    .bind(quantization_name(settings.quantization))
    .bind(i32::try_from(settings.chunk_size).unwrap_or(i32::MAX))
    .bind(i32::try_from(settings.chunk_overlap).unwrap_or(i32::MAX))
    // A first generation has no complete run yet; a generation being built is for these settings.
    .bind((status == GenerationStatus::Building).then_some(&settings.fingerprint.0[..]))
    .bind(&settings.sparse)
    .fetch_one(connection)
    .await
}

/// The columns of `documents`, for moving rows between schemas. A test compares them with the
/// table.
pub(super) const DOCUMENT_COLUMNS: &str = "id, collection_id, source_id, file_path, file_name, file_size, \
    mime_type, content_hash, status, error_message, set_aside, chunk_count, fingerprint, operation_id, \
    deleted_at, created_at, updated_at, meta, attempts, retry_at, uri, points_digest";

/// The columns of `document_locations` without generated ones.
pub(super) const LOCATION_COLUMNS: &str = "collection_id, uri, source_id, document_id, content_hash, size, \
    mtime, ctime, inode, set_aside, fingerprint, created_at, last_seen_at";

/// Writes the names of a collection's vector collections to the columns that the specification
/// defines.
async fn update_vector_store_names(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE collections c SET
             qdrant_collections = coalesce(
                 (SELECT jsonb_agg(vector_store_name ORDER BY number) FROM generations
                  WHERE collection_id = c.id AND status <> 'building'), '[]'),
             qdrant_staging = coalesce(
                 (SELECT jsonb_agg(vector_store_name) FROM generations
                  WHERE collection_id = c.id AND status = 'building'), '[]')
         WHERE c.id = $1",
    )
    .bind(collection)
    .execute(connection)
    .await
    .map(drop)
}

/// The value in the table.
pub(super) fn quantization_name(quantization: Quantization) -> &'static str {
    match quantization {
        Quantization::Float32 => "float32",
        Quantization::Float16 => "float16",
        Quantization::Int8 => "int8",
    }
}
