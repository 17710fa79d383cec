//! Search in the collections that the caller may read. All hits of a collection are from one
//! generation.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::{Extension, Json};
use chrono::DateTime;
use pipeline::{BoxError, Fusion, SearchAccuracy};
use serde_json::Value;
use uuid::Uuid;

use crate::App;
use crate::extract::{JsonBody, QueryParams};
use crate::guard::Caller;
use crate::ports::CollectionService;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::rate::RateClass;
use crate::wire::{
    Collection, FailedCollection, Mode, SearchAnswer, SearchHit, SearchRequest, SearchTimings,
    SearchedCollection, SimpleSearch, group_by_key, to_character_ranges,
};
use search::cost::PATTERN_BYTE_COST;
use search::title;
use search::{
    COST_BUDGET, CollectionResult, Condition, FilterError, Request, SearchError, Target, Timings,
};

/// Largest length of a query, in characters.
const MAX_QUERY: usize = 10_000;
/// Largest number of collections in a search.
const MAX_COLLECTIONS: usize = 100;

/// A response with its timings, which are recorded after the rest of the request.
type TimedResponse = (Extension<Timings>, Json<SearchAnswer>);

/// Search collections
///
/// Hits are from collections that the caller may read, all hits of a collection from one
/// generation.
#[utoipa::path(post, path = "/search", tag = "search", request_body = SearchRequest,
    responses((status = OK, body = SearchAnswer)))]
pub(crate) async fn search(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<SearchRequest>,
) -> HandlerResult<TimedResponse> {
    respond(&app, &caller, wanted, ProblemCode::InvalidBody).await
}

/// Search collections by query parameters
#[utoipa::path(get, path = "/search", tag = "search", params(SimpleSearch),
    responses((status = OK, body = SearchAnswer),
        (status = CONFLICT, description = "No requested collection is served",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "Search too costly",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn search_simply(
    State(app): State<App>,
    caller: Caller,
    QueryParams(wanted): QueryParams<SimpleSearch>,
) -> HandlerResult<TimedResponse> {
    let names = wanted.collections.as_deref().unwrap_or_default().split(',');
    let names = names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let wanted = SearchRequest {
        query: wanted.q,
        collections: names.collect(),
        mode: wanted.mode,
        k: wanted.k,
        offset: 0,
        cursor: wanted.cursor,
        filter: None,
        threshold: None,
        per_document: None,
        fusion: None,
        candidates: None,
        highlight: true,
        exact: false,
    };
    respond(&app, &caller, wanted, ProblemCode::InvalidQuery).await
}

async fn respond(
    app: &App,
    caller: &Caller,
    wanted: SearchRequest,
    wrong: ProblemCode,
) -> HandlerResult<TimedResponse> {
    let mode = wanted.mode.map(search_mode);
    Ok(match run_search(app, caller, wanted, wrong).await? {
        Some((found, failed)) => {
            app.searcher.caches().metrics().record_search(mode, &found);
            (Extension(found.timings), Json(to_wire(&found, failed)))
        }
        None => (Extension(Timings::default()), Json(empty_answer())),
    })
}

/// The hits of a request and the collections that failed; `None` if the caller may read no
/// collection.
pub(super) async fn run_search(
    app: &App,
    caller: &Caller,
    wanted: SearchRequest,
    wrong: ProblemCode,
) -> HandlerResult<Option<(search::SearchResults, Vec<FailedCollection>)>> {
    if wanted.query.chars().count() > MAX_QUERY {
        let detail = format!("`query` is too long: at most {MAX_QUERY} characters");
        return Err(Problem::new(wrong, detail));
    }
    let names = wanted.collections.clone();
    // Validated even if there is no collection to search.
    let (mut request, counted) = build_request(app, caller, wanted, wrong).await?;
    let asked = resolve_collections(app, caller, &names, wrong).await?;
    let (served, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|it| it.is_served);
    if served.is_empty() {
        return match others.is_empty() {
            // Without readable collections there are no hits.
            true => Ok(None),
            false => Err(Problem::from_code(ProblemCode::NotServed)),
        };
    }
    request.collections = served.iter().map(|it| it.id.to_string()).collect();
    let places = charge_cost(app, caller, &request, counted, wrong)?;
    let found =
        app.searcher.search_uncounted(&request, &CollectionResolver(app.service.as_ref())).await;
    let found =
        found.map_err(|SearchError::Invalid(invalid)| Problem::new(wrong, invalid.to_string()))?;
    // Further candidates for `per_document` raised the cost.
    app.request_limiter.charge(
        RateClass::Search,
        caller.client,
        request_count(found.cost).saturating_sub(places),
    );
    let mut failed: Vec<FailedCollection> =
        others.iter().map(|it| failed_collection(it, "not_served")).collect();
    for trouble in &found.failed {
        let collection = served.iter().find(|it| it.id.to_string() == trouble.requested);
        tracing::warn!(
            collection = trouble.requested,
            error = trouble.error,
            "cannot search a collection"
        );
        // Clients can react only to this cause; others are logged.
        let reason = if trouble.lacks_sparse_vectors { "no_sparse_vectors" } else { "failing" };
        failed.extend(collection.map(|it| failed_collection(it, reason)));
    }
    if found.searched.is_empty() {
        return Err(match failed.iter().all(|it| it.reason == "no_sparse_vectors") {
            true => Problem::new(wrong, "`mode`: the collections have no sparse vectors"),
            false => Problem::retry_later(ProblemCode::Unavailable, 5),
        });
    }
    Ok(Some((found, failed)))
}

/// The requested collections, without duplicates. An unknown name is an error, because the client
/// expects hits from it.
async fn resolve_collections(
    app: &App,
    caller: &Caller,
    names: &[String],
    wrong: ProblemCode,
) -> HandlerResult<Vec<Collection>> {
    if names.len() > MAX_COLLECTIONS {
        let detail = format!("`collections` is too long: at most {MAX_COLLECTIONS} names");
        return Err(Problem::new(wrong, detail));
    }
    let readable = app.caches.readable(app, caller.principal(), &caller.identity).await?;
    if names.is_empty() {
        let served = readable.iter().filter(|it| it.is_served && !it.is_being_deleted);
        return Ok(served.take(MAX_COLLECTIONS).cloned().collect());
    }
    let mut found: Vec<Collection> = Vec::with_capacity(names.len());
    let mut ids = HashSet::new();
    for name in names {
        let id = name.parse::<Uuid>().ok();
        let meant: Vec<&Collection> =
            readable.iter().filter(|it| Some(it.id) == id || it.name == *name).collect();
        match meant[..] {
            [] => return Err(Problem::not_found("collection")),
            [one] => found.extend(ids.insert(one.id).then(|| one.clone())),
            [..] => {
                let detail = format!("several collections are named `{name}`: use the id");
                return Err(Problem::new(ProblemCode::Conflict, detail));
            }
        }
    }
    Ok(found)
}

/// Cost points that count as one request.
const POINTS_PER_REQUEST: u64 = 1000;

/// Number of requests as which a search of this cost counts.
fn request_count(cost: u64) -> u32 {
    u32::try_from(cost.div_ceil(POINTS_PER_REQUEST).max(1)).unwrap_or(u32::MAX)
}

/// Refuses a search above the budget, and counts it by its cost, less the `counted` places. Returns
/// the places taken in total.
fn charge_cost(
    app: &App,
    caller: &Caller,
    request: &Request,
    counted: u32,
    wrong: ProblemCode,
) -> HandlerResult<u32> {
    let cost = request.cost().map_err(|invalid| Problem::new(wrong, invalid.to_string()))?;
    if cost > request.budget {
        let detail = format!(
            "the search costs {cost} points, more than the allowed {}: reduce `k`, `offset`, \
             `candidates`, `per_document`, `filter` or `exact`, or search fewer collections",
            request.budget
        );
        return Err(Problem::new(ProblemCode::TooCostly, detail));
    }
    let places = request_count(cost);
    app.request_limiter.check_many(
        RateClass::Search,
        caller.client,
        places.saturating_sub(counted),
    )?;
    Ok(places.max(counted))
}

/// The validated request without its collections, and the places counted so far: one when the
/// request arrived, and those for patterns, which are counted before they are compiled.
async fn build_request(
    app: &App,
    caller: &Caller,
    wanted: SearchRequest,
    wrong: ProblemCode,
) -> HandlerResult<(Request, u32)> {
    let mut counted = 1;
    let filter = match wanted.filter {
        Some(filter) => {
            let filter = Value::Object(filter);
            let invalid = |error: FilterError| Problem::new(wrong, error.to_string());
            let bytes = u64::try_from(Condition::pattern_bytes(&filter).map_err(invalid)?);
            let places =
                request_count(bytes.unwrap_or(u64::MAX).saturating_mul(PATTERN_BYTE_COST)) - 1;
            app.request_limiter.check_many(RateClass::Search, caller.client, places)?;
            counted += places;
            Some(app.searcher.parse_filter(filter).await?.map_err(invalid)?)
        }
        None => None,
    };
    let fusion = wanted.fusion.unwrap_or_default();
    let request = Request {
        mode: wanted.mode.map(search_mode),
        k: wanted.k,
        offset: wanted.offset,
        cursor: wanted.cursor,
        filter,
        threshold: wanted.threshold,
        per_document: wanted.per_document,
        fusion: Fusion {
            k: fusion.k,
            dense: fusion.dense,
            sparse: fusion.sparse,
            ..Fusion::default()
        },
        candidates: wanted.candidates,
        highlight: wanted.highlight,
        search_params: if wanted.exact {
            SearchAccuracy::Exact
        } else {
            SearchAccuracy::Approximate
        },
        budget: COST_BUDGET,
        ..Request::new(wanted.query, Vec::new())
    };
    let checked = request.check_query();
    checked.map_err(|invalid| Problem::new(wrong, invalid.to_string()))?;
    Ok((request, counted))
}

fn search_mode(mode: Mode) -> search::SearchMode {
    match mode {
        Mode::Dense => search::SearchMode::Dense,
        Mode::Sparse => search::SearchMode::Sparse,
        Mode::Hybrid => search::SearchMode::Hybrid,
    }
}

/// Resolves collections by id; access was checked before.
struct CollectionResolver<'a>(&'a dyn CollectionService);

#[async_trait]
impl search::TargetResolver for CollectionResolver<'_> {
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, BoxError> {
        self.0.search_target(collection.parse()?).await
    }

    fn invalidate(&self, collection: &str) {
        self.0.invalidate(collection.parse().ok());
    }
}

fn failed_collection(collection: &Collection, reason: &'static str) -> FailedCollection {
    FailedCollection { collection: collection.id, name: collection.name.clone(), reason }
}

fn empty_answer() -> SearchAnswer {
    let timings = SearchTimings { total_ms: 0.0, embed_ms: 0.0, store_ms: 0.0, own_ms: 0.0 };
    let (hits, searched, failed) = (Vec::new(), Vec::new(), Vec::new());
    SearchAnswer { hits, next: None, searched, failed, timings }
}

fn to_wire(found: &search::SearchResults, failed: Vec<FailedCollection>) -> SearchAnswer {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let hits = found.hits.iter().map(|hit| {
        let CollectionResult { name, collection, .. } = &found.searched[hit.collection_index];
        let payload = &hit.payload;
        SearchHit {
            collection: *collection,
            collection_name: name.clone(),
            score: hit.score,
            similarity: hit.similarity,
            highlights: to_character_ranges(&payload.content, &hit.highlights),
            text: payload.content.clone(),
            document: payload.document,
            chunk_index: payload.chunk_index,
            uri: payload.uri.clone(),
            title: Some(title::display_title(payload.title.as_deref(), &payload.uri)),
            headings: payload.headings.clone(),
            page: payload.page,
            start: payload.start,
            end: payload.end,
            mime_type: payload.mime_type.clone(),
            language: payload.language.clone(),
            modified_at: payload.modified_at.and_then(DateTime::from_timestamp_micros),
            source: payload.source.clone(),
            metadata: group_by_key(&payload.facts),
        }
    });
    let searched = found.searched.iter().map(|it| SearchedCollection {
        collection: it.collection,
        name: it.name.clone(),
        generation: it.generation,
        mode: it.mode.name(),
    });
    SearchAnswer {
        hits: hits.collect(),
        next: found.cursor.clone(),
        searched: searched.collect(),
        failed,
        timings: SearchTimings {
            total_ms: ms(found.timings.total),
            embed_ms: ms(found.timings.embed),
            store_ms: ms(found.timings.store),
            own_ms: ms(found.timings.overhead()),
        },
    }
}
