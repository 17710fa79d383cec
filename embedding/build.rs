//! Lets the command and its tests find libtorch where it was linked from, without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
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
