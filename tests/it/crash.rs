//! SIGKILL during `run`: after the next run, the stores equal those of an undisturbed run. SIGTERM:
//! documents in flight are stored.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Instant;

use crate::support::{TestProject, end, signal};

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
    let place = TestProject::with_stand_in();
    // Short queues: while the sink waits at the gate, the source cannot reach its end.
    place.append_pipeline("edge_bytes: 16384\n");
    fill(&place);
    let gate = place.gate("public.document_writes", "TRUE");
    let mut child = place.start(&["run", "pipeline.yaml", "--json"]);
    place.wait_at_gate();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-TERM");
    let mut said = String::new();
    while !said.contains("finishing ") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    drop(gate);
    stderr.read_to_string(&mut said).unwrap();
    let ran = end(child);
    assert_eq!(ran.code, 143, "{said}");
    let report = ran.json();
    assert_eq!(report["stopped"], true);
    let count = |key: &str| report["documents"][key].as_u64().unwrap();
    assert_eq!(count("seen"), count("stored") + count("duplicate") + count("unchanged"));
    let stored = place.index().documents.len();
    assert_eq!(stored as u64, count("stored"), "the report counts the stored documents");
    assert!(0 < stored && stored < DOCUMENTS, "{report:#}");
    place.run();
    assert_eq!(place.index().documents.len(), DOCUMENTS);
}
