//! Sets the run path of the command and its tests so that they find libtorch without
//! `LD_LIBRARY_PATH`: relative to the executable first, so that both can be moved together, then
//! the folder of the build.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let is_mac = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
    let beside = if is_mac { "@loader_path" } else { "$ORIGIN" };
    // Layouts: `semantik` with `lib/`; `bin/semantik` with `lib/`, or with `lib/semantik/` in a
    // shared prefix.
    for folder in ["lib", "../lib/semantik", "../lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{beside}/{folder}");
    }
    if let Ok(folder) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}/lib");
        // No symbol of libtorch_cuda is referenced: its kernels register themselves when the
        // library is loaded. Without `--no-as-needed` the linker would drop it, and with it all GPU
        // support.
        if std::path::Path::new(&folder).join("lib/libtorch_cuda.so").exists() {
            println!("cargo::rustc-link-arg=-L{folder}/lib");
            println!(
                "cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state"
            );
        }
    }
}
