//! The rows of `operation_metrics` for operations. The metadata store adds the duration.

use pipeline::RunReport;

/// The metrics of a run.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(crate) fn run_metrics(report: &RunReport) -> Vec<(String, f64)> {
    let documents = report.documents;
    let mut metrics: Vec<(String, f64)> = [
        ("documents_seen", documents.seen),
        ("documents_stored", documents.stored),
        ("documents_unchanged", documents.unchanged),
        ("documents_duplicate", documents.duplicate),
        ("documents_set_aside", documents.set_aside),
        ("documents_deleted", report.deleted),
        ("chunks", report.chunks),
        ("tokens", report.tokens),
        ("tokens_reused", report.tokens_reused),
    ]
    .map(|(name, value)| (name.to_owned(), value as f64))
    .to_vec();
    metrics.push(("seconds".to_owned(), report.seconds));
    metrics.extend(
        report.nodes.iter().map(|node| (format!("busy_seconds.{}", node.id), node.busy_seconds)),
    );
    metrics
}

/// The number of documents that an operation concerned, or of chunks; empty if it failed.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(crate) fn document_count_metric(name: &str, documents: Option<u64>) -> Vec<(String, f64)> {
    documents.map(|count| (name.to_owned(), count as f64)).into_iter().collect()
}
