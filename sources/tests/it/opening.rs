//! Files that change between the walk and the read. The lookup in the metadata store happens
//! between the two, so the test store changes the folder at that moment.

use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use arrow::array::Array as _;
use async_trait::async_trait;
use pipeline::column::{BYTES, URI};
use pipeline::{
    DocumentIdentity, IncomingDocument, KnownHashes, KnownLocation, MetadataStore, Outcome,
    Rejection, Resources, StoreError, StoredDocument,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::source;
use pipeline::test_util::{no_resources, reasons};

/// A change of a folder between the walk and the read.
type Replace = fn(&Path);

/// A store without documents that changes the folder at the first lookup.
struct ReplacingStore(Mutex<Option<Box<dyn FnOnce() + Send>>>);

#[async_trait]
impl MetadataStore for ReplacingStore {
    async fn lookup_locations(
        &self,
        uris: &[String],
    ) -> Result<Vec<Option<KnownLocation>>, StoreError> {
        if let Some(swap) = self.0.lock().unwrap().take() {
            swap();
        }
        Ok(vec![None; uris.len()])
    }

    async fn known_hashes(&self) -> Result<KnownHashes, StoreError> {
        unreachable!("a scan calls only `locate`")
    }

    async fn assign_ids(
        &self,
        _: &[IncomingDocument],
    ) -> Result<Vec<DocumentIdentity>, StoreError> {
        unreachable!("a scan calls only `locate`")
    }

    async fn commit(&self, _: &[StoredDocument]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("a scan calls only `locate`")
    }

    async fn record_rejections(&self, _: &[(String, Rejection)]) -> Result<Vec<Uuid>, StoreError> {
        unreachable!("a scan calls only `locate`")
    }

    async fn mark_purged(&self, _: &[Uuid]) -> Result<(), StoreError> {
        unreachable!("a scan calls only `locate`")
    }
}

/// A scanned folder `root` with the files `a`, `sub/b` and `z`, and a folder with files next to it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["root/a", "root/sub/b", "root/z", "outside/secret", "outside/b"] {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, format!("content of {name}")).unwrap();
    }
    folder
}

/// The outcome of a scan whose folder changes between the walk and the read. Fails if the scan
/// blocks.
fn scan(folder: &Path, options: Value, swap: Replace) -> Outcome {
    let root = folder.to_owned();
    let between = ReplacingStore(Mutex::new(Some(Box::new(move || swap(&root)))));
    let with = Resources { metadata: Arc::new(between), ..no_resources() };
    let config = source("scan", options, folder);
    let (sender, ended) = mpsc::channel();
    std::thread::Builder::new()
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut source = config.build(&with).unwrap();
            let first = runtime.block_on(source.next_batch()).unwrap().unwrap();
            assert!(
                runtime.block_on(source.next_batch()).unwrap().is_none(),
                "all files fit in one batch"
            );
            sender.send(first).unwrap();
        })
        .unwrap();
    ended.recv_timeout(Duration::from_secs(60)).expect("the scan blocks")
}

/// The contents that were read, and the documents set aside.
fn summary(outcome: &Outcome) -> (Vec<String>, Vec<(String, String)>) {
    let rows = &outcome.rows;
    assert_eq!(URI.of(rows).unwrap().len(), BYTES.of(rows).unwrap().len());
    let contents = BYTES.of(rows).unwrap();
    let contents = contents.iter().map(|it| String::from_utf8(it.unwrap().to_vec()).unwrap());
    (contents.collect(), reasons(&outcome.rejected))
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Creates a device that returns endless zeros. This needs root, and is not possible everywhere.
fn mkzero(path: &Path) {
    let made = Command::new("mknod").arg(path).args(["c", "1", "5"]).output().unwrap();
    if !made.status.success() || !fs_err::metadata(path).unwrap().file_type().is_char_device() {
        // Equivalent for the test: a link to the device.
        fs_err::remove_file(path).ok();
        symlink("/dev/zero", path).unwrap();
    }
}

const CHANGED: &str =
    "failed: cannot be read: it changed while the run read it; the next run reads it";

/// Changes of the file `a` or of the folder of `b`, the contents that are still read, and the files
/// that are set aside. Other files are skipped, as in the next walk.
const REPLACEMENTS: &[(&str, Replace, &[&str], &[&str])] = &[
    ("nothing happens", |_| {}, &["a", "sub/b", "z"], &[]),
    (
        "a FIFO without a writer",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            mkfifo(&folder.join("root/a"));
        },
        &["sub/b", "z"],
        &[],
    ),
    (
        "a socket",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            drop(UnixListener::bind(folder.join("root/a")).unwrap());
        },
        &["sub/b", "z"],
        &[],
    ),
    (
        "a folder",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            fs_err::create_dir(folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "a link to a file outside",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            symlink("../outside/secret", folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "an absolute link to a file outside",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            symlink(folder.join("outside/secret"), folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "a link to a device",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            symlink("/dev/zero", folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "a link to another file of the folder",
        |folder| {
            fs_err::remove_file(folder.join("root/a")).unwrap();
            symlink("z", folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "another file of the same name",
        |folder| {
            fs_err::write(folder.join("root/new"), "another content").unwrap();
            fs_err::rename(folder.join("root/new"), folder.join("root/a")).unwrap();
        },
        &["sub/b", "z"],
        &["a"],
    ),
    (
        "its folder is a link to one outside, with a file of the same name",
        |folder| {
            fs_err::rename(folder.join("root/sub"), folder.join("root/old")).unwrap();
            symlink("../outside", folder.join("root/sub")).unwrap();
        },
        &["a", "z"],
        &["b"],
    ),
    (
        "its folder is a file",
        |folder| {
            fs_err::remove_dir_all(folder.join("root/sub")).unwrap();
            fs_err::write(folder.join("root/sub"), "a file now").unwrap();
        },
        &["a", "z"],
        &["b"],
    ),
    (
        "the scanned folder itself is a link to one outside",
        |folder| {
            fs_err::rename(folder.join("root"), folder.join("old")).unwrap();
            symlink("outside", folder.join("root")).unwrap();
        },
        &["a", "sub/b", "z"],
        &[],
    ),
];

#[test]
fn whatever_a_file_becomes_nothing_outside_is_read_and_nothing_waits() {
    for follow_symlinks in [false, true] {
        for (what, swap, read, set_aside) in REPLACEMENTS {
            let folder = folder();
            let options = json!({ "paths": ["root"], "follow_symlinks": follow_symlinks });
            let outcome = scan(folder.path(), options, *swap);
            let expected: Vec<_> =
                read.iter().map(|name| format!("content of root/{name}")).collect();
            let aside: Vec<_> =
                set_aside.iter().map(|name| ((*name).to_owned(), CHANGED.to_owned())).collect();
            assert_eq!(
                summary(&outcome),
                (expected, aside),
                "{what}, following: {follow_symlinks}"
            );
        }
    }
}

#[test]
fn a_file_that_is_gone_says_so() {
    let folder = folder();
    let outcome = scan(folder.path(), json!({ "paths": ["root"] }), |folder| {
        fs_err::remove_file(folder.join("root/a")).unwrap();
    });
    let [(name, why)] = &reasons(&outcome.rejected)[..] else { panic!("{outcome:?}") };
    assert_eq!(name, "a");
    assert_eq!(why, "failed: cannot be read: file not found or dangling link");
}

/// Creating a device needs root; reading `/dev/zero` would never end.
#[test]
fn a_device_in_the_place_of_a_file_is_not_read() {
    let folder = folder();
    let outcome = scan(folder.path(), json!({ "paths": ["root"] }), |folder| {
        fs_err::remove_file(folder.join("root/a")).unwrap();
        mkzero(&folder.join("root/a"));
    });
    let (contents, _) = summary(&outcome);
    assert_eq!(contents, ["content of root/sub/b", "content of root/z"]);
}

#[test]
fn a_source_that_is_one_file_is_held_to_it() {
    let options = || json!({ "paths": ["root/a"] });
    let folder_ = folder();
    let outcome = scan(folder_.path(), options(), |folder| {
        fs_err::remove_file(folder.join("root/a")).unwrap();
        mkfifo(&folder.join("root/a"));
    });
    assert_eq!(summary(&outcome), (Vec::new(), Vec::new()));
    let folder = folder();
    let outcome = scan(folder.path(), options(), |folder| {
        fs_err::remove_file(folder.join("root/a")).unwrap();
        symlink(folder.join("outside/secret"), folder.join("root/a")).unwrap();
    });
    assert_eq!(summary(&outcome), (Vec::new(), vec![("a".to_owned(), CHANGED.to_owned())]));
}

#[test]
fn links_that_lead_inside_are_read_whatever_their_form() {
    let folder = folder();
    let root = folder.path().join("root");
    symlink("sub/b", root.join("relative")).unwrap();
    symlink(root.join("sub/b"), root.join("absolute")).unwrap();
    symlink("../root/sub/../sub/b", root.join("round about")).unwrap();
    symlink(root.join("sub"), root.join("folder")).unwrap();
    symlink("relative", root.join("link to a link")).unwrap();
    symlink(folder.path().join("outside"), root.join("out")).unwrap();
    // The path of the scanned folder contains a link, too.
    symlink("root", folder.path().join("alias")).unwrap();
    symlink(folder.path().join("alias/z"), root.join("by the alias")).unwrap();
    for paths in ["root", "alias"] {
        let options = json!({ "paths": [paths], "follow_symlinks": true });
        let (contents, aside) = summary(&scan(folder.path(), options, |_| {}));
        let b = "content of root/sub/b";
        let (a, z) = ("content of root/a", "content of root/z");
        // absolute, by the alias, folder/b, link to a link, relative, round about, sub/b
        assert_eq!(contents, [a, b, z, b, b, b, b, b, z], "{paths}");
        assert_eq!(aside, [], "{paths}");
    }
}

/// If a seccomp filter blocks `openat2`, files are opened component by component with the same
/// results.
#[test]
fn without_openat2_the_same_holds() {
    const REFUSED: &str = "STAGES_TEST_OPENAT2_REFUSED";
    if std::env::var_os(REFUSED).is_some() {
        whatever_a_file_becomes_nothing_outside_is_read_and_nothing_waits();
        return links_that_lead_inside_are_read_whatever_their_form();
    }
    // Makes `openat2` fail with this error, then executes the test.
    const REFUSE: &str = r#"
import ctypes, os, struct, sys
libc, error = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
OPENAT2, ALLOW, ERRNO = 437, 0x7FFF0000, 0x00050000
code = b"".join(struct.pack("HBBI", *it) for it in [
    (0x20, 0, 0, 0), (0x15, 0, 1, OPENAT2), (0x06, 0, 0, ERRNO | error), (0x06, 0, 0, ALLOW)])
buffer = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
assert libc.syscall(OPENAT2, -100, b"/", ctypes.create_string_buffer(24), 24) == -1
assert ctypes.get_errno() == error
os.execv(sys.argv[2], sys.argv[2:])
"#;
    for (name, error) in [("ENOSYS", "38"), ("EPERM", "1")] {
        let ran = Command::new("python3")
            .args([OsStr::new("-c"), OsStr::new(REFUSE), OsStr::new(error)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "opening::without_openat2_the_same_holds"])
            .env(REFUSED, name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{name}: {said}\n{}", String::from_utf8_lossy(&ran.stdout));
    }
}

/// The walk opens `.gitignore`, which can be anything, too.
#[test]
fn a_gitignore_that_is_no_file_is_passed_over() {
    let options = || json!({ "paths": ["root"], "gitignore": true });
    let makes: [fn(PathBuf); 4] = [
        |path| mkfifo(&path),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| fs_err::create_dir(path).unwrap(),
        |path| symlink("nowhere", path).unwrap(),
    ];
    for make in makes {
        let folder = folder();
        make(folder.path().join("root/.gitignore"));
        make(folder.path().join("root/sub/.gitignore"));
        let (contents, aside) = summary(&scan(folder.path(), options(), |_| {}));
        assert_eq!(contents, ["a", "sub/b", "z"].map(|name| format!("content of root/{name}")));
        assert_eq!(aside, []);
    }
}
