//! Rates of a run between two samples, as figures and as text. The live view and `semantik top`
//! share them.
//!
//! This module only computes differences between two [`Progress`] values.

use pipeline::{NodeState, Progress};

use crate::render::count;

/// Activity of a node between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Processed documents per second.
    pub(crate) rate: f64,
    /// Share of the time spent working; more than 1 if several of its workers did.
    pub(crate) busy: f64,
    /// Share of the time spent waiting for input, or for the nodes after it.
    pub(crate) idle: f64,
    /// `true` if the node is the bottleneck.
    pub(crate) holds_up: bool,
}

/// Lower bound of the interval in seconds, because two samples may coincide.
const SHORTEST: f64 = 0.001;

/// The activity of each node since an earlier sample of the same run.
pub(crate) fn nodes<'a>(
    now: &'a Progress,
    before: &'a Progress,
) -> impl Iterator<Item = (&'a NodeState, Pace)> {
    let past = (now.elapsed_seconds - before.elapsed_seconds).max(SHORTEST);
    now.nodes.iter().map(move |node| {
        let before = before.nodes.iter().find(|it| it.id == node.id);
        let since = |of: fn(&NodeState) -> f64| (of(node) - before.map_or(0.0, of)) / past;
        let pace = Pace {
            rate: a_second(node.done(), before.map_or(0, NodeState::done), past),
            busy: since(|it| it.busy).clamp(0.0, 9.99),
            idle: since(|it| it.starved + it.blocked).clamp(0.0, 1.0),
            holds_up: now.holder.as_deref() == Some(&*node.id),
        };
        (node, pace)
    })
}

/// Documents with an outcome per second since an earlier sample.
pub(crate) fn documents(now: &Progress, before: &Progress) -> f64 {
    let past = (now.elapsed_seconds - before.elapsed_seconds).max(SHORTEST);
    a_second(now.left(), before.left(), past)
}

fn a_second(now: u64, before: u64, past: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
    let rate = now.saturating_sub(before) as f64 / past;
    rate
}

/// A rate as text; rates below 10 have a decimal.
pub(crate) fn rate(rate: f64) -> String {
    if (0.05..9.95).contains(&rate) {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
    let whole = rate.max(0.0).round() as u64;
    count(whole)
}

/// A part of a line with its priority: parts with priority 0 are left out last.
pub(crate) type Part = (u8, String);

/// The most important parts that fit into `room` columns, in their order.
pub(crate) fn fitted(parts: &[Part], room: usize) -> String {
    let line = |least: u8| {
        let parts = parts.iter().filter(|(importance, _)| *importance <= least);
        parts.map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(" · ")
    };
    let most = parts.iter().map(|(importance, _)| *importance).max().unwrap_or(0);
    let fits = (0..=most).rev().map(line).find(|line| line.chars().count() <= room);
    fits.unwrap_or_else(|| line(0).chars().take(room).collect())
}

/// The outcomes of the documents so far.
pub(crate) fn outcomes(now: &Progress) -> Vec<Part> {
    let so_far = if now.all_seen { "" } else { " so far" };
    vec![
        (1, format!("{} seen{so_far}", count(now.seen))),
        (0, format!("{} stored", count(now.outcome("stored")))),
        (3, format!("{} unchanged", count(now.outcome("unchanged")))),
        (4, format!("{} duplicate", count(now.outcome("duplicate")))),
        (2, format!("{} set aside", count(now.set_aside_count()))),
    ]
}

/// Progress of the model, and the remaining time if known.
pub(crate) fn model(now: &Progress) -> Vec<Part> {
    let mut parts = Vec::new();
    parts.extend(now.share.map(|share| (0, format!("{} %", percent(share)))));
    let done = count(now.tokens_done());
    // The tokens of documents that are not chunked yet are estimated.
    parts.push(match now.tokens_expected {
        Some(of) if of > now.tokens_given => (2, format!("{done} of about {} tokens", count(of))),
        Some(of) => (2, format!("{done} of {} tokens", count(of))),
        None => (2, format!("{done} of {} tokens so far", count(now.tokens_given))),
    });
    parts.push((3, format!("{} tokens/s", count(now.tokens_per_second()))));
    parts.push((1, crate::render::seconds(now.elapsed_seconds)));
    parts.extend(to_go(now).map(|words| (0, words)));
    parts
}

/// A share in percent, rounded down, so that 100 means complete.
pub(crate) fn percent(share: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let percent = (share.clamp(0.0, 1.0) * 100.0).floor() as u8;
    percent
}

/// An estimated duration: `8 s`, `4 min`.
pub(crate) fn roughly(seconds: f64) -> String {
    if seconds < 99.5 {
        return format!("{seconds:.0} s");
    }
    let minutes = seconds / 60.0;
    if minutes < 99.5 { format!("{minutes:.0} min") } else { format!("{:.0} h", minutes / 60.0) }
}

/// The remaining time; `None` if it is unknown or no document is in flight.
pub(crate) fn to_go(now: &Progress) -> Option<String> {
    let eta = now.eta_seconds.filter(|_| now.in_flight() > 0)?;
    Some(format!("about {} to go", roughly(eta)))
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
            holder: Some("embed".to_owned()),
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
        let paces: Vec<_> = nodes(&now, &before).map(|(_, pace)| pace).collect();
        assert_eq!(paces, [Pace { rate: 2.5, busy: 0.5, idle: 1.0, holds_up: true }]);
        assert_eq!((documents(&now, &before), documents(&now, &Progress::default())), (1.5, 4.0));
        assert_eq!(to_go(&now).as_deref(), Some("about 3 s to go"));
        assert_eq!(to_go(&look(14.0, 100, NodeState::default())), None, "nothing is left");
        assert_eq!([0.4, 8.2, 250.0, 9000.0].map(roughly), ["0 s", "8 s", "4 min", "2 h"]);
        assert_eq!([0.0, 0.999, 1.0].map(percent), [0, 99, 100]);
        let rates = [0.0, 0.04, 1.5, 9.94, 9.96, 1234.4].map(rate);
        assert_eq!(rates, ["0", "0", "1.5", "9.9", "10", "1\u{202f}234"]);
    }
}
