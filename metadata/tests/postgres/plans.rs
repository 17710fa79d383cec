//! The hot queries use their indexes according to the planner and read only the requested rows,
//! regardless of the statistics; a run keeps the statistics up to date.

use std::collections::HashMap;

use metadata::{
    DocumentList, DocumentSelection, DocumentSort, GenerationSlot, HOT_QUERIES, HotQuery,
    OperationOutcome, ReadScope, RunMetadata, document_list_queries,
};
use pipeline::{MetadataStore as _, StoredDocument};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::{Database, at, generation, settings, stored};

/// Three collections of three thousand documents; every tenth document is deleted.
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
    SELECT gen_random_uuid(), o.id, o.collection_id FROM operations o;
    INSERT INTO generation_words (generation_id, word)
    SELECT g.id, 'w' || n FROM generations g, generate_series(1, 3000) n;";

/// The tables that grow.
const TABLES: [&str; 10] = [
    "documents",
    "document_locations",
    "operations",
    "document_writes",
    "users",
    "refresh_tokens",
    "api_keys",
    "collection_permissions",
    "collection_audit_log",
    "generation_words",
];

/// A connection with the settings of the store.
async fn connect(database: &Database, schema: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let settings = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET random_page_cost = 1.1;
                    SET jit = off";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    if schema == "building" {
        sqlx::raw_sql("SET search_path = building, public").execute(&mut connection).await.unwrap();
    }
    // Compare with the settings of the store.
    let theirs: Vec<String> = sqlx::query_scalar(
        "SELECT current_setting(name) FROM unnest(ARRAY['plan_cache_mode', 'enable_seqscan', 'random_page_cost', 'jit'])
         WITH ORDINALITY AS s (name, n) ORDER BY n",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(theirs, metadata::SESSION_SETTINGS.map(|(_, value)| value));
    connection
}

/// The generic plan of a prepared statement.
async fn plan(connection: &mut PgConnection, sql: &str) -> String {
    let name = format!("q{}", uuid::Uuid::new_v4().simple());
    let parameters = (1..20).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let call = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let prepare = format!("PREPARE {name} AS {sql}");
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
    // Same as autovacuum.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&database.sql).await.unwrap();
    let mut connection = connect(&database, "public").await;
    let mut faults = Vec::new();
    for HotQuery { doing, sql, indexes, .. } in HOT_QUERIES {
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

/// Each order of each list is read in order: only a page is read, without a sort of the collection.
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
    let mut connection = connect(&database, "public").await;
    let mut faults = Vec::new();
    // Without statistics, no list reads the whole table.
    for query in document_list_queries() {
        let plan = plan(&mut connection, &query.sql).await;
        if plan.contains("Seq Scan on documents") {
            faults.push(format!("to {}, all of documents is read:\n{plan}", query.doing));
        }
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
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

/// Statistics at the time of planning and of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatisticsState {
    /// No statistics, planned on empty tables; the plan is kept while they are filled.
    NothingAndEmpty,
    /// Analysed and planned on empty tables; the plan is kept while they are filled.
    EmptyAndEmpty,
    /// No statistics, planned on filled tables.
    Nothing,
    /// Analysed while empty, planned on filled tables.
    Empty,
    /// Analysed and planned on filled tables.
    Everything,
}

/// Statements that insert documents of the collection; one in ten is deleted.
fn fill(schema: &str, rows: u32) -> String {
    format!(
        "INSERT INTO {schema}.documents (id, collection_id, file_path, file_name, file_size, content_hash, status,
                                         fingerprint, deleted_at, chunk_count, uri, meta)
         SELECT md5(n::text)::uuid, c.id, '/corpus/' || n, n::text, n, sha256(n::text::bytea),
                (CASE WHEN n % 10 = 0 THEN 'deleted' ELSE 'completed' END)::document_status,
                sha256('settings'), CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 10 > 0 THEN 3 ELSE 0 END,
                'file:///corpus/' || n, '{{\"title\": \"t\"}}'
         FROM generate_series(1, {rows}) n, collections c WHERE c.name = 'docs';
         INSERT INTO {schema}.document_locations (collection_id, uri, size, content_hash, document_id, source_id,
                                                  last_seen_at)
         SELECT c.id, 'file:///corpus/' || n, 1, sha256(n::text::bytea),
                CASE WHEN n % 10 > 0 THEN md5(n::text)::uuid END, s.id, now()
         FROM generate_series(1, {rows}) n, collections c JOIN collection_sources s ON s.collection_id = c.id
         WHERE c.name = 'docs';
         INSERT INTO operations (collection_id, user_id, type, config)
         SELECT c.id, c.owner_id, 'append', '{{}}' FROM collections c, generate_series(1, {rows} / 4)
         WHERE c.name = 'docs';
         UPDATE operations SET status = 'cancelled' WHERE status = 'pending';
         INSERT INTO users (username, email, hashed_password)
         SELECT n::text, n::text, '!' FROM generate_series(1, {rows} / 10) n;
         INSERT INTO api_keys (user_id, name, prefix, key_hash) SELECT id, 'k', 'p', username FROM users;
         INSERT INTO refresh_tokens (user_id, family_id, token_hash, expires_at)
         SELECT id, id, id::text, now() + interval '1 day' FROM users;
         INSERT INTO collection_audit_log (collection_id, user_id, action)
         SELECT c.id, u.id, 'a' FROM collections c, users u WHERE c.name = 'docs';
         INSERT INTO account_audit_log (user_id, action) SELECT id, 'login' FROM users;
         INSERT INTO generation_words (generation_id, word)
         SELECT g.id, 'w' || n FROM generations g, generate_series(1, {rows}) n;"
    )
}

/// Number of keys of each query.
const REQUESTED_ROWS: u32 = 50;

/// Values of the placeholders in [`HotQuery::arguments`] for `ASKED` of these rows.
async fn values(database: &Database, rows: u32) -> Vec<(&'static str, String)> {
    let sql = &database.sql;
    let step = rows / REQUESTED_ROWS + 1;
    let array = async |element: &str| -> String {
        let query = format!(
            "SELECT quote_literal(array_agg({element})::text) FROM generate_series({}, {rows}, {step}) n",
            step / 2
        );
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(sql).await.unwrap()
    };
    let one = async |query: &'static str| -> String {
        sqlx::query_scalar(query).fetch_one(sql).await.unwrap()
    };
    vec![
        (
            "{collection}",
            one("SELECT quote_literal(id) FROM collections WHERE name = 'docs'").await,
        ),
        (
            "{operation}",
            one("SELECT quote_literal(id) FROM operations WHERE status = 'processing'").await,
        ),
        ("{generation}", one("SELECT quote_literal(id) FROM generations LIMIT 1").await),
        ("{user}", one("SELECT quote_literal(id) FROM users WHERE username = 'local'").await),
        ("{fingerprint}", one("SELECT quote_literal(sha256('settings')::text)").await),
        ("{documents}", array("md5(n::text)::uuid").await),
        ("{contents}", array("sha256(n::text::bytea)").await),
        ("{uris}", array("'file:///corpus/' || n").await),
        ("{hashes}", array("uri_hash('file:///corpus/' || n)").await),
        ("{sources}", array("'/corpus'::text").await),
        ("{numbers}", array("1::bigint").await),
        ("{times}", array("now()").await),
        ("{texts}", array("'t' || n").await),
        ("{objects}", array("'{}'::jsonb").await),
        ("{nulls}", array("NULL::text").await),
    ]
}

/// The statement that executes the prepared query of this number with values for its parameters.
fn execute(number: usize, query: &HotQuery, values: &[(&'static str, String)]) -> String {
    let arguments = values
        .iter()
        .fold(query.arguments.to_owned(), |text, (name, value)| text.replace(name, value));
    format!("EXECUTE q{number}({arguments})")
}

/// Rows that a query reads beyond the requested ones.
fn excess_reads(plan: &Value, leading: &HashMap<String, String>, found: &mut Vec<String>) {
    let text = |key: &str| plan[key].as_str().unwrap_or_default();
    let number = |key: &str| plan[key].as_f64().unwrap_or_default();
    let (kind, index) = (text("Node Type"), text("Index Name"));
    let is_of_table = plan.get("Relation Name").is_some() || plan.get("Index Name").is_some();
    if kind.contains("Scan") && is_of_table {
        let read = ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"];
        let rows = read.map(number).iter().sum::<f64>() * number("Actual Loops");
        if rows > f64::from(REQUESTED_ROWS) * 6.0 {
            found.push(format!("{kind} {} {index} reads {rows} rows", text("Relation Name")));
        }
        if kind == "Seq Scan" {
            found.push(format!("all of {} is read", text("Relation Name")));
        }
        // An index whose first column is missing in the condition is read completely.
        let plain = |text: &str| -> String {
            let qualified =
                text.split(|it: char| !(it.is_alphanumeric() || it == '_' || it == '.'));
            qualified.map(|word| word.rsplit('.').next().unwrap_or_default()).collect()
        };
        if let Some(first) = leading.get(index)
            && number("Actual Loops") > 0.0
            && !plain(text("Index Cond")).contains(&plain(first))
        {
            found
                .push(format!("the index {index} is read as a whole for `{}`", text("Index Cond")));
        }
    }
    for inner in plan["Plans"].as_array().into_iter().flatten() {
        excess_reads(inner, leading, found);
    }
}

/// Faults of the hot queries on a new database.
async fn faults(known: StatisticsState, schema: &str, rows: u32) -> Vec<String> {
    let database = Database::new().await;
    let collection = database.collection("docs").await;
    let operation = database.operation(&collection).await;
    sqlx::raw_sql(
        "DO $$ DECLARE t record; BEGIN
             FOR t IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
                      WHERE schemaname IN ('public', 'building') LOOP
                 EXECUTE 'ALTER TABLE ' || t.name || ' SET (autovacuum_enabled = FALSE)';
             END LOOP;
         END $$;
         INSERT INTO collection_sources (collection_id, source_path) SELECT id, '/corpus' FROM collections",
    )
    .execute(&database.sql)
    .await
    .unwrap();
    let mut connection = connect(&database, schema).await;
    if matches!(known, StatisticsState::EmptyAndEmpty | StatisticsState::Empty) {
        sqlx::raw_sql("VACUUM ANALYZE").execute(&database.sql).await.unwrap();
    }
    let values = values(&database, rows).await;
    let is_tried = |query: &&HotQuery| match query.reads {
        ReadScope::RequestedRows => true,
        ReadScope::RequestedPublicRows => schema == "public",
        ReadScope::WholeCollection => false,
    };
    let queries: Vec<&HotQuery> = HOT_QUERIES.iter().filter(is_tried).collect();
    for (number, query) in queries.iter().enumerate() {
        let prepare = AssertSqlSafe(format!("PREPARE q{number} AS {}", query.sql));
        sqlx::raw_sql(prepare).execute(&mut connection).await.unwrap();
        if matches!(known, StatisticsState::NothingAndEmpty | StatisticsState::EmptyAndEmpty) {
            let plan = format!("BEGIN; {}; ROLLBACK", execute(number, query, &values));
            sqlx::raw_sql(AssertSqlSafe(plan)).execute(&mut connection).await.unwrap();
        }
    }
    sqlx::raw_sql(AssertSqlSafe(fill(schema, rows))).execute(&database.sql).await.unwrap();
    if known == StatisticsState::Everything {
        sqlx::raw_sql("ANALYZE").execute(&database.sql).await.unwrap();
    }
    let leading: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname::text, pg_get_indexdef(format('%I.%I', schemaname, indexname)::regclass, 1, TRUE)
         FROM pg_indexes WHERE schemaname = $1",
    )
    .bind(schema)
    .fetch_all(&database.sql)
    .await
    .unwrap();
    let leading = leading.into_iter().collect();
    let mut faults = Vec::new();
    for (number, query) in queries.iter().enumerate() {
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        let explain =
            format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}", execute(number, query, &values));
        let said: Value =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut connection).await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
        let plan = &said[0]["Plan"];
        let mut found = Vec::new();
        excess_reads(plan, &leading, &mut found);
        let pages = ["Shared Hit Blocks", "Shared Read Blocks"];
        let pages: u64 = pages.iter().filter_map(|key| plan[*key].as_u64()).sum();
        // A write touches about ten indexes per row.
        if pages > u64::from(REQUESTED_ROWS) * 60 {
            found.push(format!("{pages} pages are read"));
        }
        let doing = query.doing;
        faults.extend(
            found.into_iter().map(|it| format!("{known:?}, {schema}, {rows}: to {doing}, {it}")),
        );
    }
    operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    faults
}

/// Faults in every state of the statistics, with these numbers of rows.
async fn all_faults(schema: &str, sizes: [u32; 2]) -> String {
    let mut found = Vec::new();
    for known in [
        StatisticsState::NothingAndEmpty,
        StatisticsState::EmptyAndEmpty,
        StatisticsState::Nothing,
        StatisticsState::Empty,
        StatisticsState::Everything,
    ] {
        for rows in sizes {
            found.extend(faults(known, schema, rows).await);
        }
    }
    found.join("\n")
}

/// Regardless of the statistics and of the time of planning.
#[tokio::test]
async fn no_hot_query_reads_the_collection() {
    assert_eq!(all_faults("public", [1_000, 50_000]).await, "");
}

/// The tables have other indexes in this schema.
#[tokio::test]
async fn no_hot_query_reads_the_collection_of_a_generation_that_is_built() {
    assert_eq!(all_faults("building", [1_000, 10_000]).await, "");
}

/// Estimated number of rows of a table; -1 before the first ANALYZE.
async fn estimated(database: &Database, table: &'static str) -> i64 {
    sqlx::query_scalar("SELECT reltuples::bigint FROM pg_class WHERE oid = $1::regclass")
        .bind(table)
        .fetch_one(&database.sql)
        .await
        .unwrap()
}

/// A run analyses the tables that it fills, at growth and at its end, also those of the generation
/// being built.
#[tokio::test]
async fn a_run_analyses_what_it_has_filled() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    sqlx::raw_sql("ALTER TABLE documents SET (autovacuum_enabled = FALSE)")
        .execute(&database.sql)
        .await
        .unwrap();
    let store = async |metadata: &RunMetadata, from: u32, count: u32| {
        for batch in (from..from + count).collect::<Vec<_>>().chunks(250) {
            let incoming: Vec<_> = batch
                .iter()
                .map(|n| {
                    let mut hash = [0; 32];
                    hash[..4].copy_from_slice(&n.to_le_bytes());
                    let location = at(&format!("file:///{n}"));
                    pipeline::IncomingDocument {
                        location,
                        content_hash: pipeline::ContentHash(hash),
                    }
                })
                .collect();
            let ids = metadata.assign_ids(&incoming).await.unwrap();
            let stored: Vec<_> = incoming
                .into_iter()
                .zip(ids)
                .map(|(incoming, id)| StoredDocument { incoming, ..stored("", 0, id.document, 1) })
                .collect();
            metadata.commit(&stored).await.unwrap();
        }
    };
    store(&metadata, 0, 750).await;
    assert_eq!(estimated(&database, "documents").await, -1, "fewer rows than the threshold");
    store(&metadata, 750, 250).await;
    assert_eq!(estimated(&database, "documents").await, 1_000);
    assert_eq!(estimated(&database, "document_locations").await, 1_000);
    store(&metadata, 1_000, 500).await;
    assert_eq!(estimated(&database, "documents").await, 1_000, "it has not grown tenfold");
    metadata.analyze().await;
    assert_eq!(estimated(&database, "documents").await, 1_500, "at the end");
    operation.building_generation(&generation(2)).await.unwrap();
    store(&operation.metadata(GenerationSlot::Building, settings(2)), 0, 1_000).await;
    assert_eq!(estimated(&database, "building.documents").await, 1_500);
}

#[tokio::test]
async fn documents_are_listed_by_page() {
    let database = Database::new().await;
    let collection = database.collection("one").await;
    sqlx::raw_sql(ROWS).execute(&database.sql).await.unwrap();
    let documents = database.postgres.documents();
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let list = DocumentList {
            selection: DocumentSelection::All,
            sort: DocumentSort::Id,
            is_descending: false,
            after,
        };
        let page = documents.page(collection.id, &list, 700).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((String::new(), last.id));
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [700, 700, 700, 700, 200]);
    assert!(pages.concat().is_sorted_by(|a, b| a.id < b.id));
    let counts = documents.count_by_status(collection.id).await.unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<i64>(), 3000);
}
