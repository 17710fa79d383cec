//! The units in `configs/systemd/`: each is started like systemd does, with its environment and as
//! an unprivileged user that may write only to the folders of the unit.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::relocated_install::{NOBODY, install};
use crate::support::{ROOT, end, signal, wait_for};

/// The folders that systemd creates for a unit, as the units name them.
const STATE: &str = "/var/lib/semantik";
const CACHE: &str = "/var/cache/semantik";

/// A unit: its lines of the form `Key=Value`, in order.
struct Unit {
    name: &'static str,
    lines: Vec<(String, String)>,
}

impl Unit {
    fn read(name: &'static str) -> Self {
        let text =
            std::fs::read_to_string(Path::new(ROOT).join("configs/systemd").join(name)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
        let lines = lines.map(|line| {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
            (key.to_owned(), value.to_owned())
        });
        Self { name, lines: lines.collect() }
    }

    fn all(&self, key: &str) -> Vec<&str> {
        let values = self.lines.iter().filter(|(of, _)| of == key);
        values.map(|(_, value)| value.as_str()).collect()
    }

    fn one(&self, key: &str) -> &str {
        let values = self.all(key);
        assert_eq!(values.len(), 1, "{} must have one {key}: {values:?}", self.name);
        values[0]
    }

    fn is_success(&self, code: i32) -> bool {
        let more = self.all("SuccessExitStatus");
        code == 0 || more.iter().any(|codes| codes.split(' ').any(|it| it == code.to_string()))
    }
}

const SERVICES: [&str; 3] =
    ["semantik-worker.service", "semantik-serve.service", "semantik-run@.service"];

/// A file system root in a folder: a read-only `/etc/semantik`, and the folders that systemd
/// creates.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::Builder::new().prefix("unit-").tempdir_in("/tmp").unwrap());
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(machine.0.path(), 0o755);
        // The user of the unit may have no access to the build tree.
        install(&machine.path("/usr/local"), "bin", "lib/semantik");
        let (etc, corpus) = (machine.path("/etc/semantik"), machine.path("/corpus"));
        for folder in [&etc, &corpus, &machine.path(STATE), &machine.path(CACHE)] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for folder in [STATE, CACHE] {
            let folder = machine.path(folder);
            mode(&folder, 0o700);
            if rustix::process::geteuid().is_root() {
                chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        std::fs::write(corpus.join("a.txt"), "A text about the harbour.").unwrap();
        let corpus = corpus.display();
        let yaml = format!(
            "\
version: 1
name: docs
collection: docs
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [{corpus}] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: extract, uses: extract, from: hash }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 64, overlap: 8 }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: 'stand-in:16' }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"
        );
        std::fs::write(etc.join("docs.yaml"), yaml).unwrap();
        // `ProtectSystem=strict`: the configuration is read-only.
        mode(&etc, 0o555);
        machine
    }

    /// The path in this folder for a path of a unit.
    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn translated(&self, word: &str) -> String {
        let root = self.0.path().display();
        let mut word = word.replace("%i", "docs").replace("127.0.0.1:8080", "127.0.0.1:0");
        for folder in [STATE, CACHE, "/etc/semantik"] {
            word = word.replace(folder, &format!("{root}{folder}"));
        }
        word
    }

    fn start(&self, unit: &Unit) -> Child {
        let mut words = unit.one("ExecStart").split(' ').map(|word| self.translated(word));
        let program = words.next().unwrap();
        assert_eq!(program, "/usr/local/bin/semantik");
        let mut command = Command::new(self.path(&program));
        command.args(words).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        for variable in unit.all("Environment") {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, self.translated(value));
        }
        command.current_dir(self.translated(unit.one("WorkingDirectory")));
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Asserts that the embedded stores are in the state folder and that the configuration is
    /// unchanged.
    fn assert_data_is_in_its_place(&self) {
        for store in ["postgres", "vectors"] {
            assert!(self.path(STATE).join(store).is_dir(), "{store} must be in the state folder");
        }
        let etc = std::fs::read_dir(self.path("/etc/semantik")).unwrap();
        let etc: Vec<_> = etc.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(etc, ["docs.yaml"]);
    }
}

#[test]
fn a_run_works_under_its_unit() {
    let machine = Machine::new();
    let unit = Unit::read("semantik-run@.service");
    for _ in 0..2 {
        let ran = end(machine.start(&unit));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        machine.assert_data_is_in_its_place();
    }
    // The unit treats failed documents and a stop as success, and other failures as failure.
    assert!(
        unit.is_success(2) && unit.is_success(143) && !unit.is_success(1) && !unit.is_success(78)
    );
}

#[test]
fn a_worker_works_under_its_unit() {
    let machine = Machine::new();
    let unit = Unit::read("semantik-worker.service");
    let child = machine.start(&unit);
    let pid = machine.path(STATE).join("postgres/cluster/data/postmaster.pid");
    wait_for("the embedded server", || {
        let text = std::fs::read_to_string(&pid).ok()?;
        text.contains("ready").then_some(())
    });
    signal(&child, "-TERM");
    let ran = end(child);
    assert!(unit.is_success(ran.code), "{}: {}", ran.code, ran.stderr);
    assert_eq!(std::fs::read_dir(machine.path("/etc/semantik")).unwrap().count(), 1);
    assert!(!pid.exists(), "the last process must stop the embedded server");
}

#[test]
fn a_server_works_under_its_unit() {
    let machine = Machine::new();
    let unit = Unit::read("semantik-serve.service");
    let mut child = machine.start(&unit);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut heard = String::new();
    while !heard.contains("serving on") {
        let read = said.read_line(&mut heard).unwrap();
        assert_ne!(read, 0, "the server exited: {heard}");
    }
    let token = machine.path(STATE).join("setup-token");
    let mode = std::fs::metadata(&token).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner may read the token");
    signal(&child, "-TERM");
    said.read_to_string(&mut heard).unwrap();
    let ran = end(child);
    assert_eq!(ran.code, 0, "{heard}");
    assert!(unit.is_success(ran.code));
    assert_eq!(std::fs::read_dir(machine.path("/etc/semantik")).unwrap().count(), 1);
}

/// Units write only to folders that systemd creates, and all units share the state folder, so that
/// they use the same stores.
#[test]
fn units_write_to_their_own_folders_alone() {
    for unit in SERVICES.map(Unit::read) {
        assert_eq!(unit.one("ProtectSystem"), "strict");
        assert_eq!(format!("/var/lib/{}", unit.one("StateDirectory")), STATE);
        assert_eq!(format!("/var/cache/{}", unit.one("CacheDirectory")), CACHE);
        assert_eq!(unit.one("WorkingDirectory"), STATE);
        // The embedded PostgreSQL server must outlive the process that started it while another
        // process uses it.
        assert_eq!(unit.one("KillMode"), "process");
        let variables = unit.all("Environment");
        assert!(variables.contains(&format!("SEMANTIK_DATA={STATE}").as_str()), "{variables:?}");
        let paths = unit.lines.iter().filter(|(key, _)| key == "ExecStart" || key == "Environment");
        for path in paths.flat_map(|(_, value)| value.split([' ', '='])) {
            let is_known = ["/usr/local/bin/semantik", "/etc/semantik", STATE, CACHE]
                .iter()
                .any(|known| Path::new(path).starts_with(known));
            assert!(is_known || !path.starts_with('/'), "{}: {path}", unit.name);
        }
    }
}

/// `systemd-analyze` accepts the units; `.ci/setup systemd` installs it.
#[test]
fn systemd_knows_every_key_of_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(Path::new(ROOT).join("configs/systemd")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        // systemd checks that the program exists.
        let text = text.replace("/usr/local/bin/semantik", env!("CARGO_BIN_EXE_semantik"));
        std::fs::write(folder.path().join(&name), text).unwrap();
        names.push(name.replace('@', "@docs"));
    }
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(&names)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("semantik")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
