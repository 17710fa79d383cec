//! The results of operations as data, in the form in which they are stored.

use metadata::{Generation, SwapResult};
use pipeline::RunReport;
use serde::{Deserialize, Serialize};

/// The result of an operation, stored in `operations.meta`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationResult {
    /// The report of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<RunReport>,
    /// Tokens and time of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelTime>,
    /// The swapped generations, if the operation made another one live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<GenerationSwap>,
    /// Number of documents that were deleted or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
}

/// Tokens that a model processed in an operation, and the seconds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelTime {
    /// Tokens of the documents.
    pub tokens: u64,
    /// Seconds in which the model was busy.
    pub busy_seconds: f64,
}

/// A generation that replaced another as the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSwap {
    /// The generation that is live now.
    pub live: GenerationRef,
    /// The generation that was live before.
    pub retired: GenerationRef,
}

/// A generation as messages name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRef {
    /// Its number in the collection.
    pub number: i32,
    /// Name of its model.
    pub model: String,
}

impl From<&Generation> for GenerationRef {
    fn from(generation: &Generation) -> Self {
        Self { number: generation.number, model: generation.embedding_model.clone() }
    }
}

impl From<&SwapResult> for GenerationSwap {
    fn from(swapped: &SwapResult) -> Self {
        Self { live: (&swapped.live).into(), retired: (&swapped.retired).into() }
    }
}
