//! Files on the command line: every spelling of a path, known failures, and sources without
//! documents.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{CommandOutput, TestProject, command, ran, text};

impl TestProject {
    /// Runs the command with arguments that may not be UTF-8, in a subfolder of the place.
    fn semantik_in(&self, folder: &str, args: &[OsString]) -> CommandOutput {
        ran(command(&[]).args(args).current_dir(self.path().join(folder)).output().unwrap())
    }
}

fn os(text: impl AsRef<OsStr>) -> OsString {
    text.as_ref().to_owned()
}

/// Difficult names: spaces, characters that URIs encode, other scripts, bytes that are not UTF-8
/// (two names that display alike), control characters, and a right-to-left override.
const NAMES: [&[u8]; 10] = [
    b"plain.txt",
    b"with spaces .txt",
    "sub/\u{fc}ber.txt".as_bytes(),
    b"sub/100%?#&+.txt",
    b"sub/deep/-rf",
    b"caf\xe9.txt",
    b"caf\xe8.txt",
    b"sub/new\nline\x1b[31m.txt",
    "sub/\u{202e}gpj.txt".as_bytes(),
    b"sub/%41%2F.txt",
];

/// Every spelling of the path of a document, relative to the folder `here/now` beside the corpus.
/// `alias` is a link to the corpus, and `link` in the corpus a link to `sub`.
fn spellings(place: &TestProject, name: &[u8]) -> Vec<OsString> {
    let behind =
        |folder: &str, name: &[u8]| OsString::from_vec([folder.as_bytes(), b"/", name].concat());
    let corpus = place.corpus().display().to_string();
    let path = PathBuf::from(behind(&corpus, name));
    let each_byte: String =
        path.as_os_str().as_bytes()[1..].iter().map(|byte| format!("%{byte:02x}")).collect();
    let uri = pipeline::uri::of_path(&path);
    let mut all = vec![
        behind(&corpus, name),
        behind(&format!("{corpus}//./sub/.."), name),
        behind("../../corpus", name),
        behind("./../now/../../corpus/.", name),
        behind("../../alias", name),
        behind("../../alias/sub/..", name),
        behind("../../alias/link/..", name),
        os(&uri),
        os(uri.replace("file://", "file://localhost")),
        os(format!("file:///{each_byte}")),
    ];
    if let Some(below) = name.strip_prefix(b"sub/") {
        all.push(behind("../../corpus/link", below));
        all.push(behind("../../alias/link/./", below));
    }
    all
}

#[test]
fn every_spelling_of_a_path_names_its_document() {
    let place = TestProject::with_stand_in();
    for (n, name) in NAMES.iter().enumerate() {
        let path = place.corpus().join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("document number {n}, which is {} long", name.len())).unwrap();
    }
    std::fs::create_dir_all(place.path().join("here/now")).unwrap();
    symlink("corpus", place.path().join("alias")).unwrap();
    symlink("sub", place.corpus().join("link")).unwrap();
    // The pipeline file names its source by a link, so no absolute path equals a stored one by
    // accident.
    place.edit_pipeline("paths: [corpus]", "paths: [alias]");
    assert_eq!(place.run()["documents"]["stored"], NAMES.len() as u64);

    let config = ["../../pipeline.yaml"].map(os);
    let list = |more: &[&str]| {
        let args =
            [&["documents", "list"].map(os)[..], &config, &more.iter().map(os).collect::<Vec<_>>()];
        let ran = place.semantik_in("here/now", &args.concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    };
    let listed = list(&["--json"]).json();
    let printed = list(&[]).stdout;
    assert!(!printed.contains('\u{1b}') && !printed.contains('\u{202e}'), "{printed}");
    for name in NAMES {
        let uri = pipeline::uri::of_path(
            &std::fs::canonicalize(place.path())
                .unwrap()
                .join("corpus")
                .join(OsStr::from_bytes(name)),
        );
        let of_it = |it: &&Value| text(&it["uri"]).ends_with(uri.rsplit('/').next().unwrap());
        let document = listed.as_array().unwrap().iter().find(of_it).unwrap();
        let mut named = spellings(&place, name);
        named.push(os(text(&document["id"])));
        named.push(os(text(&document["uri"])));
        // The list prints a path if the path is displayed without loss, else the URI.
        let path = text(&document["path"]);
        let is_shown = |shown: &str| printed.lines().any(|line| line.contains(shown));
        if !path.contains('\u{fffd}') && is_shown(&path) {
            named.push(os(path));
        } else {
            let shown = text(&document["uri"]).replace('\u{202e}', "%E2%80%AE");
            assert!(is_shown(&shown), "missing {shown} in\n{printed}");
            named.push(os(shown));
        }
        let change = |verb: &str| {
            let words = ["documents", verb].map(os);
            let named = [&[os("--yes"), os("--")], &named[..]].concat();
            let ran = place.semantik_in("here/now", &[&words[..], &config, &named].concat());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert_eq!(ran.stdout, format!("{verb}d 1 document\n"), "{uri}");
        };
        change("delete");
        change("undelete");
    }

    // Verbs that take one document.
    let first = os(OsStr::from_bytes(b"../../alias/link/../caf\xe8.txt"));
    let show = [
        &["documents", "show"].map(os)[..],
        &config,
        &["--json", "--"].map(os),
        std::slice::from_ref(&first),
    ];
    let shown = place.semantik_in("here/now", &show.concat());
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let why = [&[os("why")][..], &config, &["--json", "--"].map(os), &[first]].concat();
    let why = place.semantik_in("here/now", &why).json();
    assert_eq!((&why["state"], &why["document"]["id"]), (&"stored".into(), &shown.json()["id"]));
    assert!(text(&why["uri"]).ends_with("/corpus/caf%E8.txt"), "{why:#}");

    // `why` also accepts the path of a file without a document.
    place.write("sub/new.txt", "a document that no run has seen");
    for name in
        ["../../corpus/link/new.txt", "../../alias/sub/new.txt", "../../corpus/./sub/new.txt"]
    {
        let why = [&[os("why")][..], &config, &[os("--json"), os(name)]].concat();
        let why = place.semantik_in("here/now", &why).json();
        assert_eq!(why["next_run"], "stores it", "{name}: {why:#}");
    }
    let show = [&["documents", "show"].map(os)[..], &config, &[os("../../corpus/none")]].concat();
    let ran = place.semantik_in("here/now", &show);
    assert!(
        ran.code == 1 && ran.stderr.contains("no document ../../corpus/none"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_failure_counts_once() {
    let place = TestProject::with_stand_in();
    place.edit_pipeline("max_size: 8MB", "max_size: 8MB, follow_symlinks: true");
    place.write("good.txt", "a good document");
    place.write("empty.txt", "");
    place.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    place.write("bad.docx", "this is no archive");
    std::fs::File::create(place.corpus().join("huge.txt")).unwrap().set_len(9 << 20).unwrap();
    // A link to itself is unreadable for every user.
    symlink("round", place.corpus().join("round")).unwrap();
    let run = |what: &str, code: i32, newly_failed: u64| {
        let ran = place.semantik(&["run", "pipeline.yaml", "--json"]);
        assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
        let report = ran.json();
        assert_eq!(report["newly_failed"], newly_failed, "{what}: {report:#}");
        let set_aside = report["set_aside"].as_array().unwrap();
        let news = set_aside.iter().filter(|it| it["reason"] == "failed" && it["known"].is_null());
        assert_eq!(news.count() as u64, newly_failed, "{what}: {report:#}");
        report
    };
    let first = run("two fail", 2, 2);
    let second = run("both are known", 0, 0);
    assert_eq!(first["reasons"], second["reasons"]);
    let known = &second["set_aside"].as_array().unwrap()[0]["known"];
    assert!(known["since"].is_string(), "{second:#}");
    let table = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(table.code, 0);
    assert!(table.stdout.contains("2, both known since 20"), "{}", table.stdout);

    place.write("bad.docx", "this is still no archive");
    run("one was edited", 2, 1);
    run("and is known again", 0, 0);
    place.write("worse.docx", "nor is this");
    let table = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(table.code, 2);
    assert!(table.stdout.contains("3, 1 new and 2 known since 20"), "{}", table.stdout);
    place.edit_pipeline("size: 64", "size: 48");
    run("other settings", 2, 3);
    run("of which they are known", 0, 0);

    // All commands show the same reasons and counts.
    let reasons = &run("once more", 0, 0)["reasons"];
    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_eq!(&status["set_aside"], reasons, "{status:#}");
    let show = ["collections", "show", "pipeline.yaml", "--json"];
    assert_eq!(&place.semantik(&show).json()["set_aside"], reasons);
    let list = |more: &[&str]| {
        let args = ["documents", "list", "pipeline.yaml", "--json"];
        let ran = place.semantik(&[&args[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.json().as_array().unwrap().clone()
    };
    for (reason, count) in reasons.as_object().unwrap() {
        let listed = list(&["--reason", reason]);
        assert_eq!(listed.len() as u64, *count, "{reason}: {listed:#?}");
        assert!(listed.iter().all(|it| it["reason"] == **reason), "{reason}: {listed:#?}");
    }
    let all = list(&["--status", "set-aside"]);
    let sum: u64 = reasons.as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(all.len() as u64, sum);
    // Page by page, including rejections without a document.
    let (mut pages, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["--status", "failed", "--limit", "1"];
        args.extend(after.iter().flat_map(|after| ["--after", after]));
        let Some(one) = list(&args).pop() else { break };
        after = Some(one["id"].as_str().map_or_else(|| text(&one["uri"]), str::to_owned));
        pages.push(one);
    }
    assert_eq!(pages, all);
    let ran = place.semantik(&["documents", "list", "pipeline.yaml", "--status", "set_aside"]);
    for words in
        ["set aside: unsupported", "set aside: too_large", "set aside: failed", "set aside: empty"]
    {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert!(place.semantik(&["status", "pipeline.yaml"]).stdout.contains("documents set aside"));
}

#[test]
fn a_source_that_cannot_give_anything_is_a_warning_and_an_error() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    std::fs::create_dir(place.path().join("other")).unwrap();
    std::fs::write(place.path().join("other/.hidden.txt"), "out of sight").unwrap();
    let good = "paths: [corpus]";
    // The last case stores the document of the other source.
    for (scan, warning, error) in [
        (
            "paths: [corpus, 's3://bucket/x']",
            "`s3://bucket/x` is a URL",
            "`s3://bucket/x` is a URL, but `scan` reads only local files and folders",
        ),
        ("paths: [corpus, corpsu]", "corpsu`: no such file or folder", "or correct `paths`"),
        ("paths: [corpus], include: ['*.mdd']", "corpus` matches", "(left out: 1 by globs)"),
        ("paths: [corpus, other]", "other` matches", "(left out: 1 hidden)"),
    ] {
        place.edit_pipeline(good, scan);
        let checked = place.semantik(&["check", "pipeline.yaml"]);
        assert_eq!(checked.code, 0, "{}", checked.stderr);
        assert!(checked.stdout.contains("no faults, 1 warning"), "{}", checked.stdout);
        assert!(checked.stderr.contains(warning), "{}", checked.stderr);
        assert!(
            checked.stderr.contains("warning") && checked.stderr.contains("^^^"),
            "{}",
            checked.stderr
        );
        let planned = place.semantik(&["plan", "pipeline.yaml"]);
        let said = format!("{}{}", planned.stdout, planned.stderr);
        assert!(said.contains(error), "{scan}: {said}");
        let ran = place.semantik(&["run", "pipeline.yaml"]);
        assert_eq!(ran.code, 1, "{scan}: {}", ran.stderr);
        assert!(ran.stderr.contains(error), "{scan}: {}", ran.stderr);
        place.edit_pipeline(scan, good);
    }
    // The document of the other source was stored.
    assert_eq!(place.run_and_summarize(), "unchanged 1");
    // A known source may become empty; only the deletion limit applies.
    place.edit_pipeline(good, "paths: [corpus, other], hidden: true");
    assert_eq!(place.run_and_summarize(), "read 1, stored 1, unchanged 1, embedded 5");
    std::fs::remove_file(place.path().join("other/.hidden.txt")).unwrap();
    assert_eq!(place.run_and_summarize(), "unchanged 1, deleted 1");
    assert_eq!(place.run_and_summarize(), "unchanged 1");

    place.write(".dotfile", "left out");
    place.edit_pipeline("hidden: true", "exclude: ['*.log', 'x/**']");
    place.write("b.log", "left out");
    let report = place.run();
    assert_eq!(report["left_out"], serde_json::json!({ "globs": 1, "hidden": 1 }), "{report:#}");
    let table = place.semantik(&["run", "pipeline.yaml"]).stdout;
    assert!(table.contains("1 by globs, 1 hidden"), "{table}");
}

#[test]
fn a_pipeline_file_that_is_not_there_is_a_wrong_one() {
    let place = TestProject::with_stand_in();
    for args in [
        &["run", "nope.yaml"][..],
        &["check", "nope.yaml"],
        &["plan", "nope.yaml"],
        &["status", "nope.yaml"],
        &["documents", "list", "nope.yaml"],
    ] {
        let ran = place.semantik(args);
        assert_eq!(ran.code, 78, "{args:?}: {}", ran.stderr);
        let wanted = "semantik: cannot read the pipeline file nope.yaml: no such file\n";
        assert_eq!(ran.stderr, wanted, "{args:?}");
    }
    let ran = place.semantik(&["run", "corpus"]);
    assert!(
        ran.code == 78 && ran.stderr.contains("it is a folder"),
        "{}: {}",
        ran.code,
        ran.stderr
    );
}
