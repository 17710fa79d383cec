//! Changes of files over time: the next run detects each with minimal work, and the index then
//! equals a fresh one. Also deletions by users, and events that must not delete anything.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::support::{CommandOutput, ROOT, TestProject, command, ran, text, told};

fn rename(place: &TestProject, from: &str, to: &str) {
    std::fs::rename(place.corpus().join(from), place.corpus().join(to)).unwrap();
}

fn copy(place: &TestProject, from: &str, to: &str) {
    std::fs::copy(place.corpus().join(from), place.corpus().join(to)).unwrap();
}

fn remove(place: &TestProject, name: &str) {
    std::fs::remove_file(place.corpus().join(name)).unwrap();
}

/// Sets the modification time, which also updates the change time.
fn set_modified(place: &TestProject, name: &str, time: std::time::SystemTime) {
    let file = std::fs::File::options().write(true).open(place.corpus().join(name)).unwrap();
    file.set_modified(time).unwrap();
}

fn modified(place: &TestProject, name: &str) -> std::time::SystemTime {
    std::fs::metadata(place.corpus().join(name)).unwrap().modified().unwrap()
}

/// The ids of some locations, in the order of `names`.
fn ids<const N: usize>(place: &TestProject, names: [&str; N]) -> [Option<String>; N] {
    let ids = place.ids();
    names.map(|name| ids.get(name).cloned())
}

/// The words of a path are in the sparse vectors, which follow it without the model.
#[test]
fn a_renamed_document_is_found_by_its_new_path_and_not_by_its_old_one() {
    let place = TestProject::with_stand_in();
    place.write("guide/mutexes.md", "# Locking\n\nThreads wait for each other.\n");
    place.write("guide/files.md", "# Files\n\nA file has a name.\n");
    place.write("guide/words.txt", "Words without a title.\n");
    place.run();
    let found = |words: &str| -> Vec<String> {
        let args = ["search", "pipeline.yaml", "--json", "--mode", "sparse", words];
        let hits = place.semantik(&args).json();
        hits.as_array().unwrap().iter().map(|hit| place.name_of(&hit["uri"])).collect()
    };
    assert_eq!(found("mutexes"), ["guide/mutexes.md"]);
    rename(&place, "guide/mutexes.md", "guide/semaphores.md");
    rename(&place, "guide/words.txt", "guide/vocabulary.txt");
    let summary = place.run_and_summarize();
    assert!(!summary.contains("embedded"), "{summary}");
    assert_eq!(found("semaphores"), ["guide/semaphores.md"]);
    assert_eq!(found("vocabulary"), ["guide/vocabulary.txt"]);
    assert_eq!(found("mutexes"), [""; 0]);
    place.assert_matches_fresh_index();
}

#[test]
fn each_change_of_a_file_costs_what_it_must() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "apples are red");
    place.write("b.txt", "bananas are yellow");
    assert_eq!(place.run_and_summarize(), "read 2, stored 2, embedded 10");
    assert_eq!(place.run_and_summarize(), "unchanged 2", "unchanged files are not read");

    // Add.
    place.write("c.txt", "cherries are black");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 2, embedded 5");
    let before = place.ids();

    // Edit.
    place.write("a.txt", "apples are green and sour");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 2, embedded 7");
    assert_eq!(place.ids(), before, "an edit keeps the id");

    // Edit that keeps size and modification time.
    let time = modified(&place, "a.txt");
    place.write("a.txt", "apples are sweet and ripe");
    set_modified(&place, "a.txt", time);
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 2, embedded 7");
    assert_eq!(place.ids(), before, "an edit keeps the id");
    assert!(place.index().chunks.iter().any(|chunk| chunk.content.contains("ripe")));

    // Touch.
    set_modified(&place, "b.txt", std::time::SystemTime::now());
    assert_eq!(place.run_and_summarize(), "read 1, unchanged 3");
    assert_eq!(place.run_and_summarize(), "unchanged 3", "the new times are recorded");
    assert_eq!(place.ids(), before);

    // Rename, also to a name that differs in case only.
    rename(&place, "b.txt", "renamed.txt");
    rename(&place, "c.txt", "C.txt");
    assert_eq!(place.run_and_summarize(), "read 2, unchanged 1, duplicate 2");
    let now = place.ids();
    assert_eq!(now.keys().collect::<Vec<_>>(), ["C.txt", "a.txt", "renamed.txt"]);
    assert_eq!((&now["renamed.txt"], &now["C.txt"]), (&before["b.txt"], &before["c.txt"]));

    // Copy: the document has two locations.
    copy(&place, "a.txt", "copy.txt");
    assert_eq!(place.run_and_summarize(), "read 1, unchanged 3, duplicate 1");
    let [a, copied] = ids(&place, ["a.txt", "copy.txt"]);
    assert_eq!(a, copied);
    place.assert_matches_fresh_index();

    // Edit one of two: it becomes a new document, and the other keeps the old one.
    place.write("a.txt", "apples are for cider");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 3, embedded 6");
    let [split, stays] = ids(&place, ["a.txt", "copy.txt"]);
    assert_eq!(stays, copied);
    assert_ne!(split, stays);

    // Edit a file directly after a copy of it was made: the copy keeps the old content. Either file
    // may keep the document, depending on whether the copy is recorded before the edit is stored.
    copy(&place, "renamed.txt", "z copy of renamed.txt");
    place.write("renamed.txt", "bananas are brown by now");
    place.run_and_summarize();
    let both = ids(&place, ["renamed.txt", "z%20copy%20of%20renamed.txt"]).map(Option::unwrap);
    assert!(both[0] != both[1] && both.contains(&before["b.txt"]), "{both:?}");
    assert_eq!(place.run_and_summarize(), "unchanged 5");
    place.assert_matches_fresh_index();

    // Delete, and restore.
    let cherries = std::fs::read(place.corpus().join("C.txt")).unwrap();
    remove(&place, "C.txt");
    assert_eq!(place.run_and_summarize(), "unchanged 4, deleted 1");
    assert!(!place.index().chunks.iter().any(|chunk| chunk.content.contains("cherries")));
    place.assert_matches_fresh_index();
    place.write("C.txt", &cherries);
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 4, remembered 5");
    assert_eq!(place.ids()["C.txt"], before["c.txt"], "a restored document has its old id");
    assert_eq!(place.run_and_summarize(), "unchanged 5");
    place.assert_matches_fresh_index();
}

#[test]
fn a_folder_is_renamed_copied_deleted_and_restored() {
    const FILES: usize = 300;
    let place = TestProject::with_stand_in();
    place.write("stays.txt", "this file stays where it is");
    for n in 0..FILES {
        place.write(&format!("old/{}/{n}.txt", n % 7), format!("document number {n}"));
    }
    place.run();
    let moved =
        |ids: &BTreeMap<String, String>, from: &str, to: &str| -> BTreeMap<String, String> {
            let names = ids.iter().map(|(name, id)| (name.replacen(from, to, 1), id.clone()));
            names.collect()
        };
    let before = place.ids();
    assert_eq!(before.len(), FILES + 1);

    rename(&place, "old", "new");
    assert_eq!(place.run_and_summarize(), "read 300, unchanged 1, duplicate 300");
    assert_eq!(place.ids(), moved(&before, "old", "new"), "moved documents keep their ids");

    let mut cp = Command::new("cp");
    cp.args(["-r", "new", "copy"]).current_dir(place.corpus());
    assert!(cp.status().unwrap().success());
    assert_eq!(place.run_and_summarize(), "read 300, unchanged 301, duplicate 300");
    let mut both = moved(&before, "old", "new");
    both.extend(moved(&before, "old", "copy"));
    assert_eq!(place.ids(), both, "each document has both locations");
    place.index().assert_consistent();

    // Deleting copies deletes no document, so the deletion limit does not apply.
    std::fs::rename(place.corpus().join("new"), place.path().join("away")).unwrap();
    assert_eq!(place.run_and_summarize(), "unchanged 301");
    assert_eq!(place.ids(), moved(&before, "old", "copy"));
    std::fs::remove_dir_all(place.corpus().join("copy")).unwrap();
    let ran = place.semantik(&["run", "pipeline.yaml", "--json", "--allow-deletes"]);
    assert_eq!(told(&ran.json()), "unchanged 1, deleted 300");
    place.assert_matches_fresh_index();

    std::fs::rename(place.path().join("away"), place.corpus().join("old")).unwrap();
    assert!(place.run_and_summarize().starts_with("read 300, stored 300, unchanged 1"));
    assert_eq!(place.ids(), before, "restored documents have their old ids");
    place.assert_matches_fresh_index();
}

#[test]
fn a_hit_says_where_its_document_is_now() {
    let place = TestProject::with_stand_in();
    place.write("before.txt", "apples are red");
    place.run();
    rename(&place, "before.txt", "after.txt");
    place.run();
    assert!(text(&place.search("apples", 1)[0]["uri"]).ends_with("/after.txt"));
}

#[test]
fn a_file_becomes_a_folder_of_the_same_name_and_back() {
    let place = TestProject::with_stand_in();
    place.write("thing", "a thing that is a file");
    place.write("other.txt", "another file");
    place.run();
    let [file, _] = ids(&place, ["thing", "other.txt"]);

    // The file itself moves into the folder, beside a new file.
    rename(&place, "thing", "aside");
    place.write("thing/new.txt", "a new document in the folder");
    rename(&place, "aside", "thing/inside");
    assert_eq!(place.run_and_summarize(), "read 2, stored 1, unchanged 1, duplicate 1, embedded 8");
    assert_eq!(ids(&place, ["thing", "thing/inside"]), [None, file.clone()]);
    place.assert_matches_fresh_index();

    // The folder is removed with its content, and a file of its name is created.
    std::fs::remove_dir_all(place.corpus().join("thing")).unwrap();
    place.write("thing", "a thing that is another file");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 1, deleted 2, embedded 8");
    place.assert_matches_fresh_index();
    place.write("thing", "a thing that is a file");
    place.run_and_summarize();
    let [back] = ids(&place, ["thing"]);
    assert_eq!(back, file, "restored content has its old id");
    place.assert_matches_fresh_index();
}

/// Runs the pipeline as an unprivileged user, to whom file permissions apply.
fn run_unprivileged(place: &TestProject) -> CommandOutput {
    let args = ["run", "pipeline.yaml", "--json"];
    let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
    if owner(Path::new("/proc/self")) != 0 {
        return place.semantik(&args);
    }
    // Only once, because `chown` updates the change time of each file.
    if owner(place.path()) == 0 {
        let chowned = Command::new("chown").args(["-R", "nobody:"]).arg(place.path()).status();
        assert!(chowned.unwrap().success());
    }
    let program = command(&[]).get_program().to_owned();
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    unprivileged.env_remove("SEMANTIK_LOG").env_remove("DATABASE_URL");
    ran(unprivileged.args(args).current_dir(place.path()).output().unwrap())
}

#[test]
fn unreadable_files_are_not_deleted() {
    let place = TestProject::with("model: 'stand-in:16'", "");
    place.write("open.txt", "a file in the open");
    place.write("gone.txt", "a file that will be gone");
    for n in 0..30 {
        place.write(&format!("locked/{}/{n}.txt", n % 3), format!("a secret of number {n}"));
    }
    place.write("locked.txt", "a name that begins as that of the folder");
    let report = run_unprivileged(&place).json();
    assert_eq!(report["documents"]["stored"], 33, "{report:#}");

    let locked = place.corpus().join("locked");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    remove(&place, "gone.txt");
    let ran = run_unprivileged(&place);
    assert_eq!(ran.code, 2, "an unreadable folder counts as a failure: {}", ran.stderr);
    let report = ran.json();
    assert_eq!(told(&report), "unchanged 2, set aside 1, deleted 1", "{report:#}");
    assert!(text(&report["set_aside"][0]["uri"]).ends_with("/locked"), "{report:#}");
    let ids = place.ids();
    assert_eq!(ids.len(), 32, "documents below the folder are kept");
    assert_eq!(place.search("secret of number", 100).len(), 32, "and remain searchable");

    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = run_unprivileged(&place);
    assert_eq!((ran.code, told(&ran.json()).as_str()), (0, "unchanged 32"));
    assert_eq!(place.ids(), ids);
    place.assert_matches_fresh_index();
}

#[test]
fn too_many_deletions_stop_the_run() {
    let place = TestProject::with_stand_in();
    let name = |n: usize| format!("{:02}/{n}.txt", n % 2);
    for n in 0..60 {
        place.write(&name(n), format!("document number {n}"));
    }
    place.run();
    // Up to nineteen missing documents are always deleted.
    (0..19).for_each(|n| remove(&place, &name(n)));
    assert_eq!(place.run_and_summarize(), "unchanged 41, deleted 19");
    // Twenty of forty-two exceed the limit; new documents are still stored.
    (19..39).for_each(|n| remove(&place, &name(n)));
    place.write("new.txt", "a new document");
    let before = place.ids();
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let wanted = format!(
        "20 of 42 documents of file://{} are missing; nothing was deleted, and new and changed documents \
         were stored; to delete the missing ones, run again with --allow-deletes",
        place.corpus().display()
    );
    assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
    let mut now = place.ids();
    assert!(now.remove("new.txt").is_some(), "{now:?}");
    assert_eq!(now, before, "nothing was deleted");
    assert_eq!(place.search("document number 19", 100).len(), 42);
    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_eq!(status["status"], "degraded");
    assert!(text(&status["message"]).contains("--allow-deletes"), "{status:#}");

    // Another run is refused too; `--allow-deletes` or a higher limit permits it.
    assert_eq!(place.semantik(&["run", "pipeline.yaml", "--json"]).code, 1);
    let ran = place.semantik(&["run", "pipeline.yaml", "--json", "--allow-deletes"]);
    assert_eq!((ran.code, told(&ran.json()).as_str()), (0, "unchanged 22, deleted 20"));
    place.assert_matches_fresh_index();
    let stores = "lifecycle: { max_delete_ratio: 1.0 }";
    place.write_pipeline("model: 'stand-in:16'", stores, "size: 64, overlap: 8");
    (39..60).for_each(|n| remove(&place, &name(n)));
    assert_eq!(place.run_and_summarize(), "unchanged 1, deleted 21");
    assert_eq!(place.semantik(&["status", "pipeline.yaml", "--json"]).json()["status"], "ready");
    place.assert_matches_fresh_index();
}

#[test]
fn a_document_that_failed_is_tried_again_when_there_is_a_reason() {
    let place = TestProject::with_stand_in();
    place.write("good.txt", "a good document");
    let letter = std::fs::read(format!("{ROOT}/tests/data/letter.docx")).unwrap();
    place.write("letter.docx", &letter[..letter.len() / 2]);
    place.run();
    let [id] = ids(&place, ["letter.docx"]);
    let attempts = || place.value("SELECT attempts FROM documents WHERE status = 'failed'");
    let wait = || {
        place.value(
            "SELECT round(extract(epoch FROM retry_at - updated_at) / 60) FROM documents
             WHERE status = 'failed'",
        )
    };
    assert_eq!((attempts().as_str(), wait().as_str()), ("1", "5"));

    // The exit code is 2 after a failed attempt, and 0 if the failure is only known.
    let run = |args: &[&str], code: i32| {
        let ran = place.semantik(&[&["run", "pipeline.yaml", "--json"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert_eq!(ran.json()["newly_failed"], u64::from(code == 2));
        told(&ran.json())
    };
    assert_eq!(run(&[], 0), "unchanged 1, set aside 1");
    assert_eq!(run(&["--retry-failed"], 0), "unchanged 1, set aside 1", "not due for a retry");
    for (tried, minutes) in [("2", "20"), ("3", "80"), ("4", "320")] {
        place.execute("UPDATE documents SET retry_at = now() WHERE status = 'failed'");
        assert_eq!(run(&[], 0), "unchanged 1, set aside 1", "a retry was not requested");
        assert_eq!(run(&["--retry-failed"], 2), "read 1, unchanged 1, set aside 1");
        assert_eq!((attempts().as_str(), wait().as_str()), (tried, minutes));
    }
    // Other settings.
    place.edit_pipeline("size: 64", "size: 48");
    assert_eq!(run(&[], 2), "read 2, stored 1, set aside 1, remembered 5");
    // Other content, which fails too, and then succeeds.
    place.write("letter.docx", &letter[..letter.len() / 3]);
    assert_eq!(run(&[], 2), "read 1, unchanged 1, set aside 1");
    assert_eq!((attempts().as_str(), wait().as_str()), ("1", "5"), "new content resets attempts");
    place.write("letter.docx", &letter);
    assert!(place.run_and_summarize().starts_with("read 1, stored 1, unchanged 1, embedded"));
    assert_eq!(ids(&place, ["letter.docx"]), [id], "the document keeps its id");
    place.assert_matches_fresh_index();
}

#[test]
fn a_deleted_document_stays_out_until_it_is_undeleted_or_edited() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "apples are red");
    place.write("b.txt", "bananas are yellow");
    place.write("c.txt", "cherries are black");
    place.run();
    let before = place.ids();
    let change = |verb: &str, what: &str| {
        let ran = place.semantik(&["documents", verb, "pipeline.yaml", what, "--yes"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let is_found =
        |word: &str| place.search(word, 10).iter().any(|hit| text(&hit["text"]).contains(word));
    // By path, and by id.
    assert_eq!(change("delete", "corpus/a.txt"), "deleted 1 document\n");
    assert_eq!(change("delete", &before["b.txt"]), "deleted 1 document\n");
    assert!(!is_found("apples") && !is_found("bananas") && is_found("cherries"));
    place.index().assert_consistent();
    assert_eq!(
        place.run_and_summarize(),
        "unchanged 1, set aside 2",
        "stays out although its file exists"
    );
    set_modified(&place, "a.txt", std::time::SystemTime::now());
    assert_eq!(place.run_and_summarize(), "unchanged 1, set aside 2", "a touched file stays out");
    place.edit_pipeline("size: 64", "size: 48");
    assert_eq!(
        place.run_and_summarize(),
        "read 1, stored 1, set aside 2, remembered 5",
        "settings do not matter"
    );
    assert!(!is_found("apples") && !is_found("bananas"));

    // The same content at another location is stored, and so is an edit.
    copy(&place, "a.txt", "elsewhere.txt");
    assert_eq!(
        place.run_and_summarize(),
        "read 1, stored 1, unchanged 1, set aside 2, remembered 5"
    );
    assert_eq!(place.ids()["elsewhere.txt"], before["a.txt"], "the content has its old id");
    assert!(is_found("apples"));
    remove(&place, "elsewhere.txt");
    place.run();
    assert!(!is_found("apples"));
    place.write("b.txt", "bananas are green");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 1, set aside 1, embedded 5");
    assert!(is_found("green") && !is_found("yellow"));

    assert_eq!(change("undelete", "corpus/a.txt"), "undeleted 1 document\n");
    assert_eq!(place.ids()["a.txt"], before["a.txt"]);
    assert!(is_found("apples"));
    assert_eq!(place.run_and_summarize(), "unchanged 3");
    place.assert_matches_fresh_index();
    let again = ["documents", "undelete", "pipeline.yaml", "corpus/a.txt", "--yes"];
    assert_eq!(place.semantik(&again).code, 1, "nothing to undelete");
}

#[test]
fn a_source_is_removed_with_what_only_it_gives() {
    let place = TestProject::with_stand_in();
    place.edit_pipeline("paths: [corpus]", "paths: [corpus, second]");
    place.write("ours.txt", "only in the first");
    place.write("shared.txt", "in both of them");
    place.write("../second/theirs.txt", "only in the second");
    place.write("../second/shared.txt", "in both of them");
    place.run();
    let before = place.ids();
    assert_eq!(before["shared.txt"], before["second/shared.txt"]);

    let source = format!("file://{}", place.path().join("second").display());
    let remove = ["sources", "delete", "pipeline.yaml", &source];
    let ran = place.semantik(&remove);
    assert!(ran.code == 1 && ran.stderr.contains("--yes"), "requires confirmation: {}", ran.stderr);
    assert_eq!(place.ids(), before);
    let ran = place.semantik(&[&remove[..], &["--yes"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(" with 1 document;"), "{}", ran.stdout);
    let index = place.index();
    index.assert_consistent();
    assert_eq!(index.locations.keys().collect::<Vec<_>>(), ["ours.txt", "shared.txt"]);
    assert!(!index.chunks.iter().any(|chunk| chunk.content.contains("only in the second")));
    assert_eq!(place.value("SELECT count(*) FROM collection_sources"), "1");
    let ran = place.semantik(&[&remove[..], &["--yes"]].concat());
    assert!(ran.code == 1 && ran.stderr.contains("is not a source"), "{}", ran.stderr);

    place.edit_pipeline("paths: [corpus, second]", "paths: [corpus]");
    place.run();
    place.assert_matches_fresh_index();
}

#[test]
fn a_file_that_another_source_gives_now_is_that_ones() {
    let place = TestProject::with_stand_in();
    place.write("top.txt", "a file at the top");
    place.write("sub/kept.txt", "a file below");
    place.write("sub/gone.txt", "another file below");
    place.run();
    let before = place.ids();
    place.edit_pipeline("paths: [corpus]", "paths: [corpus/sub]");
    assert_eq!(place.run_and_summarize(), "unchanged 2", "a change of sources reads nothing");
    assert_eq!(place.ids(), before, "a source stays until it is deleted");
    remove(&place, "sub/gone.txt");
    assert_eq!(place.run_and_summarize(), "unchanged 1, deleted 1");
    let source = format!("file://{}", place.corpus().display());
    let delete = ["sources", "delete", "pipeline.yaml", &source, "--yes"];
    let ran = place.semantik(&delete);
    assert!(ran.stdout.contains(" with 1 document;"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(place.ids().keys().collect::<Vec<_>>(), ["sub/kept.txt"]);
    place.assert_matches_fresh_index();
}

#[test]
fn a_deleted_collection_leaves_nothing_and_can_be_made_again() {
    let place = TestProject::with_stand_in();
    for n in 0..30 {
        place.write(&format!("{n}.txt"), format!("document number {n}"));
    }
    place.run();
    // Two generations, and deleted and failed documents.
    assert_eq!(place.semantik(&["reindex", "pipeline.yaml", "--json"]).code, 0);
    remove(&place, "0.txt");
    place.write("bad.docx", "this is no document");
    place.run();
    assert_eq!(place.vector_folders().len(), 2);

    let delete = ["collections", "delete", "pipeline.yaml", "--yes"];
    let ran = place.semantik(&delete);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.vector_folders(), Vec::<String>::new());
    let tables = place.sql(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables
         WHERE schemaname IN ('public', 'building', 'retired')
           AND tablename NOT IN ('users', '_sqlx_migrations')",
    );
    assert!(tables.len() > 15, "{tables:?}");
    // The history of the collection is kept.
    let kept = ["operations", "operation_metrics", "collection_audit_log", "deleted_collections"];
    for table in tables.iter().map(|row| text(&row["name"])) {
        let is_kept = kept.iter().any(|it| table == format!("public.{it}"));
        let rows = place.value(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(rows == "0", !is_kept, "{table}: {rows} rows");
    }
    let search = ["search", "pipeline.yaml", "document"];
    let ran = place.semantik(&search);
    assert!(
        ran.code == 1 && ran.stderr.contains("collection `test` does not exist yet"),
        "{}",
        ran.stderr
    );
    assert_eq!(place.semantik(&delete).code, 1, "the collection no longer exists");

    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert_eq!(ran.json()["documents"]["stored"], 29, "{}", ran.stderr);
    place.assert_matches_fresh_index();
}

#[test]
fn two_users_may_each_have_a_collection_of_the_same_name() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "apples are red");
    place.run();
    place
        .execute("INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'a@x', '!')");
    place.edit_pipeline("collection: test", "collection: test\nowner: ada");
    place.write("b.txt", "bananas are yellow");
    assert_eq!(
        place.run_and_summarize(),
        "read 2, stored 2, embedded 5, remembered 5",
        "the collections are independent"
    );
    let collection_of = |user: &str| {
        place.value(&format!(
            "SELECT c.id FROM collections c JOIN users u ON u.id = c.owner_id WHERE u.username = '{user}'"
        ))
    };
    let (ours, hers) = (collection_of("local"), collection_of("ada"));
    assert_ne!(ours, hers);
    let names = |id: &str| place.index_of(id).locations.into_keys().collect::<Vec<_>>();
    assert_eq!((names(&ours).len(), names(&hers).len()), (1, 2));
    // Deleting one collection does not affect the other.
    let ran = place.semantik(&["collections", "delete", "pipeline.yaml", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    place.index_of(&ours).assert_consistent();
    place.edit_pipeline("collection: test\nowner: ada", "collection: test");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 1, remembered 5");
    place.edit_pipeline("collection: test", "collection: test\nowner: bob");
    let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
    assert!(ran.code == 1 && ran.stderr.contains("account `bob` does not exist"), "{}", ran.stderr);
}

#[test]
fn deleted_content_can_be_indexed_again() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "apples are red");
    place.run();
    let [first] = ids(&place, ["a.txt"]);
    for round in 0..3 {
        remove(
            &place,
            &format!("{}.txt", if round == 0 { "a".to_owned() } else { round.to_string() }),
        );
        assert_eq!(place.run_and_summarize(), "deleted 1");
        let name = format!("{}.txt", round + 1);
        place.write(&name, "apples are red");
        assert_eq!(place.run_and_summarize(), "read 1, stored 1, remembered 5");
        assert_eq!(place.ids()[&name], *first.as_ref().unwrap());
    }
    assert!(Path::new(&place.corpus().join("3.txt")).exists());
    place.assert_matches_fresh_index();
}
