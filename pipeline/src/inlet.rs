//! The way into a node: takes batches from its queue, and puts them together for a node that wants more
//! at once.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::channel::{Receiver, size};
use crate::{BoxError, Gather};

pub(crate) struct Inlet {
    queue: Receiver,
    gather: Option<Gather>,
    /// More bytes than this are not held back for a node, whatever they weigh to it.
    most_bytes: usize,
    held: Vec<RecordBatch>,
    weight: usize,
    bytes: usize,
    ended: bool,
}

impl Inlet {
    pub(crate) fn new(queue: Receiver, gather: Option<Gather>, most_bytes: u32) -> Self {
        let most_bytes = most_bytes as usize;
        Self { queue, gather, most_bytes, held: Vec::new(), weight: 0, bytes: 0, ended: false }
    }

    /// The next rows for the node; `None` at the end.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped: what was gathered stays here.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        let Some(gather) = self.gather else { return Ok(self.queue.recv().await) };
        while !self.ended && self.weight < gather.at_least && self.bytes < self.most_bytes {
            match self.queue.recv().await {
                Some(rows) => {
                    self.weight += (gather.weight)(&rows);
                    self.bytes += size(&rows);
                    self.held.push(rows);
                }
                None => self.ended = true,
            }
        }
        let held = std::mem::take(&mut self.held);
        (self.weight, self.bytes) = (0, 0);
        match held.as_slice() {
            [] => Ok(None),
            [rows] => Ok(Some(rows.clone())),
            [first, ..] => Ok(Some(concat_batches(first.schema_ref(), &held)?)),
        }
    }
}
