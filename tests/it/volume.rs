//! A data folder on a small volume: behaviour of runs, searches and other commands when the volume
//! is full.
//!
//! The volume is a tmpfs in a separate mount namespace, which needs root or unprivileged user
//! namespaces.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{CommandOutput, TestProject, command, ran};

/// A tmpfs that exists as long as the value.
pub(crate) struct Volume {
    /// The process that keeps the namespace; it exits when its standard input closes.
    holder: Child,
    path: PathBuf,
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Volume {
    pub(crate) fn mount(path: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mut unshare = Command::new("unshare");
        if !is_root() {
            unshare.arg("--map-root-user");
        }
        let mount = format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo ready && exec cat");
        let mut holder = unshare
            .args(["--mount", "--propagation", "private", "sh", "-c", &mount])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "cannot mount a tmpfs in a namespace");
        Self { holder, path: path.to_owned() }
    }

    /// A command in the namespace of the volume.
    fn inside(&self, program: &std::ffi::OsStr, folder: &Path) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !is_root() {
            enter.args(["--user", "--preserve-credentials"]);
        }
        enter.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder).arg(program);
        enter
    }

    fn semantik(&self, place: &TestProject, args: &[&str]) -> CommandOutput {
        ran(self.command(place.path(), args).output().unwrap())
    }

    /// The command in a folder, in the namespace of the volume.
    pub(crate) fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let plain = command(args);
        let mut enter = self.inside(plain.get_program(), folder);
        enter.args(plain.get_args());
        for (variable, value) in plain.get_envs() {
            match value {
                Some(value) => enter.env(variable, value),
                None => enter.env_remove(variable),
            };
        }
        enter
    }

    pub(crate) fn shell(&self, script: &str) {
        let mut sh = self.inside("sh".as_ref(), &self.path);
        assert!(sh.args(["-c", script]).status().unwrap().success(), "{script}");
    }

    /// Fills the volume to the last byte.
    fn fill(&self) {
        self.shell("for size in 1M 4k 1; do dd if=/dev/zero of=filler.$size bs=$size 2>/dev/null; done; true");
    }

    fn make_room(&self) {
        self.shell("rm filler.*");
    }

    fn remount(&self, option: &str) {
        let mut mount = self.inside("mount".as_ref(), Path::new("/"));
        let options = format!("remount,{option}");
        assert!(mount.args(["-o", &options]).arg(&self.path).status().unwrap().success());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

/// A place with vectors and cache on a separate volume, and the database elsewhere.
fn on_volume(mib: u32) -> (TestProject, Volume) {
    let place = TestProject::with_stand_in();
    let stores = "stores: { vectors: embedded, data: ./data }";
    place.write_pipeline("model: 'stand-in:16'", stores, "size: 64, overlap: 8");
    let volume = Volume::mount(&place.path().join("data"), mib);
    (place, volume)
}

fn write(place: &TestProject, documents: usize, words: usize) {
    for number in 0..documents {
        let words = (0..words).map(|at| format!("w{}", (number * 7919 + at * 104_729) % 9_973));
        let text = format!("document {number} {}", words.collect::<Vec<_>>().join(" "));
        place.write(&format!("{number}.txt"), text);
    }
}

fn search(volume: &Volume, place: &TestProject) -> Value {
    let args = ["search", "pipeline.yaml", "--k", "50", "--json", "w17 w23"];
    let found = volume.semantik(place, &args);
    assert_eq!(found.code, 0, "{}", found.stderr);
    found.json()
}

#[test]
fn what_only_reads_needs_no_room() {
    let (place, volume) = on_volume(160);
    write(&place, 60, 120);
    let first = volume.semantik(&place, &["run", "pipeline.yaml", "--json"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let found = search(&volume, &place);

    volume.fill();
    assert_eq!(search(&volume, &place), found);
    for args in [
        &["verify", "pipeline.yaml"][..],
        &["status", "pipeline.yaml"],
        &["plan", "pipeline.yaml"],
        &["why", "pipeline.yaml", "corpus/1.txt"],
        &["documents", "list", "pipeline.yaml"],
        // A run without changes writes nothing.
        &["run", "pipeline.yaml"],
    ] {
        let done = volume.semantik(&place, args);
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    }
    assert_eq!(search(&volume, &place), found);

    // Commands that must write fail with the cause and lose no data.
    place.write("new.txt", "a new document about w17 and nothing else");
    for args in [&["run", "pipeline.yaml"][..], &["reindex", "pipeline.yaml"]] {
        let refused = volume.semantik(&place, args);
        assert_eq!(refused.code, 1, "{args:?}: {}", refused.stderr);
        for said in ["MiB free", "data", "stores.data"] {
            assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
        }
    }
    assert_eq!(search(&volume, &place), found);

    volume.make_room();
    for args in [&["run", "pipeline.yaml"][..], &["verify", "pipeline.yaml"]] {
        let done = volume.semantik(&place, args);
        assert_eq!(done.code, 0, "{args:?}: {}{}", done.stdout, done.stderr);
    }
}

#[test]
fn a_run_stops_before_the_volume_is_full() {
    let (place, volume) = on_volume(72);
    write(&place, 900, 150);
    let mut codes = Vec::new();
    for _ in 0..3 {
        let stopped = volume.semantik(&place, &["run", "pipeline.yaml"]);
        assert!(stopped.stderr.contains("MiB free"), "{}: {}", stopped.code, stopped.stderr);
        codes.push(stopped.code);
        search(&volume, &place);
    }
    assert_eq!(codes, [1, 1, 1]);

    volume.remount("size=600m");
    let done = volume.semantik(&place, &["run", "pipeline.yaml", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let documents = &done.json()["documents"];
    assert_eq!(documents["seen"], 900, "{documents}");
    let verified = volume.semantik(&place, &["verify", "pipeline.yaml", "--json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    assert_eq!(verified.json()["documents"], 900);
}

/// Qdrant Edge maps most files for writing, so they are copied if the volume is read-only.
#[test]
fn vectors_on_a_read_only_volume_can_be_searched() {
    let (place, volume) = on_volume(300);
    // With an HNSW graph, and a segment that accepts new points.
    place.edit_pipeline("window: 64", "window: 64, indexing_threshold: 2");
    for documents in [80, 84] {
        write(&place, documents, 90);
        let stored = volume.semantik(&place, &["run", "pipeline.yaml"]);
        assert_eq!(stored.code, 0, "{}", stored.stderr);
    }
    let found = search(&volume, &place);
    // As after a process was killed during a write: opening would first repair that.
    volume.shell("for shard in vectors/*; do touch $shard/unsealed; done");
    volume.remount("ro");
    assert_eq!(search(&volume, &place), found);
    for args in [
        &["verify", "pipeline.yaml"][..],
        &["status", "pipeline.yaml"],
        &["plan", "pipeline.yaml"],
        &["documents", "list", "pipeline.yaml"],
        &["run", "pipeline.yaml"],
    ] {
        let done = volume.semantik(&place, args);
        assert_eq!(done.code, 0, "{args:?}: {}{}", done.stdout, done.stderr);
    }
    place.write("new.txt", "a new document about w17 and nothing else");
    let refused = volume.semantik(&place, &["run", "pipeline.yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    assert_eq!(search(&volume, &place), found);
    volume.remount("rw");
    for args in [&["run", "pipeline.yaml"][..], &["verify", "pipeline.yaml"]] {
        let done = volume.semantik(&place, args);
        assert_eq!(done.code, 0, "{args:?}: {}{}", done.stdout, done.stderr);
    }
}
