//! Facets: which values there are in the fields by which people narrow a search, and how many passages have each.
//!
//! Two numbers are of use. How many passages of a collection have a value says what there is; it is counted by the
//! store and remembered. How many of those that answer a question have it says what a filter would leave of the
//! answer. A search by words leaves passages out, so its whole result is counted, up to [`MATCHES`]. A search by
//! meaning ranks every passage and leaves none out: there the best [`BEST`] are counted.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use pipeline::{Facet, Keyword, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use super::search::found_for;
use crate::App;
use crate::extract::InBody;
use crate::guard::{Caller, Target};
use crate::problem::{Answer, Code, Problem};
use crate::wire::{Mode, SearchRequest};

/// The most values of a field.
const MOST: usize = 50;
/// The most passages of a search by words that are counted.
const MATCHES: usize = 1000;
/// The passages of a ranking by meaning that are counted.
const BEST: usize = 100;

/// The values of some fields, those that most passages have first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Facets {
    mime_type: Vec<Value>,
    /// ISO 639-1.
    language: Vec<Value>,
    source: Vec<Value>,
}

/// A value.
#[derive(Serialize, ToSchema)]
pub(crate) struct Value {
    value: String,
    /// Passages that have it.
    count: u64,
}

/// The values by which a search in a collection can be narrowed, fifty of each field at most.
#[utoipa::path(get, path = "/collections/{collection}/facets", tag = "search",
    params(("collection" = Uuid, Path)),
    responses((status = OK, body = Facets), (status = CONFLICT, description = "Not served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn facets(State(app): State<App>, target: Target) -> Answer<Json<Facets>> {
    if !target.collection.is_served {
        return Err(Problem::of(Code::NotServed));
    }
    let live = app.work.target(target.collection.id).await.map_err(|error| Problem {
        cause: Some(pipeline::chain(error.as_ref())),
        ..Problem::later(Code::Unavailable, 5)
    })?;
    let of = async |field: Keyword| -> Result<Vec<Value>, StoreError> {
        let values = app.searcher.facets(&live, field, None, MOST).await?;
        Ok(values.into_iter().map(|Facet { value, count }| Value { value, count }).collect())
    };
    Ok(Json(Facets {
        mime_type: of(Keyword::MimeType).await?,
        language: of(Keyword::Language).await?,
        source: of(Keyword::Source).await?,
    }))
}

/// A question whose answer is to be counted.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacetRequest {
    /// As for a search.
    #[schema(min_length = 1, max_length = 10000)]
    query: String,
    /// As for a search.
    #[serde(default)]
    #[schema(max_items = 100)]
    collections: Vec<String>,
    /// As for a search.
    mode: Option<Mode>,
    /// As for a search. What it says of a field at its top is left out where the values of that field are counted, so
    /// that the other values keep their numbers.
    #[schema(value_type = Option<Object>)]
    filter: Option<Map<String, serde_json::Value>>,
}

/// How the answer to a question is spread over the values of some fields.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerFacets {
    /// Passages that were counted: those that the words of the question are in, 1,000 at most, or the 100 best where
    /// they are ranked by meaning.
    counted: usize,
    /// Whether these are all that answer the question.
    is_whole: bool,
    mime_type: Vec<Value>,
    /// ISO 639-1.
    language: Vec<Value>,
    source: Vec<Value>,
}

/// Counts the passages that answer a question by the values of fields, fifty of each at most.
#[utoipa::path(post, path = "/search/facets", tag = "search", request_body = FacetRequest,
    responses((status = OK, body = AnswerFacets),
        (status = CONFLICT, description = "None of the collections is served here",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn facets_of_a_question(
    State(app): State<App>,
    caller: Caller,
    InBody(wanted): InBody<FacetRequest>,
) -> Answer<Json<AnswerFacets>> {
    let whole = answer(&app, &caller, &wanted, None).await?;
    // Each field is counted without its own filter.
    let of = async |(name, value): Field| match &wanted.filter {
        Some(filter) if filter.contains_key(name) => Ok::<_, Problem>(counted(
            &answer(&app, &caller, &wanted, Some(name)).await?.hits,
            value,
        )),
        Some(_) | None => Ok(counted(&whole.hits, value)),
    };
    Ok(Json(AnswerFacets {
        mime_type: of(MIME_TYPE).await?,
        language: of(LANGUAGE).await?,
        source: of(SOURCE).await?,
        counted: whole.hits.len(),
        is_whole: whole.cursor.is_none(),
    }))
}

/// A field, by its name in filters, and its value in a hit.
type Field = (&'static str, fn(&search::SearchHit) -> Option<&str>);

const MIME_TYPE: Field = ("mime_type", |hit| Some(&hit.payload.mime_type));
const LANGUAGE: Field = ("language", |hit| hit.payload.language.as_deref());
const SOURCE: Field = ("source", |hit| Some(&hit.payload.source));

/// The passages that are counted, of a question without its filter by a field.
async fn answer(
    app: &App,
    caller: &Caller,
    wanted: &FacetRequest,
    without: Option<&str>,
) -> Answer<search::Answer> {
    let most = if wanted.mode == Some(Mode::Sparse) { MATCHES } else { BEST };
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
        candidates: None,
        highlight: false,
        exact: false,
    };
    let found = found_for(app, caller, request, Code::InvalidBody).await?;
    Ok(found.map(|(found, _)| found).unwrap_or_default())
}

fn counted(
    hits: &[search::SearchHit],
    value: fn(&search::SearchHit) -> Option<&str>,
) -> Vec<Value> {
    let mut sums: HashMap<&str, u64> = HashMap::new();
    hits.iter().filter_map(value).for_each(|value| *sums.entry(value).or_default() += 1);
    let mut values: Vec<Value> =
        sums.into_iter().map(|(value, count)| Value { value: value.to_owned(), count }).collect();
    values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    values.truncate(MOST);
    values
}
