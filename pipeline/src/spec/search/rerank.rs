//! Reranking of the best hits, in a pipeline file, and the check of its model.
//!
//! ```
//! use pipeline::RerankSpec;
//!
//! let spec: RerankSpec = serde_json::from_str(r#"{ "model": "./reranker" }"#)?;
//! assert_eq!((spec.candidates, spec.budget_ms, &*spec.dtype), (20, 500, "auto"));
//! # Ok::<_, serde_json::Error>(())
//! ```

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::finding::Finding;
use crate::{HubModel, ModelProvider, PipelineSpec, RerankerOptions};

/// Reranking of the best hits with a cross-encoder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RerankSpec {
    /// Folder of a cross-encoder in the Hugging Face layout, or a model of the Hugging Face hub as
    /// `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`, which is downloaded when it is first needed.
    pub model: PathBuf,
    /// Number of best hits that the model scores.
    #[serde(default = "candidates")]
    #[schemars(range(min = 1, max = 1000))]
    pub candidates: usize,
    /// Time limit of the model in milliseconds. Hits that it has not scored by then keep their
    /// order, after those that it has.
    #[serde(default = "budget_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub budget_ms: u32,
    /// Device of the model: `auto` (the GPUs, else the CPU), `cpu`, `mps`, `cuda`, `cuda:0`, or
    /// several as `cuda:0,2`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = r"^(auto|cpu|mps|cuda(:[0-9]+(,[0-9]+)*)?)$"))]
    pub device: String,
    /// Precision of the computation: `auto`, `float32`, `bfloat16`, `float16` or `int8`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = r"^(auto|float32|bfloat16|float16|int8)$"))]
    pub dtype: String,
}

impl RerankSpec {
    /// Default of `candidates`.
    pub const CANDIDATES: usize = 20;

    /// Default of `budget_ms`.
    pub const BUDGET_MS: u32 = 500;

    /// The model with an absolute path, relative to the folder of the pipeline file; models of the
    /// hub are not paths.
    pub fn resolved_model(&self, base: &Path) -> PathBuf {
        match HubModel::from_path(&self.model) {
            Some(_) => self.model.clone(),
            None => crate::resolve_path(base, &self.model),
        }
    }

    /// Options for loading the model.
    pub fn options(&self) -> RerankerOptions {
        RerankerOptions { device: self.device.clone(), dtype: self.dtype.clone() }
    }
}

fn candidates() -> usize {
    RerankSpec::CANDIDATES
}

fn budget_ms() -> u32 {
    RerankSpec::BUDGET_MS
}

fn auto() -> String {
    "auto".to_owned()
}

/// Checks that the model of a file is a reranker.
pub(crate) fn check(spec: &PipelineSpec, models: &dyn ModelProvider, findings: &mut Vec<Finding>) {
    let Some(rerank) = &spec.file.search.rerank else { return };
    if let Err(error) = models.describe_reranker(&rerank.resolved_model(&spec.base)) {
        let at = spec.span_of("/search/rerank/model");
        findings.push(Finding::new(at, crate::error_chain(error.as_ref())));
    }
}
