//! A generation from its creation to the moment before its swap.

use pipeline::StoreError;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection};
use uuid::Uuid;

use super::{
    DOCUMENT_COLUMNS, Generation, GenerationSettings, GenerationStatus, LOCATION_COLUMNS, insert,
    select, update_vector_store_names,
};
use crate::operations::lease::OperationLease;
use crate::query_error::QueryError;
use crate::retry_call;

/// Comparison of a new generation with the live one.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct GenerationComparison {
    /// Number of points that it should have.
    pub chunks: i64,
    /// Completed documents in it.
    pub documents: i64,
    /// Completed documents in the live generation.
    pub live_documents: i64,
    /// Documents that the live generation has and it lacks, although they still exist.
    pub lost: i64,
    /// Path of one of them.
    pub first_lost: Option<String>,
    /// The number of these that no source has delivered, so their current content is unknown.
    pub unseen: i64,
    /// Path of one of them.
    pub first_unseen: Option<String>,
}

impl OperationLease {
    /// The generation being built for these settings: an unfinished one, or a new one that has the
    /// documents of the live generation and no points yet.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if one for other settings is being built; see
    /// [`OperationLease::delete_generation`].
    pub async fn building_generation(
        &self,
        settings: &GenerationSettings,
    ) -> Result<Generation, StoreError> {
        retry_call(&self.postgres().pool, "create a generation", || async {
            let mut connection = self.postgres().connect_without_timeouts().await?;
            let mut transaction = connection.begin().await?;
            self.assert_owned(&mut transaction).await?;
            let found: Option<Generation> =
                sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'building'"))
                    .bind(self.collection())
                    .fetch_optional(&mut *transaction)
                    .await?;
            let generation = match found {
                Some(found) if found.matches_settings(settings) => found,
                Some(found) => {
                    let number = found.number;
                    return Err(QueryError::Conflict(format!(
                        "generation {number} is being built for other settings"
                    )));
                }
                None => self.create_building_generation(&mut transaction, settings).await?,
            };
            transaction.commit().await?;
            Ok(generation)
        })
        .await
    }

    async fn create_building_generation(
        &self,
        connection: &mut PgConnection,
        settings: &GenerationSettings,
    ) -> Result<Generation, QueryError> {
        let collection = self.collection();
        let number: i32 = sqlx::query_scalar(
            "SELECT coalesce(max(number), 0) + 1 FROM generations WHERE collection_id = $1",
        )
        .bind(collection)
        .fetch_one(&mut *connection)
        .await?;
        let id =
            insert(connection, collection, number, GenerationStatus::Building, settings).await?;
        copy_live_rows(connection, collection).await?;
        update_vector_store_names(connection, collection).await?;
        Ok(sqlx::query_as(select!("WHERE id = $1")).bind(id).fetch_one(connection).await?)
    }

    /// Records that the generation being built failed the checks.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation was taken over or has ended.
    pub async fn mark_refused(&self, built: &Generation) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "record that a generation was refused", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
            sqlx::query("UPDATE generations SET refused_at = now() WHERE id = $1")
                .bind(built.id)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Deletes the metadata of a generation whose vectors are deleted.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it is the live one, or the operation was taken over or has
    /// ended.
    pub async fn delete_generation(&self, generation: &Generation) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "delete the metadata of a generation", || async {
            let mut connection = self.postgres().connect_without_timeouts().await?;
            let mut transaction = connection.begin().await?;
            let gone = sqlx::query("DELETE FROM generations WHERE id = $1 AND status <> 'live'")
                .bind(generation.id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if gone == 0 {
                let number = generation.number;
                return Err(QueryError::Conflict(format!("generation {number} is live")));
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
            update_vector_store_names(&mut transaction, self.collection()).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    /// Records that a run over every source has brought the live generation to these settings.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn record_settings(&self, settings: &GenerationSettings) -> Result<(), StoreError> {
        retry_call(&self.postgres().pool, "record the settings of the generation", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.assert_owned(&mut transaction).await?;
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

    /// Compares the generation being built with the live one before a swap.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn compare_generations(&self) -> Result<GenerationComparison, StoreError> {
        retry_call(&self.postgres().pool, "compare the generations", || async {
            Ok(sqlx::query_as(
                "SELECT (SELECT coalesce(sum(chunk_count), 0)::bigint FROM building.documents
                         WHERE collection_id = $1) AS chunks,
                        count(*) FILTER (WHERE b.status = 'completed') AS documents,
                        count(*) FILTER (WHERE p.status = 'completed') AS live_documents,
                        count(*) FILTER (WHERE lost.it) AS lost,
                        min(b.file_path) FILTER (WHERE lost.it) AS first_lost,
                        count(*) FILTER (WHERE lost.it AND b.status = 'pending') AS unseen,
                        min(b.file_path) FILTER (WHERE lost.it AND b.status = 'pending') AS first_unseen
                 FROM building.documents b
                 LEFT JOIN public.documents p ON p.id = b.id AND p.collection_id = b.collection_id
                 -- Deleted though one of its places is still there: it is too large now, say.
                 CROSS JOIN LATERAL (SELECT p.status = 'completed' AND (b.status IN ('pending', 'failed')
                     OR b.status = 'deleted' AND EXISTS (
                         SELECT FROM public.document_locations l
                         JOIN building.document_locations n
                             ON n.collection_id = l.collection_id AND n.uri_hash = l.uri_hash
                         WHERE l.document_id = p.id)) AS it) lost
                 WHERE b.collection_id = $1",
            )
            .bind(self.collection())
            .fetch_one(&self.postgres().pool)
            .await?)
        })
        .await
    }
}

/// Copies the documents and locations of the live generation to a new one: documents keep their ids
/// and have no points.
async fn copy_live_rows(
    connection: &mut PgConnection,
    collection: Uuid,
) -> Result<(), sqlx::Error> {
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
