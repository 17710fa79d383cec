//! Several processes on one collection: one works, and the others report that or wait; a cancelled
//! or taken-over operation writes nothing more.

use std::process::Child;

use crate::support::{OpenTransaction, TestProject, end, signal, text};

const RUN: [&str; 3] = ["run", "pipeline.yaml", "--json"];
const DOCUMENTS: usize = 50;

fn filled() -> TestProject {
    let place = TestProject::with_stand_in();
    for n in 0..DOCUMENTS {
        place.write(&format!("{n}.txt"), format!("document number {n}"));
    }
    // Creates the tables, without documents.
    let ran = place.semantik(&["migrate", "up", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

/// Starts a run that stops at a gate with its operation in progress, before it stores documents.
fn start_held_run(place: &TestProject) -> (Child, OpenTransaction) {
    let gate = place.gate("public.document_writes", "TRUE");
    let child = place.start(&RUN);
    place.wait_at_gate();
    (child, gate)
}

fn operations(place: &TestProject) -> Vec<String> {
    let rows = place.sql("SELECT type || ' ' || status AS is FROM operations ORDER BY created_at");
    rows.iter().map(|row| text(&row["is"])).collect()
}

#[test]
fn a_second_process_reports_the_running_operation() {
    let place = filled();
    let (first, gate) = start_held_run(&place);
    let id = place.value("SELECT id FROM operations");
    let second = place.semantik(&RUN);
    assert_eq!((second.code, second.stdout.as_str()), (1, ""));
    let wanted = [
        format!(
            "another process works on collection `test`: operation {id} (index), process {} on ",
            first.id()
        ),
        ", since 20".to_owned(),
    ];
    assert!(wanted.iter().all(|words| second.stderr.contains(words)), "{}", second.stderr);
    // Reading commands work and report the status.
    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_eq!(status["status"], "processing", "{status:#}");
    drop(gate);
    let first = end(first);
    assert_eq!(
        (first.code, first.json()["documents"]["stored"].as_u64()),
        (0, Some(50)),
        "{}",
        first.stderr
    );
    assert_eq!(operations(&place), ["index completed"]);
    place.assert_matches_fresh_index();
}

#[test]
fn waiting_processes_run_in_turn() {
    let place = filled();
    let (first, gate) = start_held_run(&place);
    let waiting = [0, 1].map(|_| place.start(&[&RUN[..], &["--wait"]].concat()));
    place.wait_until("SELECT count(*) = 2 FROM operations WHERE status = 'pending'");
    drop(gate);
    assert_eq!(end(first).code, 0);
    for one in waiting.map(end) {
        assert_eq!(one.code, 0, "{}", one.stderr);
        assert_eq!(one.json()["documents"]["unchanged"], DOCUMENTS, "no work may be done twice");
    }
    place.assert_matches_fresh_index();
    let statuses = place.sql("SELECT DISTINCT status FROM operations WHERE type = 'append'");
    assert_eq!(statuses.len(), 1, "{statuses:?}: {:?}", operations(&place));
}

#[test]
fn a_cancelled_operation_ends_and_is_never_completed() {
    let place = filled();
    let (child, gate) = start_held_run(&place);
    let id = place.value("SELECT id FROM operations");
    // The operation at the gate holds the lock of its row, so the cancelling command is next.
    let args = ["operations", "cancel", "pipeline.yaml", &id];
    let cancel = place.start(&args);
    place.wait_until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE wait_event_type = 'Lock' AND query LIKE '%FROM operations WHERE id = $1 FOR NO KEY UPDATE%')",
    );
    drop(gate);
    let cancelled = end(cancel);
    let wanted = format!("cancelled operation {id}\n");
    assert_eq!((cancelled.code, cancelled.stdout), (0, wanted), "{}", cancelled.stderr);
    let ended = end(child);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("cancelled"), "{}", ended.stderr);
    assert_eq!(operations(&place), ["index cancelled"]);
    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_ne!(status["status"], "processing", "{status:#}");
    place.run();
    place.assert_matches_fresh_index();
}

#[test]
fn a_waiting_operation_can_be_cancelled() {
    let place = filled();
    let (first, gate) = start_held_run(&place);
    let second = place.start(&[&RUN[..], &["--wait"]].concat());
    place.wait_until("SELECT count(*) = 1 FROM operations WHERE status = 'pending'");
    let id = place.value("SELECT id FROM operations WHERE status = 'pending'");
    let ran = place.semantik(&["operations", "cancel", "pipeline.yaml", &id]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    drop(gate);
    assert_eq!(end(first).code, 0);
    let second = end(second);
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains(&format!("operation {id} was cancelled before it began")),
        "{}",
        second.stderr
    );
    assert_eq!(operations(&place), ["index completed", "index cancelled"]);
    place.assert_matches_fresh_index();
}

/// All metadata of documents and operations.
fn everything(place: &TestProject) -> Vec<serde_json::Value> {
    place.sql(
        "SELECT (SELECT json_agg(d ORDER BY id) FROM documents d) AS documents,
                (SELECT json_agg(l ORDER BY uri) FROM document_locations l) AS locations,
                (SELECT json_agg(o ORDER BY id) FROM operations o) AS operations,
                (SELECT json_agg(c ORDER BY id) FROM collections c) AS collections,
                (SELECT json_agg(a ORDER BY id) FROM collection_audit_log a) AS audit",
    )
}

#[test]
fn a_hung_operation_is_taken_over_and_fenced() {
    let place = filled();
    // The process hangs between its lease and its first read of documents: it waits for the first
    // of these locks until the operation exists, and then for the second.
    let mut claim = place.session();
    claim.execute("LOCK TABLE operations IN SHARE MODE");
    let child = place.start(&RUN);
    place.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    let mut work = place.session();
    work.execute("LOCK TABLE generations IN ACCESS EXCLUSIVE MODE");
    drop(claim);
    place.wait_until("SELECT EXISTS (SELECT FROM operations WHERE status = 'processing')");
    place.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    signal(&child, "-STOP");
    drop(work);

    // The lease is valid for a minute.
    let refused = place.semantik(&RUN);
    assert!(refused.code == 1 && refused.stderr.contains("works on"), "{}", refused.stderr);
    place.execute("UPDATE operation_leases SET expires_at = now() - interval '1 second'");
    let next = place.semantik(&RUN);
    assert_eq!(next.code, 0, "{}", next.stderr);
    assert!(next.stderr.contains("the process of an operation died"), "{}", next.stderr);
    assert_eq!(operations(&place), ["index failed", "index completed"]);

    let before = everything(&place);
    signal(&child, "-CONT");
    let hung = end(child);
    assert_eq!(hung.code, 1, "{}", hung.stderr);
    assert_eq!(everything(&place), before);
    place.assert_matches_fresh_index();
}

/// A process sends heartbeats while its transaction waits. A stopped process does not, and the
/// process that takes over does not wait for its locks.
#[test]
fn a_long_transaction_keeps_its_lease_and_one_of_a_stopped_process_holds_nobody_up() {
    let place = filled();
    // At the gate the transaction holds the row of its operation.
    let (child, gate) = start_held_run(&place);
    place.execute("UPDATE operation_leases SET expires_at = now() - interval '1 second'");
    place.wait_until("SELECT expires_at > now() + interval '50 seconds' FROM operation_leases");
    let refused = place.semantik(&RUN);
    assert!(refused.code == 1 && refused.stderr.contains("works on"), "{}", refused.stderr);
    // The progress is readable during the transaction.
    place.wait_until("SELECT progress ->> 'seen' <> '0' FROM operation_leases");

    signal(&child, "-STOP");
    place.execute("UPDATE operation_leases SET expires_at = now() - interval '1 second'");
    // Without intervention the server ends the transaction only after two minutes.
    let claim = place.start(&RUN);
    place.wait_until("SELECT count(*) = 1 FROM operations WHERE status = 'failed'");
    // The process releases the vectors when it notices the takeover.
    signal(&child, "-CONT");
    let hung = end(child);
    assert_eq!(hung.code, 1, "{}", hung.stderr);
    drop(gate);
    let next = end(claim);
    assert_eq!(next.code, 0, "{}", next.stderr);
    assert_eq!(operations(&place), ["index failed", "index completed"]);
    place.assert_matches_fresh_index();
}
