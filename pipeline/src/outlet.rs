//! The output of a node: checks the schema, accounts for documents, records rejections, and sends
//! rows to the nodes that take them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use crate::accounts::Accounts;
use crate::channel::{Closed, Sender};
use crate::column::URI;
use crate::metrics::NodeMetrics;
use crate::run::RunError;
use crate::when::When;
use crate::{BoxError, Outcome, RowsExt as _, SetAside, Why};

/// A rejection with the id of its node, on its way to the metadata store.
pub(crate) type Recorded = (String, SetAside);

pub(crate) struct Outlet {
    pub node: Arc<str>,
    /// `None` for a sink.
    pub schema: Option<SchemaRef>,
    pub next: Vec<Edge>,
    pub is_source: bool,
    pub metrics: Arc<NodeMetrics>,
    pub accounts: Arc<Accounts>,
    pub recorder: mpsc::Sender<Recorded>,
}

/// An edge to the next node.
pub(crate) struct Edge {
    pub sender: Sender,
    /// Condition of the next node; `None` takes all rows.
    pub when: Option<When>,
}

/// `Break` if a receiver has closed, so that further work is useless; the task that closed it
/// reports the reason.
type Given = Result<ControlFlow<()>, RunError>;

impl Outlet {
    pub(crate) async fn give(&self, outcome: Outcome) -> Given {
        let Outcome { mut rows, set_aside } = outcome;
        if self.schema.as_ref() != Some(rows.schema_ref()) {
            return Err(RunError::Schema { node: Arc::clone(&self.node) });
        }
        self.metrics.rows_out.inc_by(rows.num_rows() as u64);
        if self.is_source {
            let go_on = self.accounts.open(&rows).map_err(|error| self.failed(error.into()))?;
            rows = rows.keeping(go_on).map_err(|error| self.failed(error.into()))?;
        }
        let started = Instant::now();
        let mut flow = self.set_aside(set_aside, self.is_source).await;
        if flow.is_continue() && rows.num_rows() > 0 {
            flow = self.route(&rows).await?;
        }
        self.metrics.blocked(started.elapsed());
        Ok(flow)
    }

    pub(crate) fn failed(&self, source: BoxError) -> RunError {
        RunError::Node { node: Arc::clone(&self.node), source }
    }

    async fn set_aside(&self, documents: Vec<SetAside>, from_source: bool) -> ControlFlow<()> {
        for document in documents {
            self.metrics.set_aside(document.why.reason());
            self.accounts.set_aside(&self.node, &document, from_source);
            if self.recorder.send((self.node.to_string(), document)).await.is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn route(&self, rows: &RecordBatch) -> Given {
        if let [Edge { sender, when: None }] = self.next.as_slice() {
            return Ok(match sender.send(rows.clone()).await {
                Ok(()) => ControlFlow::Continue(()),
                Err(Closed) => ControlFlow::Break(()),
            });
        }
        let everything = || vec![true; rows.num_rows()];
        let masks: Vec<Vec<bool>> = self
            .next
            .iter()
            .map(|edge| edge.when.as_ref().map_or_else(everything, |when| when.mask(rows)))
            .collect();
        let mut unrouted = Vec::new();
        let uris = URI.of(rows).map_err(|error| self.failed(error.into()))?;
        for row in 0..rows.num_rows() {
            match masks.iter().filter(|mask| mask[row]).count() {
                0 => {
                    let document = SetAside::row(rows, row, Why::Unrouted);
                    unrouted.push(document.map_err(|error| self.failed(error.into()))?);
                }
                1 => {}
                branches => self.accounts.fork(uris.value(row), branches),
            }
        }
        if self.set_aside(unrouted, false).await.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for (edge, mask) in self.next.iter().zip(masks) {
            let rows = rows.keeping(mask).map_err(|error| self.failed(error.into()))?;
            if rows.num_rows() > 0 && edge.sender.send(rows).await.is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
