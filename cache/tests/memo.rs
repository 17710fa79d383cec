//! The disk cache returns stored values unchanged, whatever happens to its files, and its files
//! stay within their limit.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

#[path = "bin/values.rs"]
mod values;

use std::collections::HashMap;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::DiskCache;
use pipeline::{Cache as _, CacheKey};
use proptest::prelude::*;

use pipeline::test_util::KillableChild;
use values::{VALUES_PER_CALL, entries, key, value};

const MIB: u64 = 1 << 20;

fn open(folder: &Path, limit: u64) -> DiskCache {
    DiskCache::open(folder, limit).unwrap()
}

/// The cached ones of these numbers; each must have its own value.
fn cached_numbers(memo: &DiskCache, numbers: std::ops::Range<u64>, length: usize) -> Vec<u64> {
    let keys: Vec<CacheKey> = numbers.clone().map(key).collect();
    let values = memo.get(&keys);
    assert_eq!(values.len(), keys.len());
    let found = numbers.zip(values).filter_map(|(number, found)| {
        let found = found?;
        assert!(found == value(number, length), "{number} has another value");
        Some(number)
    });
    found.collect()
}

/// Bytes of the cache's files, without and with logs.
fn sizes(folder: &Path) -> (u64, u64) {
    let (mut files, mut all) = (0, 0);
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        // Another process or handle may have deleted it.
        let size = entry.metadata().map_or(0, |metadata| metadata.len());
        all += size;
        if entry.path().extension().is_some_and(|extension| extension == "sqlite") {
            files += size;
        }
    }
    (files, all)
}

fn databases(folder: &Path) -> Vec<PathBuf> {
    let paths = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "sqlite")).collect();
    found.sort();
    found
}

#[test]
fn stored_values_are_returned() {
    let folder = tempfile::tempdir().unwrap();
    let memo = open(&folder.path().join("made/with/parents"), 8 * MIB);
    assert_eq!(memo.get(&[]), Vec::<Option<Vec<u8>>>::new());
    memo.put(&[]);
    memo.put(&[(key(1), b"one".to_vec()), (key(2), Vec::new())]);
    let found = memo.get(&[key(2), key(3), key(1), key(2)]);
    assert_eq!(found, [Some(Vec::new()), None, Some(b"one".to_vec()), Some(Vec::new())]);
    memo.put(&[(key(1), b"another".to_vec()), (key(1), b"the last".to_vec())]);
    assert_eq!(memo.get(&[key(1)]), [Some(b"the last".to_vec())]);
}

#[test]
fn values_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 8 * MIB).put(&entries(0..100, 1536));
    let memo = open(folder.path(), 8 * MIB);
    assert_eq!(cached_numbers(&memo, 0..101, 1536).len(), 100);
}

#[test]
fn oldest_unused_values_are_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let memo = open(folder.path(), 4 * MIB);
    // Ten times the limit, while the first ten values are requested in every round.
    for round in 0..100 {
        memo.put(&entries(round * 256..(round + 1) * 256, 1536));
        assert_eq!(cached_numbers(&memo, 0..10, 1536).len(), 10, "round {round}");
        let (files, all) = sizes(folder.path());
        assert!(files <= 4 * MIB, "round {round}: {files} bytes");
        assert!(all <= 6 * MIB, "round {round}: {all} bytes with logs");
    }
    let last = cached_numbers(&memo, 25_600 - 1_000..25_600, 1536);
    assert_eq!(last.len(), 1_000, "the newest quarter is cached");
    assert!(cached_numbers(&memo, 10..10_000, 1536).is_empty(), "the oldest are evicted");
    assert!(databases(folder.path()).len() <= 2);
}

#[test]
fn a_value_larger_than_its_share_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let memo = open(folder.path(), MIB);
    let large = vec![7; 300 << 10];
    memo.put(&[(key(1), large.clone()), (key(2), b"two".to_vec()), (key(3), large)]);
    assert_eq!(memo.get(&[key(1), key(2), key(3)]), [None, Some(b"two".to_vec()), None]);
}

#[test]
fn a_smaller_limit_applies_immediately() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 64 * MIB).put(&entries(0..8_000, 1536));
    let memo = open(folder.path(), 4 * MIB);
    memo.put(&entries(0..100, 1536));
    assert!(sizes(folder.path()).0 <= 4 * MIB);
    assert_eq!(cached_numbers(&memo, 0..100, 1536).len(), 100);
}

#[test]
fn handles_and_threads_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let folder = folder.path();
            scope.spawn(move || {
                let memo = open(folder, 4 * MIB);
                for round in 0..40 {
                    let first = writer * 1_000_000 + round * 50;
                    memo.put(&entries(first..first + 50, 1536));
                    // Other threads may already have evicted the values; found values must be
                    // right.
                    cached_numbers(&memo, first..first + 50, 1536);
                    let other = (writer + 1) % 4 * 1_000_000 + round * 50;
                    cached_numbers(&memo, other..other + 50, 1536);
                }
            });
        }
    });
    let (files, _) = sizes(folder.path());
    assert!(files <= 4 * MIB, "{files} bytes");
    let (one, other) = (open(folder.path(), 4 * MIB), open(folder.path(), 4 * MIB));
    for round in 0..30 {
        // The handle that did not write follows the one that did.
        one.put(&entries(round * 100..(round + 1) * 100, 1536));
        assert_eq!(cached_numbers(&other, round * 100..(round + 1) * 100, 1536).len(), 100);
    }
}

#[test]
fn a_folder_that_goes_away_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let memo = open(folder.path(), 4 * MIB);
    memo.put(&entries(0..10, 100));
    fs_err::remove_dir_all(folder.path()).unwrap();
    memo.put(&entries(10..20, 100));
    assert_eq!(cached_numbers(&memo, 10..20, 100).len(), 10);
    assert_eq!(cached_numbers(&open(folder.path(), 4 * MIB), 10..20, 100).len(), 10);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs_err::write(&file, "a file").unwrap();
    let error = DiskCache::open(&file, MIB).err().unwrap();
    assert_eq!(error.to_string(), "could not open the cache");
}

/// Modifications of a file outside SQLite.
#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Overwrite(prop::sample::Index, Vec<u8>),
    Replace(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..5_000);
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), bytes())
            .prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        prop::collection::vec(any::<u8>(), 0..5_000).prop_map(Damage::Replace),
    ]
}

fn damage_file(path: &Path, damage: &Damage) {
    let mut file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
    match damage {
        Damage::Cut(at) => file.set_len(at.index(size.max(1)) as u64).unwrap(),
        Damage::Overwrite(at, bytes) => {
            file.seek(SeekFrom::Start(at.index(size.max(1)) as u64)).unwrap();
            file.write_all(bytes).unwrap();
        }
        Damage::Replace(bytes) => fs_err::write(path, bytes).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After any damage to its files, the cache opens, returns no wrong value, and works again.
    #[test]
    fn a_damaged_memo_is_made_anew(all in prop::collection::vec(damage(), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), 4 * MIB).put(&entries(0..300, 1536));
        for damage in &all {
            damage_file(databases(folder.path()).last().unwrap(), damage);
        }
        let memo = open(folder.path(), 4 * MIB);
        cached_numbers(&memo, 0..300, 1536);
        memo.put(&entries(300..600, 1536));
        // Damage that is detected only now may fail this call, but no later one.
        cached_numbers(&memo, 0..600, 1536);
        memo.put(&entries(0..600, 1536));
        cached_numbers(&memo, 0..600, 1536);
        memo.put(&entries(0..600, 1536));
        prop_assert_eq!(cached_numbers(&memo, 0..600, 1536).len(), 600);
    }

    /// Compared with a map: a value is the last one stored or absent, and nothing is evicted within
    /// half the limit.
    #[test]
    fn it_is_a_map_that_forgets(
        calls in prop::collection::vec(
            prop::collection::vec((0_u64..40, 0_usize..30_000), 1..8),
            1..40,
        ),
        reopen in 0_usize..40,
    ) {
        const LIMIT: u64 = 2 * MIB;
        let folder = tempfile::tempdir().unwrap();
        let mut memo = open(folder.path(), LIMIT);
        let mut model = HashMap::new();
        let mut written = 0;
        for (round, call) in calls.into_iter().enumerate() {
            if round == reopen {
                memo = open(folder.path(), LIMIT);
            }
            let call: Vec<_> = call
                .into_iter()
                .map(|(number, length)| (key(number), value(number ^ length as u64, length)))
                .collect();
            memo.put(&call);
            written += call.iter().map(|(_, value)| value.len() + 100).sum::<usize>();
            model.extend(call);
            let keys: Vec<CacheKey> = model.keys().copied().collect();
            let mut there = 0;
            for (key, found) in keys.iter().zip(memo.get(&keys)) {
                if let Some(found) = found {
                    prop_assert!(found == model[key]);
                    there += 1;
                }
            }
            // Pages are not filled to the last byte.
            if written < usize::try_from(LIMIT / 4).unwrap() {
                prop_assert_eq!(there, keys.len());
            }
            prop_assert!(sizes(folder.path()).0 <= LIMIT);
        }
    }
}

#[test]
fn a_killed_process_leaves_what_it_had_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut beside = None;
    for kill in 0..12 {
        let mut child = KillableChild::start(
            Command::new(env!("CARGO_BIN_EXE_cache-test-writer")).arg(folder.path()),
        );
        // Kills some children during their first calls, others after several generations.
        let mut last = child.wait_for_line("wrote ").unwrap();
        for _ in 0..kill * 7 {
            last = child.wait_for_line("wrote ").unwrap();
        }
        assert!(child.is_running());
        child.kill();
        let last: u64 = last.parse().unwrap();
        let memo = open(folder.path(), 4 * MIB);
        let numbers = last * VALUES_PER_CALL..(last + 1) * VALUES_PER_CALL;
        assert_eq!(
            cached_numbers(&memo, numbers.clone(), 1536).len() as u64,
            VALUES_PER_CALL,
            "kill {kill}"
        );
        // A handle that was open the whole time sees the values, too.
        let beside = beside.get_or_insert_with(|| open(folder.path(), 4 * MIB));
        assert_eq!(
            cached_numbers(beside, numbers, 1536).len() as u64,
            VALUES_PER_CALL,
            "kill {kill}"
        );
        assert!(sizes(folder.path()).0 <= 4 * MIB);
    }
}
