//! Work that occupies a thread: hashing a password, tokenising a query, compiling and matching the
//! patterns of a filter. It runs on Tokio's blocking threads, not on those that serve requests.
//! Only this module of the crate uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pipeline::panic_message;
use tokio::sync::Semaphore;

/// Runs a closure on a blocking thread and awaits it.
///
/// # Cancellation
/// Dropping the future does not stop the closure.
///
/// # Panics
/// If the closure panics.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Like [`run_blocking`], but a panic of the closure is an error with its message.
///
/// # Errors
/// The message of the panic.
pub(crate) async fn catch_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic_message(panic.as_ref()).to_owned(),
        Err(error) => error.to_string(),
    })
}

/// A bounded number of concurrent jobs on blocking threads, behind a bounded queue.
///
/// ```
/// use search::blocking::BlockingPool;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // One job runs, and none may wait.
/// let pool = BlockingPool::new(1, 0);
/// let (first, second) = futures::join!(pool.run(|_| 6 * 7), pool.run(|_| 0));
/// assert_eq!(first.unwrap(), 42);
/// assert!(second.is_err(), "the queue is full");
/// # }
/// ```
pub struct BlockingPool {
    permits: Arc<Semaphore>,
    queued: AtomicUsize,
    queue_limit: usize,
}

/// The queue is full.
#[derive(Debug)]
pub struct QueueFull;

/// Cancellation flag of a job. Clones share the flag.
#[derive(Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// `true` once the caller has dropped the future: it disconnected, or its request timed out.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets the flag of a job when the future that awaits it is dropped.
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A slot in the queue.
struct QueueSlot<'a>(&'a AtomicUsize);

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BlockingPool {
    /// Runs up to `at_once` jobs concurrently, while up to `queue_limit` others wait.
    pub fn new(at_once: usize, queue_limit: usize) -> Self {
        let permits = Arc::new(Semaphore::new(at_once.max(1)));
        Self { permits, queued: AtomicUsize::new(0), queue_limit }
    }

    /// Runs a job on a blocking thread and awaits it.
    ///
    /// # Errors
    /// [`QueueFull`] if the queue is full.
    ///
    /// # Cancellation
    /// A queued job is dropped. A running job sees its [`CancelFlag`] flag and keeps its permit
    /// until it returns, so that no more than `at_once` jobs run at any time.
    ///
    /// # Panics
    /// If the job panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancelFlag) -> T + Send + 'static,
    ) -> Result<T, QueueFull> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = self.enqueue()?;
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                permit.expect("the semaphore is never closed")
            }
        };
        let cancelled = CancelFlag::default();
        let _guard = CancelOnDrop(cancelled.clone());
        let done = run_blocking(move || {
            let done = work(&cancelled);
            drop(permit);
            done
        });
        Ok(done.await)
    }

    fn enqueue(&self) -> Result<QueueSlot<'_>, QueueFull> {
        let next = |queued: usize| (queued < self.queue_limit).then_some(queued + 1);
        match self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(QueueSlot(&self.queued)),
            Err(_) => Err(QueueFull),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_empties() {
        let workers = BlockingPool::new(1, 3);
        let (open, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let gate = Arc::new(gate);
        let work = |_: usize| {
            let gate = Arc::clone(&gate);
            workers.run(move |_| gate.lock().expect("unpoisoned").recv().is_ok())
        };
        // Polled in order, before any job can finish.
        let all = join_all((0..6).map(work));
        let opened = async {
            for _ in 0..4 {
                open.send(()).expect("the workers listen");
            }
        };
        let (done, ()) = futures::join!(all, opened);
        let accepted: Vec<bool> = done.iter().map(Result::is_ok).collect();
        assert_eq!(accepted, [true, true, true, true, false, false]);
        open.send(()).expect("the workers listen");
        assert!(work(0).await.is_ok(), "the queue has room again");
    }

    #[tokio::test]
    async fn work_of_a_caller_that_has_gone_is_told_and_keeps_its_permit() {
        let workers = BlockingPool::new(1, 1);
        let (began, begun) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel::<bool>();
        let running = workers.run(move |cancelled| {
            began.send(()).expect("the test waits");
            while !cancelled.is_set() {
                std::thread::yield_now();
            }
            ended.send(true).expect("the test waits");
        });
        let mut running = Box::pin(running);
        assert!(futures::poll!(&mut running).is_pending());
        begun.recv().expect("the job has started");
        assert_eq!(workers.permits.available_permits(), 0);
        drop(running);
        assert!(end.recv().expect("the job saw the flag"));
        assert!(workers.run(|_| ()).await.is_ok(), "the permit comes back");
    }
}
