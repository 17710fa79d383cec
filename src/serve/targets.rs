//! The collections that the server searches, each with its live generation open.
//!
//! The live generation is looked up once a second in the background ([`Targets::sweep`]), and by
//! the next search after an operation has ended or a collection has failed; no other search waits
//! for the metadata store. Vectors stay open between searches. The sweep closes generations that
//! are no longer live, and collections that are being deleted, so that their vectors can be
//! deleted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metadata::{Principal, VisibleCollection};
use operations::{GenerationVectors, IfMissing, LoadedPipeline, PipelineFiles, Runtime};
use pipeline::BoxError;
use search::Target;
use uuid::Uuid;

/// Holds an open target; other searches of the collection wait while it is opened.
#[derive(Default)]
struct TargetSlot {
    open: tokio::sync::Mutex<Option<OpenTarget>>,
    /// Number of invalidations so far.
    invalidations: AtomicU64,
}

struct OpenTarget {
    target: Arc<Target>,
    /// The time at which the generation was known to be live.
    checked_at: Instant,
    /// The invalidations before that time.
    invalidations: u64,
}

/// Maximum age of a looked-up generation. The sweep renews it well before, unless the metadata
/// store is unreachable.
const MAX_AGE: Duration = Duration::from_secs(3);

/// The open collections of the server.
pub(super) struct Targets {
    pub(super) runtime: Runtime,
    pub(super) files: PipelineFiles,
    open: Mutex<HashMap<Uuid, Arc<TargetSlot>>>,
}

/// Sees each collection; the caller has checked the permissions.
const SUPERUSER: Principal = Principal { user: None, key: None, is_superuser: true };

impl Targets {
    pub(super) fn new(runtime: Runtime, files: PipelineFiles) -> Self {
        Self { runtime, files, open: Mutex::default() }
    }

    /// A collection of the files, with the file that fills it; `None` if no file does.
    pub(super) async fn served_collection(
        &self,
        collection: Uuid,
    ) -> Result<Option<(VisibleCollection, Arc<LoadedPipeline>)>, BoxError> {
        let collections = self.runtime.database.postgres().collections();
        let Some(seen) = collections.visible(SUPERUSER, collection).await? else { return Ok(None) };
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
        let doubts = slot.invalidations.load(Ordering::Acquire);
        if let Some(it) = &*open
            && it.invalidations == doubts
            && it.checked_at.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(&it.target));
        }
        let seen = Instant::now();
        let looked_up = self.served_collection(collection).await.and_then(|it| {
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
            None => Arc::new(self.open_target(&row, &loaded).await?),
        };
        *open = Some(OpenTarget {
            target: Arc::clone(&target),
            checked_at: seen,
            invalidations: doubts,
        });
        Ok(target)
    }

    /// Invalidates the looked-up generation of a collection; of all collections if `None`.
    pub(super) fn invalidate(&self, collection: Option<Uuid>) {
        let open = self.lock();
        let concerned = open.iter().filter(|(id, _)| collection.is_none_or(|it| it == **id));
        for (_, slot) in concerned {
            slot.invalidations.fetch_add(1, Ordering::AcqRel);
        }
    }

    async fn open_target(
        &self,
        seen: &VisibleCollection,
        loaded: &LoadedPipeline,
    ) -> Result<Target, BoxError> {
        let (collection, models) = (&seen.collection, &self.runtime.models);
        let postgres = self.runtime.database.postgres();
        let generations = postgres.generations();
        let live = generations.live(collection.id).await?;
        let LoadedPipeline { spec, plan, facts, .. } = loaded;
        let model = operations::resolve_model(&live, plan, models.as_ref())?;
        // Without a completed run, no vectors may exist yet.
        let absent = if live.fingerprint.is_none() { IfMissing::Create } else { IfMissing::Refuse };
        let (shards, layout) = (&self.runtime.shards, &facts.layout);
        let vectors = GenerationVectors::open(spec, layout, &live, &model, absent, shards).await?;
        Ok(operations::build_target(
            spec, facts, models, collection, &live, model, &vectors, postgres,
        ))
    }

    /// Looks up the live generations, and closes others and those that are being deleted.
    ///
    /// # Errors
    /// If the metadata store cannot be reached.
    pub(super) async fn sweep(&self) -> Result<(), BoxError> {
        let slots: Vec<(Uuid, Arc<TargetSlot>)> =
            self.lock().iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        let collections = self.runtime.database.postgres().collections();
        for (id, slot) in slots {
            let (asked, doubts) = (Instant::now(), slot.invalidations.load(Ordering::Acquire));
            // No lock is held here, so searches continue.
            let seen = collections.visible(SUPERUSER, id).await?;
            // A search that is opening the target has just looked up the live generation.
            let Ok(mut open) = slot.open.try_lock() else { continue };
            let Some(it) = &mut *open else { continue };
            // A search has looked it up after this sweep did.
            if it.checked_at > asked {
                continue;
            }
            let is_live = seen.is_some_and(|seen| {
                let collection = seen.collection;
                collection.deleting_since.is_none()
                    && collection.vector_store_name == it.target.store
            });
            if is_live {
                (it.checked_at, it.invalidations) = (asked, doubts);
            } else {
                *open = None;
            }
        }
        Ok(())
    }

    /// Loads the models of the files, so that the first search does not wait for them.
    pub(super) fn load_models(&self) {
        for loaded in self.files.loaded() {
            let facts = &loaded.facts;
            match self.runtime.models.embedder(&facts.model.path, &facts.embedder) {
                Ok(embedder) => tracing::info!(model = embedder.info().short_name, "loaded"),
                Err(error) => {
                    tracing::warn!(
                        error = pipeline::error_chain(error.as_ref()),
                        "failed to load a model"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<TargetSlot>>> {
        pipeline::lock(&self.open)
    }
}
