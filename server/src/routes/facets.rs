//! Facets: the values of filterable fields with the number of chunks for each.
//!
//! The counts of a whole collection show its content; the store computes them and they are cached.
//! The counts of the chunks that match a query show the effect of a filter. A sparse search
//! excludes chunks, so its whole result is counted, up to [`MAX_MATCHES`]. A dense or hybrid search
//! ranks all chunks, so the best [`DENSE_DEPTH`] are counted.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use pipeline::{Facet, KeywordField, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use super::live_target;
use super::search::run_search;
use crate::App;
use crate::extract::JsonBody;
use crate::guard::{AuthorizedCollection, Caller};
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::wire::{Mode, SearchRequest};

/// Maximum number of values per field.
const MAX_VALUES: usize = 50;
/// Chunks counted in a sparse search, at most.
const MAX_MATCHES: usize = 1000;
/// Chunks counted in a dense or hybrid ranking.
const DENSE_DEPTH: usize = 100;

/// Values of each field, the most frequent first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Facets {
    mime_type: Vec<Value>,
    /// ISO 639-1.
    language: Vec<Value>,
    source: Vec<Value>,
}

/// A value with its count.
#[derive(Serialize, ToSchema)]
pub(crate) struct Value {
    value: String,
    /// Number of chunks with this value.
    count: u64,
}

/// Count the values of a collection
///
/// The values by which a search can be filtered, at most fifty per field.
#[utoipa::path(get, path = "/collections/{collection}/facets", tag = "search",
    params(("collection" = Uuid, Path)),
    responses((status = OK, body = Facets), (status = CONFLICT, description = "Collection not served")))]
pub(crate) async fn facets(
    State(app): State<App>,
    target: AuthorizedCollection,
) -> HandlerResult<Json<Facets>> {
    let live = live_target(&app, &target).await?;
    let of = async |field: KeywordField| -> Result<Vec<Value>, StoreError> {
        let values = app.searcher.facets(&live, field, None, MAX_VALUES).await?;
        Ok(values.into_iter().map(|Facet { value, count }| Value { value, count }).collect())
    };
    Ok(Json(Facets {
        mime_type: of(KeywordField::MimeType).await?,
        language: of(KeywordField::Language).await?,
        source: of(KeywordField::Source).await?,
    }))
}

/// A query whose hits are counted.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacetRequest {
    /// As in a search.
    #[schema(min_length = 1, max_length = 10000)]
    query: String,
    /// As in a search.
    #[serde(default)]
    #[schema(max_items = 100)]
    collections: Vec<String>,
    /// As in a search.
    mode: Option<Mode>,
    /// As in a search.
    typos: Option<bool>,
    /// As in a search. A condition on a field at the top level is ignored for the counts of that
    /// field, so that its other values keep their counts.
    #[schema(value_type = Option<Object>)]
    filter: Option<Map<String, serde_json::Value>>,
}

/// Values of the hits of a query, by field.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerFacets {
    /// Number of counted chunks: in sparse mode those that contain a term of the query, at most
    /// 1,000; otherwise the best 100.
    counted: usize,
    /// `true` if these are all matching chunks.
    is_whole: bool,
    mime_type: Vec<Value>,
    /// ISO 639-1.
    language: Vec<Value>,
    source: Vec<Value>,
}

/// Count the values of the hits of a query
///
/// At most fifty values per field.
#[utoipa::path(post, path = "/search/facets", tag = "search", request_body = FacetRequest,
    responses((status = OK, body = AnswerFacets),
        (status = CONFLICT, description = "No requested collection is served")))]
pub(crate) async fn facets_of_a_question(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<FacetRequest>,
) -> HandlerResult<Json<AnswerFacets>> {
    let whole = search_for_facets(&app, &caller, &wanted, None).await?;
    // Each field is counted without its own filter.
    let of = async |(name, value): Field| match &wanted.filter {
        Some(filter) if filter.contains_key(name) => Ok::<_, Problem>(count_values(
            &search_for_facets(&app, &caller, &wanted, Some(name)).await?.hits,
            value,
        )),
        Some(_) | None => Ok(count_values(&whole.hits, value)),
    };
    Ok(Json(AnswerFacets {
        mime_type: of(MIME_TYPE).await?,
        language: of(LANGUAGE).await?,
        source: of(SOURCE).await?,
        counted: whole.hits.len(),
        is_whole: whole.cursor.is_none(),
    }))
}

/// Name of a field in filters, and its value in a hit.
type Field = (&'static str, fn(&search::MergedHit) -> Option<&str>);

const MIME_TYPE: Field = ("mime_type", |hit| Some(&hit.payload.mime_type));
const LANGUAGE: Field = ("language", |hit| hit.payload.language.as_deref());
const SOURCE: Field = ("source", |hit| Some(&hit.payload.source));

/// The hits to count, without the condition on the field `without`.
async fn search_for_facets(
    app: &App,
    caller: &Caller,
    wanted: &FacetRequest,
    without: Option<&str>,
) -> HandlerResult<search::SearchResults> {
    let most = if wanted.mode == Some(Mode::Sparse) { MAX_MATCHES } else { DENSE_DEPTH };
    let mut filter = wanted.filter.clone();
    if let (Some(filter), Some(without)) = (&mut filter, without) {
        filter.remove(without);
    }
    let request = SearchRequest {
        query: wanted.query.clone(),
        collections: wanted.collections.clone(),
        mode: wanted.mode,
        k: most,
        offset: 0,
        cursor: None,
        filter: filter.filter(|it| !it.is_empty()),
        threshold: None,
        per_document: None,
        fusion: None,
        rerank: None,
        exact_terms: None,
        typos: wanted.typos,
        candidates: None,
        proximity: None,
        siblings: None,
        freshness: None,
        diversity: None,
        merge_adjacent: false,
        highlight: false,
        explain: false,
        exact: false,
    };
    let found = run_search(app, caller, request, ProblemCode::InvalidBody).await?;
    Ok(found.map(|(found, _)| found).unwrap_or_default())
}

fn count_values(
    hits: &[search::MergedHit],
    value: fn(&search::MergedHit) -> Option<&str>,
) -> Vec<Value> {
    let mut sums: HashMap<&str, u64> = HashMap::new();
    hits.iter().filter_map(value).for_each(|value| *sums.entry(value).or_default() += 1);
    let mut values: Vec<Value> =
        sums.into_iter().map(|(value, count)| Value { value: value.to_owned(), count }).collect();
    values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    values.truncate(MAX_VALUES);
    values
}
