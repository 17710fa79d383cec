//! Runs the contract against each vector store.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pipeline::{
    Hit, IndexQuery, Point, QueryVectors, Remedy, SearchAccuracy, Secret, SparseVector,
    VectorIndex as _, VectorStore as _,
};
use pipeline::{Inventory as _, Quantization, Vectors, VectorsConfig};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use uuid::Uuid;
use vectors::{EdgeStore, MemoryVectors, QdrantStore, contract};

use pipeline::test_util::KillableChild;

pub(crate) fn config(quantization: Quantization) -> VectorsConfig {
    VectorsConfig::new("test", contract::DIM, quantization)
}

fn edge(folder: &Path) -> EdgeStore {
    EdgeStore::open(folder, &config(Quantization::Float16)).unwrap()
}

/// Settings of a collection with sparse vectors.
pub(crate) fn with_sparse(quantization: Quantization) -> VectorsConfig {
    VectorsConfig { sparse: true, ..config(quantization) }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    for (what, check) in contract::VECTOR_STORE_CHECKS.iter().chain(contract::DENSE_ONLY_CHECKS) {
        println!("{what}");
        check(&MemoryVectors::new(contract::DIM)).await;
    }
    for (what, check) in contract::VECTOR_STORE_CHECKS.iter().chain(contract::SPARSE_VECTOR_CHECKS)
    {
        println!("with sparse vectors: {what}");
        check(&MemoryVectors::with_sparse(contract::DIM)).await;
    }
}

/// Empties a store for the next check, because creating one takes a second.
pub(crate) async fn clear(store: &dyn Vectors) {
    let documents: Vec<Uuid> = store.documents().await.unwrap().into_keys().collect();
    store.remove(&documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_keeps_the_contract() {
    for quantization in [Quantization::Float32, Quantization::Float16, Quantization::Int8] {
        let folder = tempfile::tempdir().unwrap();
        let store = EdgeStore::open(folder.path(), &config(quantization)).unwrap();
        for (what, check) in contract::VECTOR_STORE_CHECKS.iter().chain(contract::DENSE_ONLY_CHECKS)
        {
            println!("{quantization}: {what}");
            check(&store).await;
            clear(&store).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_with_words_keeps_the_contract() {
    for quantization in [Quantization::Float16, Quantization::Int8] {
        for (what, check) in contract::SPARSE_VECTOR_CHECKS {
            println!("{quantization}, with sparse vectors: {what}");
            let folder = tempfile::tempdir().unwrap();
            check(&EdgeStore::open(folder.path(), &with_sparse(quantization)).unwrap()).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = EdgeStore::open(folder.path(), &with_sparse(quantization)).unwrap();
        for (what, check) in contract::VECTOR_STORE_CHECKS {
            println!("{quantization}, with sparse vectors: {what}");
            check(&store).await;
            clear(&store).await;
        }
    }
}

/// Building the dense index rewrites segments; sparse vectors stay and give the same hits.
#[tokio::test(flavor = "multi_thread")]
async fn words_survive_indexing_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = with_sparse(Quantization::Float16);
    small.indexing_threshold = 16;
    let exact = MemoryVectors::with_sparse(contract::DIM);
    let worded = |number: u32| {
        let mut points = contract::chunks(number, 100, u64::from(number) * 1000);
        for point in &mut points {
            let index = point.payload.chunk_index;
            let indices = vec![number, 1000 + index % 7, 5000 + index];
            point.sparse = Some(SparseVector { indices, values: vec![1.0, 0.5, 1.5] });
        }
        points
    };
    let words = SparseVector { indices: vec![3, 1002, 5007], values: vec![1.0; 3] };
    let query = IndexQuery {
        vectors: QueryVectors::Sparse { sparse: words, dense: None },
        ..IndexQuery::nearest(&[], 50, SearchAccuracy::Approximate)
    };
    let alike = async |store: &EdgeStore| {
        let (found, wanted) =
            (store.query(&query).await.unwrap(), exact.query(&query).await.unwrap());
        let ids = |hits: &[Hit]| hits.iter().map(Hit::id).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&wanted));
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found.score - wanted.score).abs() < 1e-3);
        }
    };
    {
        let store = EdgeStore::open(folder.path(), &small).unwrap();
        for number in 0..20 {
            store.upsert(worded(number)).await.unwrap();
            exact.upsert(worded(number)).await.unwrap();
        }
        alike(&store).await;
        assert!(store.optimize().await.unwrap(), "two thousand vectors are above 16 KB");
        alike(&store).await;
        store.flush().await.unwrap();
    }
    alike(&EdgeStore::open(folder.path(), &small).unwrap()).await;
    // A store opened without sparse vectors keeps the existing ones; a store cannot add them to a
    // collection without.
    let unaware = VectorsConfig { sparse: false, ..small };
    alike(&EdgeStore::open(folder.path(), &unaware).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    drop(edge(folder.path()));
    let refused =
        EdgeStore::open(folder.path(), &with_sparse(Quantization::Float16)).err().unwrap();
    insta::assert_snapshot!(
        format!("{refused}: {}", refused.source),
        @"could not open the vector collection: the collection `test` was created without sparse vectors"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    contract::write_before_reopening(&edge(folder.path())).await;
    contract::check_after_reopening(&edge(folder.path())).await;
    contract::check_after_reopening(&edge(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    let first = edge(&shard);
    let second = EdgeStore::open(&shard, &config(Quantization::Float16)).err().unwrap();
    assert_eq!(second.remedy, Remedy::Conflict);
    let said = second.source.to_string();
    let this = std::process::id();
    assert!(
        said.starts_with(&format!("{} is in use by process {this};", shard.display())),
        "{said}"
    );
    assert_eq!(EdgeStore::delete(&shard).unwrap_err().remedy, Remedy::Conflict);
    contract::write_before_reopening(&first).await;
    drop(first);
    EdgeStore::delete(&shard).unwrap();
    EdgeStore::delete(&shard).unwrap();
    assert!(!shard.exists());
    assert_eq!(edge(&shard).count().await.unwrap(), 0);
}

#[test]
fn edge_refuses_a_collection_of_another_dimension() {
    let folder = tempfile::tempdir().unwrap();
    drop(edge(folder.path()));
    let other = VectorsConfig::new("test", 384, Quantization::Float16);
    let error = EdgeStore::open(folder.path(), &other).err().unwrap();
    assert_eq!(error.remedy, Remedy::GiveUp);
    insta::assert_snapshot!(
        format!("{error}: {}", error.source),
        @"could not open the vector collection: the collection `test` has vectors of 8 dimensions, the model produces 384"
    );
}

/// Below the threshold nothing is indexed. Above it, `optimize` builds the index; results stay the
/// same, and changes are applied.
#[tokio::test(flavor = "multi_thread")]
async fn edge_builds_an_index_above_the_threshold() {
    for quantization in [Quantization::Float16, Quantization::Int8] {
        let folder = tempfile::tempdir().unwrap();
        let mut small = config(quantization);
        small.indexing_threshold = 16;
        let exact = MemoryVectors::new(contract::DIM);
        {
            let store = EdgeStore::open(folder.path(), &small).unwrap();
            assert!(!store.optimize().await.unwrap(), "there is nothing to index");
            for number in 0..20 {
                let points = contract::chunks(number, 100, u64::from(number) * 1000);
                store.upsert(points.clone()).await.unwrap();
                exact.upsert(points).await.unwrap();
            }
            assert!(store.optimize().await.unwrap(), "two thousand vectors are above 16 KB");
            recall(&store, &exact).await;
            let changed = contract::chunks(3, 50, 777_777);
            store.upsert(changed.clone()).await.unwrap();
            store.truncate(contract::document(3), 50).await.unwrap();
            store.remove(&[contract::document(4)]).await.unwrap();
            exact.upsert(changed).await.unwrap();
            exact.truncate(contract::document(3), 50).await.unwrap();
            exact.remove(&[contract::document(4)]).await.unwrap();
            store.flush().await.unwrap();
            recall(&store, &exact).await;
        }
        let store = EdgeStore::open(folder.path(), &small).unwrap();
        recall(&store, &exact).await;
    }
}

/// A segment that has grown is closed during writes, once without and once with a graph. Results
/// stay the same, changes apply to closed segments, and `optimize` builds a graph.
#[tokio::test(flavor = "multi_thread")]
async fn edge_closes_what_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_sparse(Quantization::Float16);
    let exact = MemoryVectors::with_sparse(contract::DIM);
    let segments = || fs_err::read_dir(folder.path().join("segments")).unwrap().count();
    let grow = async |store: &EdgeStore, numbers: Range<u32>| {
        let before = segments();
        for number in numbers {
            let points = contract::chunks(number, 300, u64::from(number) * 1000);
            store.upsert(points.clone()).await.unwrap();
            exact.upsert(points).await.unwrap();
        }
        store.flush().await.unwrap();
        assert!(segments() > before, "a new segment was opened");
        recall(store, &exact).await;
    };
    let store = EdgeStore::open(folder.path(), &config).unwrap();
    grow(&store, 0..28).await;
    store.truncate(contract::document(3), 50).await.unwrap();
    store.remove(&[contract::document(4)]).await.unwrap();
    store.upsert(contract::chunks(5, 300, 777_777)).await.unwrap();
    exact.truncate(contract::document(3), 50).await.unwrap();
    exact.remove(&[contract::document(4)]).await.unwrap();
    exact.upsert(contract::chunks(5, 300, 777_777)).await.unwrap();
    recall(&store, &exact).await;
    drop(store);

    let mut small = config;
    small.indexing_threshold = 16;
    let store = EdgeStore::open(folder.path(), &small).unwrap();
    recall(&store, &exact).await;
    assert!(store.optimize().await.unwrap(), "the closed segments have no graph yet");
    recall(&store, &exact).await;
    grow(&store, 28..56).await;
}

/// An index may miss a few neighbours, but no point may be lost or returned twice.
async fn recall(store: &EdgeStore, exact: &MemoryVectors) {
    assert_eq!(store.count().await.unwrap(), exact.count().await.unwrap());
    let ids = |points: Vec<Point>| points.into_iter().map(|point| point.id).collect::<Vec<_>>();
    assert_eq!(ids(contract::scroll(store, 300).await), ids(contract::scroll(exact, 300).await));
    let mut found = 0;
    for seed in 0..50 {
        let query = contract::vector(seed * 31 + 5);
        let wanted =
            exact.query(&IndexQuery::nearest(&query, 10, SearchAccuracy::Exact)).await.unwrap();
        let hits = store
            .query(&IndexQuery::nearest(&query, 10, SearchAccuracy::Approximate))
            .await
            .unwrap();
        assert_eq!(hits.len(), 10);
        found +=
            hits.iter().filter(|hit| wanted.iter().any(|it| it.payload == hit.payload)).count();
    }
    assert!(found >= 480, "{found} of the 500 nearest neighbours");
}

/// A shard can be searched while it is optimised.
#[tokio::test(flavor = "multi_thread")]
async fn edge_searches_while_it_builds_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = config(Quantization::Float16);
    small.indexing_threshold = 16;
    let store = EdgeStore::open(folder.path(), &small).unwrap();
    for number in 0..40 {
        store.upsert(contract::chunks(number, 100, u64::from(number) * 1000)).await.unwrap();
    }
    let optimize = store.optimize();
    let searches = async {
        for seed in 0..200 {
            assert_eq!(
                {
                    let query = IndexQuery::nearest(
                        &contract::vector(seed),
                        5,
                        SearchAccuracy::Approximate,
                    );
                    store.query(&query).await.unwrap().len()
                },
                5
            );
        }
    };
    let (optimized, ()) = futures::join!(optimize, searches);
    assert!(optimized.unwrap());
}

/// A key that cannot be sent in a header is an error that does not contain the key.
#[tokio::test]
async fn errors_do_not_show_the_key() {
    let key = Secret::from("s3cret\n".to_owned());
    for url in ["http://127.0.0.1:1", "not a url"] {
        let error = QdrantStore::connect(url, Some(&key), &config(Quantization::Float16)).await;
        let error = error.err().unwrap();
        assert_eq!(error.remedy, Remedy::GiveUp);
        assert!(!format!("{error:?} {error} {}", error.source).contains("s3cret"));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Upsert { number: u32, count: u32, seed: u64 },
    Truncate { number: u32, from: u32 },
    Remove { numbers: Vec<u32> },
    Flush,
    Optimize,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u32, 0..30_u32, 0..1000_u64)
            .prop_map(|(number, count, seed)| Step::Upsert { number, count, seed }),
        2 => (0..6_u32, 0..30_u32).prop_map(|(number, from)| Step::Truncate { number, from }),
        2 => prop::collection::vec(0..6_u32, 0..4).prop_map(|numbers| Step::Remove { numbers }),
        1 => Just(Step::Flush),
        1 => Just(Step::Optimize),
        1 => Just(Step::Reopen),
    ]
}

async fn apply_step(store: &dyn Vectors, step: &Step) {
    match step {
        Step::Upsert { number, count, seed } => {
            store.upsert(contract::chunks(*number, *count, *seed)).await.unwrap();
        }
        Step::Truncate { number, from } => {
            store.truncate(contract::document(*number), *from).await.unwrap();
        }
        Step::Remove { numbers } => {
            let documents: Vec<_> = numbers.iter().map(|n| contract::document(*n)).collect();
            store.remove(&documents).await.unwrap();
        }
        Step::Flush => store.flush().await.unwrap(),
        Step::Optimize | Step::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn edge_is_what_memory_is_after_any_steps(steps in prop::collection::vec(step(), 1..25)) {
        Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let exact = MemoryVectors::new(contract::DIM);
            let mut store = edge(folder.path());
            for step in &steps {
                apply_step(&store, step).await;
                apply_step(&exact, step).await;
                match step {
                    Step::Optimize => {
                        store.optimize().await.unwrap();
                    }
                    Step::Reopen => {
                        drop(store);
                        store = edge(folder.path());
                    }
                    Step::Upsert { .. } | Step::Truncate { .. } | Step::Remove { .. } | Step::Flush => {}
                }
            }
            contract::assert_matches_reference(&store, &exact).await;
        });
    }
}

/// A process to kill, with a store in this folder.
fn child(task: &str, folder: &Path) -> KillableChild {
    let program = env!("CARGO_BIN_EXE_vectors-test-child");
    KillableChild::start(Command::new(program).arg(task).arg(folder))
}

/// Flushed points survive SIGKILL completely; later ones may.
#[tokio::test(flavor = "multi_thread")]
async fn edge_keeps_what_was_flushed_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut promised: Vec<u32> = Vec::new();
    for round in 0_u32..5 {
        let mut child = child("write", folder.path());
        for _ in 0..=round * 2 {
            promised.push(child.wait_for_line("flushed").unwrap().parse().unwrap());
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 977 % 5000)));
        child.kill();

        let store = edge(folder.path());
        let there = contract::scroll(&store, 1000).await;
        assert_eq!(store.count().await.unwrap(), there.len() as u64);
        for number in promised.iter().copied() {
            let document = contract::document(number);
            let chunks = there.iter().filter(|point| point.payload.document == document).count();
            assert_eq!(chunks, 20, "document {number} was flushed in round {round} or before");
        }
    }
}

/// Edge leaves duplicates of all points if it is killed after it added a new segment and before it
/// deleted the old ones. The kills aim at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn edge_is_repaired_after_a_kill_during_indexing() {
    let exact = MemoryVectors::new(contract::DIM);
    for number in 0..20 {
        exact.upsert(contract::chunks(number, 100, u64::from(number) * 1000)).await.unwrap();
    }
    for changes in 1..5 {
        let folder = tempfile::tempdir().unwrap();
        let mut child = child("index", folder.path());
        child.wait_for_line("building").unwrap();
        let segments = || {
            let entries = std::fs::read_dir(folder.path().join("segments")).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>()
        };
        let (mut seen, mut changed) = (segments(), 0);
        while changed < changes && child.is_running() {
            std::thread::sleep(Duration::from_micros(100));
            let now = segments();
            changed += u32::from(now != seen);
            seen = now;
        }
        child.kill();
        let store = edge(folder.path());
        assert_eq!(store.count().await.unwrap(), 2000, "after {changed} changes");
        assert_eq!(store.documents().await.unwrap(), exact.documents().await.unwrap());
        let ids = |points: Vec<Point>| points.into_iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(
            ids(contract::scroll(&store, 300).await),
            ids(contract::scroll(&exact, 300).await)
        );
    }
}
