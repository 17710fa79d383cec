//! How a run's report is printed: as a table for people, as JSON for programs.

use std::collections::BTreeMap;

use pipeline::RunReport;

use crate::operate::ModelTime;
use crate::render;

/// Work of a node that a table shows as more than nothing.
const SHOWN_SECONDS: f64 = 0.05;

pub(super) fn as_table(report: &RunReport, model: ModelTime) -> String {
    let documents = report.documents;
    let mut rows = vec![
        vec!["documents".to_owned(), render::count(documents.seen)],
        vec!["  stored".to_owned(), render::count(documents.stored)],
        vec!["  unchanged".to_owned(), render::count(documents.unchanged)],
        vec!["  duplicate".to_owned(), render::count(documents.duplicate)],
    ];
    let reasons: &BTreeMap<String, u64> = &report.reasons;
    rows.push(vec!["  set aside".to_owned(), render::count(documents.set_aside)]);
    rows.extend(reasons.iter().map(|(why, n)| vec![format!("    {why}"), render::count(*n)]));
    if documents.interrupted > 0 {
        rows.push(vec!["  interrupted".to_owned(), render::count(documents.interrupted)]);
    }
    if report.deleted > 0 {
        rows.push(vec!["  deleted".to_owned(), render::count(report.deleted)]);
    }
    rows.push(vec!["chunks".to_owned(), render::count(report.chunks)]);
    rows.push(vec!["tokens".to_owned(), render::count(report.tokens)]);
    if report.tokens_reused > 0 {
        rows.push(vec!["  not embedded again".to_owned(), render::count(report.tokens_reused)]);
    }
    if model.busy_seconds > 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (model.tokens as f64 / model.busy_seconds) as u64;
        rows.push(vec!["tokens/s in the model".to_owned(), render::count(rate)]);
    }
    rows.push(vec!["time".to_owned(), render::seconds(report.seconds)]);
    let mut out = render::table(&[], rows);

    let nodes = report.nodes.iter().map(|node| {
        vec![
            node.id.clone(),
            render::count(node.rows_in.max(node.rows_out)),
            render::seconds(node.busy_seconds),
            render::seconds(node.starved_seconds),
            render::seconds(node.blocked_seconds),
        ]
    });
    // Where nothing was to be done there is nothing to tell of nodes.
    if report.nodes.iter().any(|node| node.busy_seconds >= SHOWN_SECONDS) {
        let head = ["node", "documents", "busy", "starved", "blocked"];
        out.push_str(&render::next_table(&head, nodes));
    }

    /// More than these are for `--json`.
    const SHOWN: usize = 20;
    if !report.set_aside.is_empty() {
        let shown = report.set_aside.iter().take(SHOWN).map(|document| {
            vec![
                document.uri.clone(),
                document.node.clone(),
                document.reason.clone(),
                document.message.clone(),
            ]
        });
        out.push_str(&render::next_table(&["set aside", "at", "reason", "because it"], shown));
        if report.set_aside.len() > SHOWN {
            out.push_str(&format!("… and {} more (see --json)\n", report.set_aside.len() - SHOWN));
        }
    }
    if report.stopped {
        out.push_str("stopped before all documents were stored; the next run goes on from here\n");
    }
    out
}
