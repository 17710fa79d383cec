//! Reindexing without downtime (L4): the live generation serves searches while a new generation is
//! built, checked and swapped in, also after failures; a rollback makes the previous generation
//! live again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{TestProject, ran, text, told};

const DOCUMENTS: usize = 40;

/// A place with documents in a generation of 16 dimensions.
fn filled() -> TestProject {
    let place = TestProject::with_stand_in();
    for n in 0..DOCUMENTS {
        place.write(
            &format!("{n:03}.txt"),
            format!("document number {n} is about subject {n}. ").repeat(9),
        );
    }
    place.run();
    place
}

fn generations(place: &TestProject) -> Vec<String> {
    let rows = place.sql(
        "SELECT number || ' ' || status || ' ' || embedding_model AS is FROM generations ORDER BY number",
    );
    rows.iter().map(|row| text(&row["is"])).collect()
}

/// Builds a generation and expects it to become live.
fn reindex(place: &TestProject, verb: &str) -> crate::support::CommandOutput {
    let ran = place.semantik(&[verb, "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("is now live and replaces generation"), "{}", ran.stderr);
    ran
}

/// Condition: some documents are stored in the generation under construction.
const COMPLETED: &str = "(SELECT count(*) > 5 FROM building.documents WHERE status = 'completed')";

/// Kills a run that has built a part of a generation.
fn kill_while_building(place: &TestProject) {
    let _gate = place.gate("building.documents", COMPLETED);
    let mut child = place.start(&["run", "pipeline.yaml", "--json"]);
    place.wait_at_gate();
    child.kill().unwrap();
    child.wait().unwrap();
}

fn first_hit(place: &TestProject) -> String {
    let hits = place.search("document number 7 is about subject 7", 3);
    assert!(!hits.is_empty());
    text(&hits[0]["uri"]).rsplit('/').next().unwrap().to_owned()
}

#[test]
fn shorter_vectors_are_a_generation_of_their_own() {
    let place = filled();
    place.edit_pipeline("model: 'stand-in:16'", "model: 'stand-in:16', dim: 12");
    // Queries use the dimension of the live generation, not that of the edited file.
    assert_eq!(first_hit(&place), "007.txt");
    reindex(&place, "run");
    let dims = place.sql("SELECT dim FROM generations ORDER BY number");
    assert_eq!(
        dims.iter().map(|row| row["dim"].as_u64()).collect::<Vec<_>>(),
        [Some(16), Some(12)]
    );
    place.assert_matches_fresh_index();
    assert!(!place.search("document number 7 is about subject 7", 3).is_empty());
    let rolled = place.semantik(&["rollback", "pipeline.yaml"]);
    assert_eq!(rolled.code, 0, "{}", rolled.stderr);
    assert_eq!(first_hit(&place), "007.txt");
}

#[test]
fn another_model_takes_the_place_of_the_first_while_clients_search() {
    let place = filled();
    assert_eq!(first_hit(&place), "007.txt");
    let before = place.ids();
    let is_over = AtomicBool::new(false);
    let asked = std::thread::scope(|threads| {
        let clients = [0, 1].map(|_| {
            threads.spawn(|| {
                let mut asked = 0;
                // At least one query after the swap.
                loop {
                    let last = is_over.load(Ordering::SeqCst);
                    assert_eq!(first_hit(&place), "007.txt");
                    asked += 1;
                    if last {
                        return asked;
                    }
                }
            })
        });
        place.edit_pipeline("stand-in:16", "stand-in:24");
        let ran = ran(place.start(&["run", "pipeline.yaml", "--json"]).wait_with_output().unwrap());
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.json()["documents"]["stored"], DOCUMENTS);
        assert!(
            ran.stderr.contains(
                "generation 2 (stand-in:24) is now live and replaces generation 1 (stand-in:16)"
            ),
            "{}",
            ran.stderr
        );
        clients.map(|client| client.join().unwrap())
    });
    println!("{asked:?} queries were answered during the reindex");
    assert_eq!(generations(&place), ["1 retired stand-in:16", "2 live stand-in:24"]);
    assert_eq!(place.ids(), before, "documents keep their ids");
    place.assert_matches_fresh_index();

    // A rollback, and the next run does not undo it.
    let ran = place.semantik(&["rollback", "pipeline.yaml"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "generation 1 (stand-in:16) is live again; generation 2 (stand-in:24) is kept\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(first_hit(&place), "007.txt");
    assert_eq!(generations(&place), ["1 live stand-in:16", "2 retired stand-in:24"]);
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("was rolled back from generation 2"), "{}", ran.stderr);
    // With the original file, runs update the old generation.
    place.edit_pipeline("stand-in:24", "stand-in:16");
    place.write("new.txt", "a document that came after the rollback");
    assert!(
        place.run_and_summarize().starts_with("read 1, stored 1, unchanged 40"),
        "{:?}",
        generations(&place)
    );
    place.assert_matches_fresh_index();
    // An edit of the file builds the new generation again.
    place.edit_pipeline("stand-in:16", "stand-in:24");
    reindex(&place, "reindex");
    assert_eq!(generations(&place), ["1 retired stand-in:16", "3 live stand-in:24"]);
    assert_eq!(place.vector_folders().len(), 2);
    place.assert_matches_fresh_index();
}

#[test]
fn what_changes_while_a_generation_is_built_is_in_it() {
    let place = filled();
    place.edit_pipeline("stand-in:16", "stand-in:24");
    let gate = place.gate("building.documents", COMPLETED);
    let child = place.start(&["run", "pipeline.yaml", "--json"]);
    place.wait_at_gate();
    place.write("000.txt", "this was edited while the generation was built");
    place.write("new.txt", "this came while the generation was built");
    std::fs::remove_file(place.corpus().join("001.txt")).unwrap();
    std::fs::rename(place.corpus().join("002.txt"), place.corpus().join("renamed.txt")).unwrap();
    drop(gate);
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(generations(&place), ["1 retired stand-in:16", "2 live stand-in:24"]);
    place.assert_matches_fresh_index();
    assert_eq!(place.run_and_summarize(), "unchanged 40", "the next run must have no work");
}

#[test]
fn what_is_deleted_after_it_was_built_is_not_in_it() {
    let place = filled();
    place.edit_pipeline("stand-in:16", "stand-in:24");
    // All documents are in the new generation; then one is deleted before the second pass.
    let gate = place.gate(
        "building.documents",
        "NOT EXISTS (SELECT FROM building.documents WHERE status = 'pending')",
    );
    let child = place.start(&["run", "pipeline.yaml", "--json"]);
    place.wait_at_gate();
    std::fs::remove_file(place.corpus().join("000.txt")).unwrap();
    drop(gate);
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place.assert_matches_fresh_index();
}

#[test]
fn a_killed_reindex_leaves_the_old_one_and_is_gone_on_with() {
    let place = filled();
    place.edit_pipeline("stand-in:16", "stand-in:24");
    place.edit_pipeline("window: 64", "window: 4");
    kill_while_building(&place);
    assert_eq!(generations(&place), ["1 live stand-in:16", "2 building stand-in:24"]);
    assert_eq!(first_hit(&place), "007.txt", "the old generation must answer");
    let built = place.value("SELECT count(*) FROM building.documents WHERE status = 'completed'");
    let report = reindex(&place, "run").json();
    let stored = report["documents"]["stored"].as_u64().unwrap();
    let built: u64 = built.parse().unwrap();
    assert!(stored <= DOCUMENTS as u64 - built, "{built} documents were already built: {report:#}");
    assert_eq!(generations(&place), ["1 retired stand-in:16", "2 live stand-in:24"]);
    place.assert_matches_fresh_index();

    // A generation built for a file that was changed back is dropped.
    place.edit_pipeline("stand-in:24", "stand-in:8");
    kill_while_building(&place);
    place.edit_pipeline("stand-in:8", "stand-in:24");
    assert_eq!(place.run_and_summarize(), "unchanged 40");
    assert_eq!(generations(&place), ["1 retired stand-in:16", "2 live stand-in:24"]);
    place.assert_matches_fresh_index();
}

#[test]
fn other_chunks_by_a_reindex_and_the_number_of_generations_that_are_kept() {
    let place = filled();
    place.edit_pipeline("size: 64, overlap: 8", "size: 24, overlap: 0");
    reindex(&place, "reindex");
    place.assert_matches_fresh_index();
    assert_eq!(generations(&place).len(), 2);
    reindex(&place, "reindex");
    assert_eq!(
        generations(&place),
        ["2 retired stand-in:16", "3 live stand-in:16"],
        "one retired generation must be kept"
    );
    assert_eq!(place.vector_folders().len(), 2);

    place.edit_pipeline(
        "collection: test",
        "collection: test\nlifecycle: { retain_generations: 0 }",
    );
    reindex(&place, "reindex");
    assert_eq!(generations(&place), ["4 live stand-in:16"]);
    assert_eq!(place.vector_folders().len(), 1);
    for table in ["documents", "document_locations"] {
        assert_eq!(place.value(&format!("SELECT count(*) FROM retired.{table}")), "0", "{table}");
    }
    place.assert_matches_fresh_index();
    let ran = place.semantik(&["rollback", "pipeline.yaml"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("collection `test` has no generation to roll back to"),
        "{}",
        ran.stderr
    );
    place.index().assert_consistent();
    assert_eq!(place.run_and_summarize(), "unchanged 40");
}

#[test]
fn a_generation_that_does_not_answer_is_not_put_in_place() {
    let place = filled();
    let golden = |expect: &str| {
        format!(
            "collection: test\nlifecycle: {{ golden: [{{ query: 'number 7 subject 7', expect: '{expect}', k: 1 }}] }}"
        )
    };
    let wrong = golden("/008.txt");
    place.edit_pipeline("collection: test", &wrong);
    place.edit_pipeline("stand-in:16", "stand-in:24");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains(
            "the new generation was not made live, and the live one stays in use: \
             query `number 7 subject 7` does not find /008.txt among its first 1 hits"
        ),
        "{}",
        ran.stderr
    );
    assert_eq!(generations(&place), ["1 live stand-in:16", "2 building stand-in:24"]);
    assert_eq!(first_hit(&place), "007.txt");
    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_eq!((&status["status"], &status["model"]), (&"degraded".into(), &"stand-in:16".into()));
    // With the correct query the check passes, and the generation is not built again.
    place.edit_pipeline(&wrong, &golden("/007.txt"));
    let report = reindex(&place, "run").json();
    assert_eq!(told(&report), "unchanged 40", "{report:#}");
    place.assert_matches_fresh_index();
}

#[test]
fn a_generation_that_answers_worse_than_asked_for_is_not_put_in_place() {
    let place = filled();
    let judged = |relevant: &str| {
        let line = format!(
            "{{\"query\": \"document number 7 is about subject 7\", \"relevant\": {{\"{relevant}\": 1}}}}\n"
        );
        std::fs::write(place.path().join("judged.jsonl"), line).unwrap();
    };
    judged("nowhere.txt");
    place.edit_pipeline(
        "collection: test",
        "collection: test\nlifecycle: { judgements: judged.jsonl, min: { 'ndcg@10': 0.5 } }",
    );
    place.edit_pipeline("stand-in:16", "stand-in:24");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1);
    let wanted = "the live one stays in use: nDCG@10 is 0.000, below the required 0.5";
    assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
    assert_eq!(generations(&place), ["1 live stand-in:16", "2 building stand-in:24"]);
    judged("corpus/007.txt");
    reindex(&place, "run");
    place.assert_matches_fresh_index();
}

#[test]
fn a_generation_that_would_lose_documents_is_not_put_in_place() {
    let place = filled();
    for n in 0..5 {
        place.write(&format!("{n}.md"), format!("# Markdown {n}"));
    }
    place.run();
    let before = place.ids();
    // No branch accepts text files, which are most of the files.
    place.edit_pipeline(
        "uses: chunk,   from: extract",
        "uses: chunk,   from: extract, when: { mime_type: 'text/markdown' }",
    );
    place.edit_pipeline("stand-in:16", "stand-in:24");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1);
    let wanted = "40 of 45 documents of the live generation are missing in it";
    assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
    assert_eq!(place.ids(), before);
    assert_eq!(first_hit(&place), "007.txt");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json", "--allow-deletes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.search("document number 7", 100).len(), 5);
    place.assert_matches_fresh_index();
}

/// A document rejected before extraction has no content in the new generation, so it counts as
/// lost.
#[test]
fn documents_that_become_too_large_are_lost_too() {
    let place = filled();
    place.edit_pipeline("max_size: 8MB", "max_size: 100B");
    place.edit_pipeline("stand-in:16", "stand-in:24");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(first_hit(&place), "007.txt");
}
