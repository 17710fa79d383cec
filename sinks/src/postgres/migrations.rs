//! The migrations of `migrations/`, carried in the program, up and down.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use super::failure::Failure;
use super::{Postgres, attempt};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// A migration that this program carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: i64,
    /// What it brings.
    pub name: String,
    /// When it was applied to this database; `None` if it was not.
    pub applied_at: Option<DateTime<Utc>>,
}

impl Postgres {
    /// Applies every migration that is not applied yet, each in a transaction. Several processes may
    /// ask at once.
    ///
    /// # Errors
    /// If one fails, or the database was made by a newer program.
    pub async fn migrate_up(&self) -> Result<(), StoreError> {
        attempt("migrate the database", || async {
            let mut connection = self.unhurried().await?;
            MIGRATOR.run(&mut connection).await.map_err(in_words)?;
            Ok(connection.close().await?)
        })
        .await?;
        self.forget_statements().await;
        Ok(())
    }

    /// Takes back the last `steps` migrations, with the data in what they made.
    ///
    /// # Errors
    /// If one fails, or the database was made by a newer program.
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
        attempt("take back migrations", || async {
            let mut connection = self.unhurried().await?;
            MIGRATOR.undo(&mut connection, target).await.map_err(in_words)?;
            Ok(connection.close().await?)
        })
        .await?;
        self.forget_statements().await;
        Ok(())
    }

    /// Every migration of this program, in order, with the time at which it was applied here.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn migrate_status(&self) -> Result<Vec<AppliedMigration>, StoreError> {
        attempt("read the state of migrations", || async {
            let any: bool =
                sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
                    .fetch_one(&self.pool)
                    .await?;
            let mut applied: Vec<(i64, DateTime<Utc>)> = Vec::new();
            if any {
                applied = sqlx::query_as(
                    "SELECT version, installed_on FROM _sqlx_migrations WHERE success",
                )
                .fetch_all(&self.pool)
                .await?;
            }
            let at = |version| applied.iter().find(|(of, _)| *of == version).map(|(_, at)| *at);
            Ok(MIGRATOR
                .iter()
                .filter(|migration| migration.migration_type.is_up_migration())
                .map(|migration| AppliedMigration {
                    version: migration.version,
                    name: migration.description.clone().into_owned(),
                    applied_at: at(migration.version),
                })
                .collect())
        })
        .await
    }

    /// Closes the idle connections: what was prepared on them was prepared for other tables.
    async fn forget_statements(&self) {
        for pool in [&self.pool, &self.building] {
            while let Some(connection) = pool.try_acquire() {
                if let Err(error) = connection.close().await {
                    tracing::debug!(%error, "a connection was gone already");
                }
            }
        }
    }

    /// A connection on which a statement may take as long as it takes.
    pub(super) async fn unhurried(&self) -> Result<PgConnection, Failure> {
        let options =
            self.options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        Ok(PgConnection::connect_with(&options).await?)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds variants as it likes")]
fn in_words(error: MigrateError) -> Failure {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => Failure::GiveUp(format!(
            "the database has migration {version}, which this version of semantik does not know; use a newer one"
        )),
        MigrateError::VersionMismatch(version) => Failure::GiveUp(format!(
            "migration {version} of the database is not the one that this version of semantik carries: the database \
             belongs to another build of semantik, or its table `_sqlx_migrations` was edited; use the version that \
             made it, or index into a new database"
        )),
        MigrateError::Dirty(version) => Failure::GiveUp(format!(
            "migration {version} of the database was applied in part only; restore the database from a backup, or \
             index into a new one"
        )),
        other => Failure::GiveUp(other.to_string()),
    }
}
