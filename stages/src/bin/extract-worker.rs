//! The process that extracts documents, as a program of its own: it is small and starts in milliseconds, where
//! the command `semantik extract-worker`, which does the same, first loads libtorch.

fn main() -> std::io::Result<()> {
    stages::extract_worker(std::env::args_os().skip(1))
}
