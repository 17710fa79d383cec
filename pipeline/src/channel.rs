//! A queue bounded by the bytes that wait in it, not by the number of batches.

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
    /// Gives the bytes back to the budget when the batch is taken.
    _permit: OwnedSemaphorePermit,
}

/// The node downstream is gone, so nobody wants the rows.
#[derive(Debug)]
pub(crate) struct Closed;

/// A queue in front of the node whose metrics are given.
pub(crate) fn channel(capacity: u32, reader: &Arc<NodeMetrics>) -> (Sender, Receiver) {
    reader.queue_limit(capacity);
    let (sender, receiver) = mpsc::unbounded_channel();
    let budget = Arc::new(Semaphore::new(capacity as usize));
    let sender = Sender { budget, capacity, queue: sender, reader: Arc::clone(reader) };
    (sender, Receiver { queue: receiver, reader: Arc::clone(reader) })
}

impl Sender {
    /// Waits until the batch fits. A batch larger than the whole budget waits until it is alone.
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
    /// `None` once every sender is gone: that is how a node learns that its input has ended.
    pub(crate) async fn recv(&mut self) -> Option<RecordBatch> {
        let waiting = self.queue.recv().await?;
        self.reader.dequeued(waiting.bytes);
        Some(waiting.rows)
    }
}

/// Bytes that the rows take up. Buffers that a batch shares with others count with the part that it
/// refers to.
pub(crate) fn size(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
