//! Every verb with every external fault: no message is just the error of a library, and each names
//! the faulty object.

use std::path::Path;

use insta::assert_snapshot;

use super::{closed_port, http, server, small_model, stderr_of};
use crate::support::{TestProject, command, ran};

/// Error texts of libraries and the system. A line with only such a text names neither action nor
/// object.
const LIBRARY_ERRORS: &[&str] = &[
    "entity not found",
    "entity already exists",
    "permission denied",
    "no such file or directory",
    "is a directory",
    "not a directory",
    "connection refused",
    "connection reset by peer",
    "broken pipe",
    "address already in use",
    "no space left on device",
    "file too large",
    "input/output error",
    "failed to fill whole buffer",
    "unexpected end of file",
    "early eof",
    "h2 protocol error",
    "http2 error",
    "transport error",
    "error communicating with database",
    "error returned from database",
    "error occurred while attempting to establish a tls connection",
    "encountered unexpected or invalid data",
    "pool timed out while waiting for an open connection",
    "was previously applied but has been modified",
    "eof while parsing",
    "invalid socket address syntax",
    "io:",
    "uncategorized error",
    "operation timed out",
    "deadline has elapsed",
    "channel closed",
];

/// Texts that no message may contain: names of types, and numbers of the system.
const INTERNAL: &[&str] = &["(os error", "Os {", "tonic::", "sqlx::", "ErrorKind", "Error("];

/// Verbs with their arguments; `PIPELINE` is replaced by the path of the file.
const VERBS: &[&str] = &[
    "check PIPELINE",
    "test PIPELINE",
    "graph PIPELINE",
    "plan PIPELINE",
    "run PIPELINE",
    "reindex PIPELINE",
    "rollback PIPELINE",
    "status PIPELINE",
    "verify PIPELINE",
    "worker PIPELINE",
    "serve PIPELINE --listen 127.0.0.1:0",
    "search PIPELINE some words",
    "eval PIPELINE --judgements judged.jsonl",
    "why PIPELINE corpus/a.txt",
    "top PIPELINE --once",
    "collections list PIPELINE",
    "collections show PIPELINE",
    "collections delete PIPELINE --yes",
    "sources list PIPELINE",
    "sources delete PIPELINE --yes file:///nowhere",
    "operations list PIPELINE",
    "documents list PIPELINE",
    "documents show PIPELINE corpus/a.txt",
    "documents delete PIPELINE --yes corpus/a.txt",
    "documents undelete PIPELINE --yes corpus/a.txt",
    "schedule list PIPELINE",
    "schedule history PIPELINE",
    "users list PIPELINE",
    "migrate status PIPELINE",
    "migrate up PIPELINE",
];

/// Runs every verb in a place. The message of each that fails must name one of `subjects`, and must
/// not be just the error of a library.
fn check_every_verb(place: &TestProject, file: &str, subjects: &[&str]) {
    check_every_verb_except(&[], place, file, subjects);
}

/// The same without `services`: verbs that start without the faulty dependency and wait for it.
fn check_every_verb_except(services: &[&str], place: &TestProject, file: &str, subjects: &[&str]) {
    let mut failed = 0;
    let is_service = |verb: &str| services.iter().any(|it| verb.starts_with(it));
    for verb in VERBS.iter().filter(|verb| !is_service(verb)) {
        let args: Vec<String> =
            verb.split(' ').map(|word| word.replace("PIPELINE", file)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = place.semantik(&args);
        assert!((0..=127).contains(&ran.code), "{verb}: exit code {}", ran.code);
        if ran.code == 0 {
            continue;
        }
        failed += 1;
        let said = &ran.stderr;
        assert!(!said.trim().is_empty(), "{verb} failed without a message");
        for line in said.lines().filter(|line| !line.starts_with('{')) {
            let line = line.trim();
            let alone = line.trim_start_matches("semantik: ").trim_start_matches("because ");
            let alone = alone.to_lowercase();
            for bare in LIBRARY_ERRORS {
                let rest = alone.strip_prefix(bare);
                // The rest of the line names no path or object.
                let stands_alone = rest.is_some_and(|it| !it.contains(['`', '/']));
                assert!(!stands_alone, "`{verb}` prints only the error of a library: {line}");
            }
            for internal in INTERNAL {
                assert!(!line.contains(internal), "`{verb}` prints {internal}: {line}");
            }
        }
        let names = subjects.iter().any(|subject| said.contains(subject));
        assert!(names, "`{verb}` must name one of {subjects:?}: {said}");
    }
    assert!(failed > 0, "no verb failed, so nothing was tested");
}

fn project_with_stores(embed: &str, stores: &str) -> TestProject {
    let place = TestProject::with(embed, stores);
    place.write("a.txt", "a text");
    std::fs::write(
        place.path().join("judged.jsonl"),
        "{\"query\": \"a\", \"relevant\": {\"a.txt\": 1}}\n",
    )
    .unwrap();
    place
}

const STAND_IN: &str = "model: 'stand-in:16'";

#[test]
fn no_pipeline_file() {
    let place = project_with_stores(STAND_IN, "");
    check_every_verb(&place, "nothere.yaml", &["nothere.yaml"]);
}

#[test]
fn a_folder_for_a_pipeline_file() {
    let place = project_with_stores(STAND_IN, "");
    std::fs::create_dir(place.path().join("folder.yaml")).unwrap();
    check_every_verb(&place, "folder.yaml", &["folder.yaml", "no pipeline file"]);
}

#[test]
fn a_pipeline_file_of_bytes() {
    let place = project_with_stores(STAND_IN, "");
    std::fs::write(place.file(), b"\xff\xfe\0\0 nothing").unwrap();
    check_every_verb(&place, "pipeline.yaml", &["pipeline.yaml"]);
}

#[test]
fn no_postgres() {
    let port = closed_port();
    let place = project_with_stores(
        STAND_IN,
        &format!("stores: {{ postgres: 'postgres://me@127.0.0.1:{port}/x' }}"),
    );
    check_every_verb(&place, "pipeline.yaml", &[&port]);
}

#[test]
fn another_program_in_the_place_of_postgres() {
    let port = server(http);
    let place = project_with_stores(
        STAND_IN,
        &format!("stores: {{ postgres: 'postgres://me@127.0.0.1:{port}/x' }}"),
    );
    check_every_verb(&place, "pipeline.yaml", &[&port]);
}

#[test]
fn the_rest_port_of_qdrant() {
    let port = server(http);
    let place = project_with_stores(
        STAND_IN,
        &format!("stores: {{ vectors: {{ qdrant: 'http://127.0.0.1:{port}' }} }}"),
    );
    place.url();
    check_every_verb_except(
        &["worker", "serve"],
        &place,
        "pipeline.yaml",
        &[
            &port,
            "does not exist yet",
            "no operation",
            "no generation",
            "no tests",
            "no `schedule`",
            "no such",
            "no document",
            "is not a source",
            "nothing",
        ],
    );
}

#[test]
fn weights_that_are_cut_off() {
    let place = project_with_stores("model: model", "");
    let weights = small_model(&place).join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    place.url();
    check_every_verb(&place, "pipeline.yaml", &["model.safetensors"]);
}

#[test]
fn a_data_folder_that_is_a_file() {
    let place = project_with_stores(STAND_IN, "");
    std::fs::write(place.path().join(".semantik"), "in the way").unwrap();
    check_every_verb(&place, "pipeline.yaml", &[".semantik", "no tests"]);
}

/// Files and addresses in options.
#[test]
fn files_and_addresses_of_options() {
    let place = project_with_stores(STAND_IN, "");
    place.url();
    place.run();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    let closed = closed_port();
    std::fs::write(place.path().join("no.parquet"), "no table").unwrap();
    std::fs::write(place.path().join("lines.jsonl"), "{\"text\": \"a\"}\n{").unwrap();
    let listen = format!("127.0.0.1:{taken}");
    let server = format!("http://127.0.0.1:{closed}");
    let mut all = String::new();
    for args in [
        &["serve", "pipeline.yaml", "--listen", &listen][..],
        &["run", "pipeline.yaml", "--metrics", &listen],
        &["serve", "pipeline.yaml", "--tls-cert", "no.pem", "--tls-key", "no.pem"],
        &["top", "--once", "--server", &server],
        &["eval", "pipeline.yaml", "--judgements", "nothere.jsonl"],
        &["eval", "pipeline.yaml", "--judgements", "judged.jsonl", "--min", "ndcg@10=0.99"],
        &["documents", "undelete", "pipeline.yaml", "corpus/a.txt"],
        &["embed", "--model", "stand-in:16", "--input", "nothere.txt"],
        &["embed", "--model", "stand-in:16", "--input", "no.parquet"],
        &["embed", "--model", "stand-in:16", "--input", "lines.jsonl", "--output", "out.jsonl"],
        &[
            "embed",
            "--model",
            "stand-in:16",
            "--input",
            "pipeline.yaml",
            "--output",
            "no/out.parquet",
        ],
    ] {
        let typed = args.join(" ");
        let unsteady = [(taken.as_str(), "PORT"), (closed.as_str(), "PORT")];
        let said = stderr_of(&place, args, &unsteady);
        let typed = typed.replace(&taken, "PORT").replace(&closed, "PORT");
        all += &format!("== semantik {typed}\n{said}\n");
    }
    drop(listener);
    assert_snapshot!(all);
}

#[test]
fn standard_output_that_takes_nothing() {
    let full = std::fs::OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap();
    let output = command(&["schema"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_snapshot!(said.trim(), @"semantik: cannot write to standard output: no space left on the device");
}

/// A file size limit affects `initdb` like a full volume; the exact message differs by version.
#[test]
fn a_cluster_that_has_no_room() {
    let place = project_with_stores(STAND_IN, "");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 2000; exec \"$0\" run pipeline.yaml"]);
    limited.arg(env!("CARGO_BIN_EXE_semantik")).current_dir(place.path());
    limited.env("SEMANTIK_LOG_FORMAT", "json");
    let ran = ran(limited.output().unwrap());
    assert_eq!(ran.code, 1);
    let lines = ran.stderr.lines().filter(|line| !line.starts_with('{'));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("the stand-in")).collect();
    assert_eq!(lines.len(), 1, "{}", ran.stderr);
    assert!(lines[0].starts_with("semantik: `initdb` failed: "), "{}", lines[0]);
    assert!(lines[0].contains(".semantik/postgres/cluster"), "{}", lines[0]);
    assert!(!ran.stderr.contains("The files belonging to"), "{}", ran.stderr);
}
