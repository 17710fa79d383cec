//! Generations: build, swap, rollback, and the content of the three schemas after each step.

use metadata::{
    Collection, Generation, GenerationSlot, GenerationStatus, OperationLease, OperationOutcome,
    OperationType, WaitPolicy,
};
use pipeline::{MetadataStore as _, Remedy};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::{Database, corrupt, generation, incoming, rejected, settings, store, stored};

async fn start(database: &Database, collection: &Collection) -> OperationLease {
    let postgres = &database.postgres;
    postgres
        .start_operation(collection, OperationType::Reindex, &json!({}), WaitPolicy::FailIfBusy)
        .await
        .unwrap()
}

/// All rows of a table as JSON.
async fn rows(database: &Database, table: &str) -> Vec<Value> {
    // A row in `retired` also has the id of its generation.
    let query =
        format!("SELECT to_jsonb(t) - 'generation_id' FROM {table} t ORDER BY to_jsonb(t)::text");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&database.sql).await.unwrap()
}

async fn counts(database: &Database) -> Vec<i64> {
    let mut counts = Vec::new();
    for schema in ["public", "building", "retired"] {
        for table in ["documents", "document_locations"] {
            counts
                .push(rows(database, &format!("{schema}.{table}")).await.len().try_into().unwrap());
        }
    }
    counts
}

/// A collection whose rows have a value in every column.
async fn filled(database: &Database) -> Collection {
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    let metadata = operation.metadata(GenerationSlot::Live, settings(1));
    store(&metadata, "file:///a", 1, 3).await;
    store(&metadata, "file:///b", 2, 4).await;
    let (gone, _) = store(&metadata, "file:///gone", 4, 5).await;
    metadata.record_rejections(&[rejected("file:///bad", Some(3), corrupt())]).await.unwrap();
    metadata
        .record_rejections(&[rejected("file:///gone", None, crate::support::unreadable())])
        .await
        .unwrap();
    sqlx::query("UPDATE documents SET status = 'deleted', deleted_at = now() WHERE id = $1")
        .bind(gone)
        .execute(&database.sql)
        .await
        .unwrap();
    operation.record_settings(&generation(1)).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    collection
}

async fn statuses(database: &Database, collection: &Collection) -> Vec<(i32, GenerationStatus)> {
    let list = database.postgres.generations().list(collection.id).await.unwrap();
    list.iter().map(|it| (it.number, it.status)).collect()
}

#[tokio::test]
async fn the_three_schemas_have_the_same_columns() {
    let database = Database::new().await;
    for table in ["documents", "document_locations"] {
        let columns = |schema: &'static str| {
            sqlx::query_as::<_, (String, String, String)>(
                "SELECT column_name::text, udt_name::text, is_generated::text FROM information_schema.columns
                 WHERE table_schema = $1 AND table_name = $2 AND column_name <> 'generation_id' ORDER BY 1",
            )
            .bind(schema)
            .bind(table)
            .fetch_all(&database.sql)
        };
        let public = columns("public").await.unwrap();
        assert!(public.len() > 10);
        assert_eq!(columns("building").await.unwrap(), public, "{table}");
        let plain = |columns: Vec<(String, String, String)>| -> Vec<(String, String)> {
            columns.into_iter().map(|(name, kind, _)| (name, kind)).collect()
        };
        assert_eq!(plain(columns("retired").await.unwrap()), plain(public), "{table}");
    }
}

#[tokio::test]
async fn a_generation_is_built_swapped_and_given_back_with_every_column() {
    let database = Database::new().await;
    let collection = filled(&database).await;
    let live_documents = rows(&database, "documents").await;
    let live_locations = rows(&database, "document_locations").await;
    let empty: Vec<String> = sqlx::query_scalar(
        "SELECT key FROM (SELECT jsonb_object_keys(to_jsonb(d)) AS key FROM documents d
                          UNION SELECT jsonb_object_keys(to_jsonb(l)) FROM document_locations l) k
         WHERE NOT EXISTS (SELECT FROM documents d WHERE to_jsonb(d) -> key <> 'null')
           AND NOT EXISTS (SELECT FROM document_locations l WHERE to_jsonb(l) -> key <> 'null')",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap();
    assert_eq!(empty, Vec::<String>::new(), "every column has a value");

    let operation = start(&database, &collection).await;
    let built = operation.building_generation(&generation(2)).await.unwrap();
    assert_eq!((built.number, built.status), (2, GenerationStatus::Building));
    assert_eq!(built.vector_store_name, format!("{}_minilml6_f16_g2", collection.id));
    assert_eq!(
        operation.building_generation(&generation(2)).await.unwrap(),
        built,
        "a second call has no effect"
    );
    let refused = operation.building_generation(&generation(3)).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    // The new generation has every document with its id and without points.
    assert_eq!(counts(&database).await, [4, 4, 4, 4, 0, 0]);
    let building = operation.metadata(GenerationSlot::Building, settings(2));
    let known =
        building.assign_ids(&[incoming("file:///a", 1), incoming("file:///new", 9)]).await.unwrap();
    assert_eq!(known[0].previous_chunks, 0);
    assert!(building.known_hashes().await.unwrap().is_empty());
    building
        .commit(&[
            stored("file:///a", 1, known[0].document, 6),
            stored("file:///new", 9, known[1].document, 1),
        ])
        .await
        .unwrap();
    store(&building, "file:///b", 2, 2).await;
    assert_eq!(
        rows(&database, "documents").await,
        live_documents,
        "the live generation is unchanged"
    );
    assert_eq!(rows(&database, "document_locations").await, live_locations);
    let compared = operation.compare_generations().await.unwrap();
    assert_eq!(
        (compared.chunks, compared.documents, compared.live_documents, compared.lost),
        (9, 3, 2, 0)
    );

    let new_documents = rows(&database, "building.documents").await;
    let new_locations = rows(&database, "building.document_locations").await;
    let swapped = operation.swap(&built, &[("x".to_owned(), 1.0)]).await.unwrap();
    assert_eq!((swapped.live.number, swapped.retired.number), (2, 1));
    let id = operation.id();
    operation.release().await;
    let recent = database.postgres.operations().find(id).await.unwrap().unwrap();
    assert_eq!(recent.status, metadata::OperationStatus::Completed, "the swap ends it");
    assert_eq!(counts(&database).await, [5, 5, 0, 0, 4, 4]);
    assert_eq!(rows(&database, "documents").await, new_documents);
    assert_eq!(rows(&database, "document_locations").await, new_locations);
    assert_eq!(rows(&database, "retired.documents").await, live_documents);
    assert_eq!(rows(&database, "retired.document_locations").await, live_locations);
    let found = database.postgres.collections().find(None, "docs").await.unwrap().unwrap();
    assert_eq!((found.vector_store_name, found.vector_count), (built.vector_store_name, 9));

    let operation = start(&database, &collection).await;
    let swapped = operation.roll_back(&swapped.retired, &[]).await.unwrap();
    operation.release().await;
    assert_eq!((swapped.live.number, swapped.retired.number), (1, 2));
    assert!(swapped.retired.rolled_back_at.is_some() && swapped.live.rolled_back_at.is_none());
    assert_eq!(rows(&database, "documents").await, live_documents, "the former state is restored");
    assert_eq!(rows(&database, "document_locations").await, live_locations);
    assert_eq!(rows(&database, "retired.documents").await, new_documents);
    assert_eq!(
        statuses(&database, &collection).await,
        [(1, GenerationStatus::Live), (2, GenerationStatus::Retired)]
    );
}

async fn live(database: &Database, collection: &Collection) -> Generation {
    database.postgres.generations().live(collection.id).await.unwrap()
}

#[tokio::test]
async fn a_generation_is_forgotten_with_its_rows_and_the_live_one_never() {
    let database = Database::new().await;
    let collection = filled(&database).await;
    let operation = start(&database, &collection).await;
    let refused =
        operation.delete_generation(&live(&database, &collection).await).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    let built = operation.building_generation(&generation(2)).await.unwrap();
    operation.delete_generation(&built).await.unwrap();
    assert_eq!(counts(&database).await, [4, 4, 0, 0, 0, 0]);
    // The number of a deleted generation is used again; its vectors are deleted first.
    let built = operation.building_generation(&generation(3)).await.unwrap();
    let retired = operation.swap(&built, &[]).await.unwrap().retired;
    operation.release().await;
    assert_eq!(counts(&database).await, [4, 4, 0, 0, 4, 4]);
    let operation = start(&database, &collection).await;
    operation.delete_generation(&retired).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    assert_eq!(counts(&database).await, [4, 4, 0, 0, 0, 0]);
    assert_eq!(statuses(&database, &collection).await, [(built.number, GenerationStatus::Live)]);
}

#[tokio::test]
async fn a_swap_by_one_that_was_cancelled_is_refused_whole() {
    let database = Database::new().await;
    let collection = filled(&database).await;
    let operation = start(&database, &collection).await;
    let built = operation.building_generation(&generation(2)).await.unwrap();
    let before = (counts(&database).await, rows(&database, "documents").await);
    database.postgres.operations().cancel(operation.id()).await.unwrap();
    let refused = operation.swap(&built, &[]).await.unwrap_err();
    assert_eq!(refused.remedy, Remedy::Conflict);
    assert_eq!((counts(&database).await, rows(&database, "documents").await), before);
    assert_eq!(live(&database, &collection).await.number, 1);
    operation.release().await;
    // The next operation continues it.
    let operation = start(&database, &collection).await;
    assert_eq!(operation.building_generation(&generation(2)).await.unwrap(), built);
    operation.swap(&built, &[]).await.unwrap();
}
