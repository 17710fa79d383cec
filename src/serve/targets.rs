//! The collections that the server searches, each with its live generation open.
//!
//! The live generation is looked up once a second in the background ([`Targets::sweep`]), and by
//! the next search after an operation has ended or a collection has failed; no other search waits
//! for the metadata store. Vectors stay open between searches. The sweep closes generations that
//! are no longer live, and collections that are being deleted, so that their vectors can be
//! deleted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metadata::{Reader, Seen};
use pipeline::{BoxError, Models as _};
use search::Target;
use uuid::Uuid;

use crate::operate::{Files, Loaded, Workplace};
use crate::wiring::{self, Absent, Vectors};

/// Holds an open target; other searches of the collection wait while it is opened.
#[derive(Default)]
struct Slot {
    open: tokio::sync::Mutex<Option<Open>>,
    /// Number of invalidations so far.
    doubts: AtomicU64,
}

struct Open {
    target: Arc<Target>,
    /// The time at which the generation was known to be live.
    seen: Instant,
    /// The invalidations before that time.
    doubts: u64,
}

/// Maximum age of a looked-up generation. The sweep renews it well before, unless the metadata
/// store is unreachable.
const FRESH: Duration = Duration::from_secs(3);

/// The open collections of the server.
pub(super) struct Targets {
    pub(super) workplace: Workplace,
    pub(super) files: Files,
    open: Mutex<HashMap<Uuid, Arc<Slot>>>,
}

/// Sees each collection; the caller has checked the permissions.
const EVERYTHING: Reader = Reader { user: None, key: None, is_superuser: true };

impl Targets {
    pub(super) fn new(workplace: Workplace, files: Files) -> Self {
        Self { workplace, files, open: Mutex::default() }
    }

    /// A collection of the files, with the file that fills it; `None` if no file does.
    pub(super) async fn served(
        &self,
        collection: Uuid,
    ) -> Result<Option<(Seen, Arc<Loaded>)>, BoxError> {
        let grants = self.workplace.database.postgres().grants();
        let Some(seen) = grants.seen(EVERYTHING, collection).await? else { return Ok(None) };
        let loaded = self.files.find(&seen.owner, &seen.collection.name, None);
        Ok(loaded.map(|loaded| (seen, loaded)))
    }

    /// Returns the live generation of a collection, opened.
    ///
    /// # Errors
    /// If the collection is not served or is being deleted, or its vectors cannot be opened.
    pub(super) async fn get(&self, collection: Uuid) -> Result<Arc<Target>, BoxError> {
        let slot = Arc::clone(self.lock().entry(collection).or_default());
        let mut open = slot.open.lock().await;
        // Read before the metadata, so that an invalidation in between is not missed.
        let doubts = slot.doubts.load(Ordering::Acquire);
        if let Some(it) = &*open
            && it.doubts == doubts
            && it.seen.elapsed() < FRESH
        {
            return Ok(Arc::clone(&it.target));
        }
        let seen = Instant::now();
        let looked_up = self.served(collection).await.and_then(|it| {
            let (row, loaded) = it.ok_or("this server does not serve the collection")?;
            match row.collection.deleting_since {
                Some(_) => Err("the collection is being deleted".into()),
                None => Ok((row, loaded)),
            }
        });
        let (row, loaded) = match looked_up {
            Ok(found) => found,
            Err(error) => {
                *open = None;
                return Err(error);
            }
        };
        let before = open.take().filter(|it| it.target.store == row.collection.vector_store_name);
        let target = match before {
            Some(before) => before.target,
            // The previous generation is closed first, once its searches have ended.
            None => Arc::new(self.opened(&row, &loaded).await?),
        };
        *open = Some(Open { target: Arc::clone(&target), seen, doubts });
        Ok(target)
    }

    /// Invalidates the looked-up generation of a collection; of all collections if `None`.
    pub(super) fn doubt(&self, collection: Option<Uuid>) {
        let open = self.lock();
        let concerned = open.iter().filter(|(id, _)| collection.is_none_or(|it| it == **id));
        for (_, slot) in concerned {
            slot.doubts.fetch_add(1, Ordering::AcqRel);
        }
    }

    async fn opened(&self, seen: &Seen, loaded: &Loaded) -> Result<Target, BoxError> {
        let (collection, engine) = (&seen.collection, &self.workplace.engine);
        let generations = self.workplace.database.postgres().generations();
        let live = generations.live(collection.id).await?;
        let Loaded { spec, plan, .. } = loaded;
        let model = wiring::model_of(&live, plan, engine.as_ref())?;
        // Without a completed run, no vectors may exist yet.
        let absent = if live.fingerprint.is_none() { Absent::Make } else { Absent::Refuse };
        let shards = &self.workplace.shards;
        let vectors = Vectors::open(spec, &live, &model, absent, shards).await?;
        Ok(wiring::target(spec, engine, collection, &live, model, &vectors))
    }

    /// Looks up the live generations, and closes others and those that are being deleted.
    ///
    /// # Errors
    /// If the metadata store cannot be reached.
    pub(super) async fn sweep(&self) -> Result<(), BoxError> {
        let slots: Vec<(Uuid, Arc<Slot>)> =
            self.lock().iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        let grants = self.workplace.database.postgres().grants();
        for (id, slot) in slots {
            let (asked, doubts) = (Instant::now(), slot.doubts.load(Ordering::Acquire));
            // No lock is held here, so searches continue.
            let seen = grants.seen(EVERYTHING, id).await?;
            // A search that is opening the target has just looked up the live generation.
            let Ok(mut open) = slot.open.try_lock() else { continue };
            let Some(it) = &mut *open else { continue };
            // A search has looked it up after this sweep did.
            if it.seen > asked {
                continue;
            }
            let is_live = seen.is_some_and(|seen| {
                let collection = seen.collection;
                collection.deleting_since.is_none()
                    && collection.vector_store_name == it.target.store
            });
            if is_live {
                (it.seen, it.doubts) = (asked, doubts);
            } else {
                *open = None;
            }
        }
        Ok(())
    }

    /// Loads the models of the files, so that the first search does not wait for them.
    pub(super) fn load_models(&self) {
        for loaded in self.files.loaded() {
            if let Some(model) = loaded.plan.model() {
                let options = wiring::embed_options(&loaded.spec);
                match self.workplace.engine.embedder(&model.path, &options) {
                    Ok(embedder) => tracing::info!(model = embedder.info().short_name, "loaded"),
                    Err(error) => {
                        tracing::warn!(
                            error = pipeline::chain(error.as_ref()),
                            "failed to load a model"
                        );
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Slot>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
