//! Searches and their answers, as JSON.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// By what hits are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By meaning: the similarity of dense vectors.
    Dense,
    /// By words: BM25.
    Sparse,
    /// By both, fused by rank.
    Hybrid,
}

/// A question, and what its answer is to be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// In words, as a person asks.
    #[schema(min_length = 1, max_length = 10000)]
    pub query: String,
    /// The collections that are searched, by id or by name; all that who asks may read unless they are named.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub collections: Vec<String>,
    /// Hybrid where a collection has sparse vectors, and dense where it has not, unless it is said.
    pub mode: Option<Mode>,
    /// How many hits; with `per_document`, how many documents.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 1000, default = 10)]
    pub k: usize,
    /// How many of the best are left out, in the unit of `k`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 10000, default = 0)]
    pub offset: usize,
    /// The `next` of the answer before, for the page behind it; in the place of `offset`.
    #[schema(min_length = 1, max_length = 200)]
    pub cursor: Option<String>,
    /// What hits must be like; docs/search.md has the language.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Map<String, Value>>,
    /// The least cosine similarity between a hit and the question, whatever the mode.
    #[schema(minimum = -1.0, maximum = 1.0)]
    pub threshold: Option<f32>,
    /// Gathers hits by document, so many of each at most.
    #[schema(minimum = 1, maximum = 100)]
    pub per_document: Option<usize>,
    /// How the rankings of a hybrid search are fused.
    pub fusion: Option<FusionRequest>,
    /// How many of the best of each ranking are fused.
    #[schema(minimum = 1, maximum = 10000)]
    pub candidates: Option<usize>,
    /// Whether hits say where the words of the question are in them.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub highlight: bool,
    /// Compares with every vector, as they are stored, and misses nothing.
    #[serde(default)]
    pub exact: bool,
}

fn ten() -> usize {
    10
}

fn yes() -> bool {
    true
}

/// Reciprocal rank fusion.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FusionRequest {
    /// The larger, the less the first ranks stand out.
    #[schema(minimum = 1, maximum = 1_000_000, default = 60)]
    pub k: u32,
    /// Weight of the ranking by meaning.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, default = 1.0)]
    pub dense: f32,
    /// Weight of the ranking by words.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, default = 1.0)]
    pub sparse: f32,
}

impl Default for FusionRequest {
    fn default() -> Self {
        let pipeline::Fusion { k, dense, sparse, .. } = pipeline::Fusion::default();
        Self { k, dense, sparse }
    }
}

/// A question in the address.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SimpleSearch {
    /// What is looked for.
    #[param(min_length = 1, max_length = 10000)]
    pub q: String,
    /// Ids or names of collections, with commas between them.
    pub collections: Option<String>,
    /// By what hits are found.
    pub mode: Option<Mode>,
    /// How many hits.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 1000, default = 10)]
    pub k: usize,
    /// The `next` of the answer before.
    #[param(min_length = 1, max_length = 200)]
    pub cursor: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchAnswer {
    /// Best first; with `per_document`, those of a document together.
    pub hits: Vec<SearchHit>,
    /// The `cursor` of the page behind this one; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The collections that have answered.
    pub searched: Vec<SearchedCollection>,
    /// Those that have not; the others are answered for all the same.
    pub failed: Vec<FailedCollection>,
    pub timings: SearchTimings,
}

/// A passage that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchHit {
    /// The collection, by id and by name.
    pub collection: Uuid,
    pub collection_name: String,
    /// What its collection ranks it by: cosine similarity, BM25, or the sum of reciprocal ranks.
    pub score: f32,
    /// Cosine similarity to the question, if there was a dense vector of it.
    pub similarity: Option<f32>,
    /// The passage.
    pub text: String,
    /// Where the words of the question are in it: first character and the one behind, counted in Unicode code points.
    pub highlights: Vec<[usize; 2]>,
    pub document: Uuid,
    /// Its place among the chunks of the document, from 0.
    pub chunk_index: u32,
    pub uri: String,
    /// What the document is called; the name of its file where its title says nothing.
    pub title: Option<String>,
    /// The headings above it.
    pub headings: Option<String>,
    /// From 1.
    pub page: Option<u32>,
    /// Its first byte in the text of the document.
    pub start: u64,
    /// The byte behind it.
    pub end: u64,
    pub mime_type: String,
    /// ISO 639-1.
    pub language: Option<String>,
    /// When the file was modified.
    pub modified_at: Option<DateTime<Utc>>,
    /// The source that gave the document, as a filter by `source` names it.
    pub source: String,
    /// What the document says of itself, as a filter by `metadata` names it: keys with their values.
    pub metadata: BTreeMap<String, Vec<String>>,
}

/// A collection that has answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchedCollection {
    pub collection: Uuid,
    pub name: String,
    /// The generation that all of its hits are from.
    pub generation: i32,
    /// By what its hits were found.
    pub mode: &'static str,
}

/// A collection that has not answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedCollection {
    pub collection: Uuid,
    pub name: String,
    /// `not_served`, `no_sparse_vectors` or `failing`; the log says more.
    pub reason: &'static str,
}

/// Where the time went, in milliseconds. Collections are asked at the same time: this is what the slowest one took.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchTimings {
    pub total_ms: f64,
    /// Making a vector of the question, or finding it among those made before.
    pub embed_ms: f64,
    /// Waiting for the store.
    pub store_ms: f64,
    /// What was neither.
    pub own_ms: f64,
}

/// Facts, each a key and a value, by their keys.
pub(crate) fn by_key(facts: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in facts.iter().filter_map(|fact| fact.split_once('=')) {
        metadata.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    metadata
}

/// Ranges of bytes as ranges of characters.
pub(crate) fn in_characters(text: &str, ranges: &[Range<usize>]) -> Vec<[usize; 2]> {
    // Each edge once, in order, so that the text is gone through once.
    let mut edges: BTreeMap<usize, usize> =
        ranges.iter().flat_map(|range| [(range.start, 0), (range.end, 0)]).collect();
    let (mut bytes, mut characters) = (0, 0);
    for (edge, place) in &mut edges {
        characters += text.get(bytes..*edge).map_or(0, |part| part.chars().count());
        bytes = *edge;
        *place = characters;
    }
    ranges.iter().map(|range| [edges[&range.start], edges[&range.end]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highlights_count_characters() {
        let text = "größer als größte";
        let at = |word: &str| {
            let start = text.find(word).expect("it is in there");
            start..start + word.len()
        };
        assert_eq!(in_characters(text, &[at("größte"), at("als")]), [[11, 17], [7, 10]]);
        assert_eq!(in_characters("", &[]), Vec::<[usize; 2]>::new());
    }
}
