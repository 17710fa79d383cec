//! SIGKILL at any moment of any operation: the next run repairs the stores. Nothing is lost,
//! duplicated, left in one store only, or stuck.
//!
//! A run logs each SQL statement. These lines are the clock: a kill follows a number of them that
//! is drawn from a seeded generator, so it hits every step, on a busy machine too.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStderr, Stdio};

use crate::support::{TestProject, command};

/// A fixed seed, so that a failure is reproducible as far as kills are.
const SEED: u64 = 20_261_124;

/// Pseudo-random numbers (SplitMix64).
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }
}

/// The state of a command at the time of its kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillOutcome {
    Killed,
    /// It had ended already.
    Ended,
}

/// Runs the command, and kills it after this number of SQL statements.
#[expect(clippy::print_stdout, reason = "a failed test shows the times of the kills")]
pub(crate) fn kill_after(place: &TestProject, args: &[&str], statements: usize) -> KillOutcome {
    let mut child = command(&[&["--log", "sqlx::query=debug"], args].concat())
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = lines_of(child.stderr.take().unwrap());
    // If the output ends earlier, the command has ended.
    let last = lines.by_ref().take(statements).last();
    child.kill().unwrap();
    let is_killed = child.wait().unwrap().code().is_none();
    if is_killed {
        println!("killed after {statements}: {}", last.unwrap_or_default());
    }
    // Reads the rest of the output, so that the command cannot end by SIGPIPE.
    lines.for_each(drop);
    if is_killed { KillOutcome::Killed } else { KillOutcome::Ended }
}

/// The number of SQL statements of a command.
pub(crate) fn statements(place: &TestProject, args: &[&str]) -> usize {
    let ran = place.semantik(&[&["--log", "sqlx::query=debug"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stderr.lines().filter(|line| line.contains("sqlx::query")).count()
}

fn lines_of(stderr: ChildStderr) -> impl Iterator<Item = String> {
    let lines = BufReader::new(stderr).lines().map_while(Result::ok);
    lines.filter(|line| line.contains("sqlx::query")).map(|line| summary(&line))
}

/// The statement in a line of the log.
fn summary(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    line["summary"].as_str().unwrap_or_default().to_owned()
}

const FILES: usize = 60;

fn content(n: usize, edition: usize) -> String {
    format!("document {n} in edition {edition} tells of subject {}. ", n % 7).repeat(1 + n % 20)
}

/// A place whose runs consist of many small steps. The first one creates the tables.
fn indexed_project() -> TestProject {
    let place = TestProject::with_empty_database();
    place.edit_pipeline("window: 64", "window: 16");
    place.edit_pipeline("batch_bytes: 16KB", "batch_bytes: 2KB");
    place.edit_pipeline(
        "collection: test",
        "collection: test\nlifecycle: { max_delete_ratio: 1.0 }",
    );
    for n in 0..FILES {
        place.write(&format!("{}/{n}.txt", n % 4), content(n, 0));
    }
    place
}

/// Edits, deletes, renames, copies and adds some files.
fn change_files(place: &TestProject, dice: &mut SplitMix64, round: usize) {
    for _ in 0..12 {
        let n = dice.below(FILES);
        let path = place.corpus().join(format!("{}/{n}.txt", n % 4));
        match dice.below(5) {
            0 => drop(std::fs::remove_file(path)),
            1 => drop(std::fs::rename(path, place.corpus().join(format!("renamed {n}.txt")))),
            2 => drop(std::fs::copy(path, place.corpus().join(format!("copy of {n}.txt")))),
            _ => place.write(&format!("{}/{n}.txt", n % 4), content(n, round)),
        }
    }
}

const RUN: [&str; 3] = ["run", "pipeline.yaml", "--json"];

/// Asserts that after the next run the stores equal those of a fresh run over the same folder.
fn assert_recovers(place: &TestProject) {
    place.expire_leases();
    place.run();
    place.assert_matches_fresh_index();
    let again = place.run();
    assert_eq!(
        (&again["documents"]["stored"], &again["deleted"]),
        (&0.into(), &0.into()),
        "{again:#}"
    );
}

#[test]
fn kills_during_index_and_append() {
    println!("seed {SEED}");
    let mut dice = SplitMix64(SEED);
    let place = indexed_project();
    let whole = statements(&indexed_project(), &RUN);
    let mut kills = 0;
    while kills < 10 {
        kills += usize::from(kill_after(&place, &RUN, dice.below(whole)) == KillOutcome::Killed);
    }
    assert_recovers(&place);
    let mut round = 0;
    while kills < 26 {
        round += 1;
        change_files(&place, &mut dice, round);
        // Files also change between kills.
        for _ in 0..1 + dice.below(3) {
            kills += usize::from(
                kill_after(&place, &RUN, dice.below(whole * 2 / 3)) == KillOutcome::Killed,
            );
            place.write("changes.txt", content(dice.below(30), kills));
        }
        if round % 3 == 0 {
            assert_recovers(&place);
        }
    }
    assert_recovers(&place);
}

#[test]
fn kills_during_reindex_and_swap() {
    println!("seed {SEED}");
    let mut dice = SplitMix64(SEED + 1);
    let place = indexed_project();
    place.run();
    let models = ["stand-in:16", "stand-in:24"];
    let other = indexed_project();
    other.run();
    other.edit_pipeline(models[0], models[1]);
    let whole = statements(&other, &RUN);
    // The number of statements of the swap and the end of the operation.
    let swap = 40;
    let mut kills = 0;
    let mut round = 0;
    while kills < 24 {
        place.edit_pipeline(models[round % 2], models[(round + 1) % 2]);
        round += 1;
        change_files(&place, &mut dice, round);
        // Half of the kills hit any statement, half the last ones.
        let from = [0, whole.saturating_sub(swap)][round % 2];
        for _ in 0..4 {
            let after = from + dice.below(whole - from);
            kills += usize::from(kill_after(&place, &RUN, after) == KillOutcome::Killed);
            let hits = place.search("document in edition that tells of subject 3", 5);
            assert_eq!(hits.len(), 5, "a search reads one of the two generations");
        }
        if round % 2 == 0 {
            assert_recovers(&place);
        }
    }
    assert_recovers(&place);
}

#[test]
fn kills_during_collection_deletion() {
    println!("seed {SEED}");
    let mut dice = SplitMix64(SEED + 2);
    let delete = ["collections", "delete", "pipeline.yaml", "--yes"];
    let place = indexed_project();
    place.run();
    place.semantik(&["reindex", "pipeline.yaml"]);
    let whole = statements(&place, &delete);
    let mut kills = 0;
    while kills < 12 {
        place.run();
        if kills % 2 == 0 {
            place.semantik(&["reindex", "pipeline.yaml"]);
        }
        let fate = kill_after(&place, &delete, whole / 3 + dice.below(whole - whole / 3));
        kills += usize::from(fate == KillOutcome::Killed);
        if kills % 2 == 0 {
            // A second deletion completes the first; so does a run, if the first one had begun.
            let ran = place.semantik(&delete);
            assert!(
                ran.code == 0 || ran.stderr.contains("collection `test` does not exist yet"),
                "{}",
                ran.stderr
            );
            assert_eq!(place.vector_folders(), Vec::<String>::new());
            assert_eq!(place.value("SELECT count(*) FROM collections"), "0");
        }
        if kills % 4 == 3 {
            assert_recovers(&place);
        }
    }
    assert_recovers(&place);
}
