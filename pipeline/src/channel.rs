//! A queue bounded by the bytes in it, not by the number of batches.

use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::metrics::NodeMetrics;

#[derive(Clone)]
pub(crate) struct BatchSender {
    budget: Arc<Semaphore>,
    capacity: u32,
    queue: mpsc::UnboundedSender<QueuedBatch>,
    consumer_metrics: Arc<NodeMetrics>,
}

pub(crate) struct BatchReceiver {
    queue: mpsc::UnboundedReceiver<QueuedBatch>,
    consumer_metrics: Arc<NodeMetrics>,
}

struct QueuedBatch {
    rows: RecordBatch,
    bytes: usize,
    /// Returns the bytes to the budget when the batch is dequeued.
    _permit: OwnedSemaphorePermit,
}

/// The node after the queue has ended and takes no rows.
#[derive(Debug)]
pub(crate) struct ChannelClosed;

/// Creates the queue in front of the node with these metrics; `capacity` is in bytes.
pub(crate) fn channel(capacity: u32, reader: &Arc<NodeMetrics>) -> (BatchSender, BatchReceiver) {
    reader.set_queue_limit(capacity);
    let (sender, receiver) = mpsc::unbounded_channel();
    let budget = Arc::new(Semaphore::new(capacity as usize));
    let sender =
        BatchSender { budget, capacity, queue: sender, consumer_metrics: Arc::clone(reader) };
    (sender, BatchReceiver { queue: receiver, consumer_metrics: Arc::clone(reader) })
}

impl BatchSender {
    /// Waits until the batch fits. A batch larger than the capacity waits until the queue is empty.
    pub(crate) async fn send(&self, rows: RecordBatch) -> Result<(), ChannelClosed> {
        let bytes = batch_bytes(&rows);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.capacity);
        let budget = Arc::clone(&self.budget);
        let permit = tokio::select! {
            permit = budget.acquire_many_owned(permits) => permit.map_err(|_| ChannelClosed)?,
            () = self.queue.closed() => return Err(ChannelClosed),
        };
        self.consumer_metrics.enqueued(bytes, &rows);
        self.queue.send(QueuedBatch { rows, bytes, _permit: permit }).map_err(|_| ChannelClosed)
    }
}

impl BatchReceiver {
    /// The next batch; `None` once all senders are dropped, which is the end of the input.
    pub(crate) async fn recv(&mut self) -> Option<RecordBatch> {
        let waiting = self.queue.recv().await?;
        Some(self.dequeued(waiting))
    }

    /// The next batch if it is in the queue already.
    pub(crate) fn try_recv(&mut self) -> Option<RecordBatch> {
        let waiting = self.queue.try_recv().ok()?;
        Some(self.dequeued(waiting))
    }

    fn dequeued(&self, waiting: QueuedBatch) -> RecordBatch {
        self.consumer_metrics.dequeued(waiting.bytes);
        waiting.rows
    }
}

/// Size of the rows in bytes. Of a buffer that batches share, only the referenced part counts.
pub(crate) fn batch_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}
