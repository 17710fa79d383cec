//! Options of the sparse vectors, and their stored form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Increased whenever the indices or weights of the same text change.
pub(super) const VERSION: u32 = 1;

/// Options of the BM25 vectors.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bm25Options {
    /// The kind of sparse vectors; always `bm25`.
    pub(super) kind: SparseKind,
    /// Saturation of term frequency: the smaller, the sooner another occurrence of a term adds
    /// nothing.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub(super) k1: f64,
    /// Length normalisation: 0 ignores the length of a passage, 1 normalises by it fully.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) b: f64,
    /// The passage length, in terms, at which length normalisation has no effect.
    #[schemars(range(min = 1.0, max = 100_000.0))]
    pub(super) average_length: f64,
    /// The language of the stemmer: `auto` uses the language of each document, `none` disables
    /// stemming, and a code such as `en` applies to every document.
    #[schemars(regex(
        pattern = r"^(auto|none|ar|da|de|el|en|es|fi|fr|hu|it|nb|nl|no|pt|ro|ru|sv|ta|tr)$"
    ))]
    pub(super) language: String,
}

/// The kind of sparse vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SparseKind {
    /// BM25.
    #[default]
    Bm25,
}

impl Default for Bm25Options {
    fn default() -> Self {
        Self {
            kind: SparseKind::Bm25,
            k1: 1.2,
            b: 0.75,
            average_length: 180.0,
            language: "auto".to_owned(),
        }
    }
}

/// Options with their version, as stored with a collection.
#[derive(Deserialize, Serialize)]
pub(super) struct SavedOptions {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) options: Bm25Options,
}

impl Bm25Options {
    /// Everything that the vectors depend on, as stored with a collection.
    pub(crate) fn settings(&self) -> Value {
        let noted = SavedOptions { version: VERSION, options: self.clone() };
        serde_json::to_value(noted).expect("has string keys and plain values only")
    }
}
