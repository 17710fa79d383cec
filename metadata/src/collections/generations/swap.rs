//! Swap of the live generation: rows move between the schemas in one transaction.

use pipeline::StoreError;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{DOCUMENT_COLUMNS, Generation, LOCATION_COLUMNS, select, update_vector_store_names};
use crate::audit::CollectionEvent;
use crate::operations::lease::OperationLease;
use crate::operations::{OperationOutcome, finish_within};
use crate::query_error::QueryError;
use crate::retry_call;

/// Result of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapResult {
    /// The new live generation.
    pub live: Generation,
    /// The previous live generation.
    pub retired: Generation,
}

impl OperationLease {
    /// Makes the generation being built live and ends the operation, in one transaction.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the operation was taken over or has ended.
    pub async fn swap(
        &self,
        built: &Generation,
        metrics: &[(String, f64)],
    ) -> Result<SwapResult, StoreError> {
        retry_call(&self.postgres().pool, "swap the generation", || async {
            self.publish(built, "building", metrics).await
        })
        .await
    }

    /// Makes a retired generation live again and ends the operation, in one transaction.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the operation was taken over or has ended.
    pub async fn roll_back(
        &self,
        to: &Generation,
        metrics: &[(String, f64)],
    ) -> Result<SwapResult, StoreError> {
        retry_call(&self.postgres().pool, "roll back to a generation", || async {
            self.publish(to, "retired", metrics).await
        })
        .await
    }

    async fn publish(
        &self,
        next: &Generation,
        from: &'static str,
        metrics: &[(String, f64)],
    ) -> Result<SwapResult, QueryError> {
        let collection = self.collection();
        let mut connection = self.postgres().connect_without_timeouts().await?;
        let mut transaction = connection.begin().await?;
        if let Some(swapped) = completed_swap(&mut transaction, collection, next).await? {
            return Ok(swapped);
        }
        self.assert_owned(&mut transaction).await?;
        let live: Generation =
            sqlx::query_as(select!("WHERE collection_id = $1 AND status = 'live' FOR UPDATE"))
                .bind(collection)
                .fetch_one(&mut *transaction)
                .await?;
        retire_rows(&mut transaction, collection, live.id).await?;
        publish_rows(&mut transaction, collection, next.id, from).await?;
        let is_rollback = from == "retired";
        if !is_rollback {
            // A swap ends the relevance of earlier rollbacks.
            sqlx::query("UPDATE generations SET rolled_back_at = NULL WHERE collection_id = $1")
                .bind(collection)
                .execute(&mut *transaction)
                .await?;
        }
        // Two statements: at no moment may two generations be live.
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
            "UPDATE generations SET status = 'live', live_at = now(), retired_at = NULL, rolled_back_at = NULL,
                    refused_at = NULL
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
        update_vector_store_names(&mut transaction, collection).await?;
        let user =
            finish_within(&mut transaction, self.id(), &OperationOutcome::Completed, metrics)
                .await?;
        let entry = CollectionEvent {
            collection,
            operation: Some(self.id()),
            user,
            action: if is_rollback { "generation_rolled_back" } else { "generation_swapped" },
            details: json!({ "from": live.number, "to": next.number }),
        };
        entry.insert(&mut transaction).await?;
        let find = |id: Uuid| sqlx::query_as(select!("WHERE id = $1")).bind(id);
        let swapped = SwapResult {
            live: find(next.id).fetch_one(&mut *transaction).await?,
            retired: find(live.id).fetch_one(&mut *transaction).await?,
        };
        transaction.commit().await?;
        Ok(swapped)
    }

    /// Number of points that a retired generation should have.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn expected_points(&self, retired: &Generation) -> Result<u64, StoreError> {
        retry_call(&self.postgres().pool, "count the chunks of a generation", || async {
            let chunks: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(chunk_count), 0)::bigint FROM retired.documents
                 WHERE generation_id = $1 AND status = 'completed'",
            )
            .bind(retired.id)
            .fetch_one(&self.postgres().pool)
            .await?;
            Ok(chunks.unsigned_abs())
        })
        .await
    }

    /// Deleted or failed documents of a retired generation that still have points in it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn unpurged_documents(&self, retired: &Generation) -> Result<Vec<Uuid>, StoreError> {
        retry_call(&self.postgres().pool, "list documents with points to remove", || async {
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

/// The result of a committed swap whose response was lost.
async fn completed_swap(
    connection: &mut PgConnection,
    collection: Uuid,
    next: &Generation,
) -> Result<Option<SwapResult>, sqlx::Error> {
    let live: Option<Generation> = sqlx::query_as(select!("WHERE id = $1 AND status = 'live'"))
        .bind(next.id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(live) = live else { return Ok(None) };
    let retired = sqlx::query_as(select!(
        "WHERE collection_id = $1 AND status = 'retired' ORDER BY retired_at DESC LIMIT 1"
    ));
    let retired = retired.bind(collection).fetch_optional(connection).await?;
    Ok(retired.map(|retired| SwapResult { live, retired }))
}

/// Moves the rows of a collection from `public` to `retired`.
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

/// Moves the rows of a generation from `building` or `retired` to `public`. References to sources
/// and operations that were deleted since become null.
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
        let insert = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO public.{table} ({columns}) SELECT {values} FROM {from}.{table} t
             LEFT JOIN collection_sources s ON s.id = t.source_id {operations} WHERE {which}"
        )));
        insert.bind(collection).bind(generation).execute(&mut *connection).await?;
    }
    // Locations first: deleting a document would detach its location before the move.
    for table in ["document_locations", "documents"] {
        let delete =
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {from}.{table} t WHERE {which}")));
        delete.bind(collection).bind(generation).execute(&mut *connection).await?;
    }
    Ok(())
}
