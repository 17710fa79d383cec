//! Prints the report of a run as a table.

use std::collections::BTreeMap;

use operations::ModelTime;
use pipeline::{FAILED_REASON, RejectionReport, RunReport};

use crate::render;

/// Seconds of work from which the table shows the nodes.
const SHOWN_SECONDS: f64 = 0.05;

pub(super) fn as_table(report: &RunReport, model: ModelTime) -> String {
    let documents = report.documents;
    let mut rows = vec![
        vec!["documents".to_owned(), render::format_count(documents.seen)],
        vec!["  stored".to_owned(), render::format_count(documents.stored)],
        vec!["  unchanged".to_owned(), render::format_count(documents.unchanged)],
        vec!["  duplicate".to_owned(), render::format_count(documents.duplicate)],
    ];
    let reasons: &BTreeMap<String, u64> = &report.reasons;
    rows.push(vec!["  set aside".to_owned(), render::format_count(documents.set_aside)]);
    rows.extend(reasons.iter().map(|(why, n)| {
        let known = if why == FAILED_REASON { known_failures(report) } else { String::new() };
        vec![format!("    {why}"), format!("{}{known}", render::format_count(*n))]
    }));
    if documents.interrupted > 0 {
        rows.push(vec!["  interrupted".to_owned(), render::format_count(documents.interrupted)]);
    }
    if report.deleted > 0 {
        rows.push(vec!["  deleted".to_owned(), render::format_count(report.deleted)]);
    }
    if let Some(left_out) = render::left_out_summary(&report.left_out) {
        rows.push(vec!["left out".to_owned(), left_out]);
    }
    rows.push(vec!["chunks".to_owned(), render::format_count(report.chunks)]);
    rows.push(vec!["tokens".to_owned(), render::format_count(report.tokens)]);
    if report.tokens_reused > 0 {
        rows.push(vec!["  from the cache".to_owned(), render::format_count(report.tokens_reused)]);
    }
    if model.busy_seconds > 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for display"
        )]
        let rate = (model.tokens as f64 / model.busy_seconds) as u64;
        rows.push(vec!["tokens/s of the model".to_owned(), render::format_count(rate)]);
    }
    rows.push(vec!["time".to_owned(), render::format_seconds(report.seconds)]);
    let mut out = render::table(&[], rows);

    let nodes = report.nodes.iter().map(|node| {
        vec![
            node.id.clone(),
            render::format_count(node.rows_in.max(node.rows_out)),
            render::format_seconds(node.busy_seconds),
            render::format_seconds(node.starved_seconds),
            render::format_seconds(node.blocked_seconds),
        ]
    });
    // The table of nodes is omitted if no node did any work.
    if report.nodes.iter().any(|node| node.busy_seconds >= SHOWN_SECONDS) {
        let head = ["node", "documents", "busy", "starved", "blocked"];
        out.push_str(&render::next_table(&head, nodes));
    }

    /// Documents shown in the table; `--json` has all that the report keeps.
    const SHOWN: usize = 20;
    if !report.set_aside.is_empty() {
        // New ones first, since not all may be shown.
        let (known, news): (Vec<_>, Vec<_>) =
            report.set_aside.iter().partition(|document| document.known.is_some());
        let number = render::shown(report.set_aside.len(), SHOWN);
        let shown = news.into_iter().chain(known).take(number).map(|document| {
            vec![
                document.uri.clone(),
                document.node.clone(),
                document.reason.clone(),
                format!("{}{}", document.message, failing_since(document)),
            ]
        });
        out.push_str(&render::next_table(&["set aside", "at", "reason", "message"], shown));
        if let more @ 1.. = report.set_aside.len() - number {
            out.push_str(&format!("… and {more} more (see --json)\n"));
        }
    }
    if report.stopped {
        out.push_str("stopped before all documents were stored; the next run continues\n");
    }
    out
}

/// The number of failed documents that were known to fail, and the time since then.
fn known_failures(report: &RunReport) -> String {
    let failed = report.failed_count();
    let known = failed.saturating_sub(report.newly_failed);
    let named = report.set_aside.iter().filter(|it| it.reason == FAILED_REASON);
    // The latest time: since then all of them are known.
    let since = named.filter_map(|it| it.known?.since).max();
    let since = since
        .map_or_else(|| "before".to_owned(), |at| format!("since {}", render::format_time(at)));
    match (known, failed) {
        (0, _) => String::new(),
        (1, 1) => format!(", known {since}"),
        (2, 2) => format!(", both known {since}"),
        (known, failed) if known == failed => format!(", all known {since}"),
        (known, _) => {
            format!(
                ", {} new and {} known {since}",
                report.newly_failed,
                render::format_count(known)
            )
        }
    }
}

/// The time since which a document is known to be set aside.
fn failing_since(document: &RejectionReport) -> String {
    match document.known {
        None => String::new(),
        Some(known) => known.since.map_or_else(
            || " (known before)".to_owned(),
            |at| format!(" (known since {})", render::format_time(at)),
        ),
    }
}
