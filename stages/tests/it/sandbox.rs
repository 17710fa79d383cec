//! The sandbox of the extract worker: it can only extract documents, and ends with its parent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use pipeline::Resources;
use serde_json::{Value, json};

use crate::extract::{pdf, texts};
use crate::support::{empty_resources, files, run, stage};

const WORKER: &str = env!("CARGO_BIN_EXE_semantik-extract-worker");

#[test]
fn it_can_do_nothing_but_compute() {
    // The worker inherits a descriptor of a file that it must not read.
    let probe = Command::new("sh")
        .args([
            "-c",
            &format!(
                "exec 9</etc/passwd; exec '{WORKER}' extract-worker --max-memory=100000000 --probe"
            ),
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(probe.status.success(), "{probe:?}");
    let said: Value = serde_json::from_slice(&probe.stdout).unwrap();
    let attempts = said["attempts"].as_object().unwrap();
    assert_eq!(attempts.len(), 16);
    for (what, denied) in attempts {
        assert!(denied.is_string(), "the worker can {what}: {said:#}");
    }
    assert_eq!(said["inherited_descriptors"], 0);
    assert_eq!(said["environment"], 0);
    assert_eq!(said["can_be_dumped"], false);
    let limits = &said["hard_limits"];
    for (what, limit) in [("core", 0), ("file_size", 0), ("open_files", 3), ("processes", 0)] {
        assert_eq!(limits[what], limit, "{what}");
    }
    assert!(limits["address_space"].is_u64() && limits["processor_seconds"].is_u64(), "{limits}");
}

#[test]
fn its_environment_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (path, seen) = (folder.path().join("worker"), folder.path().join("environment"));
    let script =
        format!("#!/bin/sh\ncat /proc/$$/environ >'{}'\nexec '{WORKER}' \"$@\"\n", seen.display());
    fs_err::write(&path, script).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(std::env::vars_os().count() > 0, "the environment of the test is not empty");
    let with = Resources { worker_program: Some(path), ..empty_resources() };
    let rows = files(&[("a.txt", "text/plain", b"text")]);
    assert_eq!(texts(&run(&*stage("extract", json!({})), &with, rows)), ["text"]);
    assert_eq!(fs_err::read_to_string(seen).unwrap(), "");
}

#[test]
fn it_ends_with_its_parent_whatever_it_is_doing() {
    let mut worker = Command::new(WORKER)
        .arg("extract-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(worker.stdout.take().unwrap());
    let mut ready = String::new();
    output.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready"), "{ready}");
    // A document with a long extraction time.
    let lines: Vec<String> =
        (0..200_000).map(|line| format!("line {line} of a long page")).collect();
    let document = pdf(&[&lines.iter().map(String::as_str).collect::<Vec<_>>()]);
    let mut head = vec![0x92, 0xaf];
    head.extend_from_slice(b"application/pdf");
    head.extend_from_slice(b"\xa3pdf");
    let mut input = worker.stdin.take().unwrap();
    input.write_all(&u32::try_from(head.len()).unwrap().to_le_bytes()).unwrap();
    input.write_all(&(document.len() as u64).to_le_bytes()).unwrap();
    input.write_all(&head).unwrap();
    input.write_all(&document).unwrap();
    drop(input);
    assert!(worker.wait().unwrap().success());
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "the worker completed the document");
}
