//! Keeps account of every document in flight, so that each leaves exactly once and the numbers add up.
//!
//! A document is opened when a source gives it. Where a graph forks it is open once for each branch that
//! takes it; it has left when every branch has closed it. It counts as stored if every branch stored it,
//! else by what became of it first. Only documents in flight are remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::UInt32Type;

use crate::column::{CHUNKS, URI};
use crate::metrics::Metrics;
use crate::report::SetAsideReport;
use crate::{SchemaError, SetAside};

/// The most documents that a report names one by one; all of them are counted, and recorded in the store.
const NAMED: usize = 10_000;

pub(crate) struct Accounts {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: HashMap<String, Open>,
    seen: u64,
    left: Left,
}

/// What has left so far.
#[derive(Clone, Default)]
pub(crate) struct Left {
    pub stored: u64,
    pub reasons: std::collections::BTreeMap<String, u64>,
    pub chunks: u64,
    pub tokens: u64,
    pub named: Vec<SetAsideReport>,
}

#[derive(Default)]
struct Open {
    /// How often sources gave it while it was in flight; all of them share its fate.
    times: u64,
    branches: usize,
    /// The first reason not to store it.
    reason: Option<String>,
    chunks: u64,
    tokens: u64,
}

impl Accounts {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, state: Mutex::default() }
    }

    /// Documents that a source gives.
    pub(crate) fn open(&self, rows: &RecordBatch) -> Result<(), SchemaError> {
        let mut state = self.lock();
        for uri in URI.of(rows)?.iter().flatten() {
            state.seen += 1;
            self.metrics.seen(1);
            let open = state.in_flight.entry(uri.to_owned()).or_default();
            open.times += 1;
            open.branches += 1;
        }
        Ok(())
    }

    /// A document that takes several branches, or none.
    pub(crate) fn fork(&self, uri: &str, branches: usize) {
        if let Some(open) = self.lock().in_flight.get_mut(uri) {
            open.branches = (open.branches + branches).saturating_sub(1);
        }
    }

    /// Documents that a sink has written.
    pub(crate) fn stored(&self, rows: &RecordBatch) -> Result<(), SchemaError> {
        let chunks = CHUNKS.of(rows).ok();
        let mut state = self.lock();
        for (row, uri) in URI.of(rows)?.iter().enumerate() {
            let (count, tokens) = chunks.map_or((0, 0), |chunks| count(chunks, row));
            self.close(&mut state, uri.unwrap_or_default(), None, (count, tokens));
        }
        Ok(())
    }

    /// A document that was set aside; `from_source` says that no node has opened it.
    pub(crate) fn set_aside(&self, node: &str, document: &SetAside, from_source: bool) {
        let reason = document.why.reason();
        let uri = &document.location.uri;
        let mut state = self.lock();
        if !matches!(reason, "unchanged" | "duplicate") && state.left.named.len() < NAMED {
            let named = SetAsideReport::new(node, document);
            state.left.named.push(named);
        }
        if from_source {
            state.seen += 1;
            self.metrics.seen(1);
            *state.left.reasons.entry(reason.to_owned()).or_default() += 1;
            self.metrics.left(reason, 1);
        } else {
            self.close(&mut state, uri, Some(reason), (0, 0));
        }
    }

    /// What has left, and the documents that have not.
    pub(crate) fn settle(&self) -> (u64, Left, Vec<String>) {
        let state = self.lock();
        (state.seen, state.left.clone(), state.in_flight.keys().cloned().collect())
    }

    fn close(&self, state: &mut State, uri: &str, reason: Option<&str>, size: (u64, u64)) {
        let Some(open) = state.in_flight.get_mut(uri) else { return };
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
                self.metrics.left(&reason, open.times);
                *state.left.reasons.entry(reason).or_default() += open.times;
            }
            None => {
                self.metrics.stored(open.times, open.chunks, open.tokens);
                state.left.stored += open.times;
                state.left.chunks += open.chunks;
                state.left.tokens += open.tokens;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

/// Chunks of one document, and tokens in them.
fn count(chunks: &arrow::array::ListArray, row: usize) -> (u64, u64) {
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
