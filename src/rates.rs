//! Rates of a run between two samples, as figures and as text. The live view and `semantik top`
//! share them.
//!
//! This module only computes differences between two [`Progress`] values.

use pipeline::{NodeState, Progress};

use crate::render::format_count;

/// Activity of a node between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NodeRates {
    /// Processed documents per second.
    pub(crate) rate: f64,
    /// Share of the time spent working; more than 1 if several of its workers did.
    pub(crate) busy: f64,
    /// Share of the time spent waiting for input, or for the nodes after it.
    pub(crate) idle: f64,
    /// `true` if the node is the bottleneck.
    pub(crate) is_bottleneck: bool,
}

/// Lower bound of the interval in seconds, because two samples may coincide.
const MIN_INTERVAL: f64 = 0.001;

/// The activity of each node since an earlier sample of the same run.
pub(crate) fn node_rates<'a>(
    now: &'a Progress,
    before: &'a Progress,
) -> impl Iterator<Item = (&'a NodeState, NodeRates)> {
    let past = (now.elapsed_seconds - before.elapsed_seconds).max(MIN_INTERVAL);
    now.nodes.iter().map(move |node| {
        let before = before.nodes.iter().find(|it| it.id == node.id);
        let since = |of: fn(&NodeState) -> f64| (of(node) - before.map_or(0.0, of)) / past;
        let pace = NodeRates {
            rate: per_second(
                node.finished_rows(),
                before.map_or(0, NodeState::finished_rows),
                past,
            ),
            busy: since(|it| it.busy).clamp(0.0, 9.99),
            idle: since(|it| it.starved + it.blocked).clamp(0.0, 1.0),
            is_bottleneck: now.bottleneck.as_deref() == Some(&*node.id),
        };
        (node, pace)
    })
}

/// Documents with an outcome per second since an earlier sample.
pub(crate) fn document_rate(now: &Progress, before: &Progress) -> f64 {
    let past = (now.elapsed_seconds - before.elapsed_seconds).max(MIN_INTERVAL);
    per_second(now.finished(), before.finished(), past)
}

fn per_second(now: u64, before: u64, past: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
    let rate = now.saturating_sub(before) as f64 / past;
    rate
}

/// A rate as text; rates below 10 have a decimal.
pub(crate) fn format_rate(rate: f64) -> String {
    if (0.05..9.95).contains(&rate) {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
    let whole = rate.max(0.0).round() as u64;
    format_count(whole)
}

/// A part of a line with its priority: parts with priority 0 are left out last.
pub(crate) type LinePart = (u8, String);

/// The most important parts that fit into `room` columns, in their order.
pub(crate) fn fit_parts(parts: &[LinePart], room: usize) -> String {
    let line = |least: u8| {
        let parts = parts.iter().filter(|(importance, _)| *importance <= least);
        parts.map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(" · ")
    };
    let most = parts.iter().map(|(importance, _)| *importance).max().unwrap_or(0);
    let fits = (0..=most).rev().map(line).find(|line| line.chars().count() <= room);
    fits.unwrap_or_else(|| line(0).chars().take(room).collect())
}

/// The outcomes of the documents so far.
pub(crate) fn outcome_parts(now: &Progress) -> Vec<LinePart> {
    let so_far = if now.all_seen { "" } else { " so far" };
    vec![
        (1, format!("{} seen{so_far}", format_count(now.seen))),
        (0, format!("{} stored", format_count(now.outcome_count("stored")))),
        (3, format!("{} unchanged", format_count(now.outcome_count("unchanged")))),
        (4, format!("{} duplicate", format_count(now.outcome_count("duplicate")))),
        (2, format!("{} set aside", format_count(now.set_aside_count()))),
    ]
}

/// Progress of the model, and the remaining time if known.
pub(crate) fn model_parts(now: &Progress) -> Vec<LinePart> {
    let mut parts = Vec::new();
    parts.extend(now.share.map(|share| (0, format!("{} %", format_percent(share)))));
    let done = format_count(now.tokens_done());
    // The tokens of documents that are not chunked yet are estimated.
    parts.push(match now.tokens_expected {
        Some(of) if of > now.tokens_given => {
            (2, format!("{done} of about {} tokens", format_count(of)))
        }
        Some(of) => (2, format!("{done} of {} tokens", format_count(of))),
        None => (2, format!("{done} of {} tokens so far", format_count(now.tokens_given))),
    });
    parts.push((3, format!("{} tokens/s", format_count(now.tokens_per_second()))));
    parts.push((1, crate::render::format_seconds(now.elapsed_seconds)));
    parts.extend(remaining_time(now).map(|words| (0, words)));
    parts
}

/// A share in percent, rounded down, so that 100 means complete.
pub(crate) fn format_percent(share: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let percent = (share.clamp(0.0, 1.0) * 100.0).floor() as u8;
    percent
}

/// An estimated duration: `8 s`, `4 min`.
pub(crate) fn format_estimate(seconds: f64) -> String {
    if seconds < 99.5 {
        return format!("{seconds:.0} s");
    }
    let minutes = seconds / 60.0;
    if minutes < 99.5 { format!("{minutes:.0} min") } else { format!("{:.0} h", minutes / 60.0) }
}

/// The remaining time; `None` if it is unknown or no document is in flight.
pub(crate) fn remaining_time(now: &Progress) -> Option<String> {
    let eta = now.eta_seconds.filter(|_| now.in_flight() > 0)?;
    Some(format!("about {} to go", format_estimate(eta)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn look(at: f64, left: u64, node: NodeState) -> Progress {
        Progress {
            seen: 100,
            outcomes: BTreeMap::from([("stored".to_owned(), left)]),
            elapsed_seconds: at,
            eta_seconds: Some(3.0),
            nodes: vec![node],
            bottleneck: Some("embed".to_owned()),
            ..Progress::default()
        }
    }

    #[test]
    fn a_pace_is_that_of_the_time_between_two_looks() {
        let node = |rows_in, busy, starved| NodeState {
            id: "embed".to_owned(),
            rows_in,
            busy,
            starved,
            ..NodeState::default()
        };
        let (before, now) =
            (look(10.0, 50, node(60, 9.0, 1.0)), look(14.0, 56, node(70, 11.0, 9.0)));
        let paces: Vec<_> = node_rates(&now, &before).map(|(_, pace)| pace).collect();
        assert_eq!(paces, [NodeRates { rate: 2.5, busy: 0.5, idle: 1.0, is_bottleneck: true }]);
        assert_eq!(
            (document_rate(&now, &before), document_rate(&now, &Progress::default())),
            (1.5, 4.0)
        );
        assert_eq!(remaining_time(&now).as_deref(), Some("about 3 s to go"));
        assert_eq!(remaining_time(&look(14.0, 100, NodeState::default())), None, "nothing is left");
        assert_eq!([0.4, 8.2, 250.0, 9000.0].map(format_estimate), ["0 s", "8 s", "4 min", "2 h"]);
        assert_eq!([0.0, 0.999, 1.0].map(format_percent), [0, 99, 100]);
        let rates = [0.0, 0.04, 1.5, 9.94, 9.96, 1234.4].map(format_rate);
        assert_eq!(rates, ["0", "0", "1.5", "9.9", "10", "1\u{202f}234"]);
    }
}
