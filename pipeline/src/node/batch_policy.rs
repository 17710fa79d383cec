//! How much input a node receives in one call, and the longest wait for it.

use std::time::Duration;

use arrow::array::RecordBatch;

/// Batch policy: the runtime combines batches until they reach this weight.
#[derive(Clone, Copy)]
pub struct BatchPolicy {
    /// Minimum weight of a batch. With [`BatchPolicy::initial_weight`], the maximum weight.
    pub target_weight: usize,
    /// Weight of a batch, in a unit of the node. The weights of the slices of a batch add up to its
    /// weight.
    pub weight: fn(&RecordBatch) -> usize,
    /// Weight of the first batch, for a stage with adaptive batches. Later batches should take
    /// about two seconds each: their weight follows the measured rate, from a quarter of this
    /// weight up to [`BatchPolicy::target_weight`]. Batches are split between rows to keep to the
    /// weight. Two batches are in progress concurrently, so that the device of the stage does not
    /// idle between them. `None` keeps the weight fixed and never splits batches.
    pub initial_weight: Option<usize>,
    /// Weight with which an idle node starts if its queue has no further rows, instead of waiting
    /// for [`BatchPolicy::target_weight`]: what it does meanwhile is done when the rest arrives.
    /// `None` waits. Only for a fixed weight.
    pub idle_weight: Option<usize>,
    /// Longest wait for further rows. `None` waits until the batch is full or the input has ended.
    pub max_wait: Option<Duration>,
}
