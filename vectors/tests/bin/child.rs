//! A process for a test to kill, with an embedded store in a folder. `write FOLDER` stores
//! documents and reports flushed ones; `index FOLDER` reports that it begins to build an index.

#![expect(clippy::unwrap_used, reason = "a test waits for this process and fails")]
#![expect(clippy::print_stdout, reason = "a test reads the output")]

use std::path::Path;

use pipeline::{Quantization, VectorIndex as _, VectorStore as _, VectorsConfig};
use vectors::{EdgeStore, contract};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [task, folder] = &args[..] else { panic!("expected a task and a folder: {args:?}") };
    let mut config = VectorsConfig::new("test", contract::DIM, Quantization::Float16);
    config.indexing_threshold = 16;
    let store = EdgeStore::open(Path::new(folder), &config).unwrap();
    match task.as_str() {
        "write" => write(&store).await,
        "index" => index(&store).await,
        other => panic!("invalid task {other:?}: expected write or index"),
    }
}

async fn write(store: &EdgeStore) {
    let first = u32::try_from(store.count().await.unwrap()).unwrap();
    for number in first.. {
        store.upsert(contract::chunks(number, 20, u64::from(number))).await.unwrap();
        if number % 7 == 0 {
            store.flush().await.unwrap();
            println!("flushed {number}");
        }
        if number % 50 == 49 {
            store.optimize().await.unwrap();
        }
    }
}

async fn index(store: &EdgeStore) {
    for number in 0..20 {
        store.upsert(contract::chunks(number, 100, u64::from(number) * 1000)).await.unwrap();
    }
    store.flush().await.unwrap();
    println!("building");
    store.optimize().await.unwrap();
}
