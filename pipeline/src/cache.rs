//! The port to the cache: results by a hash of everything that they depend on.
//!
//! A cache only saves time. It may drop any entry at any time, so its methods cannot fail: a
//! missing result is computed again, and a result that cannot be stored is dropped. An
//! implementation logs its errors.

use sha2::{Digest as _, Sha256};

/// Key of a result: a hash of everything that the result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub [u8; 32]);

impl CacheKey {
    /// The key of the result of `what` for these parts: SHA-256 over `what` and all parts, each
    /// preceded by its length, so that different lists of parts have different keys. `what`
    /// contains a version, which is incremented when the format of the value changes.
    ///
    /// ```
    /// use pipeline::CacheKey;
    ///
    /// let key = CacheKey::new("sum 1", &[b"1", b"23"]);
    /// assert_eq!(key, CacheKey::new("sum 1", &[b"1", b"23"]));
    /// assert_ne!(key, CacheKey::new("sum 1", &[b"12", b"3"]));
    /// assert_ne!(key, CacheKey::new("sum 2", &[b"1", b"23"]));
    /// ```
    pub fn new(what: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&what.as_bytes()).chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// A cache of results by key. Any number of threads may use it concurrently; calls block.
///
/// A cached function has this form; a value that cannot be read is computed again:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use pipeline::{Cache, CacheKey};
///
/// #[derive(Default)]
/// struct Memory(Mutex<HashMap<CacheKey, Vec<u8>>>);
///
/// impl Cache for Memory {
///     fn get(&self, keys: &[CacheKey]) -> Vec<Option<Vec<u8>>> {
///         let values = self.0.lock().unwrap();
///         keys.iter().map(|key| values.get(key).cloned()).collect()
///     }
///
///     fn put(&self, entries: &[(CacheKey, Vec<u8>)]) {
///         self.0.lock().unwrap().extend(entries.iter().cloned());
///     }
/// }
///
/// fn word_count(text: &str, cache: &dyn Cache) -> (u64, bool) {
///     let key = CacheKey::new("word count 1", &[text.as_bytes()]);
///     let cached = cache.get(&[key]).pop().flatten();
///     if let Some(count) = cached.and_then(|bytes| bytes.try_into().ok()) {
///         return (u64::from_le_bytes(count), true);
///     }
///     let count = text.split_whitespace().count() as u64;
///     cache.put(&[(key, count.to_le_bytes().to_vec())]);
///     (count, false)
/// }
///
/// let cache = Memory::default();
/// assert_eq!(word_count("to be or not", &cache), (4, false));
/// assert_eq!(word_count("to be or not", &cache), (4, true));
/// ```
pub trait Cache: Send + Sync {
    /// The cached values, in order of the keys; `None` for a key without value.
    fn get(&self, keys: &[CacheKey]) -> Vec<Option<Vec<u8>>>;

    /// Stores values under their keys. An existing value is replaced.
    fn put(&self, entries: &[(CacheKey, Vec<u8>)]);
}
