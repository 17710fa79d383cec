//! Damaged files of an embedded store: the damage is detected or has no effect, and the process
//! never panics.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pipeline::{
    IndexQuery, KeywordField, QueryVectors, SearchAccuracy, SparseVector, SplitMix64,
    VectorIndex as _, VectorStore as _,
};
use pipeline::{Inventory as _, Quantization, VectorsConfig};
use vectors::{EdgeStore, FileFault, contract};

/// Number of documents in the shard.
const DOCUMENTS: u32 = 24;

fn config() -> VectorsConfig {
    let mut config = VectorsConfig::new("test", contract::DIM, Quantization::Float16);
    config.sparse = true;
    // Low enough that a graph is built.
    config.indexing_threshold = 16;
    config
}

fn sparse_points(number: u32, count: u32) -> Vec<pipeline::Point> {
    let mut points = contract::chunks(number, count, u64::from(number) * 1000);
    for point in &mut points {
        let index = point.payload.chunk_index;
        let indices = vec![number, 1000 + index % 7, 5000 + index];
        point.sparse = Some(SparseVector { indices, values: vec![1.0, 0.5, 1.5] });
    }
    points
}

/// A shard with an open segment and a closed one, from which points were deleted.
async fn write(folder: &Path) {
    let store = EdgeStore::open(folder, &config()).unwrap();
    for number in 0..DOCUMENTS {
        store.upsert(sparse_points(number, 60)).await.unwrap();
    }
    assert!(store.optimize().await.unwrap(), "it is above the threshold");
    store.remove(&[contract::document(1)]).await.unwrap();
    store.upsert(sparse_points(2, 40)).await.unwrap();
    store.truncate(contract::document(2), 40).await.unwrap();
    store.upsert(sparse_points(DOCUMENTS, 10)).await.unwrap();
    store.flush().await.unwrap();
}

/// The results of all kinds of reads, or the first error.
async fn answers(store: &EdgeStore) -> Result<String, String> {
    let said = async {
        let mut said = String::new();
        for seed in 0..8 {
            let dense = contract::vector(seed * 31 + 5);
            let words = SparseVector { indices: vec![3, 1002, 5007], values: vec![1.0; 3] };
            for legs in [
                QueryVectors::Dense(dense.clone()),
                QueryVectors::Sparse { sparse: words.clone(), dense: None },
                QueryVectors::Sparse { sparse: words, dense: Some(dense) },
            ] {
                let query = IndexQuery {
                    vectors: legs,
                    ..IndexQuery::nearest(&[], 20, SearchAccuracy::Exact)
                };
                let hits = store.query(&query).await?;
                said += &format!(
                    "{:?}\n",
                    hits.iter()
                        .map(|hit| (hit.id(), hit.payload.content.clone()))
                        .collect::<Vec<_>>()
                );
            }
        }
        said += &format!("{:?}\n", store.facet(KeywordField::Uri, None, 100).await?);
        said += &format!("{:?}\n", store.documents().await?);
        said += &format!("{:?}\n", store.chunks(contract::document(5), 0, 60).await?);
        said += &format!("{:?}\n", store.count().await?);
        Ok::<_, pipeline::StoreError>(said)
    };
    said.await.map_err(|error| format!("{error}: {}", error.source))
}

/// The files below a folder, by relative path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn below(folder: &Path, at: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs_err::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(folder, &path, found);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    below(folder, folder, &mut found);
    found
}

/// Writes a file with holes for its zero blocks, as Edge does.
fn write_sparse_file(path: &Path, bytes: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, block) in bytes.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, number as u64 * 4096).unwrap();
        }
    }
}

/// The bytes of a file after damage of kind `how`; `None` if it is deleted.
fn damaged(how: usize, bytes: &[u8], numbers: &mut SplitMix64) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    match how {
        0 => {
            for _ in 0..[1, 8, 64][numbers.below(3)] {
                let (at, bit) = (numbers.below(bytes.len()), numbers.below(8));
                bytes[at] ^= 1 << bit;
            }
        }
        1 => bytes.fill(0),
        2 => bytes.truncate(bytes.len() / 2),
        _ => return None,
    }
    Some(bytes)
}

fn is_in_closed_segment(shard: &Path, name: &Path) -> bool {
    let segment: PathBuf = name.components().take(2).collect();
    shard.join(segment).join("id_tracker.mappings").exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_any_file_is_noticed_and_ends_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    write(&shard).await;
    let whole = files(&shard);
    let wanted = answers(&EdgeStore::open(&shard, &config()).unwrap()).await.unwrap();
    assert_eq!(EdgeStore::damaged_files(&shard).unwrap(), []);
    let mut numbers = SplitMix64::new(20_261_130);
    let ours = ["sealed.json", "index-due"];
    let mut unread = 0;
    for (name, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        // Two of the four kinds per file, to limit the time; detection does not depend on the kind
        // chosen for opening.
        let opened_for = numbers.below(4);
        for how in [opened_for, (opened_for + 1 + numbers.below(3)) % 4] {
            let path = shard.join(name);
            match damaged(how, bytes, &mut numbers) {
                Some(other) if other == *bytes => continue,
                Some(other) => write_sparse_file(&path, &other),
                None => fs_err::remove_file(&path).unwrap(),
            }
            let what = format!("{} ({how})", name.display());
            if !path.exists() && name.to_str() == Some("edge_config.json") {
                // Without this file there is no shard, which is detected before one is opened.
                assert!(!EdgeStore::exists(&shard));
            } else if !path.exists() && ours.iter().any(|ours| name.ends_with(ours)) {
                // These files only describe others, so their loss is not damage.
                assert_eq!(EdgeStore::damaged_files(&shard).unwrap(), [], "{what}");
            } else {
                let found = EdgeStore::damaged_files(&shard).unwrap();
                assert!(!found.is_empty(), "{what} is not detected");
                // Each file is opened once, because opening a shard takes time.
                if how == opened_for {
                    let answered = match EdgeStore::open(&shard, &config()) {
                        Ok(store) => answers(&store).await,
                        Err(error) => Err(error.source.to_string()),
                    };
                    match answered {
                        Ok(answered) if answered == wanted => unread += 1,
                        // Only `damage` reads large files of closed segments.
                        Ok(_) => assert!(
                            bytes.len() > 64 << 10 && is_in_closed_segment(&shard, name),
                            "{what} changes the results without an error"
                        ),
                        Err(said) => {
                            assert!(said.contains("verify FILE --repair"), "{what}: {said}");
                        }
                    }
                }
            }
            write_sparse_file(&path, bytes);
        }
    }
    println!("{unread} of {} damaged files change no result", whole.len());
    // The restored files are valid.
    assert_eq!(EdgeStore::damaged_files(&shard).unwrap(), []);
    assert_eq!(answers(&EdgeStore::open(&shard, &config()).unwrap()).await.unwrap(), wanted);
}

/// Without the record, as in a shard of an earlier version, Edge may panic on its own thread; the
/// caller gets the message as an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_store_is_an_error_that_says_what_heals() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    write(&shard).await;
    fs_err::remove_file(shard.join("sealed.json")).unwrap();
    let graphs: Vec<_> =
        files(&shard).into_keys().filter(|name| name.ends_with("links_compressed.bin")).collect();
    assert!(!graphs.is_empty(), "a graph exists");
    for name in graphs {
        let length = fs_err::metadata(shard.join(&name)).unwrap().len();
        fs_err::write(shard.join(name), vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    for _ in 0..2 {
        let store = EdgeStore::open(&shard, &config()).unwrap();
        for said in [
            answers(&store).await.unwrap_err(),
            store.upsert(sparse_points(3, 5)).await.unwrap_err().source.to_string(),
        ] {
            assert!(said.contains(&shard.display().to_string()), "{said}");
            assert!(said.contains("assertion"), "{said}");
            assert!(said.contains("semantik verify FILE --repair"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    write(&shard).await;
    let before = files(&shard);
    let first = EdgeStore::open(&shard, &config()).unwrap();
    // Two readers of the same shard, like two search commands.
    let second = EdgeStore::open(&shard, &config()).unwrap();
    assert_eq!(answers(&first).await.unwrap(), answers(&second).await.unwrap());
    assert!(first.inspect(None, 10_000).await.unwrap().iter().all(|it| it.fault.is_none()));
    assert_eq!(first.scroll(None, 10_000).await.unwrap().len(), 22 * 60 + 40 + 10);
    drop((first, second));
    let after = files(&shard);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, bytes) in before {
        assert!(after[&name] == bytes, "{} was changed", name.display());
    }
}

/// A process that was killed leaves no record of its last changes, so each point is checked.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_points_are_found_by_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    write(&shard).await;
    fs_err::write(shard.join("unsealed"), "").unwrap();
    let found = EdgeStore::open(&shard, &config()).unwrap().inspect(None, 10_000).await.unwrap();
    assert_eq!(found.len(), 22 * 60 + 40 + 10);
    assert!(found.iter().all(|it| it.fault.is_none() && it.key.is_some()));

    // The vectors of the open segment; the file contains zeros except for the stored values.
    fs_err::remove_file(shard.join("sealed.json")).unwrap();
    let numbers: Vec<_> = files(&shard)
        .into_iter()
        .filter(|(name, bytes)| {
            let name = name.to_str().unwrap();
            name.contains("vector_storage-dense/vectors/chunk") && bytes.iter().any(|b| *b != 0)
        })
        .collect();
    assert_eq!(numbers.len(), 1, "one segment is open");
    for (name, mut bytes) in numbers {
        bytes[..2].copy_from_slice(&[0xff, 0x7b]);
        fs_err::write(shard.join(name), bytes).unwrap();
    }
    let store = EdgeStore::open(&shard, &config()).unwrap();
    let faults = store.inspect(None, 10_000).await.unwrap();
    let faults: Vec<_> = faults.into_iter().filter_map(|it| Some((it.key?, it.fault?))).collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].1, "its dense vector is not normalised to length 1");
    // A rewrite repairs the point.
    let number = if faults[0].0.document == contract::document(2) { 2 } else { DOCUMENTS };
    store.upsert(sparse_points(number, if number == 2 { 40 } else { 10 })).await.unwrap();
    assert!(store.inspect(None, 10_000).await.unwrap().iter().all(|it| it.fault.is_none()));
}

/// No operation changes the files that are listed as fixed.
#[tokio::test(flavor = "multi_thread")]
async fn immutable_files_never_change() {
    let folder = tempfile::tempdir().unwrap();
    let shard = folder.path().join("shard");
    write(&shard).await;
    for round in 0..4 {
        let store = EdgeStore::open(&shard, &config()).unwrap();
        store.upsert(sparse_points(7 + round, 30)).await.unwrap();
        store.remove(&[contract::document(15 + round)]).await.unwrap();
        store.truncate(contract::document(3), 50 - round).await.unwrap();
        let place = pipeline::DocumentLocation {
            uri: format!("file:///moved/{round}.txt"),
            source: "/moved".to_owned(),
            title: Some(format!("Moved {round}")),
            modified_at: Some(1_800_000_000_000_000),
        };
        store.update_location(contract::document(9), &place).await.unwrap();
        store.flush().await.unwrap();
        if round == 2 {
            store.optimize().await.unwrap();
        }
        drop(store);
        let found = EdgeStore::damaged_files(&shard).unwrap();
        assert!(found.is_empty(), "{found:?}");
        let store = EdgeStore::open(&shard, &config()).unwrap();
        assert!(store.inspect(None, 10_000).await.unwrap().iter().all(|it| it.fault.is_none()));
    }
    // A deleted file is reported as missing.
    fs_err::remove_file(shard.join("payload_index.json")).unwrap_or_default();
    let (name, _) =
        files(&shard).into_iter().find(|(name, _)| name.ends_with("matrix.dat")).unwrap();
    fs_err::remove_file(shard.join(&name)).unwrap();
    let found = EdgeStore::damaged_files(&shard).unwrap();
    let of_it = found.iter().find(|it| Path::new(&it.file) == name).unwrap();
    assert_eq!(of_it.fault, FileFault::Missing);
}
