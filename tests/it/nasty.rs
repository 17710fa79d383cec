//! A folder of everything that goes wrong: the rest is indexed, and each is accounted for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::support::Place;

#[test]
fn bad_files_cost_only_themselves() {
    let place = Place::with_stand_in();
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
    // 200 MB of text that takes no room on the disk.
    let huge = std::fs::File::create(place.corpus().join("huge.txt")).unwrap();
    huge.set_len(200 << 20).unwrap();

    let report = place.run();
    // Root may read everything.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let stored = if is_root { 3 } else { 2 };
    assert_eq!(report["documents"]["stored"], stored, "{report:#}");

    let reason_of = |name: &str| {
        let documents = report["set_aside"].as_array().unwrap();
        let found = documents.iter().find(|it| it["uri"].as_str().unwrap().contains(name));
        let found = found.unwrap_or_else(|| panic!("{name} is not accounted for: {report:#}"));
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
    assert_eq!(ran.code, 0, "no document has failed that was not known to: {}", ran.stderr);
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
    let place = Place::with_stand_in();
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
