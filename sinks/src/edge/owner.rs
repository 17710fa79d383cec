//! The threads of a shard: one owner for everything that changes it, in the order asked, and a few
//! readers for searches. A shard blocks, and a runtime's threads must not.

use std::any::Any;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use pipeline::StoreError;
use qdrant_edge::{EdgeShard, OperationResult};
use tokio::sync::oneshot;

use crate::call::call;
use crate::vectors::gives_up;

/// Searches that run at once; each is bound by memory bandwidth, so more would not be faster.
const MOST_READERS: usize = 4;

type Job = Box<dyn FnOnce(&EdgeShard) + Send>;

/// A shard with its threads. Dropping it flushes the shard, and lets go of the folder.
pub(super) struct Owner {
    /// Unbounded, for every caller waits for its answer: there are no more jobs than callers.
    writes: Option<Sender<Job>>,
    reads: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Owner {
    pub(super) fn start(shard: EdgeShard) -> std::io::Result<Self> {
        let shard = Arc::new(shard);
        let (writes, to_write) = unbounded();
        let (reads, to_read) = unbounded();
        let mut threads = vec![serve("edge-owner", &shard, to_write)?];
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_READERS);
        for _ in 0..readers {
            threads.push(serve("edge-reader", &shard, to_read.clone())?);
        }
        Ok(Self { writes: Some(writes), reads: Some(reads), threads })
    }

    /// Does something to the shard when everything asked before is done.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask(self.writes.as_ref(), doing, job).await
    }

    /// Reads from the shard as it is.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask(self.reads.as_ref(), doing, job).await
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the vector collection panicked while it was closed");
            }
        }
    }
}

/// Starts a thread that does jobs until nobody can send any. The last one closes the shard.
fn serve(
    name: &str,
    shard: &Arc<EdgeShard>,
    jobs: Receiver<Job>,
) -> std::io::Result<JoinHandle<()>> {
    let shard = Arc::clone(shard);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        for job in jobs {
            job(&shard);
        }
    })
}

async fn ask<T: Send + 'static>(
    jobs: Option<&Sender<Job>>,
    doing: &'static str,
    job: impl FnOnce(&EdgeShard) -> OperationResult<T> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = oneshot::channel();
    let job = move |shard: &EdgeShard| {
        // Edge answers a failed flush with a panic, after which the shard is as it was.
        let result = catch_unwind(AssertUnwindSafe(|| job(shard)));
        // A caller that is gone does not want to know.
        drop(answer.send(result));
    };
    let sent = jobs.is_some_and(|jobs| jobs.send(Box::new(job)).is_ok());
    assert!(sent, "the threads live as long as their owner");
    let answer = async {
        match answered.await.expect("a job answers, whatever happens in it") {
            Ok(result) => result.map_err(|e| gives_up(doing, e)),
            Err(panic) => Err(gives_up(doing, format!("panicked: {}", said(panic.as_ref())))),
        }
    };
    call("edge", doing, answer).await
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
