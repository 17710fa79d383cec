//! How far a run is, as one value: the live view, the row of the operation, the events of the server and
//! `semantik top` all draw from it, so nothing is computed twice.
//!
//! It only reads what the run counts; the run does not know that it is watched.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::EmbedderUsage;
use crate::metrics::Metrics;
use crate::report::SetAsideReport;

/// How far back the pace of the model is measured, in seconds.
const LATELY: f64 = 30.0;

/// The most documents that were set aside last and are named.
const NAMED: usize = 20;

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Documents that sources have given.
    pub seen: u64,
    /// Whether the sources have ended, so that `seen` is how many documents there are.
    pub all_seen: bool,
    /// Documents that have left, by outcome: `stored`, or a reason.
    pub outcomes: BTreeMap<String, u64>,
    /// Chunks of the documents that are stored.
    pub chunks: u64,
    /// Tokens that the model has read.
    pub tokens: u64,
    /// Tokens whose vectors were known, so that the model need not read them.
    pub tokens_reused: u64,
    /// Tokens of the documents that came to the model, or wait in front of it.
    pub tokens_given: u64,
    /// Tokens of all documents of the run, those that are not cut into chunks yet estimated; known once the sources
    /// have ended.
    pub tokens_expected: Option<u64>,
    /// How much of the work is done, from 0 to 1; known once the sources have ended.
    pub share: Option<f64>,
    /// Seconds since the operation began.
    pub elapsed_seconds: f64,
    /// Seconds until what is in flight is stored; known once the sources have ended and the pace is known.
    pub eta_seconds: Option<f64>,
    /// Seconds until what is in flight is stored, whether or not the sources have ended.
    pub in_flight_seconds: Option<f64>,
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
    /// Of a node that runs a model: documents that it was given, those that wait in front of it among them.
    pub rows_given: u64,
    /// Of a node that runs a model: tokens of those documents.
    pub tokens_given: u64,
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

    /// Documents that are under way.
    pub fn in_flight(&self) -> u64 {
        self.seen.saturating_sub(self.left())
    }

    /// Tokens that the model is done with.
    pub fn tokens_done(&self) -> u64 {
        self.tokens + self.tokens_reused
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
    /// Seconds since the start, and tokens done by then, of the looks of the last half minute.
    lately: VecDeque<(f64, u64)>,
}

impl Watch {
    /// Watches a run of these nodes (inputs before readers), from now on.
    pub fn new(nodes: Vec<String>, metrics: Arc<Metrics>, feed: Feed) -> Self {
        let started = Instant::now();
        Self { metrics, feed, nodes, started, before: None, lately: VecDeque::new() }
    }

    /// How far the run is; `model` is what the model has done so far.
    pub fn look(&mut self, model: EmbedderUsage) -> Progress {
        let nodes: Vec<NodeState> = self.nodes.iter().map(|id| self.metrics.node(id)).collect();
        let mut now = Progress {
            seen: self.metrics.documents_seen(),
            all_seen: all_seen(&nodes),
            outcomes: self.metrics.outcomes(),
            chunks: self.metrics.chunks(),
            tokens: model.tokens,
            tokens_reused: model.reused_tokens,
            elapsed_seconds: self.started.elapsed().as_secs_f64(),
            nodes,
            set_aside: self.feed.last(),
            ..Progress::default()
        };
        now.tokens_given = now.nodes.iter().map(|node| node.tokens_given).sum();
        let expected = expected(&now);
        let rate = pace(&mut self.lately, now.elapsed_seconds, now.tokens_done());
        now.in_flight_seconds = to_go(&now, expected, rate);
        if now.all_seen {
            now.tokens_expected = Some(expected);
            now.eta_seconds = now.in_flight_seconds;
            now.share = Some(share(&now, expected));
        }
        let nothing = Progress::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        now.holder = now.holder_since(before).map(str::to_owned);
        self.before = Some(now.clone());
        now
    }
}

/// Whether every source has ended. Who has been given nothing yet may be one, and is waited for.
fn all_seen(nodes: &[NodeState]) -> bool {
    let mut sources = nodes.iter().filter(|node| node.bytes_in == 0 && node.rows_in == 0);
    !nodes.is_empty() && sources.all(|source| source.ended)
}

/// Tokens of all documents that were seen: those that came to a model, and as many again for each document that is on
/// its way there as those have on average.
fn expected(now: &Progress) -> u64 {
    let given: u64 = now.nodes.iter().map(|node| node.rows_given).sum();
    if given == 0 {
        return 0;
    }
    // What leaves without being stored leaves in front of the model, but for rare exceptions.
    let left_before = now.left() - now.outcome("stored");
    let coming = now.seen.saturating_sub(left_before + given);
    let coming = u128::from(coming) * u128::from(now.tokens_given) / u128::from(given);
    now.tokens_given + u64::try_from(coming).unwrap_or(u64::MAX)
}

/// Tokens a second of the last half minute in which there were any; 0 while that is unknown. Takes the present look in.
fn pace(lately: &mut VecDeque<(f64, u64)>, at: f64, done: u64) -> f64 {
    // Before its first token a model is loaded, which says nothing of its pace.
    if done == 0 {
        lately.clear();
    }
    lately.push_back((at, done));
    while lately.len() > 2 && at - lately[1].0 >= LATELY {
        lately.pop_front();
    }
    let (since, before) = lately[0];
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = done.saturating_sub(before) as f64 / (at - since).max(0.001);
    rate
}

/// Seconds until what is in flight has left: as quickly as the model has read lately, or else as quickly as documents
/// have been stored so far. Those that are there already, or are set aside, leave early and in no time; their pace says
/// nothing of what is still under way.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn to_go(now: &Progress, expected: u64, rate: f64) -> Option<f64> {
    if now.in_flight() == 0 {
        return Some(0.0);
    }
    let tokens = expected.saturating_sub(now.tokens_done());
    if tokens > 0 && rate > 0.0 {
        return Some(tokens as f64 / rate);
    }
    let stored = now.outcome("stored");
    (stored > 0).then(|| now.in_flight() as f64 * now.elapsed_seconds / stored as f64)
}

/// How much of the work is done: of the tokens, or of the documents where there are no tokens to read. It is all done
/// when every document has left.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn share(now: &Progress, expected: u64) -> f64 {
    if now.in_flight() == 0 {
        return 1.0;
    }
    let (done, of) =
        if expected > 0 { (now.tokens_done(), expected) } else { (now.left(), now.seen) };
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
        assert_eq!(now.holder_since(&before), Some("embed"));
        assert_eq!(now.holder_since(&Progress::default()), Some("scan"));
        assert_eq!(now.holder_since(&now), None, "nobody has worked");
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
            all_seen: all_seen(&nodes),
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
        let to_go = |now: &Progress| to_go(now, expected(now), 0.0);
        assert_eq!(to_go(&now), Some(15.0), "30 are under way, and 10 were stored in 5 seconds");
        assert_eq!((now.left(), now.set_aside_count()), (4010, 10));
        let nothing_stored = looked(true, (0, 0), &[("unchanged", 3990)]);
        assert_eq!(to_go(&nothing_stored), None, "nothing says how long it takes");
        assert!(all_seen(&now.nodes) && !all_seen(&looked(false, (0, 0), &[]).nodes));
        assert!(!all_seen(&[]), "nothing has begun");
    }

    #[test]
    fn tokens_say_how_much_is_done_and_how_long_it_takes() {
        // 50 documents go to the model, 20 of them have come there with 100 tokens each.
        let mut now = looked(true, (20, 2000), &[("unchanged", 3980), ("duplicate", 10)]);
        assert_eq!(expected(&now), 5000);
        (now.tokens, now.tokens_reused) = (900, 100);
        assert_eq!(share(&now, 5000), 0.2);
        assert_eq!(to_go(&now, 5000, 200.0), Some(20.0));
        // Nothing is left to read, but to store.
        now.tokens = 4900;
        assert_eq!(share(&now, 5000), 0.99);
        now.outcomes.insert("stored".to_owned(), 50);
        assert_eq!((share(&now, 5000), to_go(&now, 5000, 200.0)), (1.0, Some(0.0)));
    }

    #[test]
    fn the_pace_is_that_of_the_last_half_minute_and_not_of_loading_the_model() {
        let mut lately = VecDeque::new();
        assert_eq!(pace(&mut lately, 1.0, 0), 0.0);
        assert_eq!(pace(&mut lately, 20.0, 0), 0.0);
        assert_eq!(pace(&mut lately, 21.0, 500), 500.0);
        for at in 22..100_u32 {
            pace(&mut lately, f64::from(at), 500 + 10 * u64::from(at - 21));
        }
        assert_eq!(pace(&mut lately, 100.0, 500 + 790), 10.0);
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
