//! Progress of a run as one value. The live display, the row of the operation, the events of the
//! server and `semantik top` all use it, so nothing is computed twice.
//!
//! It only reads the metrics of the run; the run does not know that it is observed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::EmbedderUsage;
use crate::metrics::Metrics;
use crate::report::RejectionReport;

/// Time range for the rate of the model, in seconds.
const RATE_WINDOW_SECONDS: f64 = 30.0;

/// Maximum number of recent rejections.
const MAX_RECENT_REJECTIONS: usize = 20;

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

/// The most recent rejections of a run, for its observers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RejectionLog(Arc<Mutex<VecDeque<RejectionReport>>>);

impl RejectionLog {
    /// Adds a rejection and drops the oldest beyond the limit.
    pub(crate) fn push(&self, document: RejectionReport) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == MAX_RECENT_REJECTIONS {
            last.pop_front();
        }
        last.push_back(document);
    }

    /// The most recent rejections, oldest first.
    pub fn recent(&self) -> Vec<RejectionReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Samples the progress of a run. Each observer needs its own, because the bottleneck is computed
/// between two samples.
#[derive(Clone)]
pub struct ProgressSampler {
    metrics: Arc<Metrics>,
    rejections: RejectionLog,
    nodes: Vec<String>,
    started: Instant,
    previous: Option<Progress>,
    /// Seconds since the start and tokens done, for each sample of the last 30 seconds.
    recent_samples: VecDeque<(f64, u64)>,
}

impl ProgressSampler {
    /// Samples a run of these nodes (inputs before the nodes that read them) from now on.
    pub fn new(nodes: Vec<String>, metrics: Arc<Metrics>, feed: RejectionLog) -> Self {
        let started = Instant::now();
        Self {
            metrics,
            rejections: feed,
            nodes,
            started,
            previous: None,
            recent_samples: VecDeque::new(),
        }
    }

    /// Progress of the run; `model` is the usage of the model so far.
    pub fn sample(&mut self, model: EmbedderUsage) -> Progress {
        let nodes: Vec<NodeState> =
            self.nodes.iter().map(|id| self.metrics.node_state(id)).collect();
        let mut now = Progress {
            seen: self.metrics.documents_seen(),
            all_seen: all_sources_ended(&nodes),
            outcomes: self.metrics.outcomes(),
            chunks: self.metrics.chunks(),
            tokens: model.tokens,
            tokens_reused: model.reused_tokens,
            elapsed_seconds: self.started.elapsed().as_secs_f64(),
            nodes,
            set_aside: self.rejections.recent(),
            ..Progress::default()
        };
        now.tokens_given = now.nodes.iter().map(|node| node.tokens_given).sum();
        let expected = expected_tokens(&now);
        let rate = recent_rate(&mut self.recent_samples, now.elapsed_seconds, now.tokens_done());
        now.in_flight_seconds = remaining_seconds(&now, expected, rate);
        if now.all_seen {
            now.tokens_expected = Some(expected);
            now.eta_seconds = now.in_flight_seconds;
            now.share = Some(completed_share(&now, expected));
        }
        let nothing = Progress::default();
        let before = self.previous.as_ref().unwrap_or(&nothing);
        now.bottleneck = now.bottleneck_since(before).map(str::to_owned);
        self.previous = Some(now.clone());
        now
    }
}

/// `true` if every source has ended. A node without input so far may be a source, so it counts as
/// one.
fn all_sources_ended(nodes: &[NodeState]) -> bool {
    let mut sources = nodes.iter().filter(|node| node.bytes_in == 0 && node.rows_in == 0);
    !nodes.is_empty() && sources.all(|source| source.ended)
}

/// Estimated tokens of all documents seen: those of the documents that reached a model, and their
/// mean for each document on its way to one.
fn expected_tokens(now: &Progress) -> u64 {
    let given: u64 = now.nodes.iter().map(|node| node.rows_given).sum();
    if given == 0 {
        return 0;
    }
    // With rare exceptions, documents that are not stored leave before the model.
    let left_before = now.finished() - now.outcome_count("stored");
    let coming = now.seen.saturating_sub(left_before + given);
    let coming = u128::from(coming) * u128::from(now.tokens_given) / u128::from(given);
    now.tokens_given + u64::try_from(coming).unwrap_or(u64::MAX)
}

/// Adds the current sample and returns tokens per second over the last 30 seconds; 0 while unknown.
fn recent_rate(lately: &mut VecDeque<(f64, u64)>, at: f64, done: u64) -> f64 {
    // The time before the first token is spent loading the model and says nothing about the rate.
    if done == 0 {
        lately.clear();
    }
    lately.push_back((at, done));
    while lately.len() > 2 && at - lately[1].0 >= RATE_WINDOW_SECONDS {
        lately.pop_front();
    }
    let (since, before) = lately[0];
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = done.saturating_sub(before) as f64 / (at - since).max(0.001);
    rate
}

/// Seconds until all documents in flight have left, at the recent rate of the model, else at the
/// rate of stored documents so far. Documents that are unchanged or set aside leave early and
/// quickly, so their rate does not apply to the rest.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn remaining_seconds(now: &Progress, expected: u64, rate: f64) -> Option<f64> {
    if now.in_flight() == 0 {
        return Some(0.0);
    }
    let tokens = expected.saturating_sub(now.tokens_done());
    if tokens > 0 && rate > 0.0 {
        return Some(tokens as f64 / rate);
    }
    let stored = now.outcome_count("stored");
    (stored > 0).then(|| now.in_flight() as f64 * now.elapsed_seconds / stored as f64)
}

/// Completed share of the work, by tokens, or by documents without tokens to process. It is 1 once
/// every document has left, and at most 0.99 before.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn completed_share(now: &Progress, expected: u64) -> f64 {
    if now.in_flight() == 0 {
        return 1.0;
    }
    let (done, of) =
        if expected > 0 { (now.tokens_done(), expected) } else { (now.finished(), now.seen) };
    (done as f64 / of.max(1) as f64).min(0.99)
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

    fn looked(is_ended: bool, given: (u64, u64), outcomes: &[(&str, u64)]) -> Progress {
        let (rows_given, tokens_given) = given;
        let nodes = vec![
            NodeState { ended: is_ended, ..node("scan", 1.0) },
            NodeState { rows_in: 40, bytes_in: 1, rows_given, tokens_given, ..node("embed", 1.0) },
        ];
        let outcomes = outcomes.iter().map(|(word, many)| ((*word).to_owned(), *many));
        Progress {
            seen: 4040,
            all_seen: all_sources_ended(&nodes),
            outcomes: outcomes.collect(),
            tokens_given,
            nodes,
            elapsed_seconds: 5.0,
            ..Progress::default()
        }
    }

    #[test]
    fn without_tokens_the_end_is_foreseen_from_what_was_stored() {
        let now = looked(true, (0, 0), &[("stored", 10), ("unchanged", 3990), ("failed", 10)]);
        let to_go = |now: &Progress| remaining_seconds(now, expected_tokens(now), 0.0);
        assert_eq!(to_go(&now), Some(15.0), "30 are in flight, and 10 were stored in 5 seconds");
        assert_eq!((now.finished(), now.set_aside_count()), (4010, 10));
        let nothing_stored = looked(true, (0, 0), &[("unchanged", 3990)]);
        assert_eq!(to_go(&nothing_stored), None, "the rate is unknown");
        assert!(
            all_sources_ended(&now.nodes) && !all_sources_ended(&looked(false, (0, 0), &[]).nodes)
        );
        assert!(!all_sources_ended(&[]), "no node has started");
    }

    #[test]
    fn tokens_say_how_much_is_done_and_how_long_it_takes() {
        // 50 documents go to the model; 20 of them have arrived, with 100 tokens each.
        let mut now = looked(true, (20, 2000), &[("unchanged", 3980), ("duplicate", 10)]);
        assert_eq!(expected_tokens(&now), 5000);
        (now.tokens, now.tokens_reused) = (900, 100);
        assert_eq!(completed_share(&now, 5000), 0.2);
        assert_eq!(remaining_seconds(&now, 5000, 200.0), Some(20.0));
        // All tokens are processed; documents remain to be stored.
        now.tokens = 4900;
        assert_eq!(completed_share(&now, 5000), 0.99);
        now.outcomes.insert("stored".to_owned(), 50);
        assert_eq!(
            (completed_share(&now, 5000), remaining_seconds(&now, 5000, 200.0)),
            (1.0, Some(0.0))
        );
    }

    #[test]
    fn the_pace_is_that_of_the_last_half_minute_and_not_of_loading_the_model() {
        let mut lately = VecDeque::new();
        assert_eq!(recent_rate(&mut lately, 1.0, 0), 0.0);
        assert_eq!(recent_rate(&mut lately, 20.0, 0), 0.0);
        assert_eq!(recent_rate(&mut lately, 21.0, 500), 500.0);
        for at in 22..100_u32 {
            recent_rate(&mut lately, f64::from(at), 500 + 10 * u64::from(at - 21));
        }
        assert_eq!(recent_rate(&mut lately, 100.0, 500 + 790), 10.0);
    }

    #[test]
    fn the_feed_keeps_the_last() {
        let feed = RejectionLog::default();
        for n in 0..50 {
            feed.push(RejectionReport { uri: n.to_string(), ..RejectionReport::default() });
        }
        let last: Vec<String> = feed.recent().into_iter().map(|it| it.uri).collect();
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "30", "49"));
    }

    #[test]
    fn what_was_written_by_another_version_can_still_be_read() {
        let read: Progress = serde_json::from_str(r#"{"seen": 3, "of_tomorrow": 1}"#).unwrap();
        assert_eq!(read.seen, 3);
    }
}
