//! The input of a node: takes batches from its queue and combines them as its batch policy
//! requires.

use std::collections::VecDeque;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::time::timeout_at;

use crate::batch_sizer::BatchSizer;
use crate::channel::{BatchReceiver, batch_bytes};
use crate::{BatchPolicy, BoxError};

pub(crate) struct NodeInput {
    receiver: BatchReceiver,
    batching: Option<(BatchPolicy, BatchSizer)>,
    /// Size in bytes at which batches are passed on, whatever their weight is.
    max_bytes: usize,
    held: VecDeque<RecordBatch>,
    pending_weight: usize,
    pending_bytes: usize,
    /// Arrival of the first held batch.
    pending_since: Option<Instant>,
    is_closed: bool,
}

impl NodeInput {
    pub(crate) fn new(queue: BatchReceiver, gather: Option<BatchPolicy>, most_bytes: u32) -> Self {
        Self {
            receiver: queue,
            batching: gather.map(|gather| (gather, BatchSizer::new(&gather))),
            max_bytes: most_bytes as usize,
            held: VecDeque::new(),
            pending_weight: 0,
            pending_bytes: 0,
            pending_since: None,
            is_closed: false,
        }
    }

    /// The next batch for the node; `None` at the end.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: held batches stay in the inlet.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        let Some((gather, window)) = &self.batching else { return Ok(self.receiver.recv().await) };
        let (gather, wanted, is_adaptive) = (*gather, window.target(), window.is_adaptive());
        while !self.is_closed && self.pending_weight < wanted && self.pending_bytes < self.max_bytes
        {
            if gather.idle_weight.is_some_and(|least| self.pending_weight >= least) {
                let Some(rows) = self.receiver.try_recv() else { break };
                self.hold(rows);
                continue;
            }
            let until = self.pending_since.zip(gather.max_wait).map(|(since, hold)| since + hold);
            let received = match until {
                // Batches in the queue are taken even after the deadline.
                Some(until) => match timeout_at(until.into(), self.receiver.recv()).await {
                    Ok(received) => received,
                    Err(_) => break,
                },
                None => self.receiver.recv().await,
            };
            match received {
                Some(rows) => self.hold(rows),
                None => self.is_closed = true,
            }
        }
        let rest = if is_adaptive { self.split_excess(wanted) } else { None };
        let held: Vec<RecordBatch> = std::mem::take(&mut self.held).into();
        (self.pending_weight, self.pending_bytes, self.pending_since) = (0, 0, None);
        if let Some(rest) = rest {
            // The rest waits anew for further rows, as the start of the next batch.
            (self.pending_weight, self.pending_bytes) = (self.weight_of(&rest), batch_bytes(&rest));
            self.pending_since = Some(Instant::now());
            self.held.push_back(rest);
        }
        match held.as_slice() {
            [] => Ok(None),
            [rows] => Ok(Some(rows.clone())),
            [first, ..] => Ok(Some(concat_batches(first.schema_ref(), &held)?)),
        }
    }

    /// Adds a batch to those of the next call.
    fn hold(&mut self, rows: RecordBatch) {
        self.pending_weight += self.weight_of(&rows);
        self.pending_bytes += batch_bytes(&rows);
        self.held.push_back(rows);
        self.pending_since.get_or_insert_with(Instant::now);
    }

    /// Removes the rows beyond the weight `wanted` from the held batches, if there are any. At
    /// least one row stays.
    fn split_excess(&mut self, wanted: usize) -> Option<RecordBatch> {
        let last = self.held.back()?;
        let before = self.pending_weight - self.weight_of(last);
        let room = wanted.saturating_sub(before);
        // Largest number of rows that fits; the weight of a slice grows with its length.
        let (mut fits, mut too_many) = (0, last.num_rows() + 1);
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            if self.weight_of(&last.slice(0, middle)) <= room {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        let is_alone = self.held.len() == 1;
        let keep = if is_alone { fits.max(1) } else { fits };
        if keep >= last.num_rows() {
            return None;
        }
        let last = self.held.pop_back()?;
        if keep > 0 {
            self.held.push_back(last.slice(0, keep));
        }
        Some(last.slice(keep, last.num_rows() - keep))
    }

    /// Weight of the rows by the batch policy; 0 without one.
    pub(crate) fn weight_of(&self, rows: &RecordBatch) -> usize {
        self.batching.as_ref().map_or(0, |(gather, _)| (gather.weight)(rows))
    }

    /// Records the time of a batch of this weight; see [`BatchSizer::record`].
    pub(crate) fn record_duration(&mut self, weight: usize, began: Instant, done: Instant) {
        if let Some((_, window)) = &mut self.batching {
            window.record(weight, began, done);
        }
    }
}
