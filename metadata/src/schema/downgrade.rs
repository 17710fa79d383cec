//! The data that a downgrade of the schema deletes.

use pipeline::StoreError;
use sqlx::AssertSqlSafe;

use crate::schema::migrations::{AppliedMigration, MIGRATOR, all_migrations};
use crate::{Postgres, retry_call};

/// Data that reverting migrations deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DowngradePlan {
    /// The migrations, last one first.
    pub migrations: Vec<AppliedMigration>,
    /// Deleted tables, with their number of rows.
    pub tables: Vec<(String, i64)>,
    /// Deleted columns of remaining tables, as `table.column`.
    pub columns: Vec<String>,
    /// Deleted collections, with their number of documents.
    pub collections: Vec<(String, i64)>,
    /// Vector collections that are orphaned unless they are deleted too.
    pub vectors: Vec<String>,
}

impl Postgres {
    /// The data that reverting the last `steps` migrations deletes.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn plan_downgrade(&self, steps: usize) -> Result<DowngradePlan, StoreError> {
        retry_call(&self.pool, "read what a downgrade deletes", || async {
            let applied = all_migrations(&self.applied().await?);
            let applied = applied.into_iter().filter(|it| it.applied_at.is_some());
            let migrations: Vec<_> = applied.rev().take(steps).collect();
            let mut down = DowngradePlan { migrations, ..DowngradePlan::default() };
            for it in &down.migrations {
                let undo = MIGRATOR.iter().find(|migration| {
                    migration.version == it.version && migration.migration_type.is_down_migration()
                });
                let sql = undo.map(|migration| migration.sql.as_str()).unwrap_or_default();
                let (tables, columns) = dropped_objects(sql);
                for table in tables {
                    let count = format!("SELECT count(*) FROM {table}");
                    let rows =
                        sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&self.pool).await?;
                    down.tables.push((table, rows));
                }
                down.columns.extend(columns);
            }
            if is_dropped_with(&down.tables, "collections") {
                down.collections =
                    sqlx::query_as("SELECT name, document_count FROM collections ORDER BY name")
                        .fetch_all(&self.pool)
                        .await?;
            }
            if is_dropped_with(&down.tables, "generations") {
                down.vectors = sqlx::query_scalar(
                    "SELECT vector_store_name FROM generations ORDER BY vector_store_name",
                )
                .fetch_all(&self.pool)
                .await?;
            } else if is_dropped_with(&down.tables, "collections") {
                down.vectors = sqlx::query_scalar(
                    "SELECT vector_store_name FROM collections ORDER BY vector_store_name",
                )
                .fetch_all(&self.pool)
                .await?;
            }
            let columns = std::mem::take(&mut down.columns);
            down.columns = columns
                .into_iter()
                .filter(|it| {
                    !it.split_once('.')
                        .is_some_and(|(table, _)| is_dropped_with(&down.tables, table))
                })
                .collect();
            Ok(down)
        })
        .await
    }
}

fn is_dropped_with(tables: &[(String, i64)], table: &str) -> bool {
    tables.iter().any(|(gone, _)| gone == table)
}

/// The tables and columns (as `table.column`) that the SQL of a migration drops.
fn dropped_objects(sql: &str) -> (Vec<String>, Vec<String>) {
    let (mut tables, mut columns) = (Vec::new(), Vec::new());
    let code: String = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join(" ");
    for statement in code.split(';') {
        let words: Vec<&str> = statement
            .split(|it: char| it.is_whitespace() || it == ',')
            .filter(|it| !it.is_empty())
            .collect();
        match words[..] {
            ["DROP", "TABLE", table, ..] => tables.push(table.to_owned()),
            ["DROP", "SCHEMA", schema, ..] => {
                // The tables of such a schema are `documents` and `document_locations`.
                tables.push(format!("{schema}.documents"));
                tables.push(format!("{schema}.document_locations"));
            }
            ["ALTER", "TABLE", table, ..] => {
                let pairs = words.windows(3).filter(|it| it[..2] == ["DROP", "COLUMN"]);
                columns.extend(pairs.map(|it| format!("{table}.{}", it[2])));
            }
            _ => {}
        }
    }
    (tables, columns)
}
