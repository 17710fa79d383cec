//! The way into a node: takes batches from its queue, and puts them together for a node that wants more
//! at once.

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
    /// More bytes than this are not held back for a node, whatever they weigh to it.
    most_bytes: usize,
    held: VecDeque<RecordBatch>,
    weight: usize,
    bytes: usize,
    /// When the first of the rows that are held came.
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

    /// The next rows for the node; `None` at the end.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped: what was gathered stays here.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, BoxError> {
        let Some((gather, window)) = &self.gather else { return Ok(self.queue.recv().await) };
        let wanted = window.weight();
        while !self.ended && self.weight < wanted && self.bytes < self.most_bytes {
            let until = self.since.zip(gather.hold).map(|(since, hold)| since + hold);
            let received = match until {
                // What waits in the queue is taken even when the time is over.
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
            // It has waited as long as the rows that it came with, and is given with the next batch at once.
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

    /// Takes out of what is held the rows that are more than was wanted, if there are any. At least one row stays.
    fn over(&mut self, wanted: usize) -> Option<RecordBatch> {
        let last = self.held.back()?;
        let before = self.weight - self.weight_of(last);
        let room = wanted.saturating_sub(before);
        // The most rows that fit; weights of longer slices are larger.
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

    /// Weight of rows to the node.
    pub(crate) fn weight_of(&self, rows: &RecordBatch) -> usize {
        self.gather.as_ref().map_or(0, |(gather, _)| (gather.weight)(rows))
    }

    /// Notes how long the node worked on a batch of this weight; see [`Window::took`].
    pub(crate) fn took(&mut self, weight: usize, began: Instant, done: Instant) {
        if let Some((_, window)) = &mut self.gather {
            window.took(weight, began, done);
        }
    }
}
