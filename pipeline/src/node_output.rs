//! The output of a node: checks the schema, accounts for documents, records rejections, and sends
//! rows to the nodes that take them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use crate::channel::{BatchSender, ChannelClosed};
use crate::column::URI;
use crate::document_tracker::DocumentTracker;
use crate::metrics::NodeMetrics;
use crate::when::When;
use crate::{BoxError, Outcome, RejectReason, Rejection, RowsExt as _, RunError};

/// A rejection with the id of its node, on its way to the metadata store.
pub(crate) type NodeRejection = (String, Rejection);

pub(crate) struct NodeOutput {
    pub node: Arc<str>,
    /// `None` for a sink.
    pub schema: Option<SchemaRef>,
    pub edges: Vec<Edge>,
    pub is_source: bool,
    pub metrics: Arc<NodeMetrics>,
    pub accounts: Arc<DocumentTracker>,
    pub recorder: mpsc::Sender<NodeRejection>,
}

/// An edge to the next node.
pub(crate) struct Edge {
    pub sender: BatchSender,
    /// Condition of the next node; `None` takes all rows.
    pub when: Option<When>,
}

/// `Separator` if a receiver has closed, so that further work is useless; the task that closed it
/// reports the reason.
type SendResult = Result<ControlFlow<()>, RunError>;

impl NodeOutput {
    pub(crate) async fn send(&self, outcome: Outcome) -> SendResult {
        let Outcome { mut rows, rejected: set_aside } = outcome;
        if self.schema.as_ref() != Some(rows.schema_ref()) {
            return Err(RunError::Schema { node: Arc::clone(&self.node) });
        }
        self.metrics.rows_out.inc_by(rows.num_rows() as u64);
        if self.is_source {
            let go_on =
                self.accounts.register(&rows).map_err(|error| self.node_error(error.into()))?;
            rows = rows.filter_rows(go_on).map_err(|error| self.node_error(error.into()))?;
        }
        let started = Instant::now();
        let mut flow = self.reject(set_aside, self.is_source).await;
        if flow.is_continue() && rows.num_rows() > 0 {
            flow = self.route(&rows).await?;
        }
        self.metrics.add_blocked(started.elapsed());
        Ok(flow)
    }

    pub(crate) fn node_error(&self, source: BoxError) -> RunError {
        RunError::Node { node: Arc::clone(&self.node), source }
    }

    async fn reject(&self, documents: Vec<Rejection>, from_source: bool) -> ControlFlow<()> {
        for document in documents {
            self.metrics.count_rejection(document.reason.code());
            self.accounts.record_rejection(&self.node, &document, from_source);
            if self.recorder.send((self.node.to_string(), document)).await.is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn route(&self, rows: &RecordBatch) -> SendResult {
        if let [Edge { sender, when: None }] = self.edges.as_slice() {
            return Ok(match sender.send(rows.clone()).await {
                Ok(()) => ControlFlow::Continue(()),
                Err(ChannelClosed) => ControlFlow::Break(()),
            });
        }
        let everything = || vec![true; rows.num_rows()];
        let masks: Vec<Vec<bool>> = self
            .edges
            .iter()
            .map(|edge| edge.when.as_ref().map_or_else(everything, |when| when.evaluate(rows)))
            .collect();
        let mut unrouted = Vec::new();
        let uris = URI.of(rows).map_err(|error| self.node_error(error.into()))?;
        for row in 0..rows.num_rows() {
            match masks.iter().filter(|mask| mask[row]).count() {
                0 => {
                    let document = Rejection::from_row(rows, row, RejectReason::Unrouted);
                    unrouted.push(document.map_err(|error| self.node_error(error.into()))?);
                }
                1 => {}
                branches => self.accounts.fork(uris.value(row), branches),
            }
        }
        if self.reject(unrouted, false).await.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for (edge, mask) in self.edges.iter().zip(masks) {
            let rows = rows.filter_rows(mask).map_err(|error| self.node_error(error.into()))?;
            if rows.num_rows() > 0 && edge.sender.send(rows).await.is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
