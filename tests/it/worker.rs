//! A worker and commands that delegate operations to it: results, stops and crashes. The caller
//! sees the same result as without a worker.

use std::fs::File;
use std::process::{Child, Stdio};

use crate::support::{TestProject, command, end, signal, text};

const RUN: [&str; 3] = ["run", "pipeline.yaml", "--json"];
const DOCUMENTS: usize = 50;

/// A worker on the pipeline file of a place; dropping the value kills it.
pub(crate) struct Worker {
    pub(crate) child: Child,
}

impl Worker {
    /// Starts a worker and waits until it serves the collection, if that exists.
    pub(crate) fn start(place: &TestProject, more: &[&str]) -> Self {
        let before = place.value("SELECT count(*) FROM executors");
        let log = File::options().create(true).append(true).open(place.path().join("worker.log"));
        let log = log.unwrap();
        let child = command(&[&["worker", "pipeline.yaml", "--log", "info"], more].concat())
            .current_dir(place.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        place.wait_until(&format!(
            "SELECT count(*) > {before} AND NOT EXISTS (
                 SELECT FROM collections c WHERE NOT EXISTS (SELECT FROM executors WHERE c.id = ANY(collections)
                                                             AND worker LIKE 'process {} %'))
             FROM executors",
            child.id()
        ));
        Self { child }
    }

    pub(crate) fn end(&mut self, name: &str) -> i32 {
        signal(&self.child, name);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn log_of(place: &TestProject) -> String {
    std::fs::read_to_string(place.path().join("worker.log")).unwrap_or_default()
}

fn filled() -> TestProject {
    let place = TestProject::with_stand_in();
    for n in 0..DOCUMENTS {
        place.write(&format!("{n}.txt"), format!("document number {n}"));
    }
    place
}

fn indexed() -> TestProject {
    let place = filled();
    place.run();
    place
}

/// The operations in order, each with type, status and attempt.
fn operations(place: &TestProject) -> Vec<String> {
    let rows = place.sql(
        "SELECT type || ' ' || status || ' ' || attempt || CASE WHEN handed_over THEN ' handed over' ELSE '' END AS is
         FROM operations ORDER BY created_at",
    );
    rows.iter().map(|row| text(&row["is"])).collect()
}

#[test]
fn a_run_beside_a_worker_is_handed_over_and_looks_the_same() {
    let place = indexed();
    let worker = Worker::start(&place, &[]);
    place.write("new.txt", "a document that came later");
    place.write("broken.pdf", b"%PDF-1.4 and nothing more");
    let ran = place.semantik(&RUN);
    assert_eq!(ran.code, 2, "{}\n{}", ran.stderr, log_of(&place));
    let report = ran.json();
    assert_eq!(report["documents"]["stored"], 1, "{report:#}");
    assert_eq!(report["documents"]["unchanged"], DOCUMENTS);
    assert_eq!(report["reasons"]["failed"], 1);
    assert_eq!(report["set_aside"][0]["node"], "extract");
    assert_eq!(operations(&place), ["index completed 1", "append completed 1 handed over"]);
    let by = place.value("SELECT worker FROM operations WHERE handed_over");
    assert!(by.starts_with(&format!("process {} on ", worker.child.id())), "{by}");
    // The final progress is stored in the row of the operation.
    assert_eq!(place.value("SELECT progress->>'seen' FROM operations WHERE handed_over"), "52");
    assert_eq!(
        place.value("SELECT progress->'set_aside'->0->>'reason' FROM operations WHERE handed_over"),
        "failed"
    );

    let top = place.semantik(&["top", "pipeline.yaml"]);
    for words in [
        "test · append · completed · process ",
        "52 seen · 1 stored",
        "broken.pdf at extract: failed",
    ] {
        assert!(top.stdout.contains(words), "{}{}", top.stdout, top.stderr);
    }

    // The same as a table. The failure of the document is known by now.
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert!(ran.code == 0 && ran.stdout.contains("known since"), "{}{}", ran.stdout, ran.stderr);

    let ran = place.semantik(&["reindex", "pipeline.yaml"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("generation 2 (stand-in:16) is now live"), "{}", ran.stderr);
    let ran = place.semantik(&["rollback", "pipeline.yaml"]);
    assert!(
        ran.stdout.contains("generation 1 (stand-in:16) is live again"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    drop(worker);
    place.run();
    place.assert_matches_fresh_index();
}

#[test]
fn what_is_taken_out_beside_a_worker_is_taken_out_by_it() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    let change = |verb: [&str; 2], more: &[&str]| {
        place.semantik(&[&verb[..], &["pipeline.yaml", "--yes"], more].concat())
    };
    let ran = change(["documents", "delete"], &["corpus/1.txt", "corpus/2.txt"]);
    assert_eq!(ran.stdout, "deleted 2 documents\n", "{}", ran.stderr);
    let ran = change(["documents", "undelete"], &["corpus/2.txt"]);
    assert_eq!(ran.stdout, "undeleted 1 document\n", "{}", ran.stderr);
    let source = place.value("SELECT source_path FROM collection_sources");
    let ran = change(["sources", "delete"], &[&source]);
    assert!(ran.stdout.contains(" with 49 documents;"), "{}{}", ran.stdout, ran.stderr);
    let ran = change(["collections", "delete"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.value("SELECT count(*) FROM collections"), "0");
    // No worker serves a missing collection, so the command creates it.
    place.run();
    place.assert_matches_fresh_index();
}

#[test]
fn an_error_of_the_worker_is_the_error_of_the_command() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    for n in 0..DOCUMENTS {
        std::fs::remove_file(place.corpus().join(format!("{n}.txt"))).unwrap();
    }
    place.write("last.txt", "the only one that is left");
    let ran = place.semantik(&RUN);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("50 of 51 documents of"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--allow-deletes"), "{}", ran.stderr);
    let ran = place.semantik(&[&RUN[..], &["--allow-deletes"]].concat());
    assert_eq!((ran.code, ran.json()["deleted"].as_u64()), (0, Some(50)), "{}", ran.stderr);
}

#[test]
fn a_file_that_changes_is_read_anew_before_the_run() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    place.edit_pipeline("size: 64, overlap: 8", "size: 32, overlap: 4");
    let ran = place.semantik(&RUN);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, log_of(&place));
    assert_eq!(operations(&place).last().unwrap(), "append completed 1 handed over");
    place.assert_matches_fresh_index();
}

/// A delegated run that is blocked before it stores documents.
fn start_held_run(place: &TestProject, args: &[&str]) -> (Child, crate::support::OpenTransaction) {
    let gate = place.gate("public.document_writes", "TRUE");
    let child = place.start(args);
    place.wait_at_gate();
    (child, gate)
}

#[test]
fn a_following_command_can_cancel() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    place.write("new.txt", "a document that came later");
    let (child, gate) = start_held_run(&place, &RUN);
    let id = place.value("SELECT id FROM operations WHERE handed_over");
    signal(&child, "-INT");
    place.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE wait_event_type = 'Lock' AND query LIKE '%SELECT FROM operations WHERE id = %')",
    );
    drop(gate);
    let ended = end(child);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    place.wait_until(&format!("SELECT status = 'cancelled' FROM operations WHERE id = '{id}'"));
    place.run();
    place.assert_matches_fresh_index();
}

/// An operation that is interrupted at a certain statement.
struct KillPoint {
    /// The command; `SOURCE` is replaced with the source of the collection.
    args: &'static [&'static str],
    /// The type of the operation.
    kind: &'static str,
    /// The gate: a table that the operation writes to, and the condition from which on writes
    /// block.
    table: &'static str,
    from: &'static str,
}

const DELETED: &str = "EXISTS (SELECT FROM documents WHERE status = 'deleted' AND chunk_count = 0)";
const APPEND: KillPoint =
    KillPoint { args: &RUN, kind: "append", table: "public.document_writes", from: "TRUE" };
const REINDEX: KillPoint = KillPoint {
    args: &["reindex", "pipeline.yaml", "--json"],
    kind: "reindex",
    table: "building.document_writes",
    from: "TRUE",
};
/// The metadata is updated, and the points are deleted next.
const REMOVE_SOURCE: KillPoint = KillPoint {
    args: &["sources", "delete", "pipeline.yaml", "SOURCE", "--yes"],
    kind: "remove_source",
    table: "public.documents",
    from: DELETED,
};
const DELETE_DOCUMENTS: KillPoint = KillPoint {
    args: &["documents", "delete", "pipeline.yaml", "corpus/1.txt", "corpus/2.txt", "--yes"],
    kind: "delete",
    table: "public.documents",
    from: DELETED,
};
const DELETE_COLLECTION: KillPoint = KillPoint {
    args: &["collections", "delete", "pipeline.yaml", "--yes"],
    kind: "delete",
    table: "public.collections",
    from: "EXISTS (SELECT FROM collections WHERE deleting_since IS NOT NULL)",
};

/// A worker is killed during an operation, or stopped without a grace period: another worker
/// finishes the operation, and the command returns the same result.
fn assert_another_worker_finishes(caught: &KillPoint) {
    for name in ["-KILL", "-TERM"] {
        let place = indexed();
        let mut first = Worker::start(&place, &["--grace", "0"]);
        place.write("new.txt", "a document that came later");
        let source = place.value("SELECT source_path FROM collection_sources");
        let gate = place.gate(caught.table, caught.from);
        let args: Vec<&str> =
            caught.args.iter().map(|arg| if *arg == "SOURCE" { &*source } else { arg }).collect();
        let child = place.start(&args);
        place.wait_at_gate();
        let second = Worker::start(&place, &[]);
        signal(&first.child, name);
        if name == "-TERM" {
            // The operation is requeued, or about to be.
            place.wait_until(
                "SELECT EXISTS (SELECT FROM operations WHERE handed_over AND status = 'cancelled')
                     OR EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                                    AND query LIKE '%SELECT collection_id, user_id, status%')",
            );
        } else {
            first.child.wait().unwrap();
        }
        drop(gate);
        let ended = end(child);
        assert_eq!(ended.code, 0, "{name}: {}\n{}", ended.stderr, log_of(&place));
        let code = first.child.wait().unwrap().code();
        assert_eq!(code, (name == "-TERM").then_some(143), "{}", log_of(&place));
        drop(second);
        if caught.args[0] == "collections" {
            assert_eq!(place.value("SELECT count(*) FROM collections"), "0");
            assert_eq!(place.vector_folders(), Vec::<String>::new());
            continue;
        }
        let tries = if name == "-TERM" {
            ["cancelled 1", "completed 1"]
        } else {
            ["failed 1", "completed 2"]
        };
        let tries = tries.map(|it| format!("{} {it} handed over", caught.kind));
        assert_eq!(operations(&place)[1..], tries, "{name}: {}", log_of(&place));
        let verified = place.semantik(&["verify", "pipeline.yaml"]);
        assert_eq!(verified.code, 0, "{name}: {}{}", verified.stdout, verified.stderr);
        if caught.args.contains(&"--json") {
            assert_eq!(ended.json()["documents"]["seen"], DOCUMENTS + 1);
            place.assert_matches_fresh_index();
        }
    }
}

#[test]
fn another_worker_makes_an_end_of_an_append() {
    assert_another_worker_finishes(&APPEND);
}

#[test]
fn another_worker_makes_an_end_of_a_reindexing() {
    assert_another_worker_finishes(&REINDEX);
}

#[test]
fn another_worker_makes_an_end_of_the_removal_of_a_source() {
    assert_another_worker_finishes(&REMOVE_SOURCE);
}

#[test]
fn another_worker_makes_an_end_of_the_deletion_of_documents() {
    assert_another_worker_finishes(&DELETE_DOCUMENTS);
}

#[test]
fn another_worker_makes_an_end_of_the_deletion_of_a_collection() {
    assert_another_worker_finishes(&DELETE_COLLECTION);
}

/// The gate stays closed, so that batches in flight cannot be stored.
#[test]
fn a_run_is_cut_off_after_its_grace_period() {
    let place = indexed();
    place.write("new.txt", "a document that came later");
    let (child, gate) = start_held_run(&place, &[&RUN[..], &["--grace", "0"]].concat());
    signal(&child, "-TERM");
    let ended = end(child);
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    assert!(ended.stderr.contains("grace period exceeded"), "{}", ended.stderr);
    drop(gate);
    assert_eq!(place.run()["documents"]["stored"], 1);
    place.assert_matches_fresh_index();
}

#[test]
fn where_no_worker_is_left_the_command_does_it_itself() {
    let place = indexed();
    let mut worker = Worker::start(&place, &[]);
    place.write("new.txt", "a document that came later");
    let (child, gate) = start_held_run(&place, &RUN);
    worker.end("-KILL");
    // A worker counts as dead fifteen seconds after its last heartbeat.
    place.execute("UPDATE executors SET seen_at = now() - interval '1 minute'");
    drop(gate);
    let ended = end(child);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.json()["documents"]["seen"], DOCUMENTS + 1);
    place.assert_matches_fresh_index();
}

#[test]
fn a_broken_file_is_reported_and_the_last_good_one_goes_on() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    let good = std::fs::read_to_string(place.file()).unwrap();
    std::fs::write(place.file(), good.replace("uses: hash", "uses: hush")).unwrap();
    place.wait_until("SELECT files::text LIKE '%unknown node type `hush`%' FROM executors");
    std::fs::write(place.file(), &good).unwrap();
    place.wait_until("SELECT files->0->>'fault' IS NULL FROM executors");
    assert_eq!(place.semantik(&RUN).code, 0);
}
