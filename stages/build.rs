//! Computes `EXTRACT_BUILD`, a hash of the sources of this crate. The command and the extract
//! worker are separate programs that must be built from the same sources to understand each other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, io};

use fs_err as fs;

fn main() -> io::Result<()> {
    let mut files = vec![PathBuf::from("Cargo.toml")];
    collect_sources(Path::new("src"), &mut files)?;
    // `Cargo.lock` fixes the versions of the parsers. It is missing if the package is built alone.
    files.extend(Some(PathBuf::from("../Cargo.lock")).filter(|lock| lock.exists()));
    // Media types are detected in both processes.
    files.extend(Some(PathBuf::from("../sources/src/mime.rs")).filter(|source| source.exists()));
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

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_sources(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
