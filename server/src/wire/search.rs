//! JSON types of searches and their responses.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Search mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Similarity of dense vectors.
    Dense,
    /// Terms of the query, ranked by BM25.
    Sparse,
    /// Both rankings, fused.
    Hybrid,
}

/// A search.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// Query in natural language.
    #[schema(min_length = 1, max_length = 10000)]
    pub query: String,
    /// Collections to search, by id or name; all readable ones if empty.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub collections: Vec<String>,
    /// Default: hybrid for collections with sparse vectors, otherwise dense.
    pub mode: Option<Mode>,
    /// Number of hits; with `per_document`, number of documents.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 1000, default = 10)]
    pub k: usize,
    /// Number of best hits to skip, in the unit of `k`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 10000, default = 0)]
    pub offset: usize,
    /// The `next` of the previous response, for the following page; replaces `offset`.
    #[schema(min_length = 1, max_length = 200)]
    pub cursor: Option<String>,
    /// Condition on hits; docs/search.md describes the language.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Map<String, Value>>,
    /// Minimum cosine similarity of a hit to the query, in every mode.
    #[schema(minimum = -1.0, maximum = 1.0)]
    pub threshold: Option<f32>,
    /// Groups hits by document, with at most this many of each.
    #[schema(minimum = 1, maximum = 100)]
    pub per_document: Option<usize>,
    /// How hybrid mode combines the two rankings. Default: the setting of each collection.
    pub fusion: Option<FusionRequest>,
    /// Reranking of the best hits by the models of the collections. Default: as set in their
    /// pipeline files.
    pub rerank: Option<RerankRequest>,
    /// Ranks chunks with the names, numbers and quoted phrases of the query first in hybrid mode.
    /// Default: the setting of each collection.
    pub exact_terms: Option<bool>,
    /// Expands prefixes (`pthread*`) and corrects words that a collection does not have. Default:
    /// the setting of each collection.
    pub typos: Option<bool>,
    /// Number of entries of each ranking that are fused.
    #[schema(minimum = 1, maximum = 10000)]
    pub candidates: Option<usize>,
    /// Bonus for passages in which the query terms are near each other.
    pub proximity: Option<ProximityRequest>,
    /// Weight of the best other passage of the document in the score of a passage.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub siblings: Option<f32>,
    /// Decay of scores by the age of the document.
    pub freshness: Option<FreshnessRequest>,
    /// Weight of the difference of a hit from earlier ones (MMR).
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub diversity: Option<f32>,
    /// Merge hits of a page that are adjacent in their document; `k`, `offset` and `next` count
    /// hits before the merge.
    #[serde(default)]
    pub merge_adjacent: bool,
    /// Add the ranges of the query terms to hits.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub highlight: bool,
    /// Add the steps that led to the score to each hit.
    #[serde(default)]
    pub explain: bool,
    /// Compares with every stored vector instead of using the approximate index.
    #[serde(default)]
    pub exact: bool,
}

fn ten() -> usize {
    10
}

fn yes() -> bool {
    true
}

/// How the dense and the sparse ranking are combined. A missing `method` means `rrf`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FusionRequest {
    /// The method.
    pub method: Option<FusionMethod>,
    /// Only for `rrf`: the larger it is, the smaller the advantage of the first ranks.
    #[schema(minimum = 1, maximum = 1_000_000, default = 60)]
    pub k: Option<u32>,
    /// Weight of the dense ranking: from 0 to 1 for `convex`, by default 0.7; otherwise by default
    /// 1.
    #[schema(minimum = 0.0, maximum = 1_000_000.0)]
    pub dense: Option<f32>,
    /// Only for `rrf`: weight of the sparse ranking. With `convex` it has the rest to 1.
    #[schema(minimum = 0.0, maximum = 1_000_000.0, default = 1.0)]
    pub sparse: Option<f32>,
}

/// Method of fusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FusionMethod {
    /// A weighted sum of the scores, each scaled by the best one of the answer.
    Convex,
    /// Reciprocal rank fusion.
    Rrf,
}

/// Reranking of the best hits.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RerankRequest {
    /// `true` reranks with the settings of the collection, `false` does not.
    Switch(bool),
    /// Reranks with these values instead of those of the collection.
    Options(RerankOptions),
}

/// Options of the reranking.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RerankOptions {
    /// Number of best hits that are scored.
    #[schema(minimum = 1, maximum = 200)]
    pub candidates: Option<usize>,
    /// Time limit in milliseconds; the hits that are not scored by then follow the others.
    #[schema(minimum = 1, maximum = 10000)]
    pub budget_ms: Option<u64>,
}

/// A bonus for passages in which the query terms are near each other.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProximityRequest {
    /// Largest bonus, relative to the best possible score; 0 disables it.
    #[schema(minimum = 0.0, maximum = 10.0, default = 0.1)]
    pub weight: f32,
    /// Number of best candidates that may have a bonus.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub candidates: usize,
}

impl Default for ProximityRequest {
    fn default() -> Self {
        let search::Proximity { weight, candidates } = search::Proximity::default();
        Self { weight, candidates }
    }
}

/// A decay of scores by the age of the document.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshnessRequest {
    /// Age at which half of `weight` is left: a number and `s`, `m`, `h` or `d`, such as `180d`.
    #[schema(value_type = String, pattern = "^[0-9]{1,6}[smhd]$")]
    pub half_life: pipeline::HumanDuration,
    /// Share of the score that decays; 0 disables it.
    #[serde(default = "tenth")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.1)]
    pub weight: f32,
}

fn tenth() -> f32 {
    0.1
}

/// A search by query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SimpleSearch {
    /// Query in natural language.
    #[param(min_length = 1, max_length = 10000)]
    pub q: String,
    /// Ids or names of collections, separated by commas.
    pub collections: Option<String>,
    /// Search mode.
    pub mode: Option<Mode>,
    /// Number of hits.
    #[serde(default = "ten")]
    #[param(minimum = 1, maximum = 1000, default = 10)]
    pub k: usize,
    /// The `next` of the previous response.
    #[param(min_length = 1, max_length = 200)]
    pub cursor: Option<String>,
}

/// Response to a search.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct SearchAnswer {
    /// Best first; with `per_document`, grouped by document.
    pub hits: Vec<SearchHit>,
    /// `true` if no hit is near the query: they are no more similar to it than unrelated passages
    /// are to each other, and have few of its words. Always `false` in sparse mode and with a
    /// filter.
    #[serde(default)]
    pub nothing_near: bool,
    /// The `cursor` of the next page; missing on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Words that a collection does not have, and the words that were searched in their place.
    pub corrections: Vec<SpellingCorrection>,
    /// Collections that were searched.
    pub searched: Vec<SearchedCollection>,
    /// Collections that failed; the response has the hits of the others.
    pub failed: Vec<FailedCollection>,
    /// Durations of the parts of the search.
    pub timings: SearchTimings,
}

/// A corrected word of the query. The dense ranking uses the query as typed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct SpellingCorrection {
    /// The word as typed.
    pub typed: String,
    /// The word that was searched in its place.
    pub used: String,
    /// Other similar words of the collection, the best first.
    pub alternatives: Vec<String>,
}

/// A hit: a chunk that matches the query, or several adjacent ones if the request merges them.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct SearchHit {
    /// Id of the collection.
    pub collection: Uuid,
    /// Name of the collection.
    pub collection_name: String,
    /// The number that ranks it in its collection: cosine similarity, BM25, or the fused score of
    /// hybrid mode.
    pub score: f32,
    /// Cosine similarity to the query, if it has a dense vector.
    pub similarity: Option<f32>,
    /// The steps that led to the score, if the request has `explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<SearchExplanation>,
    /// Text of the chunk.
    pub text: String,
    /// Ranges of the query terms in the text: start and end (exclusive), in Unicode code points.
    pub highlights: Vec<[usize; 2]>,
    /// Id of the document.
    pub document: Uuid,
    /// Index among the chunks of the document, from 0; of several chunks that of the best one.
    pub chunk_index: u32,
    /// Indices of all chunks in the hit, ascending.
    #[serde(default)]
    pub chunks: Vec<u32>,
    /// Location of the document, such as `file:///srv/docs/a.md`.
    pub uri: String,
    /// Title of the document; the name of its file if the title is meaningless.
    pub title: Option<String>,
    /// Headings above the chunk.
    pub headings: Option<String>,
    /// Page number, from 1.
    pub page: Option<u32>,
    /// Byte offset of the start in the text of the document.
    pub start: u64,
    /// Byte offset of the end, exclusive.
    pub end: u64,
    /// Media type of the document, such as `text/html`.
    pub mime_type: String,
    /// ISO 639-1.
    pub language: Option<String>,
    /// Time of modification of the file.
    pub modified_at: Option<DateTime<Utc>>,
    /// Source of the document, as used by the filter `source`.
    pub source: String,
    /// Metadata of the document, as used by the filter `metadata`: values by key.
    pub metadata: BTreeMap<String, Vec<String>>,
}

/// How a hit came to its score: the steps that concern it, in their order.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct SearchExplanation {
    /// Its place in the dense ranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dense: Option<RankingPlace>,
    /// Its place in the sparse ranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparse: Option<RankingPlace>,
    /// The fused score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<f32>,
    /// The exact terms of the query that it has. Each adds to the score: 2 in the text, 1 in title,
    /// headings or file name alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exact_terms: Vec<String>,
    /// The score of the reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f32>,
    /// Score of the best other passage of its document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub siblings: Option<f32>,
    /// Factor of the score of a first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead: Option<f32>,
    /// Factor of the score for the age of its document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<f32>,
    /// Bonus for query terms near each other, from 0 to 1, before its weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proximity: Option<f32>,
    /// Largest cosine similarity to a hit before it, at least 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diversity: Option<f32>,
    /// The words of the query in it.
    pub terms: Vec<ExplainedTerm>,
}

/// A place in a ranking.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct RankingPlace {
    /// Rank, from 1.
    pub rank: usize,
    /// Cosine similarity in the dense ranking, BM25 in the sparse one.
    pub score: f32,
}

/// A word of the query in a field of a hit.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ExplainedTerm {
    /// The word as the field has it.
    pub term: String,
    /// `text`, `headings`, `title` or `path`.
    pub field: String,
    /// Number of occurrences in the field.
    pub frequency: u32,
    /// Its part of the sparse score.
    pub score: f32,
}

/// A collection that was searched.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct SearchedCollection {
    /// Id of the collection.
    pub collection: Uuid,
    /// Name of the collection.
    pub name: String,
    /// Generation of all its hits.
    pub generation: i32,
    /// Search mode of this collection.
    #[schema(value_type = String)]
    pub mode: Mode,
}

/// A collection that failed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct FailedCollection {
    /// Id of the collection.
    pub collection: Uuid,
    /// Name of the collection.
    pub name: String,
    /// `not_served`, `no_sparse_vectors`, `no_reranker` or `failing`; the log has the cause.
    pub reason: String,
    /// The cause, for commands of the user who runs the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub cause: Option<String>,
}

/// Durations in milliseconds. Collections are searched concurrently, so these are the values of the
/// slowest one.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct SearchTimings {
    /// From the arrival of the request to the response.
    pub total_ms: f64,
    /// Embedding of the query, or its lookup in the cache.
    pub embed_ms: f64,
    /// Waiting for the vector store.
    pub store_ms: f64,
    /// Reranking of the best hits.
    #[serde(default)]
    pub rerank_ms: f64,
    /// The rest of the total.
    pub own_ms: f64,
}

/// Metadata facts (`key=value`) grouped by key.
pub(crate) fn group_by_key(facts: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in facts.iter().filter_map(|fact| fact.split_once('=')) {
        metadata.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    metadata
}

/// Converts ranges of Unicode code points to byte ranges; the inverse of the ranges in a response.
/// Ranges beyond the text end at its end.
///
/// ```
/// use server::wire::to_byte_ranges;
///
/// assert_eq!(to_byte_ranges("größer als", &[[0, 6], [7, 99]]), [0..8, 9..12]);
/// ```
pub fn to_byte_ranges(text: &str, ranges: &[[usize; 2]]) -> Vec<Range<usize>> {
    let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
    let at = |place: usize| starts.get(place).copied().unwrap_or(text.len());
    ranges.iter().map(|[start, end]| at(*start)..at(*end)).collect()
}

/// Converts byte ranges to ranges of Unicode code points.
pub(crate) fn to_character_ranges(text: &str, ranges: &[Range<usize>]) -> Vec<[usize; 2]> {
    // Sorted and unique boundaries, so that the text is scanned once.
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
            let start = text.find(word).expect("the text contains the word");
            start..start + word.len()
        };
        assert_eq!(to_character_ranges(text, &[at("größte"), at("als")]), [[11, 17], [7, 10]]);
        assert_eq!(to_character_ranges("", &[]), Vec::<[usize; 2]>::new());
        let ranges = [at("größte"), at("als")];
        assert_eq!(to_byte_ranges(text, &to_character_ranges(text, &ranges)), ranges);
    }
}
