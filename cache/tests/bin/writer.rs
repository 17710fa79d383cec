//! A process for a test to kill: writes to a cache in the folder of its argument, and reports each
//! call.

#![expect(clippy::unwrap_used, reason = "a test waits for this process and fails")]
#![expect(clippy::print_stdout, reason = "a test reads the output")]

mod values;

use std::path::Path;

use cache::DiskCache;
use pipeline::Cache as _;
use values::{VALUES_PER_CALL, entries};

fn main() {
    let folder = std::env::args_os().nth(1).unwrap();
    let memo = DiskCache::open(Path::new(&folder), 4 << 20).unwrap();
    for round in 0.. {
        memo.put(&entries(round * VALUES_PER_CALL..(round + 1) * VALUES_PER_CALL, 1536));
        println!("wrote {round}");
    }
}
