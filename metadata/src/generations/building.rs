//! A generation from its beginning to the moment before it is put in place.

use pipeline::StoreError;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection};
use uuid::Uuid;

use super::{
    DOCUMENT_COLUMNS, Generation, GenerationSettings, GenerationStatus, LOCATION_COLUMNS, insert,
    note_vectors, select,
};
use crate::attempt;
use crate::claim::Operation;
use crate::failure::Failure;

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
    /// Those of them that no source has given: what they hold now is not known.
    pub unseen: i64,
    /// One of those.
    pub first_unseen: Option<String>,
}

impl Operation {
    /// The generation of a collection that is being built for these settings: one that was begun and not
    /// finished, or a new one, which knows the documents of the live one and has no points yet.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if another one is being built; see [`Operation::forget`].
    pub async fn building(&self, settings: &GenerationSettings) -> Result<Generation, StoreError> {
        attempt(&self.postgres().pool, "begin a generation", || async {
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

    /// Notes that the generation that is being built did not pass the checks.
    ///
    /// # Errors
    /// If the store cannot be reached, or the operation is not ours any more.
    pub async fn refuse(&self, built: &Generation) -> Result<(), StoreError> {
        attempt(&self.postgres().pool, "note that a generation was refused", || async {
            let mut transaction = self.postgres().pool.begin().await?;
            self.hold(&mut transaction).await?;
            sqlx::query("UPDATE generations SET refused_at = now() WHERE id = $1")
                .bind(built.id)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Forgets a generation whose vectors are deleted.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if it is the live one, or the operation is not ours any more.
    pub async fn forget(&self, generation: &Generation) -> Result<(), StoreError> {
        attempt(&self.postgres().pool, "forget a generation", || async {
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
        attempt(&self.postgres().pool, "note the settings of the generation", || async {
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
        attempt(&self.postgres().pool, "compare the generations", || async {
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
