//! The migrations of `migrations/`, embedded in the program, up and down.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, FromRow, PgConnection};

use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// A migration of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Version number of the migration.
    pub version: i64,
    /// Description of the migration.
    pub name: String,
    /// Time at which it was applied to this database; `None` if it was not.
    pub applied_at: Option<DateTime<Utc>>,
}

/// The schema of a database compared with the one that this program needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No migration is applied.
    Empty,
    /// All migrations of this program are applied.
    Current,
    /// These migrations are missing.
    Older(Vec<AppliedMigration>),
    /// A migration with this version is unknown to this program.
    Newer(i64),
    /// The migration with this version has a different checksum.
    Foreign(i64),
}

impl SchemaState {
    /// The reason why this program cannot use the schema; `None` if it can.
    pub fn incompatibility(&self) -> Option<String> {
        match self {
            Self::Empty | Self::Current => None,
            Self::Older(missing) => {
                let names: Vec<String> =
                    missing.iter().map(|it| format!("{} ({})", it.version, it.name)).collect();
                let plural = if names.len() == 1 { "" } else { "s" };
                Some(format!(
                    "the database is older and needs migration{plural} {}",
                    names.join(", ")
                ))
            }
            Self::Newer(version) => Some(newer_schema_message(*version)),
            Self::Foreign(version) => Some(foreign_schema_message(*version)),
        }
    }
}

impl Postgres {
    /// Compares the schema with this program; read-only.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        retry_call(&self.pool, "read the state of migrations", || async {
            let applied = self.applied().await?;
            for it in &applied {
                let ours = MIGRATOR.iter().find(|ours| {
                    ours.version == it.version && ours.migration_type.is_up_migration()
                });
                match ours {
                    None => return Ok(SchemaState::Newer(it.version)),
                    Some(ours) if *ours.checksum != it.checksum => {
                        return Ok(SchemaState::Foreign(it.version));
                    }
                    Some(_) => {}
                }
            }
            let missing: Vec<_> =
                all_migrations(&applied).into_iter().filter(|it| it.applied_at.is_none()).collect();
            Ok(match (applied.is_empty(), missing.is_empty()) {
                (true, _) => SchemaState::Empty,
                (false, true) => SchemaState::Current,
                (false, false) => SchemaState::Older(missing),
            })
        })
        .await
    }

    /// Applies all missing migrations, each in one transaction. Several processes may call it
    /// concurrently. A current database is not written to, so a read-only connection is sufficient
    /// then.
    ///
    /// # Errors
    /// If a migration fails, or a newer program created the database.
    pub async fn migrate_up(&self) -> Result<(), StoreError> {
        if self.schema_state().await? == SchemaState::Current {
            return Ok(());
        }
        retry_call(&self.pool, "migrate the database", || async {
            let mut connection = self.connect_without_timeouts().await?;
            MIGRATOR.run(&mut connection).await.map_err(migration_error)?;
            Ok(connection.close().await?)
        })
        .await?;
        self.close_idle_connections().await;
        Ok(())
    }

    /// Reverts the last `steps` migrations and deletes the data in the tables they created.
    ///
    /// # Errors
    /// If a migration fails, or a newer program created the database.
    pub async fn migrate_down(&self, steps: usize) -> Result<(), StoreError> {
        let applied: Vec<i64> = self
            .migrate_status()
            .await?
            .iter()
            .filter(|migration| migration.applied_at.is_some())
            .map(|migration| migration.version)
            .collect();
        let keep = applied.len().saturating_sub(steps);
        let target = if keep == 0 { 0 } else { applied[keep - 1] };
        retry_call(&self.pool, "revert migrations", || async {
            let mut connection = self.connect_without_timeouts().await?;
            MIGRATOR.undo(&mut connection, target).await.map_err(migration_error)?;
            Ok(connection.close().await?)
        })
        .await?;
        self.close_idle_connections().await;
        Ok(())
    }

    /// Every migration of this program in order, with the time at which it was applied.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn migrate_status(&self) -> Result<Vec<AppliedMigration>, StoreError> {
        retry_call(&self.pool, "read the state of migrations", || async {
            Ok(all_migrations(&self.applied().await?))
        })
        .await
    }

    /// The applied migrations, in order.
    pub(super) async fn applied(&self) -> Result<Vec<AppliedRow>, QueryError> {
        let any: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&self.pool)
            .await?;
        if !any {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_as(
            "SELECT version, installed_on, checksum FROM _sqlx_migrations WHERE success ORDER BY version",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Closes the idle connections: their prepared statements refer to the old tables.
    async fn close_idle_connections(&self) {
        for pool in [&self.pool, &self.building_pool] {
            while let Some(connection) = pool.try_acquire() {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "an idle connection was closed before");
                }
            }
        }
    }

    /// A connection without statement and lock timeouts.
    pub(crate) async fn connect_without_timeouts(&self) -> Result<PgConnection, QueryError> {
        let options =
            self.options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        Ok(PgConnection::connect_with(&options).await?)
    }
}

/// A migration that the database records as applied.
#[derive(FromRow)]
pub(super) struct AppliedRow {
    version: i64,
    installed_on: DateTime<Utc>,
    /// SHA-384 of its SQL.
    checksum: Vec<u8>,
}

/// Every migration of this program, in order.
pub(super) fn all_migrations(applied: &[AppliedRow]) -> Vec<AppliedMigration> {
    let at = |version| applied.iter().find(|it| it.version == version).map(|it| it.installed_on);
    MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .map(|migration| AppliedMigration {
            version: migration.version,
            name: migration.description.clone().into_owned(),
            applied_at: at(migration.version),
        })
        .collect()
}

fn newer_schema_message(version: i64) -> String {
    format!(
        "the database has migration {version}, which this version of semantik does not know; use a newer one"
    )
}

fn foreign_schema_message(version: i64) -> String {
    format!(
        "migration {version} of the database differs from the one in this version of semantik: the database \
         belongs to another build of semantik, or its table `_sqlx_migrations` was edited; use the version that \
         created it, or index into a new database"
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants in minor versions")]
fn migration_error(error: MigrateError) -> QueryError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => {
            QueryError::Permanent(newer_schema_message(version))
        }
        MigrateError::VersionMismatch(version) => {
            QueryError::Permanent(foreign_schema_message(version))
        }
        MigrateError::Dirty(version) => QueryError::Permanent(format!(
            "migration {version} of the database was applied in part only; restore the database from a backup, or \
             index into a new one"
        )),
        other => QueryError::Permanent(other.to_string()),
    }
}
