//! Random sequences of file changes and runs, some of them killed: after each completed run the
//! index has the content of the folder, and at the end it equals a fresh index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sha2::{Digest as _, Sha256};

use crate::kills::{KillOutcome, kill_after};
use crate::support::TestProject;

/// A file change or an operation.
#[derive(Clone, Debug)]
enum Step {
    /// Writes a file, possibly with the content of another. A folder with its name is removed.
    Write(u8, u8),
    Touch(u8),
    Rename(u8, u8),
    Copy(u8, u8),
    Delete(u8),
    /// Restores a deleted file.
    Restore(u8),
    RenameFolder(u8, u8),
    /// Replaces a file by a folder that contains a file.
    Replace(u8, u8),
    Run,
    Reindex,
    Killed(u8),
    KilledReindex(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let pair = || (0_u8..9, 0_u8..9);
    prop_oneof![
        5 => (0_u8..9, 0_u8..7).prop_map(|(file, content)| Step::Write(file, content)),
        1 => (0_u8..9).prop_map(Step::Touch),
        2 => pair().prop_map(|(from, to)| Step::Rename(from, to)),
        2 => pair().prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (0_u8..9).prop_map(Step::Delete),
        1 => (0_u8..9).prop_map(Step::Restore),
        1 => (0_u8..3, 0_u8..4).prop_map(|(from, to)| Step::RenameFolder(from, to)),
        1 => (0_u8..9, 0_u8..7).prop_map(|(file, content)| Step::Replace(file, content)),
        3 => Just(Step::Run),
        1 => Just(Step::Reindex),
        3 => any::<u8>().prop_map(Step::Killed),
        1 => any::<u8>().prop_map(Step::KilledReindex),
    ]
}

/// The expected folder: path → content.
type Files = BTreeMap<String, String>;

struct ModelWorld {
    place: TestProject,
    files: Files,
    deleted: Files,
}

/// Files are in three folders, and at the top.
fn name(file: u8) -> String {
    if file < 2 { format!("{file}.txt") } else { format!("folder{}/{file}.txt", file % 3) }
}

/// One is empty, one is binary, the others have a few chunks.
fn content(number: u8) -> String {
    match number {
        0 => String::new(),
        1 => "\u{0}\u{1}\u{2}".repeat(100),
        _ => {
            format!("content {number} tells of subject {number}. ").repeat(usize::from(number) * 9)
        }
    }
}

impl ModelWorld {
    fn path(&self, name: &str) -> PathBuf {
        self.place.corpus().join(name)
    }

    /// Writes a file, and removes files and folders in its way.
    fn write(&mut self, name: String, content: String) {
        let below = format!("{name}/");
        if self.path(&name).is_dir() {
            std::fs::remove_dir_all(self.path(&name)).unwrap();
            self.files.retain(|other, _| !other.starts_with(&below));
        }
        let above: Vec<String> = self
            .files
            .keys()
            .filter(|other| name.starts_with(&format!("{other}/")))
            .cloned()
            .collect();
        for other in above {
            std::fs::remove_file(self.path(&other)).unwrap();
            self.files.remove(&other);
        }
        self.place.write(&name, &content);
        self.files.insert(name, content);
    }

    fn remove(&mut self, name: &str) -> Option<String> {
        let content = self.files.remove(name)?;
        std::fs::remove_file(self.path(name)).unwrap();
        Some(content)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Write(file, number) => self.write(name(file), content(number)),
            Step::Touch(file) => {
                if self.files.contains_key(&name(file)) {
                    let file = std::fs::File::options().append(true).open(self.path(&name(file)));
                    file.unwrap().set_modified(std::time::SystemTime::now()).unwrap();
                }
            }
            Step::Rename(from, to) => {
                let (from, to) = (name(from), name(to));
                if from != to && self.files.contains_key(&from) && !self.path(&to).is_dir() {
                    std::fs::create_dir_all(self.path(&to).parent().unwrap()).unwrap();
                    std::fs::rename(self.path(&from), self.path(&to)).unwrap();
                    let content = self.files.remove(&from).unwrap();
                    self.files.insert(to, content);
                }
            }
            Step::Copy(from, to) => {
                if let Some(content) = self.files.get(&name(from)).cloned() {
                    self.write(name(to), content);
                }
            }
            Step::Delete(file) => {
                if let Some(content) = self.remove(&name(file)) {
                    self.deleted.insert(name(file), content);
                }
            }
            Step::Restore(file) => {
                if let Some(content) = self.deleted.remove(&name(file)) {
                    self.write(name(file), content);
                }
            }
            Step::RenameFolder(from, to) => {
                let (from, to) = (format!("folder{from}"), format!("folder{to}"));
                if from != to && self.path(&from).is_dir() && !self.path(&to).exists() {
                    std::fs::rename(self.path(&from), self.path(&to)).unwrap();
                    let files = std::mem::take(&mut self.files).into_iter();
                    self.files = files
                        .map(|(name, content)| match name.strip_prefix(&format!("{from}/")) {
                            Some(rest) => (format!("{to}/{rest}"), content),
                            None => (name, content),
                        })
                        .collect();
                }
            }
            Step::Replace(file, number) => {
                if self.remove(&name(file)).is_some() {
                    self.write(format!("{}/inside.txt", name(file)), content(number));
                }
            }
            Step::Run => self.run("run"),
            Step::Reindex => self.run("reindex"),
            Step::Killed(after) => self.kill("run", after),
            Step::KilledReindex(after) => self.kill("reindex", after),
        }
    }

    fn run(&self, verb: &str) {
        if self.place.value("SELECT to_regclass('operations') IS NOT NULL") == "t" {
            self.place.expire_leases();
        }
        let ran = self.place.semantik(&[verb, "pipeline.yaml", "--json"]);
        assert!(matches!(ran.code, 0 | 2), "exit code {}: {}", ran.code, ran.stderr);
        self.check();
    }

    fn kill(&self, verb: &str, after: u8) {
        if kill_after(&self.place, &[verb, "pipeline.yaml", "--json"], usize::from(after))
            == KillOutcome::Ended
        {
            self.run("run");
        }
    }

    /// Asserts that the index is sound and has the expected files and contents.
    fn check(&self) {
        let index = self.place.index();
        index.assert_consistent();
        let hash = |content: &String| -> String {
            Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let held: BTreeMap<String, Option<String>> = index
            .locations
            .iter()
            .map(|(name, (content, _))| (name.clone(), content.clone()))
            .collect();
        let wanted: BTreeMap<String, Option<String>> =
            self.files.iter().map(|(name, content)| (name.clone(), Some(hash(content)))).collect();
        assert_eq!(held, wanted);
        let contents: BTreeSet<String> = self.files.values().map(hash).collect();
        assert_eq!(index.documents.keys().cloned().collect::<BTreeSet<_>>(), contents);
        let good: BTreeSet<&str> = index
            .documents
            .iter()
            .filter(|(_, (state, _))| state == "completed")
            .map(|(content, _)| content.as_str())
            .collect();
        let texts: BTreeSet<String> = self
            .files
            .values()
            .filter(|content| content.starts_with("content"))
            .map(hash)
            .collect();
        assert_eq!(good, texts.iter().map(String::as_str).collect());
    }
}

fn sequences(cases: u32, steps: usize) {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 30, ..Config::default() };
    // A fixed seed, so that failures are reproducible.
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, seed);
    runner
        .run(&vec(step(), steps / 2..steps), |steps| {
            let place = TestProject::with_stand_in();
            place.edit_pipeline("window: 64", "window: 8");
            let mut world = ModelWorld { place, files: Files::new(), deleted: Files::new() };
            world.place.write("always.txt", content(6));
            world.files.insert("always.txt".to_owned(), content(6));
            for step in &steps {
                world.apply(step);
            }
            world.run("run");
            world.place.assert_matches_fresh_index();
            Ok(())
        })
        .unwrap();
}

#[test]
fn after_each_run_the_index_is_what_the_folder_is() {
    sequences(6, 16);
}

/// `cargo nextest run --run-ignored only model`
#[test]
#[ignore = "takes many minutes; the six sequences above run by default"]
fn after_each_run_the_index_is_what_the_folder_is_in_many_sequences() {
    sequences(100, 40);
}
