//! SIGKILL during `run`: after the next run, the stores equal those of an undisturbed run. SIGTERM:
//! documents in flight are stored.

use std::time::{Duration, Instant};

use crate::support::TestProject;

const DOCUMENTS: usize = 1500;

fn fill(place: &TestProject) {
    for n in 0..DOCUMENTS {
        let sentence =
            format!("Document {n} tells of subject {} and of number {}. ", n % 17, n * n);
        // Some are long, some have copies.
        place.write(&format!("{:02}/{n}.txt", n % 10), sentence.repeat(1 + n % 40));
        if n % 50 == 0 {
            place.write(&format!("copies/{n}.txt"), sentence.repeat(1 + n % 40));
        }
    }
}

#[test]
fn a_killed_run_is_made_good_by_the_next() {
    let undisturbed = TestProject::with("model: 'stand-in:16'", "");
    fill(&undisturbed);
    let started = Instant::now();
    undisturbed.run();
    let whole = started.elapsed();
    let expected = undisturbed.index();
    assert_eq!(expected.documents.len(), DOCUMENTS);

    // The first kills also hit the creation and start of the database.
    let place = TestProject::with("model: 'stand-in:16'", "");
    fill(&place);
    let mut halfway = 0;
    // Kills hit the start, the middle and the end of the duration of an undisturbed run.
    for attempt in 1..=12 {
        let mut child = place.start(&["run", "pipeline.yaml", "--json"]);
        std::thread::sleep(whole * attempt / 12);
        child.kill().unwrap();
        child.wait().unwrap();
        let status = place.semantik(&["status", "pipeline.yaml", "--json"]);
        // The first kills precede the creation of the collection.
        let stored =
            if status.code == 0 { status.json()["documents"]["completed"].as_u64() } else { None };
        halfway +=
            usize::from(stored.is_some_and(|stored| 0 < stored && stored < DOCUMENTS as u64));
    }
    println!("{halfway} of 12 kills left some of the documents stored");
    place.run();
    place.index().assert_equal_to(&expected);
    let again = place.run();
    assert_eq!(again["documents"]["stored"], 0, "{again:#}");
}

#[test]
fn a_run_that_is_asked_to_stop_stores_what_is_in_flight() {
    // The delay between the opening of the vectors and the first documents varies, so the signal is
    // sent later in each attempt until it hits the middle of a run.
    for wait in (1..=20).map(|steps| Duration::from_millis(150 * steps)) {
        // With short queues the source is active for most of the run.
        let place = TestProject::with("model: 'stand-in:16'", "edge_bytes: 16384");
        fill(&place);
        let child = place.start(&["run", "pipeline.yaml", "--json"]);
        while !place.path().join(".semantik/vectors").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(wait);
        let pid = child.id().to_string();
        std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let ran = crate::support::ran(child.wait_with_output().unwrap());
        // The run may have finished already, or not yet have installed its signal handler.
        assert!(matches!(ran.code, 0 | 143 | -1), "exit code {}: {}", ran.code, ran.stderr);
        if ran.code == 0 || ran.stdout.is_empty() {
            continue;
        }
        let report = ran.json();
        assert_eq!(report["stopped"], true);
        let count = |key: &str| report["documents"][key].as_u64().unwrap();
        assert_eq!(count("seen"), count("stored") + count("duplicate") + count("unchanged"));
        let stored = place.index().documents.len() as u64;
        assert_eq!(stored, count("stored"), "the report counts the stored documents");
        place.run();
        assert_eq!(place.index().documents.len(), DOCUMENTS);
        return;
    }
    panic!("no signal hit the middle of a run");
}
