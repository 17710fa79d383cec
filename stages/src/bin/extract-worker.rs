//! The extract worker as a separate program. It is small and starts in milliseconds; the command
//! `semantik extract-worker` does the same, but loads libtorch first.

fn main() -> std::io::Result<()> {
    stages::extract_worker(std::env::args_os().skip(1))
}
