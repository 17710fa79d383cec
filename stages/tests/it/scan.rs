//! `scan`, on real folders.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use arrow::array::Array as _;
use arrow::compute::concat_batches;
use pipeline::column::{BYTES, KNOWN_HASH, MIME_TYPE, SIZE, SOURCE, URI};
use pipeline::{
    ContentHash, KnownLocation, KnownState, Location, Outcome, Resources, SetAside, SourceConfig,
    Verdict, Why,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{knowing, nothing, reasons, source};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
    folder
}

/// Everything the source gives, and in how many batches.
fn drain(config: &dyn SourceConfig, with: &Resources) -> (Outcome, usize) {
    let mut source = config.build(with).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut batches, mut set_aside) = (Vec::new(), Vec::new());
    while let Some(outcome) = runtime.block_on(source.next()).unwrap() {
        assert_eq!(outcome.rows.schema(), config.schema());
        batches.push(outcome.rows);
        set_aside.extend(outcome.set_aside);
    }
    let rows = concat_batches(&config.schema(), &batches).unwrap();
    (Outcome { rows, set_aside }, batches.iter().filter(|rows| rows.num_rows() > 0).count())
}

fn scan(folder: &Path, options: Value) -> Outcome {
    drain(&*source("scan", options, folder), &nothing()).0
}

/// The files that are handed on, by their path below the folder.
fn names(folder: &Path, outcome: &Outcome) -> Vec<String> {
    let prefix = format!("{}/", stages::uri::of_path(folder));
    let uris = URI.of(&outcome.rows).unwrap();
    uris.iter().map(|uri| uri.unwrap().strip_prefix(&prefix).unwrap().to_owned()).collect()
}

#[test]
fn gives_each_file_with_its_content_in_order_of_name() {
    let folder = folder(&[("b.md", "# b"), ("a.txt", "a"), ("sub/c.html", "<p>c"), ("d", "")]);
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["a.txt", "b.md", "d", "sub/c.html"]);
    let rows = &outcome.rows;
    let contents: Vec<_> =
        BYTES.of(rows).unwrap().iter().map(|bytes| bytes.unwrap().to_vec()).collect();
    assert_eq!(contents, [b"a".as_slice(), b"# b", b"", b"<p>c"]);
    assert_eq!(SIZE.of(rows).unwrap().values().as_ref(), [1, 3, 0, 4]);
    let types: Vec<_> = MIME_TYPE.of(rows).unwrap().iter().flatten().collect();
    assert_eq!(types, ["text/plain", "text/markdown", "text/plain", "text/html"]);
    assert_eq!(SOURCE.of(rows).unwrap().value(3), stages::uri::of_path(folder.path()));
    assert_eq!(KNOWN_HASH.of(rows).unwrap().null_count(), 4);
    assert!(outcome.set_aside.is_empty());
}

#[test]
fn globs_are_relative_to_the_scanned_folder() {
    let folder = folder(&[
        ("top.md", ""),
        ("top.txt", ""),
        ("docs/in.md", ""),
        ("docs/draft/out.md", ""),
        (".hidden.md", ""),
        (".git/config.md", ""),
    ]);
    let scan = |options| names(folder.path(), &scan(folder.path(), options));
    assert_eq!(scan(json!({ "paths": ["."], "include": ["*.md"] })), ["top.md"]);
    assert_eq!(
        scan(json!({ "paths": ["."], "include": ["**/*.md"], "exclude": ["**/draft"] })),
        ["docs/in.md", "top.md"]
    );
    assert_eq!(
        scan(
            json!({ "paths": ["."], "include": ["**/*.md"], "hidden": true, "exclude": ["docs/**"] })
        ),
        [".git/config.md", ".hidden.md", "top.md"]
    );
    // A file that is named is wanted.
    assert_eq!(scan(json!({ "paths": ["top.txt"], "include": ["**/*.md"] })), ["top.txt"]);
}

#[test]
fn gitignore_is_heeded_only_when_asked() {
    let folder = folder(&[
        (".gitignore", "*.log\nbuild/\n"),
        ("a.log", ""),
        ("b.md", ""),
        ("build/c.md", ""),
    ]);
    let scan = |options| names(folder.path(), &scan(folder.path(), options));
    assert_eq!(scan(json!({ "paths": ["."] })), ["a.log", "b.md", "build/c.md"]);
    assert_eq!(scan(json!({ "paths": ["."], "gitignore": true })), ["b.md"]);
}

#[test]
fn no_file_comes_twice_however_often_its_folder_is_named() {
    let folder = folder(&[("a.md", ""), ("sub/b.md", ""), ("sub/deep/c.md", "")]);
    let outcome = scan(
        folder.path(),
        json!({ "paths": [".", "sub", "sub/", "sub/deep/../../sub", "a.md", "sub/b.md"] }),
    );
    let mut names = names(folder.path(), &outcome);
    names.sort();
    assert_eq!(names, ["a.md", "sub/b.md", "sub/deep/c.md"]);
}

#[test]
fn a_path_that_is_not_there_is_an_error() {
    let folder = folder(&[]);
    let config = source("scan", json!({ "paths": ["."," corpus"] }), folder.path());
    let error = config.build(&nothing()).err().unwrap().to_string();
    let error = error.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(error, @"cannot scan FOLDER/ corpus: entity not found");
}

#[test]
fn links_are_followed_when_asked_and_never_out_of_the_folder() {
    let outside = folder(&[("secret.md", "")]);
    let folder = folder(&[("docs/a.md", "a")]);
    let root = folder.path();
    symlink(outside.path(), root.join("out")).unwrap();
    symlink(outside.path().join("secret.md"), root.join("out.md")).unwrap();
    symlink(root.join("docs/a.md"), root.join("link.md")).unwrap();
    symlink(root, root.join("docs/loop")).unwrap();
    symlink("nowhere", root.join("broken")).unwrap();

    let outcome = scan(root, json!({ "paths": ["."] }));
    assert_eq!(names(root, &outcome), ["docs/a.md"]);
    assert!(outcome.set_aside.is_empty());

    let outcome = scan(root, json!({ "paths": ["."], "follow_symlinks": true }));
    assert_eq!(names(root, &outcome), ["docs/a.md", "link.md"]);
    let reasons = format!("{:#?}", reasons(&outcome.set_aside));
    insta::assert_snapshot!(reasons.replace(&root.display().to_string(), "FOLDER"), @r#"
    [
        (
            "broken",
            "failed: cannot be read: it is gone, or a link that leads nowhere",
        ),
        (
            "loop",
            "failed: cannot be read: it is a symbolic link to FOLDER, in which it lies",
        ),
    ]
    "#);

    // A link that is named itself is followed.
    let outcome = scan(root, json!({ "paths": ["link.md"] }));
    assert_eq!(names(root, &outcome), ["link.md"]);
}

#[test]
fn what_cannot_be_read_is_set_aside() {
    // A regular file of which every read fails, for every user.
    let outcome = scan(Path::new("/"), json!({ "paths": ["/proc/self/mem"] }));
    assert_eq!(outcome.rows.num_rows(), 0);
    assert_eq!(reasons(&outcome.set_aside).len(), 1);
    assert_eq!(outcome.set_aside[0].why.reason(), "failed");
}

/// Permissions do not bind root, so root runs this test once more as somebody else.
#[test]
fn what_may_not_be_read_is_set_aside() {
    const FOLDER: &str = "STAGES_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return check_permissions(Path::new(&folder));
    }
    let folder = folder(&[("a.md", "a"), ("closed.md", "x"), ("closed/b.md", "x"), ("z.md", "z")]);
    for (name, mode) in [("", 0o755), ("closed.md", 0), ("closed", 0)] {
        fs_err::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    if fs_err::File::open(folder.path().join("closed.md")).is_err() {
        check_permissions(folder.path());
    } else {
        // The test itself may lie where only root gets.
        let copy = folder.path().join("test");
        fs_err::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let status = std::process::Command::new(&copy)
            .args(["--exact", "scan::what_may_not_be_read_is_set_aside"])
            .env(FOLDER, folder.path())
            .uid(65534)
            .current_dir("/")
            .status()
            .unwrap();
        assert!(status.success());
    }
    fs_err::set_permissions(folder.path().join("closed"), Permissions::from_mode(0o755)).unwrap();
}

fn check_permissions(folder: &Path) {
    let outcome = scan(folder, json!({ "paths": ["."], "exclude": ["test"] }));
    assert_eq!(names(folder, &outcome), ["a.md", "z.md"]);
    let expected = [
        ("closed", "failed: cannot be read: permission denied"),
        ("closed.md", "failed: cannot be read: permission denied"),
    ];
    assert_eq!(reasons(&outcome.set_aside), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_large_file_is_not_read() {
    let folder = folder(&[("small.txt", "s")]);
    let file = fs_err::File::create(folder.path().join("large.txt")).unwrap();
    file.set_len(200 << 20).unwrap();
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["small.txt"]);
    insta::assert_snapshot!(
        outcome.set_aside[0].why,
        @"has 209715200 bytes; the limit is 67108864 (raise `max_size` of the scan node to take it in)"
    );
    let outcome =
        scan(folder.path(), json!({ "paths": ["."], "max_size": "1kB", "include": ["small.txt"] }));
    assert_eq!(outcome.rows.num_rows(), 1);
}

#[test]
fn a_name_that_is_not_utf_8_is_a_name() {
    let folder = folder(&[]);
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9 \n.md"));
    fs_err::write(&path, "x").unwrap();
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["caf%E9%20%0A.md"]);
    assert_eq!(stages::uri::to_path(URI.of(&outcome.rows).unwrap().value(0)), Some(path));
}

#[test]
fn pipes_are_no_documents() {
    let folder = folder(&[("a.md", "")]);
    let made =
        std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["a.md"]);
    assert!(source("scan", json!({ "paths": ["pipe"] }), folder.path()).build(&nothing()).is_err());
}

#[test]
fn batches_are_bounded_by_bytes_and_lookups_are_grouped() {
    let files: Vec<_> =
        (0..600).map(|index| (format!("{index:04}.txt"), "x".repeat(1000))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let folder = folder(&files);
    let config = source("scan", json!({ "paths": ["."], "batch_bytes": 10_000 }), folder.path());
    let (outcome, batches) = drain(&*config, &nothing());
    assert_eq!(outcome.rows.num_rows(), 600);
    assert!((60..=63).contains(&batches), "{batches}");
    let sorted: Vec<_> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(folder.path(), &outcome), sorted);
}

/// What the next run would know, had this one stored everything with this content.
fn stored(outcome: &Outcome, state: &KnownState) -> Vec<KnownLocation> {
    (0..outcome.rows.num_rows())
        .map(|row| KnownLocation {
            location: Location::of(&outcome.rows, row).unwrap(),
            content_hash: Some(ContentHash([7; 32])),
            state: state.clone(),
        })
        .collect()
}

#[test]
fn an_unchanged_file_is_not_read_and_a_changed_one_is() {
    let folder = folder(&[
        ("same", "1"),
        ("edited", "2"),
        ("touched", "3"),
        ("replaced", "4"),
        ("new", "5"),
    ]);
    let path = |name: &str| folder.path().join(name);
    let first = scan(folder.path(), json!({ "paths": ["."], "exclude": ["new"] }));
    let with = knowing(stored(&first, &KnownState::Stored));

    // An edit that keeps size and modification time.
    let before = fs_err::metadata(path("edited")).unwrap().modified().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs_err::write(path("edited"), "x").unwrap();
    let file = fs_err::OpenOptions::new().write(true).open(path("edited")).unwrap();
    file.file().set_modified(before).unwrap();
    fs_err::write(path("touched"), "3").unwrap();
    fs_err::write(path("other"), "4").unwrap();
    fs_err::rename(path("other"), path("replaced")).unwrap();

    let config = source("scan", json!({ "paths": ["."] }), folder.path());
    let (second, _) = drain(&*config, &with);
    assert_eq!(names(folder.path(), &second), ["edited", "new", "replaced", "touched"]);
    let known: BTreeMap<_, _> = names(folder.path(), &second)
        .into_iter()
        .zip(KNOWN_HASH.of(&second.rows).unwrap().iter().map(|hash| hash.map(|hash| hash[0])))
        .collect();
    assert_eq!((known["edited"], known["new"]), (Some(7), None));
    let [same] = &second.set_aside[..] else { panic!("{:?}", second.set_aside) };
    assert_eq!(same.why, Why::Unchanged);
    assert_eq!(same.content_hash, Some(ContentHash([7; 32])));
}

#[test]
fn what_was_set_aside_stays_so_unless_it_could_not_be_read() {
    let folder = folder(&[("a", "1")]);
    let first = scan(folder.path(), json!({ "paths": ["."] }));
    let again = |state: &KnownState, content: Option<ContentHash>| {
        let known = stored(&first, state).into_iter();
        let known = known.map(|known| KnownLocation { content_hash: content, ..known }).collect();
        drain(&*source("scan", json!({ "paths": ["."] }), folder.path()), &knowing(known)).0
    };
    let failed = KnownState::SetAside {
        node: "extract".to_owned(),
        reason: "failed".to_owned(),
        message: "is not a valid PDF file: no".to_owned(),
    };
    let outcome = again(&failed, Some(ContentHash([7; 32])));
    let [SetAside { why: Why::Before { node, .. }, .. }] = &outcome.set_aside[..] else { panic!() };
    assert_eq!(node, "extract");
    assert_eq!(outcome.rows.num_rows(), 0);
    assert_eq!(again(&failed, None).rows.num_rows(), 1);
    assert_eq!(again(&KnownState::Stale, Some(ContentHash([7; 32]))).rows.num_rows(), 1);
}

#[test]
fn a_path_is_explained_by_the_rules_of_the_scan() {
    let large = "x".repeat(2000);
    let folder = folder(&[
        ("docs/a.md", "a"),
        ("docs/b.txt", "b"),
        ("docs/drafts/c.md", "c"),
        ("docs/drafts/.e.txt", "e"),
        ("docs/.git/d.md", "d"),
        ("docs/f.log.md", "f"),
        ("docs/large.md", &large),
        ("elsewhere.md", "g"),
    ]);
    let root = fs_err::canonicalize(folder.path()).unwrap();
    symlink(root.join("docs/a.md"), root.join("docs/link.md")).unwrap();
    let options = json!({
        "paths": ["docs"],
        "include": ["**/*.md"],
        "exclude": ["drafts", "*.log.md"],
        "max_size": "1KB",
    });
    let scan = source("scan", options, &root);
    let said = |name: &str| {
        let uri = format!("file://{}", root.join(name).display());
        match scan.verdict(&uri).unwrap() {
            Verdict::Given(location) => {
                assert_eq!(location.uri, uri);
                "given".to_owned()
            }
            Verdict::SetAside(document) => document.why.reason().to_owned(),
            Verdict::LeftOut(words) => words.join(" & "),
            Verdict::NotThere => "not there".to_owned(),
            Verdict::Elsewhere => "elsewhere".to_owned(),
        }
    };
    assert_eq!(said("docs/a.md"), "given");
    assert_eq!(said("docs/large.md"), "too_large");
    assert_eq!(said("docs/none.md"), "not there");
    assert_eq!(said("elsewhere.md"), "elsewhere");
    assert_eq!(said("docs/b.txt"), "no glob of `include` matches it");
    assert_eq!(said("docs/drafts/c.md"), "`exclude` has the glob `drafts`, which matches it");
    assert_eq!(said("docs/f.log.md"), "`exclude` has the glob `*.log.md`, which matches it");
    assert!(said("docs/.git/d.md").contains("`hidden: true`"), "{}", said("docs/.git/d.md"));
    assert!(said("docs/link.md").contains("`follow_symlinks: true`"), "{}", said("docs/link.md"));
    let all = said("docs/drafts/.e.txt");
    for word in ["`drafts`", "`include`", "`hidden: true`"] {
        assert!(all.contains(word), "{all}");
    }
    assert_eq!(said("docs/drafts"), "it is a folder");
}
