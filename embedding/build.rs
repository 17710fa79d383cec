//! Lets the command and its tests find libtorch without `LD_LIBRARY_PATH`: beside the program first, so that both can be
//! moved together, then where it was linked from.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let is_mac = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
    let beside = if is_mac { "@loader_path" } else { "$ORIGIN" };
    // `semantik` with `lib/`; `bin/semantik` with `lib/`, or with `lib/semantik/` among the libraries of others.
    for folder in ["lib", "../lib/semantik", "../lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{beside}/{folder}");
    }
    if let Ok(folder) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}/lib");
        // Nothing here names a symbol of it: what libtorch does on a GPU registers itself when the library is loaded. A
        // linker that leaves out what is not named would leave out every GPU.
        if std::path::Path::new(&folder).join("lib/libtorch_cuda.so").exists() {
            println!("cargo::rustc-link-arg=-L{folder}/lib");
            println!(
                "cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state"
            );
        }
    }
}
