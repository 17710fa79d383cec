//! The collections that the server searches: each with its live generation open, for as long as it is live.
//!
//! Which generation is live is asked for each search, by one cheap question; the vectors stay open between searches. A
//! generation that is live no more, and a collection that is being deleted, are let go of soon ([`Targets::sweep`]), so
//! that their vectors can be deleted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{BoxError, Models as _};
use search::Target;
use sinks::{Reader, Seen};
use uuid::Uuid;

use crate::operate::{Files, Loaded, Workplace};
use crate::wiring::{self, Absent, Vectors};

/// A place where a target is put when it is opened; whoever comes meanwhile waits.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Target>>>>;

/// What is searched.
pub(super) struct Targets {
    pub(super) workplace: Workplace,
    pub(super) files: Files,
    open: Mutex<HashMap<Uuid, Slot>>,
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
        let (seen, loaded) = self.served(collection).await?.ok_or("it is not served here")?;
        self.live(&seen, &loaded).await
    }

    /// As [`Targets::get`], of a collection that was just looked up.
    pub(super) async fn live(&self, seen: &Seen, loaded: &Loaded) -> Result<Arc<Target>, BoxError> {
        if seen.collection.deleting_since.is_some() {
            return Err("it is being deleted".into());
        }
        let slot = Arc::clone(self.lock().entry(seen.collection.id).or_default());
        let mut open = slot.lock().await;
        if let Some(target) = &*open
            && target.store == seen.collection.vector_store_name
        {
            return Ok(Arc::clone(target));
        }
        // What was live before is closed first, when those who search it have ended.
        *open = None;
        let target = Arc::new(self.opened(seen, loaded).await?);
        *open = Some(Arc::clone(&target));
        Ok(target)
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

    /// Lets go of what is live no more or is being deleted.
    ///
    /// # Errors
    /// If the metadata store cannot be reached.
    pub(super) async fn sweep(&self) -> Result<(), BoxError> {
        let slots: Vec<(Uuid, Slot)> =
            self.lock().iter().map(|(id, slot)| (*id, Arc::clone(slot))).collect();
        let grants = self.workplace.database.postgres().grants();
        for (id, slot) in slots {
            // Whoever opens it at the moment has just asked which one is live.
            let Ok(mut open) = slot.try_lock() else { continue };
            let Some(target) = &*open else { continue };
            let seen = grants.seen(EVERYTHING, id).await?;
            let is_live = seen.is_some_and(|seen| {
                let collection = seen.collection;
                collection.deleting_since.is_none() && collection.vector_store_name == target.store
            });
            if !is_live {
                *open = None;
            }
        }
        Ok(())
    }

    /// Loads the models of the files, so that the first search need not wait for it.
    pub(super) fn load_models(&self) {
        for loaded in self.files.loaded() {
            for model in loaded.plan.models() {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
