//! The threads of a shard: one owner executes all changes in the order of the calls, and a few
//! readers execute searches. Calls of a shard block, which threads of the async runtime must not.
//!
//! The owner also opens and closes the shard. A panic in any of these calls is caught and returned
//! to the caller as an error that names the shard.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use pipeline::StoreError;
use qdrant_edge::{EdgeShard, OperationResult};
use tokio::sync::oneshot;

use crate::edge::damage::{OPENING, damage_error};
use crate::edge::panics::catch_panic;
use crate::shape::permanent_error;
use pipeline::store_call;

/// Concurrent searches. Each is limited by memory bandwidth, so more would not be faster.
const MAX_READERS: usize = 4;

type Job = Box<dyn FnOnce(&EdgeShard) + Send>;

/// The folder of a shard, and callbacks for its opening and closing.
pub(super) struct ShardOpener {
    pub(super) folder: PathBuf,
    pub(super) open: Box<dyn FnOnce() -> Result<EdgeShard, StoreError> + Send>,
    /// Called after the shard was closed, with `true` if neither a write nor the close panicked.
    pub(super) on_closed: Box<dyn FnOnce(bool) + Send>,
}

/// A shard with its threads. Dropping it flushes the shard and releases the folder.
pub(super) struct ShardThreads {
    folder: Arc<Path>,
    /// Unbounded: every caller waits for its result, so the queue never has more jobs than there
    /// are callers.
    writes: Option<Sender<Job>>,
    reads: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// Set if a write panicked, so files of the shard may be half written.
    panicked: Arc<AtomicBool>,
}

impl ShardThreads {
    /// Opens a shard; blocks the calling thread until it is open.
    pub(super) fn open(access: ShardOpener) -> Result<Self, StoreError> {
        let (answer, answered) = bounded(1);
        let mut owner = Self::launch(access, move |opened| drop(answer.send(opened)))?;
        owner.add_readers(answered.recv().expect("the owner answers even after a panic")?)?;
        Ok(owner)
    }

    /// Opens a shard without blocking the calling thread.
    pub(super) async fn open_async(access: ShardOpener) -> Result<Self, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut owner = Self::launch(access, move |opened| drop(answer.send(opened)))?;
        owner.add_readers(answered.await.expect("the owner answers even after a panic")?)?;
        Ok(owner)
    }

    fn launch(
        access: ShardOpener,
        answer: impl FnOnce(Result<Arc<EdgeShard>, StoreError>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let ShardOpener { folder, open, on_closed: closed } = access;
        let folder: Arc<Path> = folder.into();
        let (writes, jobs) = unbounded::<Job>();
        let panicked = Arc::new(AtomicBool::new(false));
        let (named, has_panicked) = (Arc::clone(&folder), Arc::clone(&panicked));
        let owner = move || {
            let opened =
                catch_panic(open).unwrap_or_else(|panic| Err(damage_error(OPENING, &named, panic)));
            let shard = match opened {
                Ok(shard) => Arc::new(shard),
                Err(error) => return answer(Err(error)),
            };
            answer(Ok(Arc::clone(&shard)));
            for job in jobs {
                job(&shard);
            }
            // The readers have ended, so this is the last reference: it flushes and closes the
            // shard.
            let flushed = catch_panic(move || drop(shard));
            if let Err(panic) = &flushed {
                tracing::error!(shard = %named.display(), "closing a shard panicked: {panic}");
            }
            closed(flushed.is_ok() && !has_panicked.load(Ordering::Relaxed));
        };
        let owner = spawn_thread("edge-owner", owner)?;
        let (readers, reads) = (Vec::new(), None);
        Ok(Self { folder, writes: Some(writes), reads, writer: Some(owner), readers, panicked })
    }

    #[expect(clippy::needless_pass_by_value, reason = "the owner must be the last to hold it")]
    fn add_readers(&mut self, shard: Arc<EdgeShard>) -> Result<(), StoreError> {
        let (reads, jobs) = unbounded();
        self.reads = Some(reads);
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_READERS);
        for _ in 0..readers {
            let (shard, jobs): (_, Receiver<Job>) = (Arc::clone(&shard), jobs.clone());
            self.readers.push(spawn_thread("edge-reader", move || {
                for job in jobs {
                    job(&shard);
                }
            })?);
        }
        Ok(())
    }

    /// Closes the shard; returns after it was flushed and `closed` was called.
    pub(super) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || drop(self));
        if closing.await.is_err() {
            tracing::error!("the task that closes a shard panicked");
        }
    }

    /// Runs a job that changes the shard, after all jobs queued before it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(self.writes.as_ref(), doing, Some(Arc::clone(&self.panicked)), job).await
    }

    /// Runs a job that reads the shard, concurrently with writes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(self.reads.as_ref(), doing, None, job).await
    }

    async fn submit<T: Send + 'static>(
        &self,
        jobs: Option<&Sender<Job>>,
        doing: &'static str,
        panicked: Option<Arc<AtomicBool>>,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = move |shard: &EdgeShard| {
            let result = catch_panic(|| job(shard));
            if let (Err(_), Some(panicked)) = (&result, panicked) {
                panicked.store(true, Ordering::Relaxed);
            }
            // A caller that was cancelled does not need the result.
            drop(answer.send(result));
        };
        let sent = jobs.is_some_and(|jobs| jobs.send(Box::new(job)).is_ok());
        assert!(sent, "the threads live as long as their owner");
        let answer = async {
            match answered.await.expect("a job sends a result even after a panic") {
                Ok(result) => result.map_err(|e| permanent_error(doing, e)),
                Err(panic) => Err(damage_error(doing, &self.folder, panic)),
            }
        };
        store_call("edge", doing, answer).await
    }
}

impl Drop for ShardThreads {
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.readers.drain(..) {
            drop(thread.join());
        }
        self.writes = None;
        if let Some(thread) = self.writer.take()
            && thread.join().is_err()
        {
            tracing::error!(shard = %self.folder.display(), "the owner thread of a shard panicked");
        }
    }
}

fn spawn_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|e| permanent_error("start the threads of a shard", e))
}
