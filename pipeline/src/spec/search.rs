//! How a collection is searched, in a pipeline file. These settings belong to the file, not to a
//! generation.

use schemars::JsonSchema;
use serde::Deserialize;

/// How the collection is searched. A request may override each setting.
///
/// ```
/// use pipeline::{FusionSpec, SearchSpec};
///
/// let spec: SearchSpec = serde_json::from_str(r#"{ "fusion": { "method": "rrf", "k": 10 } }"#)?;
/// assert_eq!(spec.fusion, FusionSpec::Rrf { k: 10, dense: 1.0, sparse: 1.0 });
/// assert_eq!(SearchSpec::default().fusion, FusionSpec::default());
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchSpec {
    /// How a hybrid search combines the dense and the sparse ranking.
    pub fusion: FusionSpec,
}

/// How a hybrid search combines the dense and the sparse ranking.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum FusionSpec {
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
    /// `k` is that of the original paper (Cormack, Clarke and Büttcher, SIGIR 2009).
    fn default() -> Self {
        Self::Rrf { k: sixty(), dense: one(), sparse: one() }
    }
}

fn sixty() -> u32 {
    60
}

fn one() -> f32 {
    1.0
}
