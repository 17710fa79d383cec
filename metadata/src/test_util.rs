//! Databases for tests, in a pool of PostgreSQL clusters.
//!
//! A pool is a folder. A test leases one cluster of it, by a lock on a file, and has it alone:
//! other tests share no sessions, locks or settings of its server. Its database is a copy of a
//! template with all migrations. The kernel releases the lease of a test that is killed, and the
//! next lease of the cluster drops the database that it left.
//!
//! The server runs on for the next test. A process, `keeper.sh`, stops it when the test runner has
//! exited, or a minute after the last lease. See `docs/adr/0035-tests.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::schema::migrations::MIGRATOR;
use crate::{EmbeddedPostgres, Postgres};

/// Settings of a cluster. A test may change them; the next lease restores them. No test simulates
/// a power failure, and disks are slow.
const SETTINGS: [&str; 8] = [
    "SET default_transaction_read_only = off",
    "ALTER DATABASE semantik RESET ALL",
    "ALTER ROLE semantik RESET ALL",
    "ALTER SYSTEM RESET ALL",
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "ALTER SYSTEM SET synchronous_commit = off",
    "SELECT pg_reload_conf()",
];

/// How long a lease waits for servers that are stopping, before it takes a new cluster.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(30);

/// A database for one test, in a cluster that no other value uses meanwhile.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    _cluster: EmbeddedPostgres,
    // Released last.
    _lease: File,
}

impl TestDatabase {
    /// A database with all tables, in a cluster of the pool in this folder. The first lease of a
    /// cluster takes seconds, later ones a fraction of a second.
    pub async fn migrated(pool: &Path) -> Self {
        Self::create(pool, true).await
    }

    /// A database without tables.
    pub async fn empty(pool: &Path) -> Self {
        Self::create(pool, false).await
    }

    async fn create(pool: &Path, has_tables: bool) -> Self {
        let (folder, lease) = lease_cluster(pool);
        let cluster = start(&folder);
        let mut admin = PgConnection::connect(cluster.url()).await.unwrap();
        for setting in SETTINGS {
            execute(&mut admin, setting).await;
        }
        keep_running(&mut admin, &folder).await;
        let template = template_name();
        drop_leftovers(&mut admin, &template).await;
        let name = format!("test_{}", Uuid::new_v4().simple());
        if has_tables {
            create_template(&mut admin, cluster.url(), &template).await;
            execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        } else {
            execute(&mut admin, &format!("CREATE DATABASE {name}")).await;
        }
        admin.close().await.unwrap();
        Self { url: url_of(cluster.url(), &name), _cluster: cluster, _lease: lease }
    }

    /// The `postgres:` URL; it contains no secret.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The file whose lock is the lease of a cluster.
fn lease_file(folder: &Path) -> PathBuf {
    folder.with_extension("lease")
}

/// The folder of a cluster that no other value uses, with its lease.
fn lease_cluster(pool: &Path) -> (PathBuf, File) {
    fs_err::create_dir_all(pool).unwrap();
    let started = Instant::now();
    let (mut number, mut is_stopping) = (0, false);
    loop {
        let folder = pool.join(number.to_string());
        let stopping = folder.join("stopping");
        // A keeper that stops its server releases the lease in a moment, unless the server hangs.
        if is_stopping && !folder.exists() && started.elapsed() < STOPPING_TIMEOUT {
            std::thread::sleep(Duration::from_millis(50));
            (number, is_stopping) = (0, false);
            continue;
        }
        let lease = open_lock(&lease_file(&folder));
        match lease.try_lock() {
            Ok(()) => {
                // The keeper reads the time of the last lease.
                lease.set_modified(SystemTime::now()).unwrap();
                if stopping.exists() {
                    fs_err::remove_file(&stopping).unwrap();
                }
                return (folder, lease);
            }
            Err(TryLockError::WouldBlock) => {
                is_stopping |= stopping.exists();
                number += 1;
            }
            Err(TryLockError::Error(error)) => panic!("{}: {error}", folder.display()),
        }
    }
}

fn open_lock(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap()
}

/// Starts a cluster, or joins it. A cluster that does not start is replaced: without `fsync` it may
/// not survive a crash of the machine, and its version of PostgreSQL may be gone.
fn start(folder: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(folder).unwrap_or_else(|error| {
        tracing::warn!(%error, folder = %folder.display(), "a cluster for tests is replaced");
        if let Ok(elsewhere) = fs_err::read_to_string(folder.join("cluster-is-at"))
            && let Err(error) = fs_err::remove_dir_all(elsewhere.trim_end())
        {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        fs_err::remove_dir_all(folder).unwrap();
        EmbeddedPostgres::start(folder).unwrap()
    })
}

/// Starts the process that lets the server run on and stops it in the end, unless there is one.
async fn keep_running(admin: &mut PgConnection, folder: &Path) {
    if open_lock(&folder.join("keeper.lock")).try_lock().is_err() {
        return;
    }
    let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(admin).await.unwrap();
    let script = concat!("(\n", include_str!("test_util/keeper.sh"), "\n) &");
    let started = Command::new("sh")
        .args(["-c", script, "semantik-test-keeper"])
        .arg(folder)
        .arg(lease_file(folder))
        .arg(Path::new(&data).join("postmaster.pid"))
        .arg(parent_id().to_string())
        // The test runner waits until no process has the output of the test open, and Ctrl-C in its
        // terminal must not end the keeper before the tests.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .status();
    assert!(started.unwrap().success());
}

/// Drops the databases of earlier leases, and templates of other migrations.
async fn drop_leftovers(admin: &mut PgConnection, template: &str) {
    let all = "SELECT datname FROM pg_database
               WHERE NOT datistemplate AND datname NOT IN ('postgres', 'semantik', $1)";
    let names: Vec<String> =
        sqlx::query_scalar(all).bind(template).fetch_all(&mut *admin).await.unwrap();
    for name in names {
        execute(admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}

/// The name of the template depends on the migrations.
fn template_name() -> String {
    let mut hash = Sha256::new();
    for migration in MIGRATOR.iter() {
        hash.update(&migration.checksum);
    }
    let digest = u64::from_be_bytes(hash.finalize()[..8].try_into().unwrap());
    format!("template_{digest:016x}")
}

/// Creates the database with all migrations, unless it exists.
async fn create_template(admin: &mut PgConnection, cluster: &str, template: &str) {
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    if sqlx::query_scalar(exists).bind(template).fetch_one(&mut *admin).await.unwrap() {
        return;
    }
    execute(admin, "CREATE DATABASE unfinished_template").await;
    let url = url_of(cluster, "unfinished_template");
    let postgres = Postgres::connect(&url).await.unwrap();
    postgres.migrate_up().await.unwrap();
    // A database with sessions can be neither renamed nor copied.
    postgres.pool.close().await;
    execute(admin, &format!("ALTER DATABASE unfinished_template RENAME TO {template}")).await;
}

/// The URL of a database of the cluster with this URL.
fn url_of(cluster: &str, database: &str) -> String {
    cluster.replacen("/semantik?", &format!("/{database}?"), 1)
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}
