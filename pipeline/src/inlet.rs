//! The input of a node: takes batches from its queue and combines them as its batch policy
//! requires.

use std::collections::VecDeque;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::time::timeout_at;

use crate::channel::{Receiver, size};
use crate::window::Window;
use crate::{BoxError, Gather};

pub(crate) struct Inlet {
    queue: Receiver,
    gather: Option<(Gather, Window)>,
    /// Size in bytes at which batches are passed on, whatever their weight is.
    most_bytes: usize,
    held: VecDeque<RecordBatch>,
    weight: usize,
    bytes: usize,
    /// Arrival of the first held batch.
    since: Option<Instant>,
    ended: bool,
}

impl Inlet {
    pub(crate) fn new(queue: Receiver, gather: Option<Gather>, most_bytes: u32) -> Self {
        Self {
            queue,
            gather: gather.map(|gather| (gather, Window::of(&gather))),
            most_bytes: most_bytes as usize,
            held: VecDeque::new(),
            weight: 0,
            bytes: 0,
            since: None,
            ended: false,
        }
    }

    /// The next batch for the node; `None` at the end.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: held batches stay in the inlet.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        let Some((gather, window)) = &self.gather else { return Ok(self.queue.recv().await) };
        let wanted = window.weight();
        while !self.ended && self.weight < wanted && self.bytes < self.most_bytes {
            let until = self.since.zip(gather.hold).map(|(since, hold)| since + hold);
            let received = match until {
                // Batches in the queue are taken even after the deadline.
                Some(until) => match timeout_at(until.into(), self.queue.recv()).await {
                    Ok(received) => received,
                    Err(_) => break,
                },
                None => self.queue.recv().await,
            };
            match received {
                Some(rows) => {
                    self.weight += (gather.weight)(&rows);
                    self.bytes += size(&rows);
                    self.held.push_back(rows);
                    self.since.get_or_insert_with(Instant::now);
                }
                None => self.ended = true,
            }
        }
        let rest = if window.adapts() { self.over(wanted) } else { None };
        let held: Vec<RecordBatch> = std::mem::take(&mut self.held).into();
        (self.weight, self.bytes, self.since) = (0, 0, None);
        if let Some(rest) = rest {
            // The rest waits anew for further rows, as the start of the next batch.
            (self.weight, self.bytes) = (self.weight_of(&rest), size(&rest));
            self.since = Some(Instant::now());
            self.held.push_back(rest);
        }
        match held.as_slice() {
            [] => Ok(None),
            [rows] => Ok(Some(rows.clone())),
            [first, ..] => Ok(Some(concat_batches(first.schema_ref(), &held)?)),
        }
    }

    /// Removes the rows beyond the weight `wanted` from the held batches, if there are any. At
    /// least one row stays.
    fn over(&mut self, wanted: usize) -> Option<RecordBatch> {
        let last = self.held.back()?;
        let before = self.weight - self.weight_of(last);
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
        self.gather.as_ref().map_or(0, |(gather, _)| (gather.weight)(rows))
    }

    /// Records the time of a batch of this weight; see [`Window::took`].
    pub(crate) fn took(&mut self, weight: usize, began: Instant, done: Instant) {
        if let Some((_, window)) = &mut self.gather {
            window.took(weight, began, done);
        }
    }
}
