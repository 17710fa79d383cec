//! `search.proximity`: a bonus for passages in which the terms of the query are near each other.

use schemars::JsonSchema;
use serde::Deserialize;

/// A bonus for passages in which the terms of the query are near each other, or a phrase of it.
///
/// ```
/// use pipeline::ProximitySpec;
///
/// let spec: ProximitySpec = serde_json::from_str(r#"{ "weight": 0.2 }"#)?;
/// assert_eq!(spec, ProximitySpec { weight: 0.2, candidates: 100 });
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProximitySpec {
    /// Largest bonus, which is added to the score of a passage; 0 disables it.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight: f32,
    /// Number of best candidates that are read and may have a bonus.
    #[schemars(range(min = 1, max = 1000))]
    pub candidates: usize,
}

impl Default for ProximitySpec {
    fn default() -> Self {
        Self { weight: 0.1, candidates: 100 }
    }
}
