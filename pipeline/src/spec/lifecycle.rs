//! Limits on deletions, retention periods, and checks of new generations in a pipeline file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Limits on deletions, retention periods, and checks of new generations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSpec {
    /// Largest share of the documents of a source that one run may delete. If more are missing, and
    /// at least 20 documents, the run deletes nothing and requires `--allow-deletes`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_delete_ratio: f64,
    /// Number of retired generations to keep for a rollback.
    #[schemars(range(min = 0, max = 100))]
    pub retain_generations: usize,
    /// Days for which the ids of deleted documents are kept.
    #[schemars(range(min = 0, max = 36_500))]
    pub retention_days: u32,
    /// Queries that a new generation must answer before it becomes live.
    pub golden: Vec<GoldenSpec>,
    /// File with judged queries in JSON Lines, which evaluate a new generation before it becomes
    /// live.
    pub judgements: Option<PathBuf>,
    /// Minimum means of the metrics over the judged queries.
    pub min: MinScoresSpec,
}

impl Default for LifecycleSpec {
    fn default() -> Self {
        Self {
            max_delete_ratio: 0.3,
            retain_generations: 1,
            retention_days: 30,
            golden: Vec::new(),
            judgements: None,
            min: MinScoresSpec::default(),
        }
    }
}

/// Minimum value of each metric, from 0 to 1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinScoresSpec {
    /// Normalised discounted cumulative gain of the first 10 hits.
    #[serde(rename = "ndcg@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ndcg_10: Option<f64>,
    /// Share of the relevant documents among the first 10 hits.
    #[serde(rename = "recall@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_10: Option<f64>,
    /// Share of the relevant documents among the first 100 hits.
    #[serde(rename = "recall@100")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_100: Option<f64>,
    /// Reciprocal rank of the first relevant hit among the first 10.
    #[serde(rename = "mrr@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mrr_10: Option<f64>,
}

impl MinScoresSpec {
    /// The metrics that have a minimum, by name.
    ///
    /// ```
    /// use pipeline::MinScoresSpec;
    ///
    /// let min = MinScoresSpec { ndcg_10: Some(0.4), ..MinScoresSpec::default() };
    /// assert_eq!(min.thresholds(), [("ndcg@10", 0.4)]);
    /// ```
    pub fn thresholds(&self) -> Vec<(&'static str, f64)> {
        let all = [
            ("ndcg@10", self.ndcg_10),
            ("recall@10", self.recall_10),
            ("recall@100", self.recall_100),
            ("mrr@10", self.mrr_10),
        ];
        all.into_iter().filter_map(|(name, least)| Some((name, least?))).collect()
    }
}

/// A query with a document that must be among its first hits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldenSpec {
    /// The query.
    #[schemars(length(min = 1))]
    pub query: String,
    /// Suffix of the path or URL of the document.
    #[schemars(length(min = 1))]
    pub expect: String,
    /// Number of chunks to check.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub k: usize,
}

fn ten() -> usize {
    10
}
