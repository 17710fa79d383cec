//! The program and libtorch can be moved together: the program finds the libraries beside itself,
//! for any user and independently of the build folder.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{ROOT, ran};

/// The user and group `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

const PROGRAM: &str = env!("CARGO_BIN_EXE_semantik");

/// The libraries of a program by name, with the path that the loader resolves.
fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(" => ")?;
        Some((name.to_owned(), PathBuf::from(rest.split(" (").next()?)))
    });
    found.collect()
}

/// Creates a hard link, or a copy where links are not possible.
fn link_or_copy(from: &Path, to: &Path) {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

/// Installs the program and libtorch in folders below `root`, where any user can run it; gives the
/// path of the program.
pub(crate) fn install(root: &Path, bin: &str, lib: &str) -> PathBuf {
    let (bin, lib) = (root.join(bin), root.join(lib));
    // The root first, because `root/.` cannot be created.
    for folder in [root, &bin, &lib] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let program = bin.join("semantik");
    link_or_copy(Path::new(PROGRAM), &program);
    for entry in std::fs::read_dir(built_with()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name.to_string_lossy().contains(".so") {
            link_or_copy(&path, &lib.join(name));
        }
    }
    program
}

/// The folder of the libtorch that the program was built with.
fn built_with() -> PathBuf {
    let libraries = libraries(Path::new(PROGRAM));
    let (_, torch) = libraries.iter().find(|(name, _)| name == "libtorch_cpu.so").unwrap();
    torch.parent().unwrap().to_owned()
}

#[test]
fn the_program_and_libtorch_work_wherever_they_are_put_together() {
    // Other users may lack access to the build tree, but not to this folder.
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let torch = built_with();

    let model = folder.path().join("model");
    let small = Path::new(ROOT).join("embedding/tests/reference/tiny-bert-cls");
    assert!(Command::new("cp").arg("-r").args([&small, &model]).status().unwrap().success());
    for (bin, lib) in [(".", "lib"), ("bin", "lib"), ("bin", "lib/semantik")] {
        let root = folder.path().join(lib.replace('/', "-") + &bin.replace('.', "beside"));
        let mut embed = Command::new(install(&root, bin, lib));
        embed.args(["embed", "--model"]).arg(&model).current_dir(folder.path());
        // The loader logs the files that it loads.
        embed.env_clear().env("LD_DEBUG", "libs").env("HOME", "/");
        if rustix::process::geteuid().is_root() {
            embed.uid(NOBODY).gid(NOBODY);
        }
        embed.stdin(std::process::Stdio::piped());
        embed.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = embed.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a text\n").unwrap();
        let ran = ran(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("\"vector\":["), "{}", ran.stdout);

        let used: BTreeSet<&Path> = ran
            .stderr
            .lines()
            .filter_map(|line| line.split_once("calling init: ").map(|(_, path)| Path::new(path)))
            .collect();
        let ours: Vec<&&Path> = used.iter().filter(|path| path.starts_with(&root)).collect();
        assert!(ours.iter().any(|path| path.ends_with("libtorch_cpu.so")), "{used:?}");
        let tree: Vec<&&Path> = used.iter().filter(|path| path.starts_with(&torch)).collect();
        assert!(tree.is_empty(), "libraries of the build tree are loaded: {tree:?}");
    }
}
