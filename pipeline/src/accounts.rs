//! Accounts for every document in flight, so that each leaves exactly once and the totals add up.
//!
//! A document is opened when a source produces it. After a fork it is open once for each branch
//! that takes it; it has left when every branch has closed it. It counts as stored if every branch
//! stored it, else by its first rejection. Only documents in flight are kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::UInt32Type;

use crate::column::{CHUNKS, URI};
use crate::metrics::Metrics;
use crate::progress::Feed;
use crate::report::SetAsideReport;
use crate::run::RunError;
use crate::{FAILED, SchemaError, SetAside, SourceTotals, Why};

/// Maximum number of rejections in a report; all of them are counted, and recorded in the store.
const NAMED: usize = 10_000;

pub(crate) struct Accounts {
    metrics: Arc<Metrics>,
    feed: Feed,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: HashMap<String, Open>,
    seen: u64,
    left: Left,
    /// URI of a document that was closed more often than it was opened.
    doubled: Option<String>,
}

/// Totals of the documents that have left so far.
#[derive(Clone, Default)]
pub(crate) struct Left {
    pub stored: u64,
    pub reasons: std::collections::BTreeMap<String, u64>,
    pub chunks: u64,
    pub tokens: u64,
    pub named: Vec<SetAsideReport>,
    pub covered: Vec<String>,
    pub totals: SourceTotals,
    /// Documents that failed in an earlier run and are unchanged.
    pub known_failures: u64,
}

#[derive(Default)]
struct Open {
    branches: usize,
    /// Reason of the first rejection.
    reason: Option<String>,
    chunks: u64,
    tokens: u64,
}

impl Accounts {
    pub(crate) fn new(metrics: Arc<Metrics>, feed: Feed) -> Self {
        Self { metrics, feed, state: Mutex::default() }
    }

    /// Opens documents of a source. Returns `true` for each row that continues. A document that is
    /// already in flight, because another source found the same URI, counts as a duplicate and
    /// leaves.
    pub(crate) fn open(&self, rows: &RecordBatch) -> Result<Vec<bool>, SchemaError> {
        let mut state = self.lock();
        let uris = URI.of(rows)?;
        let mut go_on = Vec::with_capacity(uris.len());
        for uri in uris.iter().map(Option::unwrap_or_default) {
            state.seen += 1;
            self.metrics.seen(1);
            let is_new = !state.in_flight.contains_key(uri);
            if is_new {
                state.in_flight.insert(uri.to_owned(), Open { branches: 1, ..Open::default() });
            } else {
                self.leave(&mut state, "duplicate");
            }
            go_on.push(is_new);
        }
        Ok(go_on)
    }

    /// Records the covered source roots and the totals of a source that has ended.
    pub(crate) fn cover(&self, places: Vec<String>, totals: SourceTotals) {
        let left = &mut self.lock().left;
        left.covered.extend(places);
        left.totals.empty.extend(totals.empty);
        for (by, count) in totals.left_out {
            *left.totals.left_out.entry(by).or_default() += count;
        }
    }

    /// Replaces one open branch of a document with `branches` branches.
    pub(crate) fn fork(&self, uri: &str, branches: usize) {
        if let Some(open) = self.lock().in_flight.get_mut(uri) {
            open.branches = (open.branches + branches).saturating_sub(1);
        }
    }

    /// Closes documents that a sink has written.
    pub(crate) fn stored(&self, rows: &RecordBatch) -> Result<(), SchemaError> {
        let chunks = CHUNKS.of(rows).ok();
        let mut state = self.lock();
        for (row, uri) in URI.of(rows)?.iter().enumerate() {
            let (count, tokens) = chunks.map_or((0, 0), |chunks| chunks_and_tokens(chunks, row));
            self.close(&mut state, uri.unwrap_or_default(), None, (count, tokens));
        }
        Ok(())
    }

    /// Closes a rejected document; with `from_source`, a source rejected it, so it was never
    /// opened.
    pub(crate) fn set_aside(&self, node: &str, document: &SetAside, from_source: bool) {
        let reason = document.why.reason();
        let uri = &document.location.uri;
        let mut state = self.lock();
        let is_first =
            from_source || state.in_flight.get(uri).is_some_and(|open| open.reason.is_none());
        let is_named = is_first && !matches!(reason, "unchanged" | "duplicate");
        if is_named {
            let named = SetAsideReport::new(node, document);
            if state.left.named.len() < NAMED {
                state.left.named.push(named.clone());
            }
            self.feed.push(named);
        }
        if from_source {
            state.seen += 1;
            self.metrics.seen(1);
            tracing::debug!(uri, reason, "document left the pipeline");
            if matches!(document.why, Why::Before { .. }) && reason == FAILED {
                state.left.known_failures += 1;
            }
            self.leave(&mut state, reason);
        } else {
            self.close(&mut state, uri, Some(reason), (0, 0));
        }
    }

    /// Number of documents seen, totals of those that left, and number of those in flight when the
    /// run was cut short.
    ///
    /// # Errors
    /// If a node has lost or doubled a document, so that the totals do not add up.
    pub(crate) fn settle(&self, cut_short: bool) -> Result<(u64, Left, u64), RunError> {
        let state = self.lock();
        if let Some(uri) = state.doubled.clone() {
            return Err(RunError::Doubled { uri });
        }
        match state.in_flight.keys().next() {
            Some(first) if !cut_short => {
                Err(RunError::Lost { count: state.in_flight.len(), first: first.clone() })
            }
            Some(_) | None => Ok((state.seen, state.left.clone(), state.in_flight.len() as u64)),
        }
    }

    fn close(&self, state: &mut State, uri: &str, reason: Option<&str>, size: (u64, u64)) {
        let Some(open) = state.in_flight.get_mut(uri) else {
            state.doubled.get_or_insert_with(|| uri.to_owned());
            return;
        };
        open.branches = open.branches.saturating_sub(1);
        open.chunks = open.chunks.max(size.0);
        open.tokens = open.tokens.max(size.1);
        if open.reason.is_none() {
            open.reason = reason.map(str::to_owned);
        }
        if open.branches > 0 {
            return;
        }
        let open = state.in_flight.remove(uri).expect("it was found above");
        match open.reason {
            Some(reason) => {
                tracing::debug!(uri, reason, "document left the pipeline");
                self.leave(state, &reason);
            }
            None => {
                tracing::debug!(uri, chunks = open.chunks, tokens = open.tokens, "document stored");
                self.metrics.stored(open.chunks, open.tokens);
                state.left.stored += 1;
                state.left.chunks += open.chunks;
                state.left.tokens += open.tokens;
            }
        }
    }

    fn leave(&self, state: &mut State, reason: &str) {
        self.metrics.left(reason);
        *state.left.reasons.entry(reason.to_owned()).or_default() += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

/// Number of tokens in the chunks of all rows; 0 without a column of chunks.
pub(crate) fn tokens_of(rows: &RecordBatch) -> u64 {
    let Ok(chunks) = CHUNKS.of(rows) else { return 0 };
    let fields = chunks.values().as_struct_opt();
    let tokens = fields.and_then(|fields| fields.column_by_name("tokens"));
    let Some(tokens) = tokens.and_then(|tokens| tokens.as_list_opt::<i32>()) else { return 0 };
    // A slice of a batch has the child arrays of the whole batch.
    let index = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let ends = chunks.value_offsets();
    let [first, .., last] = ends else { return 0 };
    let ends = tokens.value_offsets();
    u64::try_from(ends[index(*last)] - ends[index(*first)]).unwrap_or(0)
}

/// Number of chunks of one document, and of their tokens; `chunks` is the column [`CHUNKS`].
pub fn chunks_and_tokens(chunks: &arrow::array::ListArray, row: usize) -> (u64, u64) {
    let of_row = chunks.value(row);
    let tokens = of_row
        .as_struct_opt()
        .and_then(|fields| fields.column_by_name("tokens"))
        .and_then(|tokens| tokens.as_list_opt::<i32>())
        .map_or(0, |tokens| {
            let offsets = tokens.offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            debug_assert!(tokens.values().as_primitive_opt::<UInt32Type>().is_some(), "see CHUNKS");
            u64::try_from(last - first).unwrap_or(0)
        });
    (of_row.len() as u64, tokens)
}
