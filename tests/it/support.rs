//! A folder with a pipeline file and documents, and the command run in it. `store_contents.rs`
//! checks the content of the stores.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use metadata::EmbeddedPostgres;
use serde_json::Value;

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The real model; `make test` fetches it.
pub(crate) fn model() -> PathBuf {
    let model = Path::new(ROOT).join(".cache/models/all-MiniLM-L6-v2");
    assert!(model.exists(), "the model is missing; run `.ci/setup model`");
    model
}

/// Polls until `look` returns a value; panics with `what` after a timeout.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let asked = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(asked.elapsed() < Duration::from_secs(120), "timeout while waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
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
    /// Runs from the first access to the database, so that not every command starts and stops it.
    cluster: OnceLock<EmbeddedPostgres>,
    folder: tempfile::TempDir,
}

/// The result of a command.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandOutput {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

impl TestProject {
    /// A place with a pipeline that embeds with the real model.
    pub(crate) fn new() -> Self {
        Self::with(&format!("model: {}", model().display()), "")
    }

    /// A place with a pipeline that embeds with the stand-in, for tests that do not depend on a
    /// model. Its database runs from the start.
    pub(crate) fn with_stand_in() -> Self {
        let place = Self::with("model: 'stand-in:16'", "");
        place.cluster();
        place
    }

    /// A place with these options of the embed node and these stores.
    pub(crate) fn with(embed: &str, stores: &str) -> Self {
        // If root runs the tests, the server of the embedded Postgres runs as another user and must
        // reach its folder.
        let base = if has_room(Path::new(MEMORY)) { MEMORY.into() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("semantik-test-").tempdir_in(base).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let place = Self { cluster: OnceLock::new(), folder };
        std::fs::create_dir(place.corpus()).unwrap();
        place.write_pipeline(embed, stores, "size: 64, overlap: 8");
        place
    }

    pub(crate) fn write_pipeline(&self, embed: &str, stores: &str, chunk: &str) {
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

    /// Starts the command in this folder.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        command(args)
            .current_dir(self.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn semantik(&self, args: &[&str]) -> CommandOutput {
        ran(command(args).current_dir(self.path()).output().unwrap())
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
        let fresh = Self::with_stand_in();
        std::fs::remove_dir(fresh.corpus()).unwrap();
        for name in ["corpus", "pipeline.yaml"] {
            let copied = Command::new("cp")
                .arg("-a")
                .args([self.path().join(name), fresh.path().join(name)])
                .status();
            assert!(copied.unwrap().success());
        }
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

    pub(crate) fn cluster(&self) -> &EmbeddedPostgres {
        self.cluster.get_or_init(|| {
            let cluster = EmbeddedPostgres::start(&self.path().join(".semantik/postgres")).unwrap();
            // No test simulates power loss, and disks are slow.
            for set in ["fsync = off", "full_page_writes = off", "synchronous_commit = off"] {
                query(cluster.url(), &format!("ALTER SYSTEM SET {set}"));
            }
            query(cluster.url(), "SELECT pg_reload_conf()");
            cluster
        })
    }

    /// Queries the embedded database; returns each row as an object.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        let query = format!("SELECT coalesce(json_agg(t), '[]') FROM ({query}) t");
        let said = self.execute(&query);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Queries one value from the embedded database.
    pub(crate) fn value(&self, query: &str) -> String {
        self.execute(query).trim().to_owned()
    }

    /// Executes a statement in the embedded database, bypassing the command.
    pub(crate) fn execute(&self, statement: &str) -> String {
        query(self.cluster().url(), statement)
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
        let mut child = psql(self.cluster().url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut session = OpenTransaction { asks: child.stdin.take().unwrap(), said, child };
        session.execute("BEGIN");
        session
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

/// The command, isolated from variables of this environment that affect it.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semantik"));
    command.args(args);
    for variable in ["SEMANTIK_LOG", "SEMANTIK_DATA", "DATABASE_URL"] {
        command.env_remove(variable);
    }
    command.env_remove("NO_COLOR").env("SEMANTIK_LOG_FORMAT", "json");
    command
}

pub(crate) fn ran(output: Output) -> CommandOutput {
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
