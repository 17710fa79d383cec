//! SIGKILL in the middle of `run`, and run again: the stores are as after an undisturbed run. SIGTERM: what is
//! in flight is stored.

use std::time::Duration;

use crate::support::Place;

const DOCUMENTS: usize = 400;

fn fill(place: &Place) {
    for n in 0..DOCUMENTS {
        let sentence = format!("Document {n} tells of subject {} and of number {}. ", n % 17, n * n);
        // Some are long, some are alike.
        place.write(&format!("{:02}/{n}.txt", n % 10), sentence.repeat(1 + n % 40));
        if n % 50 == 0 {
            place.write(&format!("copies/{n}.txt"), sentence.repeat(1 + n % 40));
        }
    }
}

#[test]
fn a_killed_run_is_made_good_by_the_next() {
    let undisturbed = Place::with_stand_in();
    fill(&undisturbed);
    undisturbed.run();
    let expected = undisturbed.index();
    assert_eq!(expected.documents.len(), DOCUMENTS);

    let place = Place::with_stand_in();
    fill(&place);
    let mut killed = 0;
    // Later and later, so that kills fall into the start, the middle and the end of a run.
    for attempt in 0..12u64 {
        let mut child = place.start(&["run", "pipeline.yaml", "--json"]);
        std::thread::sleep(Duration::from_millis(300 + 150 * attempt));
        if child.try_wait().unwrap().is_none() {
            killed += 1;
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no run was still going on when it was to be killed");
    place.run();
    let index = place.index();
    index.assert_same_as(&expected);
    assert_eq!(index.unfinished_operations, 0);
    let again = place.run();
    assert_eq!(again["documents"]["stored"], 0, "{again:#}");
}

#[test]
fn a_run_that_is_asked_to_stop_stores_what_is_in_flight() {
    let place = Place::with_stand_in();
    fill(&place);
    let child = place.start(&["run", "pipeline.yaml", "--json"]);
    std::thread::sleep(Duration::from_millis(1500));
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let ran = crate::support::ran(child.wait_with_output().unwrap());
    // It may have been done by then.
    assert!(matches!(ran.code, 0 | 143), "exit code {}: {}", ran.code, ran.stderr);
    let report = ran.json();
    let count = |key: &str| report["documents"][key].as_u64().unwrap();
    assert_eq!(count("seen"), count("stored") + count("duplicate") + count("unchanged"));
    let stored = place.index().documents.len() as u64;
    assert_eq!(stored, count("stored"), "what is reported is there");
    place.run();
    assert_eq!(place.index().documents.len(), DOCUMENTS);
}
