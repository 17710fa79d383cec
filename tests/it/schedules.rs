//! Schedules with real workers: each due run is fired once with many and crashing workers; overlap,
//! failures, deadlines and notifications.

use serde_json::Value;

use crate::receiver::receiver;
use crate::support::{TestProject, signal, text};
use crate::worker::{Worker, log_of};

/// A place with a schedule in its pipeline file and a few documents.
fn scheduled(schedule: &str) -> TestProject {
    let place = TestProject::with_stand_in();
    for n in 0..3 {
        place.write(&format!("{n}.txt"), format!("document number {n}"));
    }
    place.append_pipeline(&format!("schedule: {schedule}\n"));
    // Creates the tables.
    let ran = place.semantik(&["migrate", "up", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place
}

fn history(place: &TestProject) -> Vec<Value> {
    let ran =
        place.semantik(&["schedule", "history", "pipeline.yaml", "--json", "--limit", "10000"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json().as_array().unwrap().clone()
}

fn stdout_of(place: &TestProject, args: &[&str]) -> String {
    let ran = place.semantik(args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

/// Sets the last check of the schedule back by this time span.
fn backdate_last_poll(place: &TestProject, span: &str) {
    place.execute(&format!(
        "UPDATE schedules SET looked_until = now() - interval '{span}', next_due_at = NULL"
    ));
}

const NEVER: &str = "{ cron: \"0 0 29 2 *\", missed: all, missed_limit: 1000, overlap: queue }";

#[test]
fn a_run_that_is_due_takes_place_and_tells_its_story() {
    let place = scheduled("{ cron: \"* * * * * *\" }");
    let mut worker = Worker::start(&place, &[]);
    place.wait_until(
        "SELECT count(*) >= 2 FROM operations WHERE status = 'completed' AND handed_over",
    );
    assert_eq!(worker.end("-TERM"), 143, "{}", log_of(&place));
    let runs = history(&place);
    assert!(runs.iter().any(|run| run["state"] == "completed"), "{runs:#?}");
    // A run takes longer than the one-second interval, so due times overlap.
    let twice = place.value("SELECT count(*) FROM (SELECT due_at FROM schedule_runs GROUP BY due_at HAVING count(*) > 1) t");
    assert_eq!(twice, "0");
    let list = stdout_of(&place, &["schedule", "list", "pipeline.yaml"]);
    assert!(list.contains("* * * * * *") && list.contains("nobody serves it"), "{list}");
    place.assert_matches_fresh_index();
}

/// A thousand runs become due, and three workers that check concurrently are killed repeatedly.
#[test]
fn a_thousand_runs_are_fired_once_by_three_workers_that_die() {
    const RUNS: usize = 1000;
    let place = scheduled(&NEVER.replace("0 0 29 2 *", "* * * * *"));
    stdout_of(&place, &["schedule", "pause", "pipeline.yaml"]);
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start(&place, &[])).collect();
    stdout_of(&place, &["schedule", "resume", "pipeline.yaml"]);
    // Each round makes another hundred minutes due, while workers are killed and started.
    for round in 0..RUNS / 100 {
        let before = place.value("SELECT count(*) FROM schedule_runs");
        // Moves the window back by a hundred minutes that no worker has checked.
        place.execute(
            "UPDATE schedules SET next_due_at = NULL, looked_until =
                 coalesce((SELECT min(due_at) FROM schedule_runs), date_trunc('minute', now())) - interval '100 minutes'
                 - interval '1 second'",
        );
        if round < 6 {
            let mut victim = workers.remove(0);
            victim.end("-KILL");
            workers.push(Worker::start(&place, &[]));
        }
        place.wait_until(&format!("SELECT count(*) >= {before} + 100 FROM schedule_runs"));
    }
    let fired = place.sql(
        "SELECT r.due_at, count(o.id) AS operations FROM schedule_runs r
         LEFT JOIN operations o ON o.schedule_run_id = r.id AND o.continues IS NULL
         WHERE r.fate = 'fired' GROUP BY r.due_at",
    );
    assert!(fired.len() >= RUNS, "{}", fired.len());
    assert!(
        fired.iter().all(|run| run["operations"] == 1),
        "each run must have exactly one operation"
    );
    // Operations run one after the other; an operation of a killed worker is resumed.
    place.wait_until(
        "SELECT count(*) >= 5 FROM operations WHERE status = 'completed' AND handed_over",
    );
    let stray = place.value(
        "SELECT count(*) FROM operations o WHERE status = 'failed' AND attempt < 3
           AND NOT EXISTS (SELECT FROM operations n WHERE n.continues = o.id)",
    );
    assert_eq!(stray, "0", "{}", log_of(&place));
}

#[test]
fn what_was_missed_is_named_and_made_up_for() {
    let place =
        scheduled(&NEVER.replace("0 0 29 2 *", "0 * * * *").replace("limit: 1000", "limit: 2"));
    stdout_of(&place, &["schedule", "pause", "pipeline.yaml"]);
    stdout_of(&place, &["schedule", "resume", "pipeline.yaml"]);
    backdate_last_poll(&place, "5 hours");
    let _worker = Worker::start(&place, &[]);
    place.wait_until(
        "SELECT count(*) = 2 FROM operations WHERE status = 'completed' AND handed_over",
    );
    let states: Vec<_> = history(&place).iter().map(|run| text(&run["state"])).collect();
    assert_eq!(states, ["completed", "completed", "missed", "missed", "missed"]);
}

/// The first run is blocked while another one becomes due every second. The table has the overlap
/// policy, the states of the first two runs during the block, and the final states of the first and
/// the last run.
#[test]
fn a_run_that_meets_the_one_before_is_skipped_or_waits_or_cancels_it() {
    for (overlap, meanwhile, first, last) in [
        ("skip", ["processing", "skipped"], "completed", None),
        ("queue", ["processing", "pending"], "completed", Some("completed")),
        ("cancel_previous", ["cancelled", ""], "cancelled", Some("completed")),
    ] {
        let place = scheduled(&format!("{{ cron: \"0 0 29 2 *\", overlap: {overlap} }}"));
        place.run();
        place.write("new.txt", "a document that came later");
        let gate = place.gate("public.document_writes", "TRUE");
        let _worker = Worker::start(&place, &[]);
        stdout_of(&place, &["schedule", "run-now", "pipeline.yaml"]);
        place.wait_at_gate();
        // The new schedule makes a run due.
        place.edit_pipeline("0 0 29 2 *", "* * * * * *");
        // The operation to cancel has locked its row while it waits at the gate.
        place.wait_until(
            "SELECT count(*) >= 2 FROM schedule_runs
             UNION SELECT TRUE FROM pg_stat_activity
             WHERE wait_event_type = 'Lock' AND query LIKE '%SELECT FROM operations WHERE id = %'
             ORDER BY 1 DESC LIMIT 1",
        );
        let oldest_first = || {
            let mut runs = history(&place);
            runs.reverse();
            runs
        };
        if overlap != "cancel_previous" {
            let runs = oldest_first();
            assert_eq!([&runs[0]["state"], &runs[1]["state"]], meanwhile, "{overlap}: {runs:#?}");
        }
        drop(gate);
        place.wait_until("SELECT count(*) >= 2 FROM schedule_runs");
        place.edit_pipeline("* * * * * *", "0 0 29 2 *");
        // No further run is fired, and all operations have ended.
        place.wait_until(
            "SELECT spec ->> 'cron' = '0 0 29 2 *'
                 AND NOT EXISTS (SELECT FROM operations WHERE status IN ('pending', 'processing'))
             FROM schedules",
        );
        let runs = oldest_first();
        let states: Vec<_> = runs.iter().map(|run| text(&run["state"])).collect();
        assert_eq!(states[0], first, "{overlap}: {runs:#?}\n{}", log_of(&place));
        if let Some(last) = last {
            assert_eq!(states[states.len() - 1], last, "{overlap}: {runs:#?}\n{}", log_of(&place));
        }
        let waits = states.iter().filter(|state| *state == "skipped").count();
        assert_eq!(waits > 0, overlap == "skip", "{overlap}: {states:?}");
    }
}

#[test]
fn a_run_that_fails_is_tried_again() {
    let place = scheduled("{ cron: \"0 0 29 2 *\", retry: { attempts: 2, backoff: 1s } }");
    place.run();
    // More documents are missing than the deletion limit allows.
    for n in 0..30 {
        place.write(&format!("more/{n}.txt"), format!("another document, number {n}"));
    }
    place.run();
    std::fs::remove_dir_all(place.corpus().join("more")).unwrap();
    let _worker = Worker::start(&place, &[]);
    stdout_of(&place, &["schedule", "run-now", "pipeline.yaml"]);
    place.wait_until("SELECT count(*) = 3 FROM operations WHERE status = 'failed' AND handed_over");
    let runs = history(&place);
    assert_eq!(
        (&runs[0]["state"], &runs[0]["attempt"]),
        (&"failed".into(), &3.into()),
        "{runs:#?}"
    );
    assert!(text(&runs[0]["error"]).contains("--allow-deletes"), "{runs:#?}");
}

/// The gate stays closed until the deadline has passed, and short queues block the source before
/// its end.
#[test]
fn a_run_that_exceeds_its_deadline_is_ended_has_failed_and_is_not_tried_again() {
    const DOCUMENTS: usize = 400;
    let place =
        scheduled("{ cron: \"0 0 29 2 *\", deadline: 1s, retry: { attempts: 2, backoff: 1s } }");
    place.append_pipeline("edge_bytes: 16384\n");
    place.run();
    for n in 0..DOCUMENTS {
        place.write(&format!("more/{n}.txt"), format!("document {n} of many. ").repeat(100));
    }
    let gate = place.gate("public.document_writes", "TRUE");
    let mut worker = Worker::start(&place, &[]);
    stdout_of(&place, &["schedule", "run-now", "pipeline.yaml"]);
    while !log_of(&place).contains("exceeded the deadline of 1 s") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(history(&place)[0]["state"], "processing");
    drop(gate);
    place.wait_until("SELECT EXISTS (SELECT FROM operations WHERE status = 'failed')");
    // The operation is done when the worker exits.
    assert_eq!(worker.end("-TERM"), 143, "{}", log_of(&place));
    let runs = history(&place);
    assert_eq!(
        (runs.len(), &runs[0]["state"], &runs[0]["attempt"], &runs[0]["error"]),
        (1, &"failed".into(), &1.into(), &"exceeded the deadline of 1 s".into()),
        "{runs:#?}"
    );
    let operations = place.value("SELECT count(*) FROM operations WHERE handed_over");
    assert_eq!(operations, "1", "the run must not be retried");
    let seen: usize = place
        .value("SELECT meta->'report'->'documents'->>'seen' FROM operations WHERE handed_over")
        .parse()
        .unwrap();
    assert!(seen < DOCUMENTS, "{seen} documents were seen, but the source must be stopped early");
    place.run();
    place.assert_matches_fresh_index();
}

#[test]
fn a_schedule_that_is_in_no_file_any_more_is_due_no_more() {
    let schedule = "schedule: { cron: \"* * * * * *\" }\n";
    let place = scheduled("{ cron: \"* * * * * *\" }");
    let _worker = Worker::start(&place, &[]);
    let list = || stdout_of(&place, &["schedule", "list", "pipeline.yaml"]);
    place.wait_until("SELECT count(*) >= 1 FROM schedule_runs");
    place.wait_until("SELECT files->0->>'schedule' = 'true' FROM executors");
    assert!(list().contains("served"), "{}", list());
    place.edit_pipeline(schedule, "");
    place.wait_until("SELECT spec = 'null' AND next_due_at IS NULL FROM schedules");
    assert!(list().contains("not in its file any more"), "{}", list());
    let runs = history(&place).len();
    assert!(runs >= 1, "the history must remain");
    assert_eq!(place.semantik(&["schedule", "pause", "pipeline.yaml"]).code, 1);
    place.append_pipeline(schedule);
    place.wait_until(&format!("SELECT count(*) > {runs} FROM schedule_runs"));

    // A missing file that was named explicitly stays served in its last version, and its schedule
    // waits.
    let text = std::fs::read_to_string(place.file()).unwrap();
    let other = place.path().join("other.yaml");
    std::fs::write(&other, text.replace("name: test", "name: other").replace(schedule, ""))
        .unwrap();
    std::fs::remove_file(place.file()).unwrap();
    place.wait_until("SELECT files->0->>'gone' = 'true' FROM executors");
    let list = stdout_of(&place, &["schedule", "list", "other.yaml"]);
    assert!(list.contains("its file is gone"), "{list}");
    std::fs::write(place.file(), text).unwrap();
    place.wait_until("SELECT files->0->>'fault' IS NULL FROM executors");
}

#[test]
fn what_is_due_when_is_said_without_a_store() {
    let place = scheduled("{ cron: \"30 2 * * *\", timezone: Europe/Berlin, jitter: 10m }");
    let next = place.semantik(&["schedule", "next", "pipeline.yaml", "-n", "400", "--json"]).json();
    let next = next.as_array().unwrap();
    assert_eq!(next.len(), 400);
    let at_three = next.iter().filter(|it| text(&it["local"]).contains(" 03:00:00 CEST")).count();
    assert!((1..=2).contains(&at_three), "02:30 does not exist on the day of the DST change");
    let none = TestProject::with_stand_in().semantik(&["schedule", "next", "pipeline.yaml"]);
    assert!(
        none.code == 1 && none.stderr.contains("the file has no `schedule`"),
        "{}",
        none.stderr
    );
}

#[test]
fn webhooks_are_told_signed_and_again_until_they_take_it() {
    let (address, requests) = receiver(&[500]);
    let url = format!("{address}/hook");
    let told = || {
        let (head, body) = requests.recv().unwrap();
        (head.to_lowercase(), serde_json::from_str::<Value>(&body).unwrap())
    };
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let stores =
        format!("stores:\n  webhooks: {{ ops: {{ url: \"{url}\", secret: {secret} }} }}\n");
    place.write_pipeline("model: 'stand-in:16'", &stores, "size: 64, overlap: 8");
    place.append_pipeline("notify: [{ webhook: ops, on: [failure, recovery] }]\n");
    for n in 0..30 {
        place.write(&format!("more/{n}.txt"), format!("another document, number {n}"));
    }
    place.run();
    assert_eq!(place.value("SELECT count(*) FROM messages"), "0", "successes are not subscribed");
    std::fs::remove_dir_all(place.corpus().join("more")).unwrap();
    assert_eq!(place.semantik(&["run", "pipeline.yaml"]).code, 1);
    let (head, body) = told();
    assert!(head.contains("webhook-signature: v1,") && head.contains("webhook-id: msg_"), "{head}");
    assert_eq!(body["type"], "operation.failure");
    assert_eq!(body["data"]["pipeline"], "test");
    assert!(text(&body["data"]["error"]).contains("--allow-deletes"), "{body:#}");
    // The receiver refused it; a worker retries it later with the same id.
    assert_eq!(place.value("SELECT error FROM messages"), "the receiver answered 500");
    place.execute("UPDATE messages SET due_at = now()");
    let worker = Worker::start(&place, &[]);
    let (again, _) = told();
    let id =
        |head: &str| head.lines().find(|line| line.starts_with("webhook-id")).unwrap().to_owned();
    assert_eq!(id(&head), id(&again));
    place.wait_until("SELECT delivered_at IS NOT NULL FROM messages");
    let ran = place.semantik(&["run", "pipeline.yaml", "--allow-deletes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (_, body) = told();
    assert_eq!(body["type"], "operation.recovery");
    assert_eq!(body["data"]["documents"]["unchanged"], 1);
    drop(worker);
    // Neither the database nor the log contains the address or the key.
    let dump = place.value(
        "SELECT coalesce(string_agg(o::text || m::text, ''), '') FROM operations o, messages m",
    );
    for hidden in [secret, &url] {
        assert!(!dump.contains(hidden) && !log_of(&place).contains(hidden), "{hidden}");
    }
}

#[test]
fn a_second_signal_ends_a_worker_at_once_and_loses_nothing() {
    let place = scheduled("{ cron: \"0 0 29 2 *\" }");
    place.run();
    place.write("new.txt", "a document that came later");
    let gate = place.gate("public.document_writes", "TRUE");
    let mut worker = Worker::start(&place, &["--grace", "600"]);
    stdout_of(&place, &["schedule", "run-now", "pipeline.yaml"]);
    place.wait_at_gate();
    signal(&worker.child, "-TERM");
    place.wait_until("SELECT count(*) = 0 FROM executors");
    assert_eq!(worker.end("-TERM"), 143);
    drop(gate);
    let next = Worker::start(&place, &[]);
    place.wait_until("SELECT count(*) = 1 FROM operations WHERE status = 'completed' AND handed_over AND attempt = 2");
    drop(next);
    place.assert_matches_fresh_index();
}
