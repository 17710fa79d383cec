//! The migrations: up, down and up again, with rows in the tables.

use futures::future::join_all;
use metadata::{GenerationSlot, OperationOutcome};
use sqlx::Row as _;

use crate::support::{Database, corrupt, generation, rejected, settings, store};
use pipeline::MetadataStore as _;

async fn fill(database: &Database) {
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    let metadata = operation.metadata(GenerationSlot::Live, settings(1));
    store(&metadata, "file:///a", 1, 3).await;
    metadata.record_rejections(&[rejected("file:///d", Some(3), corrupt())]).await.unwrap();
    operation.finish(&OperationOutcome::Completed, &[("seconds".to_owned(), 1.0)]).await.unwrap();
    // A formerly live generation, and one being built.
    let operation = database.operation(&collection).await;
    let built = operation.building_generation(&generation(2)).await.unwrap();
    operation.swap(&built, &[]).await.unwrap();
    operation.release().await;
    let operation = database.operation(&collection).await;
    operation.building_generation(&generation(3)).await.unwrap();
    operation.finish(&OperationOutcome::Cancelled, &[]).await.unwrap();
    for table in ["building.documents", "retired.documents", "retired.document_locations"] {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&database.sql).await.unwrap();
        assert!(rows > 0, "{table}");
    }
    sqlx::raw_sql(
        "INSERT INTO refresh_tokens (user_id, family_id, token_hash, expires_at)
         SELECT id, gen_random_uuid(), 'h', now() FROM users;
         INSERT INTO api_keys (user_id, name, prefix, key_hash) SELECT id, 'k', 'p', 'h' FROM users;
         INSERT INTO collection_permissions (collection_id, user_id, permission)
         SELECT c.id, c.owner_id, 'read' FROM collections c;
         INSERT INTO generation_words (generation_id, word)
         SELECT id, 'word' FROM generations ON CONFLICT DO NOTHING;",
    )
    .execute(&database.sql)
    .await
    .unwrap();
}

/// Every table, column, index, constraint, trigger and enum label, as text.
async fn schema(database: &Database) -> Vec<String> {
    sqlx::query(
        "WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('public', 'building', 'retired'))
         SELECT 'column ' || table_schema || '.' || table_name || '.' || column_name || ' ' || udt_name || ' '
                || is_nullable || coalesce(' ' || column_default, '')
         FROM information_schema.columns
         WHERE table_schema IN (SELECT nspname FROM ours) AND table_name <> '_sqlx_migrations'
         UNION ALL SELECT indexdef FROM pg_indexes
         WHERE schemaname IN (SELECT nspname FROM ours) AND tablename <> '_sqlx_migrations'
         UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
         FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
             AND conrelid <> coalesce(to_regclass('_sqlx_migrations'), 0)
         UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
         UNION ALL SELECT enumtypid::regtype || ' ' || enumlabel FROM pg_enum
         UNION ALL SELECT 'schema ' || nspname FROM ours WHERE nspname <> 'public'
         ORDER BY 1",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap()
    .iter()
    .map(|row| row.get(0))
    .collect()
}

#[tokio::test]
async fn up_down_up_with_data_in_the_tables() {
    let database = Database::empty().await;
    let postgres = &database.postgres;
    let status = postgres.migrate_status().await.unwrap();
    assert!(status.iter().all(|migration| migration.applied_at.is_none()) && !status.is_empty());

    postgres.migrate_up().await.unwrap();
    let made = schema(&database).await;
    fill(&database).await;
    // One step at a time, then all at once, each time with rows in the remaining tables.
    let count = status.len();
    for steps in (1..=count).chain([count + 5]) {
        postgres.migrate_down(steps).await.unwrap();
        let status = postgres.migrate_status().await.unwrap();
        let left = status.iter().filter(|migration| migration.applied_at.is_some()).count();
        assert_eq!(left, count.saturating_sub(steps), "{steps} steps down");
        if left == 0 {
            assert_eq!(schema(&database).await, Vec::<String>::new(), "the schema is empty");
        }
        postgres.migrate_up().await.unwrap();
        assert_eq!(schema(&database).await, made, "{steps} steps down and up again");
        if steps == count {
            fill(&database).await;
        }
    }
    postgres.migrate_up().await.unwrap();
    fill(&database).await;
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let database = Database::empty().await;
    let all = join_all((0..4).map(|_| database.postgres.migrate_up())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let database = Database::new().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, '', 0)",
    )
    .execute(&database.sql)
    .await
    .unwrap();
    let refused = database.postgres.migrate_up().await.unwrap_err();
    insta::assert_snapshot!(refused.source, @"the database has migration 9999, which this version of semantik does not know; use a newer one");
}

#[tokio::test]
async fn the_built_in_account_is_there_and_cannot_log_in() {
    let database = Database::new().await;
    let (username, password): (String, String) =
        sqlx::query_as("SELECT username, hashed_password FROM users")
            .fetch_one(&database.sql)
            .await
            .unwrap();
    assert_eq!((username.as_str(), password.as_str()), (metadata::LOCAL_ACCOUNT, "!"));
}

/// Checks the naming conventions of the specification, and that every foreign key has an index.
#[tokio::test]
async fn names_follow_the_conventions_and_foreign_keys_are_indexed() {
    let database = Database::new().await;
    let odd: Vec<String> = sqlx::query_scalar(
        "SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
           AND conrelid <> '_sqlx_migrations'::regclass
           AND conname NOT LIKE CASE contype WHEN 'p' THEN 'pk\\_%' WHEN 'u' THEN 'uq\\_%'
                                             WHEN 'f' THEN 'fk\\_%' WHEN 'c' THEN 'check\\_%' END
         UNION ALL
         SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
           AND tablename <> '_sqlx_migrations'
           AND indexname NOT LIKE ALL (ARRAY['idx\\_%', 'uq\\_%', 'pk\\_%'])
           ",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap();
    assert!(odd.iter().all(|name| name.is_empty()), "{odd:?}");
    let unindexed: Vec<String> = sqlx::query_scalar(
        "SELECT c.conrelid::regclass || '.' || c.conname FROM pg_constraint c
         WHERE c.contype = 'f' AND NOT EXISTS (
             SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])",
    )
    .fetch_all(&database.sql)
    .await
    .unwrap();
    assert_eq!(unindexed, Vec::<String>::new());
}
