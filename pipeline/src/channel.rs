//! A queue bounded by the bytes in it, not by the number of batches.

use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::metrics::NodeMetrics;

#[derive(Clone)]
pub(crate) struct Sender {
    budget: Arc<Semaphore>,
    capacity: u32,
    queue: mpsc::UnboundedSender<Waiting>,
    reader: Arc<NodeMetrics>,
}

pub(crate) struct Receiver {
    queue: mpsc::UnboundedReceiver<Waiting>,
    reader: Arc<NodeMetrics>,
}

struct Waiting {
    rows: RecordBatch,
    bytes: usize,
    /// Returns the bytes to the budget when the batch is dequeued.
    _permit: OwnedSemaphorePermit,
}

/// The node after the queue has ended and takes no rows.
#[derive(Debug)]
pub(crate) struct Closed;

/// Creates the queue in front of the node with these metrics; `capacity` is in bytes.
pub(crate) fn channel(capacity: u32, reader: &Arc<NodeMetrics>) -> (Sender, Receiver) {
    reader.queue_limit(capacity);
    let (sender, receiver) = mpsc::unbounded_channel();
    let budget = Arc::new(Semaphore::new(capacity as usize));
    let sender = Sender { budget, capacity, queue: sender, reader: Arc::clone(reader) };
    (sender, Receiver { queue: receiver, reader: Arc::clone(reader) })
}

impl Sender {
    /// Waits until the batch fits. A batch larger than the capacity waits until the queue is empty.
    pub(crate) async fn send(&self, rows: RecordBatch) -> Result<(), Closed> {
        let bytes = size(&rows);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.capacity);
        let budget = Arc::clone(&self.budget);
        let permit = tokio::select! {
            permit = budget.acquire_many_owned(permits) => permit.map_err(|_| Closed)?,
            () = self.queue.closed() => return Err(Closed),
        };
        self.reader.queued(bytes, &rows);
        self.queue.send(Waiting { rows, bytes, _permit: permit }).map_err(|_| Closed)
    }
}

impl Receiver {
    /// The next batch; `None` once all senders are dropped, which is the end of the input.
    pub(crate) async fn recv(&mut self) -> Option<RecordBatch> {
        let waiting = self.queue.recv().await?;
        self.reader.dequeued(waiting.bytes);
        Some(waiting.rows)
    }
}

/// Size of the rows in bytes. Of a buffer that batches share, only the referenced part counts.
pub(crate) fn size(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
