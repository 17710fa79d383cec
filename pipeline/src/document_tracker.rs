//! Accounts for every document in flight, so that each leaves exactly once and the totals add up.
//!
//! A document is opened when a source produces it. After a fork it is open once for each branch
//! that takes it; it has left when every branch has closed it. It counts as stored if every branch
//! stored it, else by its first rejection. Only documents in flight are kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, RecordBatch};

use crate::chunk_counts::chunk_and_token_counts;
use crate::column::{CHUNKS, URI};
use crate::metrics::Metrics;
use crate::rejection_log::RejectionLog;
use crate::report::RejectionReport;
use crate::{FAILED_REASON, RejectReason, Rejection, RunError, SchemaError, SourceTotals};

/// Maximum number of rejections in a report; all of them are counted, and recorded in the store.
const MAX_NAMED_REJECTIONS: usize = 10_000;

pub(crate) struct DocumentTracker {
    metrics: Arc<Metrics>,
    rejections: RejectionLog,
    state: Mutex<TrackerState>,
}

#[derive(Default)]
struct TrackerState {
    in_flight: HashMap<String, InFlightDocument>,
    seen: u64,
    finished: FinishedCounts,
    /// URI of a document that was closed more often than it was opened.
    finished_twice: Option<String>,
}

/// Totals of the documents that have left so far.
#[derive(Clone, Default)]
pub(crate) struct FinishedCounts {
    pub stored: u64,
    pub rejected_by_reason: std::collections::BTreeMap<String, u64>,
    pub chunks: u64,
    pub tokens: u64,
    pub rejections: Vec<RejectionReport>,
    pub exhausted_roots: Vec<String>,
    pub source_totals: SourceTotals,
    /// Documents that failed in an earlier run and are unchanged.
    pub known_failures: u64,
}

#[derive(Default)]
struct InFlightDocument {
    open_branches: usize,
    /// Reason of the first rejection.
    first_reason: Option<String>,
    chunks: u64,
    tokens: u64,
}

impl DocumentTracker {
    pub(crate) fn new(metrics: Arc<Metrics>, feed: RejectionLog) -> Self {
        Self { metrics, rejections: feed, state: Mutex::default() }
    }

    /// Opens documents of a source. Returns `true` for each row that continues. A document that is
    /// already in flight, because another source found the same URI, counts as a duplicate and
    /// leaves.
    pub(crate) fn register(&self, rows: &RecordBatch) -> Result<Vec<bool>, SchemaError> {
        let mut state = self.lock();
        let uris = URI.of(rows)?;
        let mut go_on = Vec::with_capacity(uris.len());
        for uri in uris.iter().map(Option::unwrap_or_default) {
            state.seen += 1;
            self.metrics.add_seen(1);
            let is_new = !state.in_flight.contains_key(uri);
            if is_new {
                state.in_flight.insert(
                    uri.to_owned(),
                    InFlightDocument { open_branches: 1, ..InFlightDocument::default() },
                );
            } else {
                self.count_rejection(&mut state, "duplicate");
            }
            go_on.push(is_new);
        }
        Ok(go_on)
    }

    /// Records the covered source roots and the totals of a source that has ended.
    pub(crate) fn source_exhausted(&self, places: Vec<String>, totals: SourceTotals) {
        let left = &mut self.lock().finished;
        left.exhausted_roots.extend(places);
        left.source_totals.empty_roots.extend(totals.empty_roots);
        for (by, count) in totals.excluded {
            *left.source_totals.excluded.entry(by).or_default() += count;
        }
    }

    /// Replaces one open branch of a document with `branches` branches.
    pub(crate) fn fork(&self, uri: &str, branches: usize) {
        if let Some(open) = self.lock().in_flight.get_mut(uri) {
            open.open_branches = (open.open_branches + branches).saturating_sub(1);
        }
    }

    /// Closes documents that a sink has written.
    pub(crate) fn record_stored(&self, rows: &RecordBatch) -> Result<(), SchemaError> {
        let chunks = CHUNKS.of(rows).ok();
        let mut state = self.lock();
        for (row, uri) in URI.of(rows)?.iter().enumerate() {
            let (count, tokens) =
                chunks.map_or((0, 0), |chunks| chunk_and_token_counts(chunks, row));
            self.finish_branch(&mut state, uri.unwrap_or_default(), None, (count, tokens));
        }
        Ok(())
    }

    /// Closes a rejected document; with `from_source`, a source rejected it, so it was never
    /// opened.
    pub(crate) fn record_rejection(&self, node: &str, document: &Rejection, from_source: bool) {
        let reason = document.reason.code();
        let uri = &document.location.uri;
        let mut state = self.lock();
        let is_first =
            from_source || state.in_flight.get(uri).is_some_and(|open| open.first_reason.is_none());
        let is_named = is_first && !matches!(reason, "unchanged" | "duplicate");
        if is_named {
            let named = RejectionReport::new(node, document);
            if state.finished.rejections.len() < MAX_NAMED_REJECTIONS {
                state.finished.rejections.push(named.clone());
            }
            self.rejections.push(named);
        }
        if from_source {
            state.seen += 1;
            self.metrics.add_seen(1);
            tracing::debug!(uri, reason, "document left the pipeline");
            if matches!(document.reason, RejectReason::PreviouslyRejected { .. })
                && reason == FAILED_REASON
            {
                state.finished.known_failures += 1;
            }
            self.count_rejection(&mut state, reason);
        } else {
            self.finish_branch(&mut state, uri, Some(reason), (0, 0));
        }
    }

    /// Number of documents seen, totals of those that left, and number of those in flight when the
    /// run was cut short.
    ///
    /// # Errors
    /// If a node has lost or doubled a document, so that the totals do not add up.
    pub(crate) fn check_totals(
        &self,
        cut_short: bool,
    ) -> Result<(u64, FinishedCounts, u64), RunError> {
        let state = self.lock();
        if let Some(uri) = state.finished_twice.clone() {
            return Err(RunError::DuplicateDocument { uri });
        }
        match state.in_flight.keys().next() {
            Some(first) if !cut_short => {
                Err(RunError::LostDocuments { count: state.in_flight.len(), first: first.clone() })
            }
            Some(_) | None => {
                Ok((state.seen, state.finished.clone(), state.in_flight.len() as u64))
            }
        }
    }

    fn finish_branch(
        &self,
        state: &mut TrackerState,
        uri: &str,
        reason: Option<&str>,
        size: (u64, u64),
    ) {
        let Some(open) = state.in_flight.get_mut(uri) else {
            state.finished_twice.get_or_insert_with(|| uri.to_owned());
            return;
        };
        open.open_branches = open.open_branches.saturating_sub(1);
        open.chunks = open.chunks.max(size.0);
        open.tokens = open.tokens.max(size.1);
        if open.first_reason.is_none() {
            open.first_reason = reason.map(str::to_owned);
        }
        if open.open_branches > 0 {
            return;
        }
        let open = state.in_flight.remove(uri).expect("it was found above");
        match open.first_reason {
            Some(reason) => {
                tracing::debug!(uri, reason, "document left the pipeline");
                self.count_rejection(state, &reason);
            }
            None => {
                tracing::debug!(uri, chunks = open.chunks, tokens = open.tokens, "document stored");
                self.metrics.add_stored(open.chunks, open.tokens);
                state.finished.stored += 1;
                state.finished.chunks += open.chunks;
                state.finished.tokens += open.tokens;
            }
        }
    }

    fn count_rejection(&self, state: &mut TrackerState, reason: &str) {
        self.metrics.count_outcome(reason);
        *state.finished.rejected_by_reason.entry(reason.to_owned()).or_default() += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TrackerState> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}
