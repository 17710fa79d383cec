//! Names this build of the crate by its sources: the command and the process that extracts documents are two
//! programs, and must be built from the same ones to understand each other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, io};

use fs_err as fs;

fn main() -> io::Result<()> {
    let mut files = vec![PathBuf::from("Cargo.toml")];
    gather(Path::new("src"), &mut files)?;
    // The versions of the parsers; a package on its own has no such file.
    files.extend(Some(PathBuf::from("../Cargo.lock")).filter(|lock| lock.exists()));
    files.sort();
    let mut hasher = DefaultHasher::new();
    env::var("CARGO_PKG_VERSION").unwrap_or_default().hash(&mut hasher);
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        file.hash(&mut hasher);
        fs::read(file)?.hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rustc-env=EXTRACT_BUILD={:016x}", hasher.finish());
    Ok(())
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
