//! The result of a run as data.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::node_state::NodeState;
use crate::{FAILED_REASON, RejectReason, Rejection};

/// The result of a run. Every document that a source produced is counted in exactly one of
/// `stored`, `unchanged`, `duplicate`, `set_aside` and `interrupted`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Number of documents by outcome.
    pub documents: DocumentCounts,
    /// Documents set aside, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Failed documents that were not known to fail: they are new or changed, the settings have
    /// changed, or a retry was requested.
    #[serde(default)]
    pub newly_failed: u64,
    /// Files and folders that options of the sources excluded, by option. They do not count as
    /// documents.
    #[serde(default)]
    pub left_out: BTreeMap<String, u64>,
    /// Chunks of the stored documents.
    pub chunks: u64,
    /// Tokens of these chunks.
    pub tokens: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Tokens that were not embedded, because the vectors of the same text were known.
    pub tokens_reused: u64,
    /// Documents that were deleted because their sources no longer contain them.
    pub deleted: u64,
    /// `true` if the run was stopped before its sources had ended, or was cut short.
    pub stopped: bool,
    /// Source roots of which every document was seen; see [`crate::Source::exhausted_roots`].
    /// Deletions follow from it; a report for users has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exhausted_roots: Vec<String>,
    /// Covered source roots without a document; a report for users has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_roots: Vec<String>,
    /// The nodes, inputs before the nodes that read them.
    pub nodes: Vec<NodeReport>,
    /// The rejections, at most 10,000.
    pub set_aside: Vec<RejectionReport>,
}

/// Number of documents by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCounts {
    /// Produced by sources.
    pub seen: u64,
    /// Written by every sink that they reached.
    pub stored: u64,
    /// Stored before and unchanged.
    pub unchanged: u64,
    /// Same content as another document.
    pub duplicate: u64,
    /// Set aside for any other reason.
    pub set_aside: u64,
    /// In flight when the run was cut short; the next run processes them.
    #[serde(default)]
    pub interrupted: u64,
}

/// Counters of a node in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Id of the node.
    pub id: String,
    /// Type of the node.
    pub uses: String,
    /// Documents received.
    pub rows_in: u64,
    /// Documents sent.
    pub rows_out: u64,
    /// Batches processed.
    pub batches: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Seconds of work, summed over the workers.
    pub busy_seconds: f64,
    /// Seconds of waiting for input.
    pub starved_seconds: f64,
    /// Seconds of waiting for the nodes after it.
    pub blocked_seconds: f64,
}

/// A document that was set aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RejectionReport {
    /// URI of the document.
    pub uri: String,
    /// The node that set it aside.
    pub node: String,
    /// Reason code.
    pub reason: String,
    /// Message of the rejection.
    pub message: String,
    /// Present if an earlier run set the document aside and this run found it unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<EarlierRejection>,
}

/// Rejection of a document by an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierRejection {
    /// Start of the rejection; `None` if it was not recorded.
    pub since: Option<DateTime<Utc>>,
}

impl RejectionReport {
    pub(crate) fn new(node: &str, document: &Rejection) -> Self {
        let (node, known) =
            if let RejectReason::PreviouslyRejected { node, since, .. } = &document.reason {
                (node.as_str(), Some(EarlierRejection { since: *since }))
            } else {
                (node, None)
            };
        Self {
            known,
            uri: document.location.uri.clone(),
            node: node.to_owned(),
            reason: document.reason.code().to_owned(),
            message: document.reason.to_string(),
        }
    }
}

impl RunReport {
    /// Adds a second pass over the same sources with the same metrics. It stored documents that
    /// this pass had counted as duplicates of documents that proved to be missing. Documents seen
    /// and set aside are those of the second pass.
    pub fn merge(&mut self, pass: Self) {
        let seen = pass.documents.seen;
        let stored = self.documents.stored + pass.documents.stored;
        let found = pass.documents.stored
            + pass.documents.set_aside.saturating_sub(self.documents.set_aside);
        let interrupted = pass.documents.interrupted;
        let others = seen.saturating_sub(stored + pass.documents.set_aside + interrupted);
        let duplicate =
            (self.documents.duplicate + pass.documents.duplicate).saturating_sub(found).min(others);
        self.documents = DocumentCounts {
            seen,
            stored,
            duplicate,
            set_aside: pass.documents.set_aside,
            unchanged: others - duplicate,
            interrupted,
        };
        self.reasons = pass.reasons;
        // Failures that the first pass found are known to the second pass, but new in this run.
        self.newly_failed = (self.newly_failed + pass.newly_failed).min(self.failed_count());
        let news = self.set_aside.iter().filter(|document| document.known.is_none());
        let news: BTreeSet<&str> = news.map(|document| document.uri.as_str()).collect();
        let mut set_aside = pass.set_aside;
        for document in set_aside.iter_mut().filter(|it| news.contains(it.uri.as_str())) {
            document.known = None;
        }
        self.set_aside = set_aside;
        self.left_out = pass.left_out;
        self.chunks += pass.chunks;
        self.tokens += pass.tokens;
        self.tokens_reused += pass.tokens_reused;
        self.deleted += pass.deleted;
        self.seconds += pass.seconds;
        self.stopped |= pass.stopped;
        self.exhausted_roots = pass.exhausted_roots;
        self.empty_roots = pass.empty_roots;
        self.nodes = pass.nodes;
    }

    /// The report for users, without the source roots.
    #[must_use]
    pub fn without_roots(self) -> Self {
        Self { exhausted_roots: Vec::new(), empty_roots: Vec::new(), ..self }
    }

    /// Number of documents that failed; other reasons are intended.
    pub fn failed_count(&self) -> u64 {
        self.reasons.get(FAILED_REASON).copied().unwrap_or(0)
    }
}

impl NodeReport {
    pub(crate) fn new(uses: &str, node: NodeState) -> Self {
        Self {
            id: node.id,
            uses: uses.to_owned(),
            rows_in: node.rows_in,
            rows_out: node.rows_out,
            batches: node.batches,
            bytes_in: node.bytes_in,
            busy_seconds: node.busy,
            starved_seconds: node.starved,
            blocked_seconds: node.blocked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(uri: &str, known: Option<EarlierRejection>) -> RejectionReport {
        let (uri, reason) = (uri.to_owned(), FAILED_REASON.to_owned());
        RejectionReport { uri, reason, known, ..RejectionReport::default() }
    }

    fn pass(newly_failed: u64, set_aside: Vec<RejectionReport>) -> RunReport {
        let reasons = BTreeMap::from([(FAILED_REASON.to_owned(), set_aside.len() as u64)]);
        RunReport { newly_failed, reasons, set_aside, ..RunReport::default() }
    }

    #[test]
    fn what_the_first_pass_found_out_is_news_of_the_whole_run() {
        let known = Some(EarlierRejection::default());
        let mut report = pass(1, vec![failed("new", None), failed("old", known)]);
        let later = vec![failed("late", None), failed("new", known), failed("old", known)];
        report.merge(pass(1, later));
        assert_eq!((report.failed_count(), report.newly_failed), (3, 2));
        assert_eq!(
            report.set_aside,
            [failed("late", None), failed("new", None), failed("old", known)]
        );
        report.merge(pass(0, vec![failed("new", known)]));
        assert_eq!(
            (report.failed_count(), report.newly_failed),
            (1, 1),
            "the other failures were fixed"
        );
    }

    #[test]
    fn a_report_of_an_earlier_version_can_be_read() {
        let mut old = serde_json::to_value(pass(0, vec![failed("a", None)])).unwrap();
        for key in ["newly_failed", "left_out"] {
            assert!(old.as_object_mut().unwrap().remove(key).is_some());
        }
        let read: RunReport = serde_json::from_value(old).unwrap();
        assert_eq!((read.failed_count(), read.newly_failed), (1, 0));
    }
}
