//! Samples the progress of a run from its metrics, with estimates of the remaining time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::EmbedderUsage;
use crate::metrics::Metrics;
use crate::node_state::NodeState;
use crate::progress::Progress;
use crate::rejection_log::RejectionLog;

/// Time range for the rate of the model, in seconds.
const RATE_WINDOW_SECONDS: f64 = 30.0;

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
}
