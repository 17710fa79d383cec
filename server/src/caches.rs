//! Short-lived caches of sessions, keys, rights and collections.
//!
//! A change through this server takes effect immediately, because it empties the cache concerned. A
//! change by another process takes effect after at most [`STALE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use pipeline::StoreError;
use uuid::Uuid;

use super::ports::{Accounts, Catalogue, KeyUse, Reader};
use super::right::{Given, Identity, level};
use super::wire;

/// Lifetime of a cached value.
const STALE: Duration = Duration::from_secs(3);
/// How long a valid key is remembered after its last use.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// Capacity of each cache.
const MANY: u64 = 10_000;

/// Number of readable collections that are searched for a name.
const MOST_READABLE: u32 = 1000;

type Seen = Option<Arc<(wire::Collection, Given)>>;

/// Caches of the server; see the module documentation.
pub(crate) struct Caches {
    sessions: Cache<Uuid, Option<Arc<wire::User>>>,
    keys: Cache<String, Option<Arc<KeyUse>>>,
    /// Digests of keys that were valid at their last lookup, within the last hour.
    good_keys: Cache<String, ()>,
    seen: Cache<(Reader, Uuid), Seen>,
    readable: Cache<Reader, Arc<Vec<wire::Collection>>>,
    counts: Cache<Uuid, Arc<wire::DocumentCounts>>,
    /// `true` once an administrator exists; never reset.
    is_set_up: AtomicBool,
    /// Operations whose end was already reported.
    ended: Cache<Uuid, ()>,
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(MANY).time_to_live(STALE).build()
}

/// The cached value, or the result of the lookup. Concurrent requests for a missing value may each
/// look it up.
async fn known<K, V>(
    cache: &Cache<K, V>,
    key: K,
    ask: impl Future<Output = Result<V, StoreError>>,
) -> Result<V, StoreError>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    if let Some(known) = cache.get(&key) {
        return Ok(known);
    }
    let found = ask.await?;
    cache.insert(key, found.clone());
    Ok(found)
}

impl Caches {
    pub(super) fn new() -> Self {
        Self {
            sessions: cache(),
            keys: cache(),
            good_keys: Cache::builder().max_capacity(MANY).time_to_idle(REMEMBERED).build(),
            seen: cache(),
            readable: cache(),
            counts: cache(),
            is_set_up: AtomicBool::new(false),
            ended: Cache::new(MANY),
        }
    }

    pub(super) async fn session(
        &self,
        accounts: &dyn Accounts,
        session: Uuid,
    ) -> Result<Option<Arc<wire::User>>, StoreError> {
        let ask = async { Ok(accounts.session(session).await?.map(Arc::new)) };
        known(&self.sessions, session, ask).await
    }

    pub(super) async fn key(
        &self,
        accounts: &dyn Accounts,
        hash: String,
    ) -> Result<Option<Arc<KeyUse>>, StoreError> {
        let ask = async { Ok(accounts.key(&hash).await?.map(Arc::new)) };
        let found = known(&self.keys, hash.clone(), ask).await?;
        match found {
            Some(_) => self.good_keys.insert(hash, ()),
            None => self.good_keys.invalidate(&hash),
        }
        Ok(found)
    }

    /// Returns true if the key was valid recently, so that its lookup does not count as a guess.
    pub(super) fn is_good_key(&self, hash: &str) -> bool {
        self.good_keys.contains_key(hash)
    }

    pub(super) async fn seen(
        &self,
        catalogue: &dyn Catalogue,
        reader: Reader,
        collection: Uuid,
    ) -> Result<Seen, StoreError> {
        let ask = async { Ok(catalogue.seen(reader, collection).await?.map(Arc::new)) };
        known(&self.seen, (reader, collection), ask).await
    }

    /// The collections that the caller may read.
    pub(super) async fn readable(
        &self,
        catalogue: &dyn Catalogue,
        reader: Reader,
        identity: &Identity,
    ) -> Result<Arc<Vec<wire::Collection>>, StoreError> {
        let ask = async {
            let found = catalogue.readable(reader, None, MOST_READABLE).await?;
            let readable = found.into_iter().filter(|(_, given)| level(identity, *given).is_some());
            Ok(Arc::new(readable.map(|(collection, _)| collection).collect()))
        };
        known(&self.readable, reader, ask).await
    }

    /// Number of documents of a collection by status and reason.
    pub(super) async fn counts(
        &self,
        catalogue: &dyn Catalogue,
        collection: Uuid,
    ) -> Result<Arc<wire::DocumentCounts>, StoreError> {
        let ask = async { Ok(Arc::new(catalogue.document_counts(collection).await?)) };
        known(&self.counts, collection, ask).await
    }

    /// Returns true if the server has an administrator.
    pub(super) async fn is_set_up(&self, accounts: &dyn Accounts) -> Result<bool, StoreError> {
        if !self.is_set_up.load(Ordering::Relaxed) && accounts.is_set_up().await? {
            self.is_set_up.store(true, Ordering::Relaxed);
        }
        Ok(self.is_set_up.load(Ordering::Relaxed))
    }

    /// Drops the counts of a collection whose documents changed.
    pub(super) fn forget_counts(&self, collection: Uuid) {
        self.counts.invalidate(&collection);
    }

    /// Returns true at the first report that an operation has ended.
    pub(super) fn is_news(&self, operation: Uuid) -> bool {
        self.ended.entry(operation).or_insert(()).is_fresh()
    }

    /// Called after an account, a session or a key changed.
    pub(super) fn forget_accounts(&self) {
        self.sessions.invalidate_all();
        self.keys.invalidate_all();
        self.forget_collections();
    }

    /// Called after a collection or its grants changed.
    pub(super) fn forget_collections(&self) {
        self.seen.invalidate_all();
        self.readable.invalidate_all();
    }
}
