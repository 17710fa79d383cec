//! Temporary folders for reading embedded vectors: other processes keep those in use and delete the
//! rest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::{TestProject, command, ran, signal};

/// A command in a place, with this folder for temporary files.
fn with_temporary(place: &TestProject, temporary: &Path, args: &[&str]) -> Command {
    let mut command = command(args);
    command.current_dir(place.path()).env("TMPDIR", temporary);
    command
}

fn folders(temporary: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| path.to_str().unwrap().contains("/semantik-scratch-");
    entries.filter(is_ours).collect()
}

#[test]
fn a_folder_lives_as_long_as_its_process_whatever_the_clock_says() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document about something");
    place.run();
    let temporary = tempfile::tempdir().unwrap();
    let search = || {
        let args = ["search", "pipeline.yaml", "something"];
        let found = ran(with_temporary(&place, temporary.path(), &args).output().unwrap());
        assert_eq!(found.code, 0, "{}", found.stderr);
    };
    search();
    assert_eq!(folders(temporary.path()), Vec::<PathBuf>::new(), "a reader must delete its folder");

    // The command has read the points, and waits for the metadata.
    let mut gate = place.session();
    gate.execute("LOCK TABLE document_writes IN ACCESS EXCLUSIVE MODE");
    let verify = with_temporary(&place, temporary.path(), &["verify", "pipeline.yaml"]).spawn();
    let mut verify = verify.unwrap();
    place.wait_until("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    let open = folders(temporary.path());
    assert_eq!(open.len(), 1, "{open:?}");

    let (now, hours) = (SystemTime::now(), Duration::from_secs(12 * 3600));
    for time in [now - hours, now + hours] {
        for folder in [open[0].clone(), open[0].join("wal"), open[0].join("segments")] {
            std::fs::File::open(folder).unwrap().set_modified(time).unwrap();
        }
        search();
        assert_eq!(folders(temporary.path()), open, "{time:?}");
    }
    signal(&verify, "-KILL");
    verify.wait().unwrap();
    assert_eq!(folders(temporary.path()), open, "the folder must survive its killed process");
    search();
    assert_eq!(folders(temporary.path()), Vec::<PathBuf>::new());
}
