//! Data of an earlier version: the current one migrates its database and uses its documents,
//! vectors and queued operations as they are. `tests/data/upgrade/README.md` describes the data.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{CommandOutput, ROOT, TestProject, load, ran, text};
use crate::volume::Volume;
use crate::worker::Worker;

/// Locations are absolute, so the files are where they were made, on a volume that only this test
/// sees.
const FOLDER: &str = "/mnt/semantik";
const MOUNT: &str = "/mnt";

/// The files and the database of the earlier version.
struct OldProject {
    volume: Volume,
    /// Only its database is used.
    place: TestProject,
}

impl OldProject {
    fn open() -> Self {
        let place = TestProject::with_empty_database();
        for folder in [ROOT, env!("CARGO_TARGET_TMPDIR")] {
            let folder = Path::new(folder).canonicalize().unwrap();
            let is_hidden = folder.starts_with(MOUNT);
            assert!(!is_hidden, "the test hides {} by a volume on {MOUNT}", folder.display());
        }
        load(place.url(), &data("database.sql"));
        // The first run purges documents that were deleted more than 30 days ago.
        place.execute("UPDATE documents SET deleted_at = now() WHERE deleted_at IS NOT NULL");
        // The worker is dead, but a clock that is behind the files counts it as alive.
        place.execute("DELETE FROM executors");
        let volume = Volume::mount(Path::new(MOUNT), 256);
        let files = data("project.tar.gz");
        volume.shell(&format!(
            "mkdir semantik && tar -xzf '{}' -C semantik &&
             sed -i \"s|postgres: embedded|postgres: '{}'|\" semantik/pipeline.yaml",
            files.display(),
            place.url()
        ));
        Self { volume, place }
    }

    fn semantik(&self, args: &[&str]) -> CommandOutput {
        ran(self.volume.command(Path::new(FOLDER), args).output().unwrap())
    }

    /// Runs a verb that must succeed, possibly with failed documents.
    fn run_ok(&self, args: &[&str]) -> CommandOutput {
        let ran = self.semantik(args);
        assert!(matches!(ran.code, 0 | 2), "{args:?}: {}", ran.stderr);
        ran
    }

    fn start_worker(&self) -> Worker {
        let mut worker = self.volume.command(Path::new(FOLDER), &["worker", "pipeline.yaml"]);
        let child = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Worker { child }
    }

    /// File names of the documents that a search finds, best first.
    fn search(&self, words: &str) -> Vec<String> {
        let args = ["search", "pipeline.yaml", "--k", "9", "--json", words];
        let hits = self.run_ok(&args).json();
        let hits = hits.as_array().unwrap().iter();
        hits.map(|hit| text(&hit["uri"]).replace("file:///mnt/semantik/corpus/", "")).collect()
    }

    /// File names and states of the documents, sorted.
    fn documents(&self) -> Vec<(String, String)> {
        let list = self.run_ok(&["documents", "list", "pipeline.yaml", "--json"]);
        let list = list.json();
        let list = list.as_array().unwrap().iter();
        let mut documents: Vec<_> = list
            .map(|it| (text(&it["path"]).replace("/mnt/semantik/corpus/", ""), text(&it["status"])))
            .collect();
        documents.sort();
        documents
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(ROOT).join("tests/data/upgrade").join(name)
}

#[test]
fn data_of_an_earlier_version_is_migrated_and_used() {
    let old = OldProject::open();
    let status = old.semantik(&["status", "pipeline.yaml"]);
    assert!(status.stderr.contains("the database is older"), "{}", status.stderr);
    old.run_ok(&["migrate", "up", "pipeline.yaml"]);
    let states = |queued: &str| {
        let states = [
            ("bread.md", "completed"),
            ("broken.docx", "failed"),
            ("copy.txt", "completed"),
            ("deleted.txt", "deleted"),
            ("hafen.html", "completed"),
            ("queued.txt", queued),
            ("removed.txt", "deleted"),
        ];
        states.map(|(name, state)| (name.to_owned(), state.to_owned())).to_vec()
    };
    assert_eq!(old.documents(), states("completed"));
    let found = old.search("elastic dough");
    assert_eq!((found.len(), found[0].as_str()), (4, "bread.md"), "{found:?}");

    // A worker executes the operations that the earlier version has queued: the deletion of a
    // document, and a run.
    let mut worker = old.start_worker();
    old.place.wait_until(
        "SELECT NOT EXISTS (SELECT FROM operations WHERE status IN ('pending', 'processing'))",
    );
    assert_eq!(worker.end("-TERM"), 143);
    let operations = old.place.sql(
        "SELECT concat(type, ' ', status, ': ' || error_message) AS is, meta->'report' AS report FROM operations ORDER BY created_at",
    );
    let kinds: Vec<String> = operations.iter().map(|it| text(&it["is"])).collect();
    assert_eq!(
        kinds,
        [
            "index completed",
            "append completed",
            "delete completed",
            "delete completed",
            "reindex completed"
        ]
    );
    assert_eq!(old.documents(), states("deleted"));
    // Chunks have a context and sparse vectors have fields now, so the run built a generation.
    let report = &operations[4]["report"];
    let count = |name: &str| report["documents"][name].as_u64().unwrap();
    assert_eq!(count("seen"), 7, "{report:#}");
    assert!(count("stored") > 0 && report["tokens"].as_u64() > Some(0), "{report:#}");

    // The collection can be changed.
    old.volume.shell("echo 'A new document about the station.' > semantik/corpus/new.txt");
    let report = old.run_ok(&["run", "pipeline.yaml", "--json"]).json();
    assert_eq!(report["documents"]["stored"], 1, "{report:#}");
    assert_eq!(old.search("station")[0], "new.txt");
    assert_eq!(old.semantik(&["verify", "pipeline.yaml"]).code, 0);
}
