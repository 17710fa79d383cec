//! The embedded cluster: shared, killed, started concurrently, and run as every kind of user.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use metadata::EmbeddedPostgres;
use pipeline::test_util::KillableChild;
use sqlx::{Connection as _, PgConnection};

/// A folder that every user can traverse, for the clusters of a test.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a query that returns one number.
fn query_number(url: &str, question: &'static str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
    })
}

fn execute(url: &str, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    });
}

/// Another process that uses the cluster in a folder.
const CHILD: &str = env!("CARGO_BIN_EXE_metadata-test-child");

/// The command that executes a task of [`CHILD`].
fn child(task: &str, folder: &Path) -> Command {
    let mut command = Command::new(CHILD);
    command.arg(task).arg(folder);
    command
}

/// Starts a process that uses the cluster until it is killed; returns when it is ready.
fn hold(command: &mut Command) -> KillableChild {
    let mut child = KillableChild::start(command);
    assert!(child.wait_for_line("ready").is_some(), "the child exited early");
    child
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("cluster/data/postmaster.pid")
}

fn server_pid(folder: &Path) -> Option<String> {
    Some(fs_err::read_to_string(pid_file(folder)).ok()?.lines().next()?.to_owned())
}

#[test]
fn the_last_user_stops_the_server() {
    let folder = open_folder();
    let first = EmbeddedPostgres::start(folder.path()).unwrap();
    let second = EmbeddedPostgres::start(folder.path()).unwrap();
    assert_eq!(first.url(), second.url());
    execute(first.url(), "CREATE TABLE t (n bigint); INSERT INTO t VALUES (1);");
    drop(first);
    assert_eq!(query_number(second.url(), "SELECT n FROM t"), 1);
    drop(second);
    assert!(!pid_file(folder.path()).exists(), "the server has exited and removed its files");
    let again = EmbeddedPostgres::start(folder.path()).unwrap();
    assert_eq!(query_number(again.url(), "SELECT n FROM t"), 1);
}

#[test]
fn a_killed_command_leaves_a_server_that_the_next_one_uses() {
    let folder = open_folder();
    let child = hold(&mut child("hold", folder.path()));
    let server = server_pid(folder.path()).unwrap();
    child.kill();
    let next = EmbeddedPostgres::start(folder.path()).unwrap();
    assert_eq!(server_pid(folder.path()).unwrap(), server, "the same server is running");
    assert_eq!(query_number(next.url(), "SELECT n FROM t"), 7);
    drop(next);
    assert!(!pid_file(folder.path()).exists());
}

#[test]
fn a_killed_server_recovers() {
    let folder = open_folder();
    let child = hold(&mut child("hold", folder.path()));
    // Killing the server and the command together simulates a power failure.
    let server: i32 = server_pid(folder.path()).unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(server).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    child.kill();
    // The kernel needs a moment to end the process.
    while fs_err::read_link(format!("/proc/{server}/cwd")).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let next = EmbeddedPostgres::start(folder.path()).unwrap();
    assert_eq!(query_number(next.url(), "SELECT n FROM t"), 7);
}

#[test]
fn a_reused_pid_is_not_mistaken_for_the_server() {
    let folder = open_folder();
    drop(EmbeddedPostgres::start(folder.path()).unwrap());
    // After a power failure, this process may have the process id of the former server.
    let ours = format!("{}\n/nowhere\n1\n5432\n\n\n\nready   \n", std::process::id());
    let socket_lock = folder.path().join("cluster/socket/.s.PGSQL.5432.lock");
    // Or the power failed during the write of the file.
    for stale in [&ours, ""] {
        fs_err::write(pid_file(folder.path()), stale).unwrap();
        fs_err::write(&socket_lock, stale).unwrap();
        let next = EmbeddedPostgres::start(folder.path()).unwrap();
        assert_eq!(query_number(next.url(), "SELECT 1::bigint"), 1);
    }
}

#[test]
fn concurrent_starts_share_one_server() {
    let folder = open_folder();
    let start = |_| child("visit", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(start).collect();
    // All have exited before the first one can fail the test.
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    for output in outputs.collect::<Vec<_>>() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(!pid_file(folder.path()).exists(), "the last process has stopped it");
}

#[test]
fn the_server_is_in_a_session_of_its_own() {
    let folder = open_folder();
    let _cluster = EmbeddedPostgres::start(folder.path()).unwrap();
    let server = server_pid(folder.path()).unwrap();
    // The sixth field is the session; the second one, a name in parentheses, may contain spaces.
    let session = |pid: &str| {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_ne!(session(&server), session("self"), "Ctrl-C in our terminal must not reach it");
}

#[test]
fn only_its_user_can_reach_it() {
    let folder = open_folder();
    let cluster = EmbeddedPostgres::start(folder.path()).unwrap();
    let socket = cluster.url().split_once("host=").unwrap().1;
    for private in [Path::new(socket), &folder.path().join("cluster")] {
        let mode = fs_err::metadata(private).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", private.display());
    }
    let network =
        "SELECT count(*) FROM pg_settings WHERE name = 'listen_addresses' AND setting <> ''";
    assert_eq!(query_number(cluster.url(), network), 0);
}

#[test]
fn a_long_path_has_its_socket_elsewhere() {
    let folder = open_folder();
    // Folders created by semantik are closed to the user of the server; existing ones are not.
    let parent = folder.path().join("a folder, with a name".repeat(6));
    fs_err::create_dir(&parent).unwrap();
    let long = parent.join("it's \"here\"");
    let cluster = EmbeddedPostgres::start(&long).unwrap();
    assert_eq!(query_number(cluster.url(), "SELECT 1::bigint"), 1);
    assert!(cluster.url().contains("host=/tmp/semantik-"), "{}", cluster.url());
}

#[test]
fn an_ordinary_user_runs_the_server_as_that_user() {
    let ours = fs_err::metadata("/proc/self").unwrap();
    let (uid, gid) = if is_root() { (65_534, 65_534) } else { (ours.uid(), ours.gid()) };
    let folder = open_folder();
    chown(folder.path(), Some(uid), Some(gid)).unwrap();
    let program = folder.path().join("program");
    fs_err::copy(CHILD, &program).unwrap();
    let data = folder.path().join("data");
    let mut command = Command::new(&program);
    command.arg("hold").arg(&data).uid(uid).gid(gid).current_dir(folder.path());
    let child = hold(&mut command);
    assert_eq!(fs_err::metadata(pid_file(&data)).unwrap().uid(), uid);

    // Another process joins it, root's too, and the files keep their owner.
    let joined = EmbeddedPostgres::start(&data).unwrap();
    assert_eq!(query_number(joined.url(), "SELECT n FROM t"), 7);
    child.kill();
    drop(joined);
    assert_eq!(fs_err::metadata(data.join("cluster/data")).unwrap().uid(), uid);
}

#[test]
fn a_data_folder_that_the_server_cannot_reach_has_its_cluster_elsewhere() {
    // Only its owner can traverse it.
    let closed = tempfile::tempdir().unwrap();
    fs_err::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let folder = closed.path().join("data/postgres");
    let note = folder.join("cluster-is-at");
    let cluster = EmbeddedPostgres::start(&folder).unwrap();
    if !is_root() {
        // The server of an ordinary user is that user's process, so it reaches the folder.
        return assert!(!note.exists() && folder.join("cluster/data").exists());
    }
    execute(cluster.url(), "CREATE TABLE t (n bigint); INSERT INTO t VALUES (1);");
    drop(cluster);
    let first = fs_err::read_to_string(&note).unwrap();
    assert!(first.starts_with("/var/lib/semantik/"), "{first}");
    let again = EmbeddedPostgres::start(&folder).unwrap();
    assert_eq!(query_number(again.url(), "SELECT n FROM t"), 1);
    drop(again);

    // Deleting the data folder starts a new cluster.
    fs_err::remove_file(&note).unwrap();
    let fresh = EmbeddedPostgres::start(&folder).unwrap();
    assert_eq!(
        query_number(fresh.url(), "SELECT count(*) FROM pg_tables WHERE tablename = 't'"),
        0
    );
    drop(fresh);
    for cluster in [first, fs_err::read_to_string(&note).unwrap()] {
        fs_err::remove_dir_all(cluster.trim_end()).unwrap();
    }
}
