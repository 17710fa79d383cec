//! `search.freshness`: recently modified documents rank higher.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::spec::automation::HumanDuration;

/// A decay of scores by the age of the document. A document without a date gets the mean decay of
/// the candidates that have one.
///
/// ```
/// use pipeline::{FreshnessField, FreshnessSpec};
///
/// let spec: FreshnessSpec = serde_json::from_str(r#"{ "half_life": "180d" }"#)?;
/// assert_eq!(spec.half_life.as_secs(), 180 * 86_400);
/// assert_eq!((spec.weight, spec.by), (0.1, FreshnessField::ModifiedAt));
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshnessSpec {
    /// Age at which half of `weight` is left.
    pub half_life: HumanDuration,
    /// Share of the score that decays: with 0.1, the oldest document keeps 90 % of its score.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f32,
    /// The date of a document.
    #[serde(default)]
    pub by: FreshnessField,
}

fn tenth() -> f32 {
    0.1
}

/// The date that tells the age of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FreshnessField {
    /// The time of modification of the file.
    #[default]
    ModifiedAt,
}
