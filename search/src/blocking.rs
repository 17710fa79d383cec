//! Work that takes a thread for a while: hashing a password, reading a question with a model, compiling and matching the
//! patterns of a filter. It happens beside the threads that serve requests, on tokio's blocking ones; this is the one
//! place of the crate that goes there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Does something on a thread of its own, and waits for it.
///
/// # Cancellation
/// The work goes on to its end when nobody waits for it any more.
///
/// # Panics
/// If the work does.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A bounded number of blocking threads for one kind of work, behind a bounded queue.
pub struct Workers {
    permits: Arc<Semaphore>,
    queued: AtomicUsize,
    queue_limit: usize,
}

/// The queue is full.
#[derive(Debug)]
pub struct Busy;

/// Tells a piece of work whether its result is still wanted. Clones are the same one.
#[derive(Clone, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// Whether the caller has gone: it was disconnected, or the time limit of its request is over.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Cancels a piece of work when the future that awaits it is dropped.
struct CancelOnDrop(Cancelled);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A place in the queue.
struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Runs `at_once` pieces of work at a time, while at most `queue_limit` others wait.
    pub fn new(at_once: usize, queue_limit: usize) -> Self {
        let permits = Arc::new(Semaphore::new(at_once.max(1)));
        Self { permits, queued: AtomicUsize::new(0), queue_limit }
    }

    /// Does something on a blocking thread, and waits for it.
    ///
    /// # Errors
    /// [`Busy`] if the queue is full.
    ///
    /// # Cancellation
    /// Work that waits is dropped. Work that runs is told by its [`Cancelled`], and keeps its permit until it returns,
    /// so that no more than `at_once` run at any time.
    ///
    /// # Panics
    /// If the work does.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cancelled) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = self.queue()?;
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                permit.expect("the semaphore is never closed")
            }
        };
        let cancelled = Cancelled::default();
        let _guard = CancelOnDrop(cancelled.clone());
        let done = blocking(move || {
            let done = work(&cancelled);
            drop(permit);
            done
        });
        Ok(done.await)
    }

    fn queue(&self) -> Result<Queued<'_>, Busy> {
        let next = |queued: usize| (queued < self.queue_limit).then_some(queued + 1);
        match self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(Queued(&self.queued)),
            Err(_) => Err(Busy),
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
        let workers = Workers::new(1, 3);
        let (open, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let gate = Arc::new(gate);
        let work = |_: usize| {
            let gate = Arc::clone(&gate);
            workers.run(move |_| gate.lock().expect("unpoisoned").recv().is_ok())
        };
        // Polled in order, before any of them can end.
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
        assert!(work(0).await.is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn work_of_a_caller_that_has_gone_is_told_and_keeps_its_permit() {
        let workers = Workers::new(1, 1);
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
        begun.recv().expect("it has begun");
        assert_eq!(workers.permits.available_permits(), 0);
        drop(running);
        assert!(end.recv().expect("it was told"));
        assert!(workers.run(|_| ()).await.is_ok(), "the permit comes back");
    }
}
