//! What happened in a run, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::progress::NodeState;
use crate::{FAILED, SetAside, Why};

/// What happened in a run. Every document that a source gave is counted in exactly one of `stored`,
/// `unchanged`, `duplicate`, `set_aside` and `interrupted`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// What became of the documents.
    pub documents: DocumentCounts,
    /// Documents set aside, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Chunks of the stored documents.
    pub chunks: u64,
    /// Tokens that the model read for them.
    pub tokens: u64,
    /// Wall time.
    pub seconds: f64,
    /// Tokens that were not embedded, because the same text had been before.
    pub tokens_reused: u64,
    /// Documents that were deleted because they are gone from their sources.
    pub deleted: u64,
    /// Whether the run was asked to stop before its sources had ended.
    pub stopped: bool,
    /// Places of which every document was seen; see [`crate::Source::covered`].
    #[serde(skip)]
    pub covered: Vec<String>,
    /// The nodes, inputs before readers.
    pub nodes: Vec<NodeReport>,
    /// The documents that were set aside, up to 10,000 of them.
    pub set_aside: Vec<SetAsideReport>,
}

/// What became of the documents of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCounts {
    /// Given by sources.
    pub seen: u64,
    /// Written by every sink they went to.
    pub stored: u64,
    /// Stored before, as they are.
    pub unchanged: u64,
    /// Of the same content as another.
    pub duplicate: u64,
    /// Set aside for any other reason.
    pub set_aside: u64,
    /// In flight when the run was cut short; the next run takes them in.
    #[serde(default)]
    pub interrupted: u64,
}

/// What a node did in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id.
    pub id: String,
    /// What it is.
    pub uses: String,
    /// Documents that it was given.
    pub rows_in: u64,
    /// Documents that it gave on.
    pub rows_out: u64,
    /// Batches that it worked on.
    pub batches: u64,
    /// Bytes that it was given.
    pub bytes_in: u64,
    /// Seconds of work, summed over its workers.
    pub busy_seconds: f64,
    /// Seconds of waiting for input.
    pub starved_seconds: f64,
    /// Seconds of waiting for the nodes behind it.
    pub blocked_seconds: f64,
}

/// A document that was set aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetAsideReport {
    /// Where it was seen.
    pub uri: String,
    /// The node that set it aside.
    pub node: String,
    /// One word for why.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

impl SetAsideReport {
    pub(crate) fn new(node: &str, document: &SetAside) -> Self {
        let node = if let Why::Before { node, .. } = &document.why { node } else { node };
        Self {
            uri: document.location.uri.clone(),
            node: node.to_owned(),
            reason: document.why.reason().to_owned(),
            message: document.why.to_string(),
        }
    }
}

impl RunReport {
    /// Adds another pass over the same sources, counted in the same metrics, which took in documents that this
    /// one had counted as duplicates of something that turned out to be gone. What was seen and set aside is
    /// what the later pass says of it.
    pub fn add_pass(&mut self, pass: Self) {
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
        self.set_aside = pass.set_aside;
        self.chunks += pass.chunks;
        self.tokens += pass.tokens;
        self.tokens_reused += pass.tokens_reused;
        self.deleted += pass.deleted;
        self.seconds += pass.seconds;
        self.stopped |= pass.stopped;
        self.covered = pass.covered;
        self.nodes = pass.nodes;
    }

    /// How many documents failed: set aside for a reason that nobody intended.
    pub fn failed(&self) -> u64 {
        self.reasons.get(FAILED).copied().unwrap_or(0)
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
