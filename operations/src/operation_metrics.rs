//! The rows of `operation_metrics` for operations. The metadata store adds the duration.

use pipeline::RunReport;

use crate::operation::OperationMetrics;

/// The metrics of a run.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(crate) fn run_metrics(report: &RunReport) -> OperationMetrics {
    let documents = report.documents;
    let mut metrics: OperationMetrics = [
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

/// One metric: a number of documents or chunks.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(crate) fn count_metric(name: &str, count: u64) -> OperationMetrics {
    vec![(name.to_owned(), count as f64)]
}
