//! A library with the name of libtorch and without its content.
//!
//! Libtorch registers thousands of operators when it is loaded, which takes 0.2 s of processor time
//! in each process. A command with the stand-in model needs none of them, so tests run it with a
//! library that only has the symbols that the dynamic linker resolves; a function of it that is
//! called aborts the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

const LIBRARY: &str = "libtorch_cpu.so";

/// The folder of the library; `None` if the program is linked with more parts of libtorch.
pub(crate) fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| build(Path::new(env!("CARGO_BIN_EXE_semantik")))).as_deref()
}

/// Builds the library unless it exists for this build of the program.
fn build(program: &Path) -> Option<PathBuf> {
    let found = std::fs::metadata(program).unwrap();
    let built = found.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("empty-libtorch-{}-{built}", found.len());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        return Some(folder);
    }
    let is_torch =
        |library: &&str| library.starts_with("libtorch") || library.starts_with("libc10");
    let needed = output(Command::new("objdump").arg("-p").arg(program));
    let needed = needed.lines().filter_map(|line| line.trim().strip_prefix("NEEDED"));
    let parts: Vec<&str> = needed.map(str::trim).filter(is_torch).collect();
    if parts != [LIBRARY, "libc10.so"] {
        return None;
    }
    let libtorch = Path::new(env!("LIBTORCH")).join("lib/libc10.so");
    let elsewhere = symbols(&libtorch, "--defined-only");
    let missing = symbols(program, "--undefined-only");
    // Those of the system have a version.
    let missing = missing.iter().filter(|it| !it.contains('@') && !elsewhere.contains(it));
    let declared = missing.map(|symbol| {
        // Tables of virtual functions and type information are data.
        if symbol.starts_with("_ZT") {
            format!("char {symbol}[256];\n")
        } else {
            format!("void {symbol}(void) {{ __builtin_trap(); }}\n")
        }
    });
    let aside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let code = aside.path().join("empty.c");
    std::fs::write(&code, declared.collect::<String>()).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-nostdlib", "-fPIC", "-Wl,-soname", LIBRARY, "-o"]);
    output(compiler.arg(aside.path().join(LIBRARY)).arg(&code));
    // Fails if another test was faster.
    if std::fs::rename(aside.path(), &folder).is_ok() {
        // It is no temporary folder any more.
        drop(aside.keep());
    }
    Some(folder)
}

/// The strong dynamic symbols of a file, without those that it may lack.
fn symbols(file: &Path, which: &str) -> Vec<String> {
    let listed = output(Command::new("nm").args(["--dynamic", which]).arg(file));
    let symbols = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        let (symbol, kind) = (words.next()?, words.next()?);
        (kind != "w" && kind != "v").then(|| symbol.to_owned())
    });
    symbols.collect()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
