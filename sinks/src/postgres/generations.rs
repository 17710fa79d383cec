//! Generations: whole sets of vectors of a collection, one of which is live (docs/adr/0010-generations.md).
//!
//! What the metadata says of documents stands in three schemas with the same tables: `public` speaks of the
//! live generation, `building` of the one that is being built, `retired` of earlier ones. Putting a
//! generation in place moves rows between them in one transaction. Nothing here knows a vector.

use chrono::{DateTime, Utc};
use pipeline::{Fingerprint, StoreError};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::attempt;
use super::audit::Entry;
use super::claim::Operation;
use super::collections::{Collection, word};
use super::failure::Failure;
use super::operations::{Ending, finish_within};
use crate::vectors::{Quantization, VectorsConfig};

/// What the vectors of a generation depend on, and what a person is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationSettings {
    /// The embedding model, as a person names it.
    pub model: String,
    /// Its name in [`Collection::vector_store_name`]: `minilml6`.
    pub model_short: String,
    /// Its folder.
    pub model_path: String,
    /// Changes whenever its vectors would.
    pub model_fingerprint: String,
    /// Length of its vectors.
    pub dim: usize,
    /// How vectors are stored.
    pub quantization: Quantization,
    /// The longest chunk, in the unit that the file uses; 0 if it does not cut by size.
    pub chunk_size: u32,
    /// How much neighbouring chunks share.
    pub chunk_overlap: u32,
    /// Everything that documents depend on, these settings among it.
    pub fingerprint: Fingerprint,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "generation_status", rename_all = "lowercase")]
pub enum GenerationStatus {
    /// It is being built; no search reads it.
    Building,
    /// Searches read it.
    Live,
    /// It was live, and is kept for going back to it.
    Retired,
}

/// A generation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Generation {
    /// Its id.
    pub id: Uuid,
    /// From 1, in the order of their making.
    pub number: i32,
    /// Where it stands.
    pub status: GenerationStatus,
    /// Its vector collection.
    pub vector_store_name: String,
    /// The embedding model, as a person names it.
    pub embedding_model: String,
    /// The model's folder when it was made; may be empty.
    pub model_path: String,
    /// See [`GenerationSettings::model_fingerprint`]; may be empty.
    pub model_fingerprint: String,
    /// Length of its vectors; 0 if it was not noted.
    pub dim: i32,
    /// `float32`, `float16` or `int8`.
    pub quantization: String,
    /// The longest chunk.
    pub chunk_size: i32,
    /// How much neighbouring chunks share.
    pub chunk_overlap: i32,
    /// Settings of the last whole run on it.
    pub fingerprint: Option<Vec<u8>>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it became live.
    pub live_at: Option<DateTime<Utc>>,
    /// When another one took its place.
    pub retired_at: Option<DateTime<Utc>>,
    /// When somebody went back from it to the one before.
    pub rolled_back_at: Option<DateTime<Utc>>,
}

impl Generation {
    /// Whether documents can be written to it as these settings make them: same model, same precision.
    pub fn takes(&self, settings: &GenerationSettings) -> bool {
        let same_model = if self.model_fingerprint.is_empty() {
            self.embedding_model == settings.model
        } else {
            self.model_fingerprint == settings.model_fingerprint
        };
        same_model && self.quantization == word(settings.quantization)
    }

    /// Whether the last whole run on it had just these settings.
    pub fn is_of(&self, settings: &GenerationSettings) -> bool {
        self.takes(settings) && self.fingerprint.as_deref() == Some(&settings.fingerprint.0[..])
    }
}

/// What a swap has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The generation that is live now.
    pub live: Generation,
    /// The one that was.
    pub retired: Generation,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, status, vector_store_name, embedding_model, model_path, model_fingerprint, dim,
                    quantization, chunk_size, chunk_overlap, fingerprint, created_at, live_at, retired_at,
                    rolled_back_at
             FROM generations ",
            $rest
        )
    };
}

/// The generations of a store's collections.
pub struct Generations<'a>(pub(super) &'a PgPool);

impl Generations<'_> {
    /// The generations of a collection, oldest first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self, collection: Uuid) -> Result<Vec<Generation>, StoreError> {
        attempt("list generations", || async {
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
        attempt("find the live generation", || async {
            Ok(sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'live'"))
                .bind(collection)
                .fetch_one(self.0)
                .await?)
        })
        .await
    }
}

/// Makes the first generation of a collection that has just been made.
pub(super) async fn make_first(
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
                                  live_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
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
    .bind(word(settings.quantization))
    .bind(i32::try_from(settings.chunk_size).unwrap_or(i32::MAX))
    .bind(i32::try_from(settings.chunk_overlap).unwrap_or(i32::MAX))
    // A first generation has no whole run behind it yet; one that is being built is for these settings.
    .bind((status == GenerationStatus::Building).then_some(&settings.fingerprint.0[..]))
    .fetch_one(connection)
    .await
}

/// The columns of `documents`, for moving rows between schemas. A test compares them with the table.
pub(super) const DOCUMENT_COLUMNS: &str = "id, collection_id, source_id, file_path, file_name, file_size, \
    mime_type, content_hash, status, error_message, set_aside, chunk_count, fingerprint, operation_id, \
    deleted_at, created_at, updated_at, meta, attempts, retry_at, points_digest";

/// The columns of `document_locations` that are not generated.
pub(super) const LOCATION_COLUMNS: &str = "collection_id, uri, source_id, document_id, content_hash, size, \
    mtime, ctime, inode, set_aside, fingerprint, created_at, last_seen_at";

/// Operations on generations, which only the one that may write to the collection can do.
impl Operation {
    /// The generation of a collection that is being built for these settings: one that was begun and not
    /// finished, or a new one, which knows the documents of the live one and has no points yet.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another one is being built; see [`Operation::forget`].
    pub async fn building(&self, settings: &GenerationSettings) -> Result<Generation, StoreError> {
        attempt("begin a generation", || async {
            let mut connection = self.postgres().unhurried().await?;
            let mut transaction = connection.begin().await?;
            self.hold(&mut transaction).await?;
            let found: Option<Generation> =
                sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'building'"))
                    .bind(self.collection())
                    .fetch_optional(&mut *transaction)
                    .await?;
            let generation = match found {
                Some(found) if found.is_of(settings) => found,
                Some(found) => {
                    let number = found.number;
                    return Err(Failure::Conflict(format!(
                        "generation {number} is being built for other settings"
                    )));
                }
                None => self.begin_building(&mut transaction, settings).await?,
            };
            transaction.commit().await?;
            Ok(generation)
        })
        .await
    }

    async fn begin_building(
        &self,
        connection: &mut PgConnection,
        settings: &GenerationSettings,
    ) -> Result<Generation, Failure> {
        let collection = self.collection();
        let number: i32 = sqlx::query_scalar(
            "SELECT coalesce(max(number), 0) + 1 FROM generations WHERE collection_id = $1",
        )
        .bind(collection)
        .fetch_one(&mut *connection)
        .await?;
        let id =
            insert(connection, collection, number, GenerationStatus::Building, settings).await?;
        seed(connection, collection).await?;
        note_vectors(connection, collection).await?;
        Ok(sqlx::query_as(select!("WHERE id = $1")).bind(id).fetch_one(connection).await?)
    }

    /// Puts the generation that is being built in the place of the live one, and ends the operation, in one
    /// transaction.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the operation is not ours any more.
    pub async fn swap(
        &self,
        built: &Generation,
        metrics: &[(String, f64)],
    ) -> Result<Swapped, StoreError> {
        attempt("put the generation in place", || async {
            self.put_in_place(built, "building", metrics).await
        })
        .await
    }

    /// Puts a retired generation in the place of the live one, and ends the operation, in one transaction.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the operation is not ours any more.
    pub async fn roll_back(&self, to: &Generation) -> Result<Swapped, StoreError> {
        attempt("go back to a generation", || async { self.put_in_place(to, "retired", &[]).await })
            .await
    }

    async fn put_in_place(
        &self,
        next: &Generation,
        from: &'static str,
        metrics: &[(String, f64)],
    ) -> Result<Swapped, Failure> {
        let collection = self.collection();
        let mut connection = self.postgres().unhurried().await?;
        let mut transaction = connection.begin().await?;
        self.hold(&mut transaction).await?;
        let live: Generation =
            sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'live' FOR UPDATE"))
                .bind(collection)
                .fetch_one(&mut *transaction)
                .await?;
        retire_rows(&mut transaction, collection, live.id).await?;
        publish_rows(&mut transaction, collection, next.id, from).await?;
        let is_rollback = from == "retired";
        if !is_rollback {
            // Whoever builds a generation has done with what somebody went back from.
            sqlx::query("UPDATE generations SET rolled_back_at = NULL WHERE collection_id = $1")
                .bind(collection)
                .execute(&mut *transaction)
                .await?;
        }
        // One statement after the other: at no moment may two be live.
        sqlx::query(
            "UPDATE generations SET status = 'retired', retired_at = now(),
                    rolled_back_at = CASE WHEN $2 THEN now() END
             WHERE id = $1",
        )
        .bind(live.id)
        .bind(is_rollback)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE generations SET status = 'live', live_at = now(), retired_at = NULL, rolled_back_at = NULL
             WHERE id = $1",
        )
        .bind(next.id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE collections c
             SET vector_store_name = g.vector_store_name, embedding_model = g.embedding_model,
                 quantization = g.quantization, chunk_size = g.chunk_size, chunk_overlap = g.chunk_overlap
             FROM generations g WHERE c.id = $1 AND g.id = $2",
        )
        .bind(collection)
        .bind(next.id)
        .execute(&mut *transaction)
        .await?;
        note_vectors(&mut transaction, collection).await?;
        let user = finish_within(&mut transaction, self.id(), &Ending::Completed, metrics).await?;
        let entry = Entry {
            collection,
            operation: Some(self.id()),
            user,
            action: if is_rollback { "generation_rolled_back" } else { "generation_swapped" },
            details: json!({ "from": live.number, "to": next.number }),
        };
        entry.write(&mut transaction).await?;
        let find = |id: Uuid| sqlx::query_as(select!("WHERE id = $1")).bind(id);
        let swapped = Swapped {
            live: find(next.id).fetch_one(&mut *transaction).await?,
            retired: find(live.id).fetch_one(&mut *transaction).await?,
        };
        transaction.commit().await?;
        Ok(swapped)
    }

    /// Forgets a generation whose vectors are deleted.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it is the live one, or the operation is not ours any more.
    pub async fn forget(&self, generation: &Generation) -> Result<(), StoreError> {
        attempt("forget a generation", || async {
            let mut connection = self.postgres().unhurried().await?;
            let mut transaction = connection.begin().await?;
            let gone = sqlx::query("DELETE FROM generations WHERE id = $1 AND status <> 'live'")
                .bind(generation.id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if gone == 0 {
                let number = generation.number;
                return Err(Failure::Conflict(format!("generation {number} is live")));
            }
            if generation.status == GenerationStatus::Building {
                for table in ["document_writes", "document_locations", "documents"] {
                    sqlx::query(AssertSqlSafe(format!(
                        "DELETE FROM building.{table} WHERE collection_id = $1"
                    )))
                    .bind(self.collection())
                    .execute(&mut *transaction)
                    .await?;
                }
            }
            note_vectors(&mut transaction, self.collection()).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Notes that a run over every source has brought the live generation to these settings.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn brought_to(&self, settings: &GenerationSettings) -> Result<(), StoreError> {
        attempt("note the settings of the generation", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.hold(&mut transaction).await?;
            sqlx::query(
                "UPDATE generations
                 SET fingerprint = $2, chunk_size = $3, chunk_overlap = $4, model_path = $5,
                     model_fingerprint = $6, dim = $7
                 WHERE collection_id = $1 AND status = 'live'",
            )
            .bind(self.collection())
            .bind(&settings.fingerprint.0[..])
            .bind(i32::try_from(settings.chunk_size).unwrap_or(i32::MAX))
            .bind(i32::try_from(settings.chunk_overlap).unwrap_or(i32::MAX))
            .bind(&settings.model_path)
            .bind(&settings.model_fingerprint)
            .bind(i32::try_from(settings.dim).unwrap_or(i32::MAX))
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "UPDATE collections c SET chunk_size = g.chunk_size, chunk_overlap = g.chunk_overlap
                 FROM generations g
                 WHERE c.id = $1 AND g.collection_id = c.id AND g.status = 'live'
                   AND (c.chunk_size, c.chunk_overlap) IS DISTINCT FROM (g.chunk_size, g.chunk_overlap)",
            )
            .bind(self.collection())
            .execute(&mut *transaction)
            .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// What is to be compared before a generation is put in place.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn compare(&self) -> Result<Comparison, StoreError> {
        attempt("compare the generations", || async {
            Ok(sqlx::query_as(
                "SELECT (SELECT coalesce(sum(chunk_count), 0)::bigint FROM building.documents
                         WHERE collection_id = $1) AS chunks,
                        count(*) FILTER (WHERE b.status = 'completed') AS documents,
                        count(*) FILTER (WHERE p.status = 'completed') AS live_documents,
                        count(*) FILTER (WHERE p.status = 'completed'
                            AND b.status IN ('pending', 'failed')) AS lost,
                        min(b.file_path) FILTER (WHERE p.status = 'completed'
                            AND b.status IN ('pending', 'failed')) AS first_lost
                 FROM building.documents b
                 LEFT JOIN public.documents p ON p.id = b.id AND p.collection_id = b.collection_id
                 WHERE b.collection_id = $1",
            )
            .bind(self.collection())
            .fetch_one(&self.postgres().pool)
            .await?)
        })
        .await
    }

    /// Documents of a retired generation that were deleted, and still have points in it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn unpurged_of(&self, retired: &Generation) -> Result<Vec<Uuid>, StoreError> {
        attempt("list documents with points to remove", || async {
            Ok(sqlx::query_scalar(
                "SELECT id FROM retired.documents
                 WHERE generation_id = $1 AND status IN ('deleted', 'failed') AND chunk_count > 0",
            )
            .bind(retired.id)
            .fetch_all(&self.postgres().pool)
            .await?)
        })
        .await
    }
}

/// How a generation that was built stands beside the live one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Comparison {
    /// Points that it should have.
    pub chunks: i64,
    /// Documents in it.
    pub documents: i64,
    /// Documents in the live one.
    pub live_documents: i64,
    /// Documents that the live one has and it has not, although they are not gone.
    pub lost: i64,
    /// One of those.
    pub first_lost: Option<String>,
}

/// What is known of documents and locations, as a generation that is begun starts with it: every document
/// keeps its id, and none has points.
async fn seed(connection: &mut PgConnection, collection: Uuid) -> Result<(), sqlx::Error> {
    let documents = DOCUMENT_COLUMNS
        .replace("chunk_count", "0")
        .replace("status", "CASE status WHEN 'deleted' THEN status ELSE 'pending' END")
        .replace("error_message", "NULL")
        .replace("set_aside", "NULL")
        .replace("fingerprint", "NULL")
        .replace("points_digest", "NULL");
    for statement in [
        format!(
            "INSERT INTO building.documents ({DOCUMENT_COLUMNS})
             SELECT {documents} FROM public.documents WHERE collection_id = $1"
        ),
        format!(
            "INSERT INTO building.document_locations ({LOCATION_COLUMNS})
             SELECT {LOCATION_COLUMNS} FROM public.document_locations WHERE collection_id = $1"
        ),
    ] {
        let statement = sqlx::query(AssertSqlSafe(statement));
        statement.bind(collection).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Moves what `public` says of a collection to `retired`.
async fn retire_rows(
    connection: &mut PgConnection,
    collection: Uuid,
    generation: Uuid,
) -> Result<(), sqlx::Error> {
    for (table, columns) in [
        ("documents", DOCUMENT_COLUMNS.to_owned()),
        ("document_locations", format!("{LOCATION_COLUMNS}, uri_hash")),
    ] {
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO retired.{table} (generation_id, {columns})
             SELECT $2, {columns} FROM public.{table} WHERE collection_id = $1"
        )))
        .bind(collection)
        .bind(generation)
        .execute(&mut *connection)
        .await?;
    }
    for table in ["document_writes", "document_locations", "documents"] {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM public.{table} WHERE collection_id = $1")))
            .bind(collection)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Moves what `building` or `retired` says of a generation to `public`. Sources and operations that are
/// gone since are left out.
async fn publish_rows(
    connection: &mut PgConnection,
    collection: Uuid,
    generation: Uuid,
    from: &'static str,
) -> Result<(), sqlx::Error> {
    let which = if from == "retired" {
        "t.collection_id = $1 AND t.generation_id = $2"
    } else {
        "t.collection_id = $1 AND $2 IS NOT NULL"
    };
    for (table, columns) in
        [("documents", DOCUMENT_COLUMNS), ("document_locations", LOCATION_COLUMNS)]
    {
        let values = columns
            .split(", ")
            .map(|column| match column {
                "source_id" => "s.id".to_owned(),
                "operation_id" => "o.id".to_owned(),
                other => format!("t.{other}"),
            })
            .collect::<Vec<_>>()
            .join(", ");
        let operations = if table == "documents" {
            "LEFT JOIN operations o ON o.id = t.operation_id"
        } else {
            ""
        };
        for statement in [
            format!(
                "INSERT INTO public.{table} ({columns}) SELECT {values} FROM {from}.{table} t
                 LEFT JOIN collection_sources s ON s.id = t.source_id {operations} WHERE {which}"
            ),
            format!("DELETE FROM {from}.{table} t WHERE {which}"),
        ] {
            let statement = sqlx::query(AssertSqlSafe(statement));
            statement.bind(collection).bind(generation).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Writes the names of a collection's vector collections into its row, as the specification has them.
async fn note_vectors(connection: &mut PgConnection, collection: Uuid) -> Result<(), sqlx::Error> {
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

impl Collection {
    /// The collection as searches see it after a swap.
    #[must_use]
    pub fn on(self, live: &Generation) -> Self {
        Self {
            vector_store_name: live.vector_store_name.clone(),
            embedding_model: live.embedding_model.clone(),
            quantization: live.quantization.clone(),
            chunk_size: live.chunk_size,
            chunk_overlap: live.chunk_overlap,
            ..self
        }
    }
}
