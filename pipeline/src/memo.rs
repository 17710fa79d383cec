//! The port to what was computed before: values by the hash of everything that they depend on.
//!
//! A memo saves time and nothing else. It may forget whatever it likes whenever it likes, so none of its
//! calls can fail: what it cannot give is computed again, and what it cannot take is not remembered. An
//! implementation that is in trouble says so in the log.

use sha2::{Digest as _, Sha256};

/// Names a value by everything that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoKey(pub [u8; 32]);

impl MemoKey {
    /// The key of what `what` makes of these parts: SHA-256 over all of them, each with its length in
    /// front, so that no two lists of parts run into each other. `what` holds a version, which is
    /// raised when the form of the value changes.
    ///
    /// ```
    /// use pipeline::MemoKey;
    ///
    /// let key = MemoKey::of("sum 1", &[b"1", b"23"]);
    /// assert_eq!(key, MemoKey::of("sum 1", &[b"1", b"23"]));
    /// assert_ne!(key, MemoKey::of("sum 1", &[b"12", b"3"]));
    /// assert_ne!(key, MemoKey::of("sum 2", &[b"1", b"23"]));
    /// ```
    pub fn of(what: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&what.as_bytes()).chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Values that were computed before, by key. Any number of threads may use it at once; calls block.
pub trait Memo: Send + Sync {
    /// The values that are remembered, in the order asked.
    fn get(&self, keys: &[MemoKey]) -> Vec<Option<Vec<u8>>>;

    /// Remembers values, each under its key. A value that is there already is replaced.
    fn put(&self, entries: &[(MemoKey, Vec<u8>)]);
}
