//! A folder of malformed files: valid files are indexed, and every malformed file is accounted for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::support::TestProject;

#[test]
fn bad_files_cost_only_themselves() {
    let place = TestProject::with_stand_in();
    place.write("good.txt", "a document like any other");
    place.write("empty.txt", "");
    place.write("binary.bin", (0..=255u8).cycle().step_by(7).take(4096).collect::<Vec<_>>());
    let pdf = std::fs::read(format!("{}/tests/data/report.pdf", crate::support::ROOT)).unwrap();
    place.write("truncated.pdf", &pdf[..pdf.len() / 3]);
    place.write("not really.docx", "this is no zip archive");
    place.write("locked.txt", "nobody may read this");
    let locked = place.corpus().join("locked.txt");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    let odd = place.corpus().join(OsStr::from_bytes(b"not \xff utf-8.txt"));
    std::fs::write(&odd, "a document whose name is not UTF-8").unwrap();
    symlink("..", place.corpus().join("loop")).unwrap();
    symlink("self", place.corpus().join("self")).unwrap();
    // A sparse file: 200 MB of text without disk usage.
    let huge = std::fs::File::create(place.corpus().join("huge.txt")).unwrap();
    huge.set_len(200 << 20).unwrap();

    let report = place.run();
    // Root can read every file.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let stored = if is_root { 3 } else { 2 };
    assert_eq!(report["documents"]["stored"], stored, "{report:#}");

    let reason_of = |name: &str| {
        let documents = report["set_aside"].as_array().unwrap();
        let found = documents.iter().find(|it| it["uri"].as_str().unwrap().contains(name));
        let found = found.unwrap_or_else(|| panic!("no rejection of {name}: {report:#}"));
        assert!(!found["message"].as_str().unwrap().is_empty());
        found["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason_of("empty.txt"), "empty");
    assert_eq!(reason_of("binary.bin"), "unsupported");
    assert_eq!(reason_of("truncated.pdf"), "failed");
    assert_eq!(reason_of("not%20really.docx"), "failed");
    assert_eq!(reason_of("huge.txt"), "too_large");
    if !is_root {
        assert_eq!(reason_of("locked.txt"), "failed");
    }
    let hits = place.search("a document whose name is not UTF-8", 1);
    assert!(hits[0]["uri"].as_str().unwrap().contains("not%20%FF%20utf-8.txt"), "{hits:#?}");

    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 0, "expected no new failures: {}", ran.stderr);
    let again = ran.json();
    assert_eq!(
        (&report["newly_failed"], &again["newly_failed"]),
        (&report["reasons"]["failed"], &0.into())
    );
    assert_eq!(again["documents"]["unchanged"], stored);
    assert_eq!(again["documents"]["set_aside"], report["documents"]["set_aside"]);
    assert_eq!(again["reasons"], report["reasons"]);
}

#[test]
fn a_pipeline_whose_folder_is_gone_fails_and_deletes_nothing() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "the only document");
    place.run();
    std::fs::rename(place.corpus(), place.path().join("unmounted")).unwrap();
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("corpus"), "{}", ran.stderr);
    assert_eq!(place.search("the only document", 1).len(), 1);
    std::fs::rename(place.path().join("unmounted"), place.corpus()).unwrap();
    assert_eq!(place.run()["documents"]["unchanged"], 1);
}

#[test]
fn hostile_manual_pages_are_read_and_formats_without_a_reader_are_named() {
    let place = TestProject::with_stand_in();
    place.write("good.txt", "a document like any other");
    let mut laughs = ".TH X 1\n.ds a0 lol\n".to_owned();
    for level in 1..20 {
        laughs += &format!(".ds a{level} {}\n", format!("\\*[a{}]", level - 1).repeat(10));
    }
    place.write("laughs.1", laughs + "\\*[a19]\nthe end of the laughs\n");
    place.write(
        "deep.1",
        format!(".TH X 1\n{}the end of the conditions\n", ".if 1 ".repeat(100_000)),
    );
    place.write(
        "deeper.1",
        format!(".TH X 1\n{}the end of the blocks\n", ".if 1 \\{".repeat(100_000)),
    );
    place.write("mail.eml", "From: a\nMessage-ID: <x>\n\nYSBsb25nIGF0dGFjaG1lbnQ=\n");
    place.write(
        "inbox",
        "From a Mon Jan  1 00:00:00 2024\nMessage-ID: <x>\nFrom: a\nTo: b\n\ntext\n",
    );
    place.write("slides.key", "PK\x03\x04");
    place.write("table.csv", "tree,height\noak,30\n");

    let report = place.run();
    assert_eq!(report["documents"]["stored"], 7, "{report:#}");
    let why = |name: &str| {
        let documents = report["set_aside"].as_array().unwrap();
        let found =
            documents.iter().find(|it| it["uri"].as_str().unwrap().ends_with(name)).unwrap();
        assert_eq!(found["reason"], "unsupported");
        found["message"].as_str().unwrap().to_owned()
    };
    assert!(why("slides.key").contains("keynote"));
    for (words, name) in
        [("the end of the laughs", "laughs.1"), ("the end of the blocks", "deeper.1")]
    {
        let hits = place.search(words, 5);
        assert!(hits.iter().any(|hit| hit["uri"].as_str().unwrap().ends_with(name)), "{hits:#?}");
    }
}
