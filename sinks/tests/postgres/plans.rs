//! The hot queries use their indexes, by the planner's own word, on tables of some thousands of rows.

use sinks::{HOT_QUERIES, document_list_queries};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::Database;

/// Three collections of three thousand documents, every tenth of them deleted.
const ROWS: &str = "
    INSERT INTO documents (id, collection_id, file_path, file_name, file_size, content_hash, status,
                           fingerprint, deleted_at, chunk_count)
    SELECT gen_random_uuid(), c.id, '/' || n, n::text, n, sha256(n::text::bytea),
           (CASE WHEN n % 10 = 0 THEN 'deleted' ELSE 'completed' END)::document_status,
           sha256((n % 20)::text::bytea), CASE WHEN n % 10 = 0 THEN now() END,
           CASE WHEN n % 500 = 0 OR n % 10 > 0 THEN 3 ELSE 0 END
    FROM collections c, generate_series(1, 3000) n;
    INSERT INTO document_locations (collection_id, uri, size, content_hash, document_id, last_seen_at)
    SELECT collection_id, 'file://' || file_path, 1, content_hash,
           CASE WHEN status <> 'deleted' THEN id END, now()
    FROM documents;
    INSERT INTO operations (collection_id, user_id, type, config)
    SELECT c.id, c.owner_id, 'append', '{}' FROM collections c, generate_series(1, 1000);
    UPDATE operations SET status = 'cancelled' WHERE id IN (SELECT id FROM operations OFFSET 300);
    INSERT INTO users (username, email, hashed_password) SELECT n::text, n::text, '!' FROM generate_series(1, 3000) n;
    INSERT INTO refresh_tokens (user_id, family_id, token_hash, expires_at)
    SELECT id, gen_random_uuid(), id::text, now() + interval '1 day' FROM users;
    INSERT INTO api_keys (user_id, name, prefix, key_hash) SELECT id, 'k', 'p', id::text FROM users;
    INSERT INTO collections (name, owner_id, vector_store_name, embedding_model)
    SELECT 'x', id, id::text, 'm' FROM users WHERE username <> 'local';
    INSERT INTO collection_permissions (collection_id, user_id, permission)
    SELECT c.id, u.id, 'read' FROM collections c, (SELECT id FROM users LIMIT 2) u WHERE c.name = 'x';
    INSERT INTO collection_permissions (collection_id, api_key_id, permission)
    SELECT c.id, k.id, 'read' FROM collections c, (SELECT id FROM api_keys LIMIT 2) k WHERE c.name = 'x';
    INSERT INTO operations (collection_id, user_id, type, config)
    SELECT id, owner_id, 'append', '{}' FROM collections WHERE name = 'x';
    UPDATE operations SET status = 'cancelled'
    WHERE collection_id IN (SELECT id FROM collections WHERE name = 'x');
    INSERT INTO collection_audit_log (collection_id, user_id, action)
    SELECT c.id, c.owner_id, 'a' FROM collections c, generate_series(1, 10) n;
    INSERT INTO account_audit_log (user_id, action) SELECT id, 'login' FROM users;
    INSERT INTO document_writes (document_id, operation_id, collection_id)
    SELECT gen_random_uuid(), o.id, o.collection_id FROM operations o;";

/// Those that grow.
const TABLES: [&str; 9] = [
    "documents",
    "document_locations",
    "operations",
    "document_writes",
    "users",
    "refresh_tokens",
    "api_keys",
    "collection_permissions",
    "collection_audit_log",
];

/// The plan for parameters of which nothing is known, as a prepared statement gets it.
async fn plan(connection: &mut PgConnection, sql: &str) -> String {
    let name = format!("q{}", uuid::Uuid::new_v4().simple());
    let parameters = (1..20).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let call = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE {name} AS {sql}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE {name}{call}"));
    let lines: Vec<String> = sqlx::query_scalar(explain).fetch_all(connection).await.unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn hot_queries_use_their_indexes() {
    let database = Database::new().await;
    for name in ["one", "two", "three"] {
        database.collection(name).await;
    }
    sqlx::raw_sql(ROWS).execute(&database.sql).await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    // What autovacuum does in its time.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
    let claim = "SELECT id FROM operations WHERE status = 'pending' ORDER BY created_at, id
                 LIMIT 1 FOR UPDATE SKIP LOCKED";
    let queue = ("claim an operation", claim, &["idx_operations_pending"][..]);
    let hot = HOT_QUERIES.iter().map(|query| (query.doing, query.sql, query.indexes));
    let mut faults = Vec::new();
    for (doing, sql, indexes) in hot.chain([queue]) {
        let plan = plan(&mut connection, sql).await;
        for index in indexes.iter().filter(|index| !plan.contains(**index)) {
            faults.push(format!("to {doing}, `{index}` is not used:\n{plan}"));
        }
        for table in TABLES {
            if plan.contains(&format!("Seq Scan on {table} ")) {
                faults.push(format!("to {doing}, all of {table} is read:\n{plan}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Each order of each list is read in that order: nothing of the collection is sorted, and nothing but a page is read.
#[tokio::test]
async fn every_list_of_documents_is_read_from_the_index_of_its_order() {
    let database = Database::new().await;
    for name in ["one", "two", "three"] {
        database.collection(name).await;
    }
    sqlx::raw_sql(ROWS).execute(&database.sql).await.unwrap();
    let aside =
        "UPDATE documents SET status = 'failed', set_aside = jsonb_build_object('reason', 'empty')
                 WHERE file_size % 3 = 1 AND status = 'completed'";
    sqlx::raw_sql(aside).execute(&database.sql).await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
    let mut faults = Vec::new();
    for query in document_list_queries() {
        let plan = plan(&mut connection, &query.sql).await;
        if plan.contains("Seq Scan on documents") {
            faults.push(format!("to {}, all of documents is read:\n{plan}", query.doing));
        }
        let Some(index) = query.index else { continue };
        if !plan.contains(index) {
            faults.push(format!("to {}, `{index}` is not used:\n{plan}", query.doing));
        }
        // A list of all statuses merges a page of each.
        let of_documents = plan.split("Nested Loop").last().unwrap();
        if of_documents.contains("Sort Key") {
            faults.push(format!("to {}, documents are sorted:\n{plan}", query.doing));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[tokio::test]
async fn documents_are_listed_by_page() {
    let database = Database::new().await;
    let collection = database.collection("one").await;
    sqlx::raw_sql(ROWS).execute(&database.sql).await.unwrap();
    let documents = database.postgres.documents();
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = documents.list(collection.id, after, 700).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [700, 700, 700, 700, 200]);
    assert!(pages.concat().is_sorted_by(|a, b| a.id < b.id));
    let counts = documents.count(collection.id).await.unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<i64>(), 3000);
}
