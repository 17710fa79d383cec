//! A folder with a pipeline file and documents, and the command run in it. `store_contents.rs`
//! checks the content of the stores.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use metadata::EmbeddedPostgres;
use metadata::test_util::TestDatabase;
use serde_json::Value;

use crate::empty_libtorch;
pub(crate) use crate::process::{CommandOutput, ROOT, command_with_libtorch, ran, wait_for};

/// The real model; `make test` fetches it.
pub(crate) fn model() -> PathBuf {
    let model = Path::new(ROOT).join(".cache/models/all-MiniLM-L6-v2");
    assert!(model.exists(), "the model is missing; run `.ci/setup model`");
    model
}

/// An in-memory folder, if available: it avoids waiting for disk writes.
const MEMORY: &str = "/dev/shm";

/// `true` if the places of all concurrent tests fit into a folder; in a container `/dev/shm` may be
/// small.
fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|it| it.f_bavail * it.f_frsize > 4 << 30)
}

/// A temporary folder in which `pipeline.yaml` indexes `corpus/`.
pub(crate) struct TestProject {
    /// `false`: commands run without libtorch.
    has_model: bool,
    database: Database,
    folder: tempfile::TempDir,
}

/// The metadata store of a project.
enum Database {
    /// Of the pool that all tests share, named in the pipeline file by its URL.
    Pooled(TestDatabase),
    /// The embedded one of the project, or what its pipeline file says. The cluster runs from the
    /// first access of the test to the database, so that not every command starts and stops it.
    Embedded(OnceLock<EmbeddedPostgres>),
}

/// The clusters for tests, see `metadata::test_util`.
const POOL: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres-pool");

/// A database of the pool, with or without tables.
fn pooled_database(has_tables: bool) -> Database {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = Path::new(POOL);
    Database::Pooled(runtime.block_on(async {
        if has_tables {
            TestDatabase::migrated(pool).await
        } else {
            TestDatabase::empty(pool).await
        }
    }))
}

const STAND_IN: &str = "model: 'stand-in:16'";

impl CommandOutput {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

/// The command without libtorch, for everything but models: loading libtorch takes longer than
/// most commands.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = command_with_libtorch(args);
    if let Some(folder) = empty_libtorch::folder() {
        command.env("LD_LIBRARY_PATH", folder);
    }
    command
}

impl TestProject {
    /// A place with a pipeline that embeds with the real model.
    pub(crate) fn new() -> Self {
        Self::with_embedding(&format!("model: {}", model().display()))
    }

    /// A place with a pipeline that embeds with the stand-in, for tests that do not depend on a
    /// model.
    pub(crate) fn with_stand_in() -> Self {
        Self::with_embedding(STAND_IN)
    }

    /// A place with these options of the embed node, and a database of the pool with all tables.
    pub(crate) fn with_embedding(embed: &str) -> Self {
        Self::create(embed, "", pooled_database(true))
    }

    /// A place whose database, of the pool, has no tables yet.
    pub(crate) fn with_empty_database() -> Self {
        Self::create(STAND_IN, "", pooled_database(false))
    }

    /// A place with an embedded database, which runs from the start.
    pub(crate) fn with_embedded_postgres() -> Self {
        let place = Self::with(STAND_IN, "");
        place.url();
        place
    }

    /// A place with these options of the embed node and these stores; none means embedded ones.
    pub(crate) fn with(embed: &str, stores: &str) -> Self {
        Self::create(embed, stores, Database::Embedded(OnceLock::new()))
    }

    fn create(embed: &str, stores: &str, database: Database) -> Self {
        // If root runs the tests, the server of the embedded Postgres runs as another user and must
        // reach its folder.
        let base = if has_room(Path::new(MEMORY)) { MEMORY.into() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("semantik-test-").tempdir_in(base).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let has_model = !embed.contains("stand-in");
        let place = Self { database, folder, has_model };
        std::fs::create_dir(place.corpus()).unwrap();
        place.write_pipeline(embed, stores, "size: 64, overlap: 8");
        place
    }

    /// Writes the pipeline file. Unless `stores` names a metadata store, it is that of this place.
    pub(crate) fn write_pipeline(&self, embed: &str, stores: &str, chunk: &str) {
        let stores = match &self.database {
            Database::Pooled(database) if !stores.contains("postgres:") => {
                with_postgres(stores, database.url())
            }
            Database::Pooled(_) | Database::Embedded(_) => stores.to_owned(),
        };
        let yaml = format!(
            "\
version: 1
name: test
collection: test
{stores}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [corpus], max_size: 8MB, batch_bytes: 16KB }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ {chunk} }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ {embed} }} }}
  - {{ id: upsert,  uses: upsert,  from: embed, with: {{ window: 64 }} }}
"
        );
        std::fs::write(self.file(), yaml).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("pipeline.yaml")
    }

    pub(crate) fn corpus(&self) -> PathBuf {
        self.path().join("corpus")
    }

    /// Writes a document.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.corpus().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The command in this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = if self.has_model { command_with_libtorch(args) } else { command(args) };
        command.current_dir(self.path());
        command
    }

    /// Starts the command in this folder.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn semantik(&self, args: &[&str]) -> CommandOutput {
        ran(self.command(args).output().unwrap())
    }

    /// Runs the pipeline and expects success, possibly with failed documents.
    pub(crate) fn run(&self) -> Value {
        let ran = self.semantik(&["run", "pipeline.yaml", "--json"]);
        assert!(matches!(ran.code, 0 | 2), "exit code {}: {}", ran.code, ran.stderr);
        let report = ran.json();
        let count = |key: &str| report["documents"][key].as_u64().unwrap();
        let left = count("stored") + count("unchanged") + count("duplicate") + count("set_aside");
        assert_eq!(count("seen"), left, "the counts must add up: {report}");
        report
    }

    /// Runs another pipeline over the same documents with these options of the embed node. Its file
    /// and its collection have this name.
    pub(crate) fn run_another(&self, name: &str, embed: &str) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let text = text
            .replace("name: test\ncollection: test", &format!("name: {name}\ncollection: {name}"))
            .replace("model: 'stand-in:16'", embed);
        let file = format!("{name}.yaml");
        std::fs::write(self.path().join(&file), text).unwrap();
        let ran = self.semantik(&["run", &file]);
        assert!(matches!(ran.code, 0 | 2), "exit code {}: {}", ran.code, ran.stderr);
    }

    /// The folder of the vectors of a collection.
    pub(crate) fn vectors_of(&self, collection: &str) -> PathBuf {
        let name = format!("SELECT vector_store_name FROM collections WHERE name = '{collection}'");
        self.path().join(".semantik/vectors").join(self.value(&name))
    }

    pub(crate) fn search(&self, words: &str, k: usize) -> Vec<Value> {
        let k = k.to_string();
        let ran = self.semantik(&["search", "pipeline.yaml", "--k", &k, "--json", words]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.json().as_array().unwrap().clone()
    }

    /// Replaces text in the pipeline file.
    pub(crate) fn edit_pipeline(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "`{from}` is missing in the pipeline file: {text}");
        std::fs::write(self.file(), text.replace(from, to)).unwrap();
    }

    /// Appends lines to the pipeline file.
    pub(crate) fn append_pipeline(&self, lines: &str) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        std::fs::write(self.file(), text + lines).unwrap();
    }

    /// Another place with the same corpus and pipeline, indexed from scratch.
    pub(crate) fn fresh(&self) -> Self {
        let fresh = match &self.database {
            Database::Pooled(_) => Self::with_stand_in(),
            Database::Embedded(_) => Self::with_embedded_postgres(),
        };
        std::fs::remove_dir(fresh.corpus()).unwrap();
        let copied =
            Command::new("cp").arg("-a").args([self.corpus(), fresh.corpus()]).status().unwrap();
        assert!(copied.success());
        let pipeline = std::fs::read_to_string(self.file()).unwrap();
        std::fs::write(fresh.file(), pipeline.replace(self.url(), fresh.url())).unwrap();
        fresh.run();
        fresh
    }

    /// Asserts that the index of this place equals a fresh index of the same corpus.
    pub(crate) fn assert_matches_fresh_index(&self) {
        self.index().assert_equal_to(&self.fresh().index());
    }

    /// Runs the pipeline; returns a one-line summary, see [`told`].
    pub(crate) fn run_and_summarize(&self) -> String {
        told(&self.run())
    }

    /// Document ids by location, as path below the corpus.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        let rows = self.sql(
            "SELECT uri, document_id FROM document_locations
             WHERE document_id IS NOT NULL",
        );
        let ids = rows.iter().map(|row| (self.name_of(&row["uri"]), text(&row["document_id"])));
        ids.collect()
    }

    /// Converts a URI to a path below the corpus, or below this folder.
    pub(crate) fn name_of(&self, uri: &Value) -> String {
        let folder = format!("file://{}/", self.path().display());
        let uri = uri.as_str().unwrap();
        let name =
            uri.strip_prefix(&folder).unwrap_or_else(|| panic!("{uri} is not below {folder}"));
        name.strip_prefix("corpus/").unwrap_or(name).to_owned()
    }

    /// The URL of the database; starts the embedded cluster, if this place has one.
    pub(crate) fn url(&self) -> &str {
        let embedded = match &self.database {
            Database::Pooled(database) => return database.url(),
            Database::Embedded(embedded) => embedded,
        };
        let cluster = embedded.get_or_init(|| {
            let cluster = EmbeddedPostgres::start(&self.path().join(".semantik/postgres")).unwrap();
            // No test simulates power loss, and disks are slow.
            for set in ["fsync = off", "full_page_writes = off", "synchronous_commit = off"] {
                query(cluster.url(), &format!("ALTER SYSTEM SET {set}"));
            }
            query(cluster.url(), "SELECT pg_reload_conf()");
            cluster
        });
        cluster.url()
    }

    /// Queries the database; returns each row as an object.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        let query = format!("SELECT coalesce(json_agg(t), '[]') FROM ({query}) t");
        let said = self.execute(&query);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Queries one value from the database.
    pub(crate) fn value(&self, query: &str) -> String {
        self.execute(query).trim().to_owned()
    }

    /// Executes a statement in the database, bypassing the command.
    pub(crate) fn execute(&self, statement: &str) -> String {
        query(self.url(), statement)
    }

    /// Expires the leases of operations that no process renews: a process killed between requesting
    /// and starting an operation holds its lease for a minute.
    pub(crate) fn expire_leases(&self) {
        self.execute(
            "UPDATE operation_leases SET expires_at = now()
             WHERE operation_id IN (SELECT id FROM operations WHERE status = 'pending')",
        );
    }

    /// Waits until a query returns `t`.
    pub(crate) fn wait_until(&self, question: &str) {
        wait_for(question, || (self.value(question) == "t").then_some(()));
    }

    /// A database session that holds a transaction and its locks.
    pub(crate) fn session(&self) -> OpenTransaction {
        let mut child =
            psql(self.url()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut session = OpenTransaction { asks: child.stdin.take().unwrap(), said, child };
        session.execute("BEGIN");
        session
    }
}

/// The text of `stores` with a metadata store.
fn with_postgres(stores: &str, url: &str) -> String {
    match stores.split_once("stores:") {
        // On one line, so that it changes no position in the file.
        None if stores.is_empty() => format!("stores: {{ postgres: '{url}' }}"),
        None => format!("stores: {{ postgres: '{url}' }}\n{stores}"),
        Some((before, rest)) if rest.starts_with('\n') => {
            format!("{before}stores:\n  postgres: '{url}'{rest}")
        }
        Some((before, rest)) => {
            let rest = rest.trim_start().strip_prefix('{').expect("`stores` is a mapping");
            format!("{before}stores: {{ postgres: '{url}',{rest}")
        }
    }
}

/// The advisory lock of a gate.
const GATE: &str = "4711";

impl TestProject {
    /// Blocks every statement that writes to a table at a gate, from the moment when a condition
    /// holds until the value is dropped.
    pub(crate) fn gate(&self, table: &str, from: &str) -> OpenTransaction {
        self.execute(&format!(
            "CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN
                 IF {from} THEN PERFORM pg_advisory_xact_lock_shared({GATE}); END IF;
                 RETURN NULL;
             END $$;
             CREATE OR REPLACE TRIGGER gate AFTER INSERT OR UPDATE ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION gate()"
        ));
        let mut session = self.session();
        session.execute(&format!("SELECT pg_advisory_xact_lock({GATE})"));
        session
    }

    /// Waits until a statement waits at the gate.
    pub(crate) fn wait_at_gate(&self) {
        self.wait_until(&format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted)"
        ));
    }
}

/// A transaction that a test holds open; dropping it ends the transaction.
pub(crate) struct OpenTransaction {
    asks: ChildStdin,
    said: BufReader<ChildStdout>,
    child: Child,
}

impl OpenTransaction {
    /// Returns when the statement is executed.
    pub(crate) fn execute(&mut self, statement: &str) {
        writeln!(self.asks, "{statement};\n\\echo done").unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "`{statement}` failed");
        }
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn query(url: &str, statement: &str) -> String {
    let output = psql(url).args(["-c", statement]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Executes a file of statements.
pub(crate) fn load(url: &str, file: &Path) {
    let output = psql(url).arg("-f").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
}

/// The content of all tables of a database.
pub(crate) fn dump(url: &str) -> String {
    let output = postgres("pg_dump").args(["--data-only", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program of the newest installed PostgreSQL.
fn postgres(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(name));
    Command::new(programs.filter(|program| program.exists()).max().unwrap())
}

fn psql(url: &str) -> Command {
    let mut command = postgres("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    command
}

/// One-line summary of a run: files read, documents stored and so on, in this order, without zero
/// counts. `embedded` counts tokens that the model computed, `remembered` those from the cache.
pub(crate) fn told(report: &Value) -> String {
    let count = |value: &Value| value.as_u64().unwrap();
    let read = report["nodes"].as_array().unwrap().iter().find(|node| node["uses"] == "hash");
    let documents = &report["documents"];
    let counts = [
        ("read", read.map_or(0, |node| count(&node["rows_in"]))),
        ("stored", count(&documents["stored"])),
        ("unchanged", count(&documents["unchanged"])),
        ("duplicate", count(&documents["duplicate"])),
        ("set aside", count(&documents["set_aside"])),
        ("deleted", count(&report["deleted"])),
        ("embedded", count(&report["tokens"])),
        ("remembered", count(&report["tokens_reused"])),
    ];
    let told = counts.iter().filter(|(_, count)| *count > 0);
    told.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

/// A JSON string without its quotes.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

/// Sends a signal to a process that a test has started.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for a command that was started.
pub(crate) fn end(child: Child) -> CommandOutput {
    ran(child.wait_with_output().unwrap())
}
