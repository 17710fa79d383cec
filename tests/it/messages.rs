//! Messages about external faults: each fault is provoked for real, and its whole message is kept
//! as a snapshot. A message states the action, the file, host or port, and the remedy; it is never
//! just the error of a library.

mod faults;
mod mistyped;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::secrets::qdrant_that_refuses;
use crate::support::{ROOT, TestProject, query};

/// Exit code and standard error of a command, with `unsteady` parts replaced.
fn stderr_of(place: &TestProject, args: &[&str], unsteady: &[(&str, &str)]) -> String {
    let ran = place.semantik(args);
    // Log lines are not user messages.
    let told = ran.stderr.lines().filter(|line| !line.starts_with('{'));
    let told: Vec<&str> = told.filter(|line| !line.contains("the stand-in")).collect();
    let mut text = format!("exit code {}\n{}", ran.code, told.join("\n"));
    for (from, to) in unsteady {
        text = text.replace(from, to);
    }
    text.replace(&place.path().display().to_string(), "…")
}

/// A port at which nothing listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Starts a server that calls `answer` for each connection; gives its port.
fn server(answer: fn(TcpStream) -> std::io::Result<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let serve = move || {
        for stream in listener.incoming() {
            // Errors after the client disconnected are ignored.
            drop(answer(stream.unwrap()));
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    port
}

/// Responds like an HTTP server to requests of another protocol.
fn http(mut stream: TcpStream) -> std::io::Result<()> {
    let read = stream.read(&mut [0; 1024])?;
    assert!(read > 0, "the client sends a request");
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    // If it closed the connection with unread bytes, the client could lose the response.
    stream.shutdown(Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// Refuses the TLS request of the PostgreSQL protocol.
fn no_tls(mut stream: TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 8])?;
    stream.write_all(b"N")
}

#[expect(clippy::needless_pass_by_value, reason = "the other servers have the same signature")]
fn hang_up(stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Both)
}

/// A place whose metadata store has this URL.
fn with_postgres(url: &str) -> TestProject {
    TestProject::with("model: 'stand-in:16'", &format!("stores: {{ postgres: '{url}' }}"))
}

#[test]
fn postgres_that_does_not_let_us_in() {
    let closed = closed_port();
    let http = server(http);
    let no_tls = server(no_tls);
    let hangs_up = server(hang_up);
    let table = [
        ("refused", format!("postgres://me:pw@127.0.0.1:{closed}/docs"), &closed),
        ("another protocol", format!("postgres://me:pw@127.0.0.1:{http}/docs"), &http),
        ("no TLS", format!("postgres://me:pw@127.0.0.1:{no_tls}/docs?sslmode=require"), &no_tls),
        ("hangs up", format!("postgres://me:pw@127.0.0.1:{hangs_up}/docs"), &hangs_up),
        ("no socket", "postgres://me@localhost/docs?host=/nowhere".to_owned(), &closed),
        ("no such host", "postgres://me:pw@nowhere.invalid/docs".to_owned(), &closed),
        ("no URL", "docs.example.org/docs".to_owned(), &closed),
        ("another URL", "mysql://me:pw@127.0.0.1/docs".to_owned(), &closed),
        ("a slash in the password", "postgres://me:1/pw@127.0.0.1/docs".to_owned(), &closed),
    ];
    let mut all = String::new();
    for (what, url, port) in table {
        let place = with_postgres(&url);
        let said = stderr_of(&place, &["status", "pipeline.yaml"], &[(port, "PORT")]);
        all += &format!("== {what}\n{said}\n");
    }
    assert_snapshot!(all);
}

#[test]
fn postgres_that_refuses_a_role_or_a_database() {
    let place = TestProject::with_embedded_postgres();
    query(place.url(), "CREATE ROLE guarded LOGIN PASSWORD 'right'");
    let hba = place.path().join(".semantik/postgres/cluster/data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all guarded scram-sha-256\n{rules}")).unwrap();
    query(place.url(), "SELECT pg_reload_conf()");
    // The folder of the socket differs between runs.
    let (_, socket) = place.url().split_once("host=").unwrap();
    let url = |login: &str, database: &str| {
        format!("postgres://{login}@localhost/{database}?host={socket}")
    };
    let mut all = String::new();
    for (what, url) in [
        ("wrong password", url("guarded:wrong", "semantik")),
        ("no such role", url("nobody-knows", "semantik")),
        ("no such database", url("semantik", "nothere")),
    ] {
        let file = std::fs::read_to_string(place.file()).unwrap();
        let file = file.lines().filter(|line| !line.starts_with("stores:"));
        let file = file.collect::<Vec<_>>().join("\n");
        let stores = format!("{file}\nstores: {{ postgres: '{url}' }}\n");
        std::fs::write(place.file(), stores).unwrap();
        let said = stderr_of(&place, &["status", "pipeline.yaml"], &[(socket, "SOCKET")]);
        all += &format!("== {what}\n{said}\n");
    }
    assert_snapshot!(all);
}

#[test]
fn a_database_that_was_changed() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a text");
    place.run();
    let mut all = String::new();
    for (what, change) in [
        ("a newer version", "INSERT INTO _sqlx_migrations VALUES (99, 'x', now(), true, '', 0)"),
        (
            "another build",
            "DELETE FROM _sqlx_migrations WHERE version = 99; \
             UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 2",
        ),
    ] {
        place.execute(change);
        let said = stderr_of(&place, &["run", "pipeline.yaml"], &[]);
        all += &format!("== {what}\n{said}\n");
    }
    assert_snapshot!(all);
}

#[test]
fn a_database_that_lost_a_table() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a text");
    place.run();
    place.execute("DROP TABLE document_writes CASCADE");
    assert_snapshot!(stderr_of(&place, &["run", "pipeline.yaml"], &[]));
}

#[test]
fn qdrant_at_a_wrong_address_or_with_a_wrong_key() {
    let closed = closed_port();
    let http = server(http);
    let hangs_up = server(hang_up);
    let guarded = qdrant_that_refuses();
    let guarded_port = guarded.rsplit(':').next().unwrap().to_owned();
    let mut all = String::new();
    for (what, url, port) in [
        ("refused", format!("http://localhost:{closed}"), &closed),
        ("the REST port", format!("http://localhost:{http}"), &http),
        ("TLS where there is none", format!("https://localhost:{http}"), &http),
        ("hangs up", format!("http://127.0.0.1:{hangs_up}"), &hangs_up),
        ("wrong key", guarded, &guarded_port),
        ("no such host", "http://nowhere.invalid:6334".to_owned(), &closed),
        ("no URL", "http://".to_owned(), &closed),
    ] {
        let stores = format!("stores: {{ vectors: {{ qdrant: '{url}', api_key: 'key' }} }}");
        let place = TestProject::with("model: 'stand-in:16'", &stores);
        place.write("a.txt", "a text");
        let said = stderr_of(&place, &["run", "pipeline.yaml"], &[(port, "PORT")]);
        all += &format!("== {what}\n{said}\n");
    }
    assert_snapshot!(all);
}

/// A copy of a small real model.
fn small_model(place: &TestProject) -> PathBuf {
    let to = place.path().join("model");
    let from = Path::new(ROOT).join("embedding/tests/reference/tiny-bert-cls");
    let copied = std::process::Command::new("cp").arg("-r").args([&from, &to]).status();
    assert!(copied.unwrap().success());
    to
}

#[test]
fn a_model_that_is_damaged() {
    let place = TestProject::with("model: model", "");
    let model = small_model(&place);
    let weights = model.join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let tokenizer = model.join("tokenizer.json");
    let vocabulary = std::fs::read(&tokenizer).unwrap();
    let mut all = format!("== whole\n{}\n", stderr_of(&place, &["check", "pipeline.yaml"], &[]));
    let garbled = [b"\x10\0\0\0\0\0\0\0not a header at all".as_slice(), &whole[40..]].concat();
    for (what, bytes) in [
        ("cut off", &whole[..whole.len() - 1000]),
        ("cut off in the header", &whole[..100]),
        ("empty", &[]),
        ("a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("another format", b"PK\x03\x04 a zip file with some weights in it\xff\xff"),
        ("garbled", &garbled),
    ] {
        std::fs::write(&weights, bytes).unwrap();
        all += &format!("== {what}\n{}\n", stderr_of(&place, &["check", "pipeline.yaml"], &[]));
    }
    std::fs::write(&weights, &whole).unwrap();
    std::fs::write(&tokenizer, &vocabulary[..vocabulary.len() / 2]).unwrap();
    place.write("a.txt", "a text");
    all += &format!("== half a tokenizer\n{}\n", stderr_of(&place, &["run", "pipeline.yaml"], &[]));
    std::fs::write(model.join("config.json"), "{").unwrap();
    all += &format!(
        "== half a configuration\n{}\n",
        stderr_of(&place, &["check", "pipeline.yaml"], &[])
    );
    assert_snapshot!(all);
}

#[test]
fn a_hub_name_without_its_prefix_and_a_file_of_a_later_version() {
    let place = TestProject::with("model: sentence-transformers/all-MiniLM-L6-v2", "");
    place.edit_pipeline("version: 1", "version: 2");
    assert_snapshot!(stderr_of(&place, &["check", "pipeline.yaml"], &[]));
}
