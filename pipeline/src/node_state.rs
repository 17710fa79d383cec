//! The counters of a node, for observers of a run and its report.

use serde::{Deserialize, Serialize};

/// Counters of a node so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// Id of the node.
    pub id: String,
    /// Documents received.
    pub rows_in: u64,
    /// Documents in progress, which are included in `rows_in`.
    pub rows_under_way: u64,
    /// Documents sent.
    pub rows_out: u64,
    /// Documents received or queued, for a node that runs a model.
    pub rows_given: u64,
    /// Tokens of these documents.
    pub tokens_given: u64,
    /// Batches processed.
    pub batches: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes in the queue of the node.
    pub queue_bytes: u64,
    /// Seconds of work up to now, summed over the workers.
    pub busy: f64,
    /// Seconds of waiting for input.
    pub starved: f64,
    /// Seconds of waiting for the nodes after it.
    pub blocked: f64,
    /// `true` once the node has ended.
    pub ended: bool,
}

impl NodeState {
    /// Documents that the node has finished, rejections included. A source receives none, so its
    /// output counts.
    pub fn finished_rows(&self) -> u64 {
        self.rows_in.saturating_sub(self.rows_under_way).max(self.rows_out)
    }
}
