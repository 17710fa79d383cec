//! Progress of a run as one value. The live display, the row of the operation, the events of the
//! server and `semantik top` all use it, so nothing is computed twice.
//!
//! It only reads the metrics of the run; the run does not know that it is observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::node_state::NodeState;
use crate::report::RejectionReport;

/// Progress of a run.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use pipeline::Progress;
///
/// let outcomes = [("stored", 7), ("unchanged", 90), ("empty", 1)];
/// let outcomes = outcomes.map(|(outcome, count)| (outcome.to_owned(), count));
/// let progress =
///     Progress { seen: 100, outcomes: BTreeMap::from(outcomes), ..Progress::default() };
/// assert_eq!((progress.finished(), progress.in_flight()), (98, 2));
/// assert_eq!(progress.set_aside_count(), 1, "unchanged documents do not count");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Documents that sources have produced.
    pub seen: u64,
    /// `true` once all sources have ended; `seen` is then the number of documents.
    pub all_seen: bool,
    /// Documents that have left, by outcome: `stored` or a reason.
    pub outcomes: BTreeMap<String, u64>,
    /// Chunks of stored documents.
    pub chunks: u64,
    /// Tokens that the model has processed.
    pub tokens: u64,
    /// Tokens whose vectors were known, so that the model did not process them.
    pub tokens_reused: u64,
    /// Tokens of the documents that the node of the model has received or that wait in its queue.
    pub tokens_given: u64,
    /// Tokens of all documents of the run, estimated for documents without chunks; `None` until all
    /// sources have ended.
    pub tokens_expected: Option<u64>,
    /// Completed share of the work, from 0 to 1; `None` until all sources have ended.
    pub share: Option<f64>,
    /// Seconds since the start of the operation.
    pub elapsed_seconds: f64,
    /// Seconds until all documents in flight are stored; `None` until all sources have ended and
    /// the rate is known.
    pub eta_seconds: Option<f64>,
    /// Seconds until all documents in flight are stored, also while sources are running; `None`
    /// until the rate is known.
    pub in_flight_seconds: Option<f64>,
    /// The nodes, inputs before the nodes that read them.
    pub nodes: Vec<NodeState>,
    /// The bottleneck: the node with the longest busy time since the last sample.
    pub bottleneck: Option<String>,
    /// The most recent rejections, the latest last.
    pub set_aside: Vec<RejectionReport>,
}

impl Progress {
    /// Number of documents that have left with this outcome.
    pub fn outcome_count(&self, word: &str) -> u64 {
        self.outcomes.get(word).copied().unwrap_or(0)
    }

    /// Number of documents that have left.
    pub fn finished(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Number of documents in flight.
    pub fn in_flight(&self) -> u64 {
        self.seen.saturating_sub(self.finished())
    }

    /// Tokens that were processed or reused.
    pub fn tokens_done(&self) -> u64 {
        self.tokens + self.tokens_reused
    }

    /// Number of documents set aside; unchanged documents and duplicates do not count.
    pub fn set_aside_count(&self) -> u64 {
        let there = ["stored", "unchanged", "duplicate"].map(|word| self.outcome_count(word));
        self.finished().saturating_sub(there.iter().sum())
    }

    /// Tokens per second since the start of the operation.
    pub fn tokens_per_second(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for display"
        )]
        let rate = (self.tokens as f64 / self.elapsed_seconds.max(0.001)) as u64;
        rate
    }

    /// The node with the longest busy time since an earlier sample of the same run; `None` if no
    /// node was busy.
    ///
    /// ```
    /// use pipeline::{NodeState, Progress};
    ///
    /// let node = |id: &str, busy| NodeState { id: id.to_owned(), busy, ..NodeState::default() };
    /// let sample = |extract, embed| Progress {
    ///     nodes: vec![node("extract", extract), node("embed", embed)],
    ///     ..Progress::default()
    /// };
    /// let (before, now) = (sample(30.0, 2.0), sample(31.0, 9.0));
    /// assert_eq!(now.bottleneck_since(&before), Some("embed"));
    /// ```
    pub fn bottleneck_since(&self, before: &Self) -> Option<&str> {
        let since = |node: &NodeState| {
            node.busy - before.nodes.iter().find(|it| it.id == node.id).map_or(0.0, |it| it.busy)
        };
        let busiest = self.nodes.iter().max_by(|a, b| since(a).total_cmp(&since(b)))?;
        (since(busiest) > 0.0).then_some(busiest.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, busy: f64) -> NodeState {
        NodeState { id: id.to_owned(), busy, ..NodeState::default() }
    }

    #[test]
    fn the_holder_is_who_worked_longest_since_the_last_look() {
        let before =
            Progress { nodes: vec![node("scan", 9.0), node("embed", 1.0)], ..Progress::default() };
        let now =
            Progress { nodes: vec![node("scan", 9.5), node("embed", 4.0)], ..Progress::default() };
        assert_eq!(now.bottleneck_since(&before), Some("embed"));
        assert_eq!(now.bottleneck_since(&Progress::default()), Some("scan"));
        assert_eq!(now.bottleneck_since(&now), None, "no node was busy");
    }

    #[test]
    fn what_was_written_by_another_version_can_still_be_read() {
        let read: Progress = serde_json::from_str(r#"{"seen": 3, "of_tomorrow": 1}"#).unwrap();
        assert_eq!(read.seen, 3);
    }
}
