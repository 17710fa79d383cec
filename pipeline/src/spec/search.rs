//! How a collection is searched, in a pipeline file. These settings belong to the file, not to a
//! generation.
//!
//! ```
//! use pipeline::{FusionSpec, SearchSpec};
//!
//! let spec: SearchSpec = serde_json::from_str(r#"{ "fusion": { "method": "rrf", "k": 10 } }"#)?;
//! assert_eq!(spec.fusion, FusionSpec::Rrf { k: 10, dense: 1.0, sparse: 1.0 });
//! assert_eq!(SearchSpec::default().fusion, FusionSpec::default());
//! # Ok::<_, serde_json::Error>(())
//! ```

mod documents;
mod freshness;
mod proximity;
pub(crate) mod rerank;

use schemars::JsonSchema;
use serde::Deserialize;

pub use documents::DocumentsSpec;
pub use freshness::{FreshnessField, FreshnessSpec};
pub use proximity::ProximitySpec;
pub use rerank::RerankSpec;

/// How the collection is searched. A request may override each setting.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchSpec {
    /// How a hybrid search combines the dense and the sparse ranking.
    pub fusion: FusionSpec,
    /// Ranks chunks with the exact terms of a query first in a hybrid search: its names, numbers
    /// and quoted phrases.
    pub exact_terms: bool,
    /// Expands prefixes (`pthread*`) in queries, and corrects words that the collection does not
    /// have.
    pub typos: bool,
    /// Reranking of the best hits with a cross-encoder. Default: none.
    pub rerank: Option<RerankSpec>,
    /// Bonus for passages in which the terms of the query are near each other. Default: none.
    pub proximity: Option<ProximitySpec>,
    /// How the passages of one document affect each other in a result.
    pub documents: DocumentsSpec,
    /// Weight of the difference from earlier hits in the order of the best 100 candidates (MMR):
    /// from 0, relevance only, to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub diversity: f32,
    /// Decay of scores by the age of the document. Default: none.
    pub freshness: Option<FreshnessSpec>,
}

impl Default for SearchSpec {
    fn default() -> Self {
        Self {
            fusion: FusionSpec::default(),
            exact_terms: true,
            typos: true,
            proximity: None,
            documents: DocumentsSpec::default(),
            diversity: 0.0,
            freshness: None,
            rerank: None,
        }
    }
}

/// How a hybrid search combines the dense and the sparse ranking.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum FusionSpec {
    /// A weighted sum of the scores, each scaled by the best one of the answer.
    Convex {
        /// Weight of the dense score; the sparse score has the rest.
        #[serde(default = "dense_weight")]
        #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.7))]
        dense: f32,
    },
    /// By reciprocal ranks.
    Rrf {
        /// Constant: the larger it is, the smaller the advantage of the first ranks.
        #[serde(default = "sixty")]
        #[schemars(range(min = 1, max = 1_000_000))]
        k: u32,
        /// Weight of the dense ranking.
        #[serde(default = "one")]
        #[schemars(range(min = 0.0, max = 1_000_000.0))]
        dense: f32,
        /// Weight of the sparse ranking.
        #[serde(default = "one")]
        #[schemars(range(min = 0.0, max = 1_000_000.0))]
        sparse: f32,
    },
}

impl Default for FusionSpec {
    fn default() -> Self {
        Self::Convex { dense: dense_weight() }
    }
}

fn dense_weight() -> f32 {
    0.7
}

fn sixty() -> u32 {
    60
}

fn one() -> f32 {
    1.0
}
