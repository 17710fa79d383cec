//! The process that reads risky documents, by itself: what the tests of `extract` start. The command
//! `semantik extract-worker` is the same.

fn main() -> std::io::Result<()> {
    stages::extract_worker()
}
