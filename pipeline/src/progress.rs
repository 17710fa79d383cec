//! How far a run is, as one value: the live view, the row of the operation, the events of the server and
//! `semantik top` all draw from it, so nothing is computed twice.
//!
//! It only reads what the run counts; the run does not know that it is watched.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::report::SetAsideReport;

/// The most documents that were set aside last and are named.
const NAMED: usize = 20;

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Documents that sources have given.
    pub seen: u64,
    /// Documents that have left, by outcome: `stored`, or a reason.
    pub outcomes: BTreeMap<String, u64>,
    /// Chunks of the documents that are stored.
    pub chunks: u64,
    /// Tokens that the model has read.
    pub tokens: u64,
    /// Seconds since the operation began.
    pub elapsed_seconds: f64,
    /// Seconds until what is in flight is stored; known once the sources have ended.
    pub eta_seconds: Option<f64>,
    /// The nodes, inputs before readers.
    pub nodes: Vec<NodeState>,
    /// The node that holds the flow up: the one that worked longest since the last look.
    pub holder: Option<String>,
    /// The documents that were set aside last, the last one at the end.
    pub set_aside: Vec<SetAsideReport>,
}

/// What a node has done so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeState {
    /// Its id.
    pub id: String,
    /// Documents that it was given.
    pub rows_in: u64,
    /// Documents that it works on at the moment, those among them.
    pub rows_under_way: u64,
    /// Documents that it gave on.
    pub rows_out: u64,
    /// Batches that it worked on.
    pub batches: u64,
    /// Bytes that it was given.
    pub bytes_in: u64,
    /// Bytes that wait in front of it.
    pub queue_bytes: u64,
    /// Seconds of work, summed over its workers, up to this moment.
    pub busy: f64,
    /// Seconds of waiting for input.
    pub starved: f64,
    /// Seconds of waiting for the nodes behind it.
    pub blocked: f64,
    /// Whether it has done all that it will do.
    pub ended: bool,
}

impl NodeState {
    /// Documents that it is done with, set aside ones included; a source is given none.
    pub fn done(&self) -> u64 {
        self.rows_in.saturating_sub(self.rows_under_way).max(self.rows_out)
    }
}

impl Progress {
    /// Documents that have left with this outcome.
    pub fn outcome(&self, word: &str) -> u64 {
        self.outcomes.get(word).copied().unwrap_or(0)
    }

    /// Documents that have left.
    pub fn left(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Documents that were set aside, for reasons other than being there already.
    pub fn set_aside_count(&self) -> u64 {
        let there = ["stored", "unchanged", "duplicate"].map(|word| self.outcome(word));
        self.left().saturating_sub(there.iter().sum())
    }

    /// Tokens a second, since the operation began.
    pub fn tokens_per_second(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (self.tokens as f64 / self.elapsed_seconds.max(0.001)) as u64;
        rate
    }

    /// The node that worked longest since an earlier look at the same run.
    pub fn holder_since(&self, before: &Self) -> Option<&str> {
        let since = |node: &NodeState| {
            node.busy - before.nodes.iter().find(|it| it.id == node.id).map_or(0.0, |it| it.busy)
        };
        let busiest = self.nodes.iter().max_by(|a, b| since(a).total_cmp(&since(b)))?;
        (since(busiest) > 0.0).then_some(busiest.id.as_str())
    }
}

/// The documents that a run set aside last, for whoever watches. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Mutex<VecDeque<SetAsideReport>>>);

impl Feed {
    /// Notes one.
    pub(crate) fn push(&self, document: SetAsideReport) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == NAMED {
            last.pop_front();
        }
        last.push_back(document);
    }

    /// The last ones, oldest first.
    pub fn last(&self) -> Vec<SetAsideReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Looks at a run from outside. Each watcher has its own, since what holds the flow up is said of the time
/// between two looks.
#[derive(Clone)]
pub struct Watch {
    metrics: Arc<Metrics>,
    feed: Feed,
    nodes: Vec<String>,
    started: Instant,
    before: Option<Progress>,
}

impl Watch {
    /// Watches a run of these nodes (inputs before readers), from now on.
    pub fn new(nodes: Vec<String>, metrics: Arc<Metrics>, feed: Feed) -> Self {
        Self { metrics, feed, nodes, started: Instant::now(), before: None }
    }

    /// How far the run is; `tokens` is what the model has read so far.
    pub fn look(&mut self, tokens: u64) -> Progress {
        let nodes: Vec<NodeState> = self.nodes.iter().map(|id| self.metrics.node(id)).collect();
        let mut now = Progress {
            seen: self.metrics.documents_seen(),
            outcomes: self.metrics.outcomes(),
            chunks: self.metrics.chunks(),
            tokens,
            elapsed_seconds: self.started.elapsed().as_secs_f64(),
            eta_seconds: None,
            nodes,
            holder: None,
            set_aside: self.feed.last(),
        };
        now.eta_seconds = eta(&now);
        let nothing = Progress::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        now.holder = now.holder_since(before).map(str::to_owned);
        self.before = Some(now.clone());
        now
    }
}

/// Seconds until what is in flight has left, as quickly as documents have left so far that took work. Such as are there
/// already leave at once, and say nothing of those that are still on their way.
fn eta(now: &Progress) -> Option<f64> {
    // Sources read nothing, and give no more once they have ended.
    let mut sources = now.nodes.iter().filter(|node| node.bytes_in == 0 && node.rows_in == 0);
    let left = now.left();
    let at_once = now.outcome("unchanged") + now.outcome("duplicate");
    let worked_on = left.saturating_sub(at_once);
    if worked_on == 0 || !sources.all(|source| source.ended) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let eta = now.seen.saturating_sub(left) as f64 * now.elapsed_seconds / worked_on as f64;
    Some(eta)
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
        assert_eq!(now.holder_since(&before), Some("embed"));
        assert_eq!(now.holder_since(&Progress::default()), Some("scan"));
        assert_eq!(now.holder_since(&now), None, "nobody has worked");
    }

    #[test]
    fn the_end_is_foreseen_once_the_sources_have_ended() {
        let outcomes = BTreeMap::from([("stored".to_owned(), 10), ("failed".to_owned(), 10)]);
        let nodes = vec![
            NodeState { ended: true, ..node("scan", 1.0) },
            NodeState { rows_in: 40, bytes_in: 1, ..node("embed", 1.0) },
        ];
        let now =
            Progress { seen: 40, outcomes, nodes, elapsed_seconds: 5.0, ..Progress::default() };
        assert_eq!(eta(&now), Some(5.0));
        assert_eq!((now.left(), now.set_aside_count()), (20, 10));
        let mut mostly_there = now.clone();
        mostly_there.seen += 1000;
        mostly_there.outcomes.insert("unchanged".to_owned(), 1000);
        assert_eq!(eta(&mostly_there), Some(5.0), "they took no time");
        let mut earlier = now;
        earlier.nodes[0].ended = false;
        assert_eq!(eta(&earlier), None);
    }

    #[test]
    fn the_feed_keeps_the_last() {
        let feed = Feed::default();
        for n in 0..50 {
            feed.push(SetAsideReport { uri: n.to_string(), ..SetAsideReport::default() });
        }
        let last: Vec<String> = feed.last().into_iter().map(|it| it.uri).collect();
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "30", "49"));
    }

    #[test]
    fn what_was_written_by_another_version_can_still_be_read() {
        let read: Progress = serde_json::from_str(r#"{"seen": 3, "of_tomorrow": 1}"#).unwrap();
        assert_eq!(read.seen, 3);
    }
}
