//! `scan` on real folders.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use arrow::array::Array as _;
use arrow::compute::concat_batches;
use pipeline::column::{BYTES, KNOWN_HASH, MIME_TYPE, SIZE, SOURCE, URI};
use pipeline::{
    ContentHash, KnownLocation, KnownState, Location, Outcome, RejectReason, Rejection, Resources,
    SourceConfig, SourceDecision, SplitSource,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::source;
use pipeline::test_util::{no_resources, reasons, resources_knowing};

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

/// The complete outcome of the source, and its number of non-empty batches.
fn read_all(config: &dyn SourceConfig, with: &Resources) -> (Outcome, usize) {
    let mut source = config.build(with).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut batches, mut set_aside) = (Vec::new(), Vec::new());
    while let Some(outcome) = runtime.block_on(source.next_batch()).unwrap() {
        assert_eq!(outcome.rows.schema(), config.schema());
        batches.push(outcome.rows);
        set_aside.extend(outcome.rejected);
    }
    let rows = concat_batches(&config.schema(), &batches).unwrap();
    let whole = Outcome { rows, rejected: set_aside };
    assert_parts_agree(config, with, &whole);
    (whole, batches.iter().filter(|rows| rows.num_rows() > 0).count())
}

/// The listing and the reader of a source, with its rows as text in between, have the outcome of
/// the whole.
fn assert_parts_agree(config: &dyn SourceConfig, with: &Resources, whole: &Outcome) {
    let SplitSource { listing, reader } = config.split().unwrap();
    let columns = reader.output_schema(&listing.schema()).unwrap();
    assert_eq!(columns, config.schema());
    let (mut lister, mut reader) = (listing.build(with).unwrap(), reader.build(with).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut batches, mut set_aside) = (Vec::new(), Vec::new());
    while let Some(outcome) = runtime.block_on(lister.next_batch()).unwrap() {
        assert_eq!(outcome.rows.schema(), listing.schema());
        let text = serde_json::to_string(&outcome).unwrap();
        let Outcome { rows, rejected } = serde_json::from_str(&text).unwrap();
        set_aside.extend(rejected);
        let read = reader.process(rows).unwrap();
        batches.push(read.rows);
        set_aside.extend(read.rejected);
    }
    assert_eq!(concat_batches(&columns, &batches).unwrap(), whole.rows);
    let sorted = |rejected: &[Rejection]| {
        let mut sorted = rejected.to_vec();
        sorted.sort_by(|a, b| a.location.uri.cmp(&b.location.uri));
        sorted
    };
    assert_eq!(sorted(&set_aside), sorted(&whole.rejected));
}

fn scan(folder: &Path, options: Value) -> Outcome {
    read_all(&*source("scan", options, folder), &no_resources()).0
}

/// Paths of the files in the outcome, relative to the folder.
fn names(folder: &Path, outcome: &Outcome) -> Vec<String> {
    let prefix = format!("{}/", pipeline::uri::of_path(folder));
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
    assert_eq!(SOURCE.of(rows).unwrap().value(3), pipeline::uri::of_path(folder.path()));
    assert_eq!(KNOWN_HASH.of(rows).unwrap().null_count(), 4);
    assert!(outcome.rejected.is_empty());
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
    // Globs do not apply to a file in `paths`.
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
    // The nearest file takes precedence, then its last pattern; `exclude` and `hidden` apply in
    // addition.
    for (name, text) in [
        ("sub/.gitignore", "!kept.log\n*.tmp\n\\!.dot\n"),
        ("sub/kept.log", ""),
        ("sub/other.log", ""),
        ("sub/deep/x.tmp", ""),
        ("sub/deep/y.txt", ""),
        (".git/info/exclude", "y.txt\n"),
        ("z.tmp", ""),
    ] {
        fs_err::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs_err::write(folder.path().join(name), text).unwrap();
    }
    assert_eq!(
        scan(json!({ "paths": ["."], "gitignore": true })),
        ["b.md", "sub/kept.log", "z.tmp"]
    );
    // Files above the scanned folder apply, too.
    let below = source("scan", json!({ "paths": ["sub"], "gitignore": true }), folder.path());
    let below = read_all(&*below, &no_resources()).0;
    assert_eq!(names(&folder.path().join("sub"), &below), ["kept.log"]);
}

#[test]
fn what_options_leave_out_is_counted() {
    let folder = folder(&[
        (".gitignore", "*.log\n"),
        (".git/config", ""),
        ("a.log", ""),
        ("b.md", ""),
        ("c.txt", ""),
        ("drafts/d.md", ""),
        ("drafts/e.md", ""),
    ]);
    let options = json!({
        "paths": ["."], "include": ["**/*.md"], "exclude": ["drafts"], "gitignore": true,
    });
    let mut source = source("scan", options, folder.path()).build(&no_resources()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while runtime.block_on(source.next_batch()).unwrap().is_some() {}
    let totals = source.totals();
    let counts: Vec<_> = totals.excluded.iter().map(|(by, count)| (by.as_str(), *count)).collect();
    assert_eq!(counts, [("gitignore", 1), ("globs", 2), ("hidden", 2)], "a folder counts once");
    assert!(totals.empty_roots.is_empty());
}

#[test]
fn a_source_without_a_document_says_so() {
    let folder = folder(&[("full/a.md", ""), ("full/inner/b.md", ""), ("other/c.txt", "")]);
    fs_err::create_dir(folder.path().join("empty")).unwrap();
    let paths = json!({
        "paths": ["full/inner", "other", "empty", "full/", "full/a.md"], "include": ["*/*.md", "b.md"],
    });
    let config = source("scan", paths, folder.path());
    let mut source = config.build(&no_resources()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while runtime.block_on(source.next_batch()).unwrap().is_some() {}
    let uri = |name: &str| pipeline::uri::of_path(&folder.path().join(name));
    // In `full` itself no remaining file matches, but files in the nested roots do.
    assert_eq!(source.totals().empty_roots, [uri("other"), uri("empty")]);

    let warnings: Vec<_> = config
        .warnings()
        .into_iter()
        .map(|it| format!("{}: {} ({})", it.option, it.message, it.help))
        .collect();
    let warnings = warnings.join("\n").replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(warnings, @r"
    paths/1: no file below `FOLDER/other` matches (all its entries are left out: 1 by `globs`)
    paths/2: no file below `FOLDER/empty` matches (the folder contains no files)
    ");
}

#[test]
fn a_path_that_cannot_be_scanned_is_a_warning_and_stops_a_run() {
    let folder = folder(&[("a.md", "")]);
    for (path, expected) in [
        (
            "s3://bucket/x",
            "`s3://bucket/x` is a URL, but `scan` reads only local files and folders; download or mount \
             its content and use the local folder",
        ),
        (
            "file:///srv/docs",
            "`file:///srv/docs` is a URL, but `scan` reads only local files and folders; write it as a path: \
             `/srv/docs`",
        ),
        (
            "nowhere",
            "cannot scan `FOLDER/nowhere`: no such file or folder; create or mount it, or correct `paths` \
             (relative to the pipeline file)",
        ),
    ] {
        let config = source("scan", json!({ "paths": [".", path] }), folder.path());
        let plain = |text: String| text.replace(&folder.path().display().to_string(), "FOLDER");
        let error = config.build(&no_resources()).err().unwrap().to_string();
        assert_eq!(plain(error), expected);
        let [warning] = &config.warnings()[..] else { panic!("{path}") };
        assert_eq!(warning.option, "paths/1");
        assert_eq!(plain(format!("{}; {}", warning.message, warning.help)), expected);
    }
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
    let error = config.build(&no_resources()).err().unwrap().to_string();
    let error = error.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(error, @"cannot scan `FOLDER/ corpus`: no such file or folder; create or mount it, or correct `paths` (relative to the pipeline file)");
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
    assert!(outcome.rejected.is_empty());

    let outcome = scan(root, json!({ "paths": ["."], "follow_symlinks": true }));
    assert_eq!(names(root, &outcome), ["docs/a.md", "link.md"]);
    let reasons = format!("{:#?}", reasons(&outcome.rejected));
    insta::assert_snapshot!(reasons.replace(&root.display().to_string(), "FOLDER"), @r#"
    [
        (
            "broken",
            "failed: cannot be read: file not found or dangling link",
        ),
        (
            "loop",
            "failed: cannot be read: symbolic link to its own parent folder FOLDER",
        ),
    ]
    "#);

    // Excluded entries and links that lead outside are not failures.
    symlink("nowhere", root.join(".hidden link")).unwrap();
    symlink(outside.path().join("nowhere"), root.join("out of sight")).unwrap();
    let options =
        json!({ "paths": ["."], "follow_symlinks": true, "exclude": ["brok*", "**/loop"] });
    assert_eq!(scan(root, options).rejected, []);

    // A link in `paths` is followed.
    let outcome = scan(root, json!({ "paths": ["link.md"] }));
    assert_eq!(names(root, &outcome), ["link.md"]);
}

#[test]
fn what_cannot_be_read_is_set_aside() {
    // A regular file whose reads fail for every user.
    let outcome = scan(Path::new("/"), json!({ "paths": ["/proc/self/mem"] }));
    assert_eq!(outcome.rows.num_rows(), 0);
    assert_eq!(reasons(&outcome.rejected).len(), 1);
    assert_eq!(outcome.rejected[0].reason.code(), "failed");
}

/// Permissions do not apply to root, so root runs this test again as another user.
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
        // The test binary may be in a folder that only root can access.
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
    assert_eq!(reasons(&outcome.rejected), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_large_file_is_not_read() {
    let folder = folder(&[("small.txt", "s")]);
    let file = fs_err::File::create(folder.path().join("large.txt")).unwrap();
    file.set_len(200 << 20).unwrap();
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["small.txt"]);
    insta::assert_snapshot!(
        outcome.rejected[0].reason,
        @"has 209715200 bytes; the limit is 67108864 (raise `max_size` of the scan node to index it)"
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
    assert_eq!(pipeline::uri::to_path(URI.of(&outcome.rows).unwrap().value(0)), Some(path));
}

#[test]
fn pipes_are_no_documents() {
    let folder = folder(&[("a.md", "")]);
    let made =
        std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let outcome = scan(folder.path(), json!({ "paths": ["."] }));
    assert_eq!(names(folder.path(), &outcome), ["a.md"]);
    assert!(
        source("scan", json!({ "paths": ["pipe"] }), folder.path()).build(&no_resources()).is_err()
    );
}

#[test]
fn batches_are_bounded_by_bytes_and_lookups_are_grouped() {
    let files: Vec<_> =
        (0..600).map(|index| (format!("{index:04}.txt"), "x".repeat(1000))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let folder = folder(&files);
    let config = source("scan", json!({ "paths": ["."], "batch_bytes": 10_000 }), folder.path());
    let (outcome, batches) = read_all(&*config, &no_resources());
    assert_eq!(outcome.rows.num_rows(), 600);
    assert!((60..=63).contains(&batches), "{batches}");
    let sorted: Vec<_> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(folder.path(), &outcome), sorted);
}

/// Known state of the next run if this one stored every file with this content.
fn as_known_locations(outcome: &Outcome, state: &KnownState) -> Vec<KnownLocation> {
    (0..outcome.rows.num_rows())
        .map(|row| KnownLocation {
            location: Location::from_row(&outcome.rows, row).unwrap(),
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
    let with = resources_knowing(as_known_locations(&first, &KnownState::Stored));

    // An edit that preserves size and modification time.
    let before = fs_err::metadata(path("edited")).unwrap().modified().unwrap();
    let changed = |name: &str| {
        let found = fs_err::metadata(path(name)).unwrap();
        (found.ctime(), found.ctime_nsec())
    };
    // Times of files advance with the ticks of the kernel; `new` was written last.
    while changed("edited") <= changed("new") {
        fs_err::write(path("edited"), "x").unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(path("edited")).unwrap();
        file.file().set_modified(before).unwrap();
    }
    fs_err::write(path("touched"), "3").unwrap();
    fs_err::write(path("other"), "4").unwrap();
    fs_err::rename(path("other"), path("replaced")).unwrap();

    let config = source("scan", json!({ "paths": ["."] }), folder.path());
    let (second, _) = read_all(&*config, &with);
    assert_eq!(names(folder.path(), &second), ["edited", "new", "replaced", "touched"]);
    let known: BTreeMap<_, _> = names(folder.path(), &second)
        .into_iter()
        .zip(KNOWN_HASH.of(&second.rows).unwrap().iter().map(|hash| hash.map(|hash| hash[0])))
        .collect();
    assert_eq!((known["edited"], known["new"]), (Some(7), None));
    let [same] = &second.rejected[..] else { panic!("{:?}", second.rejected) };
    assert_eq!(same.reason, RejectReason::Unchanged);
    assert_eq!(same.content_hash, Some(ContentHash([7; 32])));
}

#[test]
fn what_was_set_aside_stays_so_unless_it_could_not_be_read() {
    let folder = folder(&[("a", "1")]);
    let first = scan(folder.path(), json!({ "paths": ["."] }));
    let again = |state: &KnownState, content: Option<ContentHash>| {
        let known = as_known_locations(&first, state).into_iter();
        let known = known.map(|known| KnownLocation { content_hash: content, ..known }).collect();
        read_all(
            &*source("scan", json!({ "paths": ["."] }), folder.path()),
            &resources_knowing(known),
        )
        .0
    };
    let failed = KnownState::Rejected {
        node: "extract".to_owned(),
        reason: "failed".to_owned(),
        message: "is not a valid PDF file: no".to_owned(),
        since: None,
    };
    let outcome = again(&failed, Some(ContentHash([7; 32])));
    let [Rejection { reason: RejectReason::PreviouslyRejected { node, .. }, .. }] =
        &outcome.rejected[..]
    else {
        panic!()
    };
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
        match scan.decide(&uri).unwrap() {
            SourceDecision::Included(location) => {
                assert_eq!(location.uri, uri);
                "given".to_owned()
            }
            SourceDecision::Rejected(document) => document.reason.code().to_owned(),
            SourceDecision::Excluded(words) => words.join(" & "),
            SourceDecision::Missing => "not there".to_owned(),
            SourceDecision::OutsideSource => "elsewhere".to_owned(),
        }
    };
    assert_eq!(said("docs/a.md"), "given");
    assert_eq!(said("docs/large.md"), "too_large");
    assert_eq!(said("docs/none.md"), "not there");
    assert_eq!(said("elsewhere.md"), "elsewhere");
    assert_eq!(said("docs/b.txt"), "it matches no glob of `include`");
    assert_eq!(said("docs/drafts/c.md"), "it matches the glob `drafts` of `exclude`");
    assert_eq!(said("docs/f.log.md"), "it matches the glob `*.log.md` of `exclude`");
    assert!(said("docs/.git/d.md").contains("`hidden: true`"), "{}", said("docs/.git/d.md"));
    assert!(said("docs/link.md").contains("`follow_symlinks: true`"), "{}", said("docs/link.md"));
    let all = said("docs/drafts/.e.txt");
    for word in ["`drafts`", "`include`", "`hidden: true`"] {
        assert!(all.contains(word), "{all}");
    }
    assert_eq!(said("docs/drafts"), "it is a folder");
}

/// An answer must reveal nothing outside the scanned folder, because a client of the server can
/// request any path: paths behind a link that leads outside are excluded, whether they exist or
/// not.
#[test]
fn nothing_is_said_of_what_is_behind_a_way_out() {
    let outside = folder(&[("there.md", "x"), ("folder/there.md", "x")]);
    let folder = folder(&[("docs/a.md", "a"), ("docs/sub/b.md", "b")]);
    let root = folder.path().join("docs");
    let out = |name: &str| outside.path().join(name);
    symlink(outside.path(), root.join("out")).unwrap();
    symlink(out("there.md"), root.join("out.md")).unwrap();
    symlink(out("none.md"), root.join("dangling.md")).unwrap();
    symlink("../out/folder", root.join("sub/through")).unwrap();
    symlink("../../docs/../nowhere", root.join("sub/up")).unwrap();
    symlink("dangling.md", root.join("chain.md")).unwrap();
    for options in [
        json!({ "paths": ["docs"] }),
        json!({ "paths": ["docs"], "follow_symlinks": true }),
        json!({ "paths": ["docs"], "follow_symlinks": true, "hidden": true, "exclude": ["out/*"] }),
        json!({ "paths": ["docs"], "include": ["**/a.md"], "max_size": 1 }),
    ] {
        let scan = source("scan", options.clone(), folder.path());
        let verdict = |name: &str| scan.decide(&pipeline::uri::of_path(&root.join(name))).unwrap();
        let expected = SourceDecision::Excluded(vec![
            "a link in its path leads outside the scanned folder".to_owned(),
        ]);
        for name in [
            "out",
            "out/there.md",
            "out/none.md",
            "out/folder",
            "out/folder/none",
            "out/there.md/none",
            "out.md",
            "dangling.md",
            "dangling.md/x",
            "chain.md",
            "sub/through/there.md",
            "sub/through/none.md",
            "sub/up",
        ] {
            assert_eq!(verdict(name), expected, "{name} with {options}");
        }
        for name in ["../outside.md", "out/../../x", "sub/../../../etc/passwd"] {
            assert_eq!(verdict(name), SourceDecision::OutsideSource, "{name}");
        }
        assert!(matches!(verdict("a.md"), SourceDecision::Included(_)), "{options}");
        assert_eq!(verdict("none.md"), SourceDecision::Missing, "{options}");
    }
}

#[test]
fn a_failure_that_was_known_is_no_news_and_one_that_has_changed_is() {
    let folder = folder(&[("a", "1"), ("b", "2")]);
    for name in ["a", "b"] {
        fs_err::remove_file(folder.path().join(name)).unwrap();
        symlink(name, folder.path().join(name)).unwrap();
    }
    let config =
        || source("scan", json!({ "paths": ["."], "follow_symlinks": true }), folder.path());
    let (first, _) = read_all(&*config(), &no_resources());
    assert_eq!(first.rejected.len(), 2);
    assert!(
        first.rejected.iter().all(|it| matches!(it.reason, RejectReason::Failed(_))),
        "{first:?}"
    );
    let since = Some(Default::default());
    let known = |document: &Rejection, message: String| KnownLocation {
        location: document.location.clone(),
        content_hash: None,
        state: KnownState::Unreadable { node: "files".to_owned(), message, since },
    };
    let [a, b] = &first.rejected[..] else { unreachable!("there are two") };
    let with = resources_knowing(vec![
        known(a, a.reason.to_string()),
        known(b, "something else".to_owned()),
    ]);
    let (second, _) = read_all(&*config(), &with);
    let [a_again, b_again] = &second.rejected[..] else { panic!("{second:?}") };
    let RejectReason::PreviouslyRejected { node, reason, message, since: of_before } =
        &a_again.reason
    else {
        panic!("{a_again:?}")
    };
    assert_eq!(
        (node.as_str(), reason.as_str(), message),
        ("files", "failed", &a.reason.to_string())
    );
    assert_eq!(*of_before, since);
    assert_eq!(b_again.reason, b.reason);
}
