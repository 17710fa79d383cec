//! Short-lived caches of sessions, keys, rights and collections.
//!
//! A change through this server takes effect immediately, because it empties the cache concerned. A
//! change by another process takes effect after at most [`MAX_AGE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metadata::{Accounts, AuthenticatedKey, Postgres, Principal, User};
use moka::sync::Cache;
use pipeline::StoreError;
use uuid::Uuid;

use super::App;
use super::right::{AccessGrants, Identity, effective_level};
use super::wire::{Collection, DocumentCounts};

/// Lifetime of a cached value.
const MAX_AGE: Duration = Duration::from_secs(3);
/// How long a valid key is remembered after its last use.
const VALID_KEY_AGE: Duration = Duration::from_secs(60 * 60);
/// Capacity of each cache.
const MAX_ENTRIES: u64 = 10_000;

/// Number of readable collections that are searched for a name.
const MAX_READABLE: u32 = 1000;

/// Caches of the server; see the module documentation.
pub(crate) struct AccessCaches {
    sessions: Cache<Uuid, Option<Arc<User>>>,
    keys: Cache<String, Option<Arc<AuthenticatedKey>>>,
    /// Digests of keys that were valid at their last lookup, within the last hour.
    valid_keys: Cache<String, ()>,
    grants: Cache<(Principal, Uuid), Option<AccessGrants>>,
    readable: Cache<Principal, Arc<Vec<Collection>>>,
    counts: Cache<Uuid, Arc<DocumentCounts>>,
    /// `true` once an administrator exists; never reset.
    has_administrator: AtomicBool,
    /// Operations whose end was already reported.
    ended_operations: Cache<Uuid, ()>,
}

fn new_cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(MAX_ENTRIES).time_to_live(MAX_AGE).build()
}

/// The cached value, or the result of the lookup. Concurrent requests for a missing value may each
/// look it up.
async fn get_or_load<K, V>(
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

impl AccessCaches {
    pub(super) fn new() -> Self {
        Self {
            sessions: new_cache(),
            keys: new_cache(),
            valid_keys: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_idle(VALID_KEY_AGE)
                .build(),
            grants: new_cache(),
            readable: new_cache(),
            counts: new_cache(),
            has_administrator: AtomicBool::new(false),
            ended_operations: Cache::new(MAX_ENTRIES),
        }
    }

    pub(super) async fn session(
        &self,
        accounts: &Accounts<'_>,
        session: Uuid,
    ) -> Result<Option<Arc<User>>, StoreError> {
        let ask = async { Ok(accounts.active_user(session).await?.map(Arc::new)) };
        get_or_load(&self.sessions, session, ask).await
    }

    pub(super) async fn key(
        &self,
        accounts: &Accounts<'_>,
        hash: String,
    ) -> Result<Option<Arc<AuthenticatedKey>>, StoreError> {
        let ask = async { Ok(accounts.authenticate_key(&hash).await?.map(Arc::new)) };
        let found = get_or_load(&self.keys, hash.clone(), ask).await?;
        match found {
            Some(_) => self.valid_keys.insert(hash, ()),
            None => self.valid_keys.invalidate(&hash),
        }
        Ok(found)
    }

    /// Returns true if the key was valid recently, so that its lookup does not count as a guess.
    pub(super) fn was_valid_key(&self, hash: &str) -> bool {
        self.valid_keys.contains_key(hash)
    }

    /// The rights of the reader on a collection; `None` if it does not exist.
    pub(super) async fn grants(
        &self,
        metadata: &Postgres,
        reader: Principal,
        collection: Uuid,
    ) -> Result<Option<AccessGrants>, StoreError> {
        let ask = async {
            let seen = metadata.collections().visible(reader, collection).await?;
            Ok(seen.as_ref().map(AccessGrants::of))
        };
        get_or_load(&self.grants, (reader, collection), ask).await
    }

    /// The collections that the caller may read.
    pub(super) async fn readable(
        &self,
        app: &App,
        reader: Principal,
        identity: &Identity,
    ) -> Result<Arc<Vec<Collection>>, StoreError> {
        let ask = async {
            let found = app.metadata.collections().readable(reader, None, MAX_READABLE).await?;
            let readable = found.into_iter().filter_map(|seen| {
                let level = effective_level(identity, AccessGrants::of(&seen))?;
                Some(app.collection_view(seen, level))
            });
            Ok(Arc::new(readable.collect()))
        };
        get_or_load(&self.readable, reader, ask).await
    }

    /// Number of documents of a collection by status and reason.
    pub(super) async fn counts(
        &self,
        metadata: &Postgres,
        collection: Uuid,
    ) -> Result<Arc<DocumentCounts>, StoreError> {
        let ask = async {
            let documents = metadata.documents();
            let statuses = documents.count_by_status(collection).await?;
            let set_aside = documents.rejection_counts(collection).await?;
            Ok(Arc::new(DocumentCounts::new(&statuses, set_aside)))
        };
        get_or_load(&self.counts, collection, ask).await
    }

    /// Returns true if the server has an administrator.
    pub(super) async fn has_administrator(
        &self,
        accounts: &Accounts<'_>,
    ) -> Result<bool, StoreError> {
        if !self.has_administrator.load(Ordering::Relaxed) && accounts.has_administrator().await? {
            self.has_administrator.store(true, Ordering::Relaxed);
        }
        Ok(self.has_administrator.load(Ordering::Relaxed))
    }

    /// Drops the counts of a collection whose documents changed.
    pub(super) fn invalidate_counts(&self, collection: Uuid) {
        self.counts.invalidate(&collection);
    }

    /// Returns true at the first report that an operation has ended.
    pub(super) fn mark_ended(&self, operation: Uuid) -> bool {
        self.ended_operations.entry(operation).or_insert(()).is_fresh()
    }

    /// Called after an account, a session or a key changed.
    pub(super) fn invalidate_accounts(&self) {
        self.sessions.invalidate_all();
        self.keys.invalidate_all();
        self.invalidate_collections();
    }

    /// Called after a collection or its grants changed.
    pub(super) fn invalidate_collections(&self) {
        self.grants.invalidate_all();
        self.readable.invalidate_all();
    }
}
