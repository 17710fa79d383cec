//! The threads of a shard: one owner for everything that changes it, in the order asked, and a few
//! readers for searches. A shard blocks, and a runtime's threads must not.
//!
//! The owner also opens the shard and closes it. Whatever panics in between is caught and becomes an error of the
//! caller that names the shard.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use pipeline::StoreError;
use qdrant_edge::{EdgeShard, OperationResult};
use tokio::sync::oneshot;

use crate::edge::caught::caught;
use crate::edge::shard::{OPENING, damaged};
use crate::shape::gives_up;
use pipeline::store_call;

/// Searches that run at once; each is bound by memory bandwidth, so more would not be faster.
const MOST_READERS: usize = 4;

type Job = Box<dyn FnOnce(&EdgeShard) + Send>;

/// How a shard is opened, and what follows when it is closed.
pub(super) struct Access {
    pub(super) folder: PathBuf,
    pub(super) open: Box<dyn FnOnce() -> Result<EdgeShard, StoreError> + Send>,
    /// Told whether nothing has panicked in a shard that was opened.
    pub(super) closed: Box<dyn FnOnce(bool) + Send>,
}

/// A shard with its threads. Dropping it flushes the shard, and lets go of the folder.
pub(super) struct Owner {
    folder: Arc<Path>,
    /// Unbounded, for every caller waits for its answer: there are no more jobs than callers.
    writes: Option<Sender<Job>>,
    reads: Option<Sender<Job>>,
    owner: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// Whether a write has panicked, so that the files of the shard may be half written.
    panicked: Arc<AtomicBool>,
}

impl Owner {
    /// Opens a shard; blocks for as long as that takes.
    pub(super) fn open(access: Access) -> Result<Self, StoreError> {
        let (answer, answered) = bounded(1);
        let mut owner = Self::launch(access, move |opened| drop(answer.send(opened)))?;
        owner.add_readers(answered.recv().expect("the owner answers, whatever happens in it")?)?;
        Ok(owner)
    }

    /// Opens a shard, and leaves the thread of the caller free meanwhile.
    pub(super) async fn opened(access: Access) -> Result<Self, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut owner = Self::launch(access, move |opened| drop(answer.send(opened)))?;
        owner.add_readers(answered.await.expect("the owner answers, whatever happens in it")?)?;
        Ok(owner)
    }

    fn launch(
        access: Access,
        answer: impl FnOnce(Result<Arc<EdgeShard>, StoreError>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let Access { folder, open, closed } = access;
        let folder: Arc<Path> = folder.into();
        let (writes, jobs) = unbounded::<Job>();
        let panicked = Arc::new(AtomicBool::new(false));
        let (named, has_panicked) = (Arc::clone(&folder), Arc::clone(&panicked));
        let owner = move || {
            let opened = caught(open).unwrap_or_else(|panic| Err(damaged(OPENING, &named, panic)));
            let shard = match opened {
                Ok(shard) => Arc::new(shard),
                Err(error) => return answer(Err(error)),
            };
            answer(Ok(Arc::clone(&shard)));
            for job in jobs {
                job(&shard);
            }
            // The readers have ended, so this flushes the shard and lets go of it.
            let flushed = caught(move || drop(shard));
            if let Err(panic) = &flushed {
                tracing::error!(shard = %named.display(), "a shard was not closed as it should be: {panic}");
            }
            closed(flushed.is_ok() && !has_panicked.load(Ordering::Relaxed));
        };
        let owner = start("edge-owner", owner)?;
        let (readers, reads) = (Vec::new(), None);
        Ok(Self { folder, writes: Some(writes), reads, owner: Some(owner), readers, panicked })
    }

    #[expect(clippy::needless_pass_by_value, reason = "the owner must be the last to hold it")]
    fn add_readers(&mut self, shard: Arc<EdgeShard>) -> Result<(), StoreError> {
        let (reads, jobs) = unbounded();
        self.reads = Some(reads);
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_READERS);
        for _ in 0..readers {
            let (shard, jobs): (_, Receiver<Job>) = (Arc::clone(&shard), jobs.clone());
            self.readers.push(start("edge-reader", move || {
                for job in jobs {
                    job(&shard);
                }
            })?);
        }
        Ok(())
    }

    /// Closes the shard; returns when it is flushed, and what follows is done.
    pub(super) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || drop(self));
        if closing.await.is_err() {
            tracing::error!("closing a shard panicked");
        }
    }

    /// Does something to the shard when everything asked before is done.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(self.writes.as_ref(), doing, Some(Arc::clone(&self.panicked)), job).await
    }

    /// Reads from the shard as it is.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(self.reads.as_ref(), doing, None, job).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        jobs: Option<&Sender<Job>>,
        doing: &'static str,
        panicked: Option<Arc<AtomicBool>>,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = move |shard: &EdgeShard| {
            let result = caught(|| job(shard));
            if let (Err(_), Some(panicked)) = (&result, panicked) {
                panicked.store(true, Ordering::Relaxed);
            }
            // A caller that is gone does not want to know.
            drop(answer.send(result));
        };
        let sent = jobs.is_some_and(|jobs| jobs.send(Box::new(job)).is_ok());
        assert!(sent, "the threads live as long as their owner");
        let answer = async {
            match answered.await.expect("a job answers, whatever happens in it") {
                Ok(result) => result.map_err(|e| gives_up(doing, e)),
                Err(panic) => Err(damaged(doing, &self.folder, panic)),
            }
        };
        store_call("edge", doing, answer).await
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.readers.drain(..) {
            drop(thread.join());
        }
        self.writes = None;
        if let Some(thread) = self.owner.take()
            && thread.join().is_err()
        {
            tracing::error!(shard = %self.folder.display(), "the owner of a shard panicked");
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|e| gives_up("start the threads of a shard", e))
}
