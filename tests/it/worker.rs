//! A worker beside the command: what is handed over to it, what becomes of that when it stops or dies, and that
//! whoever asked sees no difference.

use std::fs::File;
use std::process::{Child, Stdio};

use crate::support::{Place, command, end, signal, text};

const RUN: [&str; 3] = ["run", "pipeline.yaml", "--json"];
const DOCUMENTS: usize = 50;

/// A worker on the file of a place; killed with the value.
pub(crate) struct Worker {
    pub(crate) child: Child,
}

impl Worker {
    /// Starts it, and returns once it serves the collection, if that is there.
    pub(crate) fn start(place: &Place, more: &[&str]) -> Self {
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

pub(crate) fn log_of(place: &Place) -> String {
    std::fs::read_to_string(place.path().join("worker.log")).unwrap_or_default()
}

fn filled() -> Place {
    let place = Place::with_stand_in();
    for n in 0..DOCUMENTS {
        place.write(&format!("{n}.txt"), format!("document number {n}"));
    }
    place
}

fn indexed() -> Place {
    let place = filled();
    place.run();
    place
}

/// The operations in order, each with its type, status and attempt.
fn operations(place: &Place) -> Vec<String> {
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
    // How far it was at its end is in its row, for whoever asks.
    assert_eq!(place.value("SELECT progress->>'seen' FROM operations WHERE handed_over"), "52");
    assert_eq!(
        place.value("SELECT progress->'set_aside'->0->>'reason' FROM operations WHERE handed_over"),
        "failed"
    );

    let top = place.semantik(&["top", "--config", "pipeline.yaml"]);
    for words in [
        "test · append · completed · process ",
        "52 seen · 1 stored",
        "broken.pdf at extract: failed",
    ] {
        assert!(top.stdout.contains(words), "{}{}", top.stdout, top.stderr);
    }

    // As a table, too.
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert!(ran.code == 2 && ran.stdout.contains("unchanged"), "{}{}", ran.stdout, ran.stderr);

    let ran = place.semantik(&["reindex", "pipeline.yaml"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("generation 2 (stand-in:16) is live now"), "{}", ran.stderr);
    let ran = place.semantik(&["rollback", "pipeline.yaml"]);
    assert!(
        ran.stdout.contains("generation 1 (stand-in:16) is live again"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    drop(worker);
    place.run();
    place.assert_true();
}

#[test]
fn what_is_taken_out_beside_a_worker_is_taken_out_by_it() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    let config = ["--config", "pipeline.yaml", "--yes"];
    let ran = place.semantik(
        &[&["documents", "delete", "corpus/1.txt", "corpus/2.txt"], &config[..]].concat(),
    );
    assert_eq!(ran.stdout, "2 documents are deleted\n", "{}", ran.stderr);
    let ran = place.semantik(&[&["documents", "undelete", "corpus/2.txt"], &config[..]].concat());
    assert_eq!(ran.stdout, "1 documents are undeleted\n", "{}", ran.stderr);
    let source = place.value("SELECT source_path FROM collection_sources");
    let ran = place.semantik(&[&["sources", "delete", &source], &config[..]].concat());
    assert!(ran.stdout.contains("with it 49 documents"), "{}{}", ran.stdout, ran.stderr);
    let ran = place.semantik(&[&["collections", "delete"], &config[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.value("SELECT count(*) FROM collections"), "0");
    // Nobody serves what is not there, so this is made here.
    place.run();
    place.assert_true();
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
    place.assert_true();
}

/// A run that was handed over, and is stopped in its tracks before it has stored anything.
fn begin(place: &Place, args: &[&str]) -> (Child, crate::support::Session) {
    let gate = place.gate("public.document_writes", "TRUE");
    let child = place.start(args);
    place.wait_at_gate();
    (child, gate)
}

#[test]
fn who_follows_can_cancel() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    place.write("new.txt", "a document that came later");
    let (child, gate) = begin(&place, &RUN);
    let id = place.value("SELECT id FROM operations WHERE handed_over");
    signal(&child, "-INT");
    place.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE wait_event_type = 'Lock' AND query LIKE '%SELECT collection_id, user_id, status%')",
    );
    drop(gate);
    let ended = end(child);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    place.wait_until(&format!("SELECT status = 'cancelled' FROM operations WHERE id = '{id}'"));
    place.run();
    place.assert_true();
}

#[test]
fn a_worker_that_is_told_to_end_hands_back_what_it_cannot_finish() {
    let place = indexed();
    let mut first = Worker::start(&place, &["--grace", "1"]);
    place.write("new.txt", "a document that came later");
    let (child, gate) = begin(&place, &RUN);
    let second = Worker::start(&place, &[]);
    // The first cannot go on, and is cut off: the other one takes the operation over.
    signal(&first.child, "-TERM");
    place.wait_until("SELECT count(*) = 1 FROM executors");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    drop(gate);
    assert_eq!(first.child.wait().unwrap().code(), Some(143), "{}", log_of(&place));
    let ended = end(child);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, log_of(&place));
    assert_eq!(ended.json()["documents"]["seen"], DOCUMENTS + 1);
    assert_eq!(
        operations(&place),
        ["index completed 1", "append cancelled 1 handed over", "append completed 1 handed over"]
    );
    drop(second);
    place.assert_true();
}

#[test]
fn a_worker_that_is_killed_loses_nothing() {
    for verb in ["run", "reindex"] {
        let place = indexed();
        let mut first = Worker::start(&place, &[]);
        place.write("new.txt", "a document that came later");
        let table =
            if verb == "run" { "public.document_writes" } else { "building.document_writes" };
        let gate = place.gate(table, "TRUE");
        let child = place.start(&[verb, "pipeline.yaml", "--json"]);
        place.wait_at_gate();
        let second = Worker::start(&place, &[]);
        first.end("-KILL");
        drop(gate);
        let ended = end(child);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, log_of(&place));
        assert_eq!(ended.json()["documents"]["seen"], DOCUMENTS + 1);
        let type_of = if verb == "run" { "append" } else { "reindex" };
        assert_eq!(
            operations(&place)[1..],
            [
                format!("{type_of} failed 1 handed over"),
                format!("{type_of} completed 2 handed over")
            ]
        );
        drop(second);
        place.assert_true();
    }
}

#[test]
fn where_no_worker_is_left_the_command_does_it_itself() {
    let place = indexed();
    let mut worker = Worker::start(&place, &[]);
    place.write("new.txt", "a document that came later");
    let (child, gate) = begin(&place, &RUN);
    worker.end("-KILL");
    // It is not dead for fifteen seconds.
    place.execute("UPDATE executors SET seen_at = now() - interval '1 minute'");
    drop(gate);
    let ended = end(child);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.json()["documents"]["seen"], DOCUMENTS + 1);
    place.assert_true();
}

#[test]
fn a_broken_file_is_reported_and_the_last_good_one_goes_on() {
    let place = indexed();
    let _worker = Worker::start(&place, &[]);
    let good = std::fs::read_to_string(place.file()).unwrap();
    std::fs::write(place.file(), good.replace("uses: hash", "uses: hush")).unwrap();
    place.wait_until("SELECT files::text LIKE '%unknown stage `hush`%' FROM executors");
    std::fs::write(place.file(), &good).unwrap();
    place.wait_until("SELECT files->0->>'fault' IS NULL FROM executors");
    assert_eq!(place.semantik(&RUN).code, 0);
}
