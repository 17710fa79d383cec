//! The collections that the server searches: each with its live generation open, for as long as it is live.
//!
//! Which generation is live is looked up once a second beside the searches ([`Targets::sweep`]), and by the next search
//! when an operation has ended or a collection has failed; no other search waits for the metadata store. The vectors stay
//! open between searches. A generation that is live no more, and a collection that is being deleted, are let go of by
//! the same look, so that their vectors can be deleted.

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

/// A place where a target is put when it is opened; whoever comes meanwhile waits.
#[derive(Default)]
struct Slot {
    open: tokio::sync::Mutex<Option<Open>>,
    /// How often somebody has said that what was looked up may not hold any more.
    doubts: AtomicU64,
}

struct Open {
    target: Arc<Target>,
    /// When it was live.
    seen: Instant,
    /// The doubts before that.
    doubts: u64,
}

/// How long what was looked up is believed. It is looked up anew well before that, unless the metadata store is away.
const FRESH: Duration = Duration::from_secs(3);

/// What is searched.
pub(super) struct Targets {
    pub(super) workplace: Workplace,
    pub(super) files: Files,
    open: Mutex<HashMap<Uuid, Arc<Slot>>>,
}

/// Sees every collection: who may is asked before.
const EVERYTHING: Reader = Reader { user: None, key: None, is_superuser: true };

impl Targets {
    pub(super) fn new(workplace: Workplace, files: Files) -> Self {
        Self { workplace, files, open: Mutex::default() }
    }

    /// A collection of the files, with the file that fills it; `None` if it is of none.
    pub(super) async fn served(
        &self,
        collection: Uuid,
    ) -> Result<Option<(Seen, Arc<Loaded>)>, BoxError> {
        let grants = self.workplace.database.postgres().grants();
        let Some(seen) = grants.seen(EVERYTHING, collection).await? else { return Ok(None) };
        let loaded = self.files.find(&seen.owner, &seen.collection.name, None);
        Ok(loaded.map(|loaded| (seen, loaded)))
    }

    /// The live generation of a collection.
    ///
    /// # Errors
    /// If it is not served, is being deleted, or its vectors cannot be opened.
    pub(super) async fn get(&self, collection: Uuid) -> Result<Arc<Target>, BoxError> {
        let slot = Arc::clone(self.lock().entry(collection).or_default());
        let mut open = slot.open.lock().await;
        // Read before the metadata is, so that a doubt meanwhile is not missed.
        let doubts = slot.doubts.load(Ordering::Acquire);
        if let Some(it) = &*open
            && it.doubts == doubts
            && it.seen.elapsed() < FRESH
        {
            return Ok(Arc::clone(&it.target));
        }
        let seen = Instant::now();
        let looked_up = self.served(collection).await.and_then(|it| {
            let (row, loaded) = it.ok_or("it is not served here")?;
            match row.collection.deleting_since {
                Some(_) => Err("it is being deleted".into()),
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
            // What was live before is closed first, when those who search it have ended.
            None => Arc::new(self.opened(&row, &loaded).await?),
        };
        *open = Some(Open { target: Arc::clone(&target), seen, doubts });
        Ok(target)
    }

    /// What was looked up of a collection may not hold any more; of any, if none is named.
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
        // Nothing has been written yet where no run has come to its end.
        let absent = if live.fingerprint.is_none() { Absent::Make } else { Absent::Refuse };
        let shards = &self.workplace.shards;
        let vectors = Vectors::open(spec, &live, &model, absent, shards).await?;
        Ok(wiring::target(spec, engine, collection, &live, model, &vectors))
    }

    /// Looks up what is live, and lets go of what is not any more or is being deleted.
    ///
    /// # Errors
    /// If the metadata store cannot be reached.
    pub(super) async fn sweep(&self) -> Result<(), BoxError> {
        let slots: Vec<(Uuid, Arc<Slot>)> =
            self.lock().iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        let grants = self.workplace.database.postgres().grants();
        for (id, slot) in slots {
            let (asked, doubts) = (Instant::now(), slot.doubts.load(Ordering::Acquire));
            // Searches go on meanwhile.
            let seen = grants.seen(EVERYTHING, id).await?;
            // Whoever opens it at the moment has just asked which one is live.
            let Ok(mut open) = slot.open.try_lock() else { continue };
            let Some(it) = &mut *open else { continue };
            // They may even have found out more than was known here.
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

    /// Loads the models of the files, so that the first search need not wait for it.
    pub(super) fn load_models(&self) {
        for loaded in self.files.loaded() {
            if let Some(model) = loaded.plan.model() {
                let options = wiring::embed_options(&loaded.spec);
                match self.workplace.engine.embedder(&model.path, &options) {
                    Ok(embedder) => tracing::info!(model = embedder.info().short_name, "loaded"),
                    Err(error) => {
                        tracing::warn!(
                            error = pipeline::chain(error.as_ref()),
                            "a model was not loaded"
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
