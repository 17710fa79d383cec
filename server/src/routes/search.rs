//! Search in the collections that the caller may read. All hits of a collection are from one
//! generation.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::{Extension, Json};
use chrono::DateTime;
use pipeline::{BoxError, Effort, Fusion};
use serde_json::Value;
use uuid::Uuid;

use crate::App;
use crate::extract::{InBody, InQuery};
use crate::guard::Caller;
use crate::ports::Work;
use crate::problem::{Answer, Code, Problem};
use crate::rate::Class;
use crate::wire::{
    Collection, FailedCollection, Mode, SearchAnswer, SearchHit, SearchRequest, SearchTimings,
    SearchedCollection, SimpleSearch, by_key, in_characters,
};
use search::cost::PATTERN_BYTE;
use search::title;
use search::{BUDGET, Condition, FilterError, Request, SearchError, Searched, Target, Timings};

/// Largest length of a query, in characters.
const LONGEST_QUERY: usize = 10_000;
/// Largest number of collections in a search.
const MOST_COLLECTIONS: usize = 100;

/// A response with its timings, which are recorded after the rest of the request.
type Timed = (Extension<Timings>, Json<SearchAnswer>);

/// Search collections
///
/// Hits are from collections that the caller may read, all hits of a collection from one
/// generation.
#[utoipa::path(post, path = "/search", tag = "search", request_body = SearchRequest,
    responses((status = OK, body = SearchAnswer)))]
pub(crate) async fn search(
    State(app): State<App>,
    caller: Caller,
    InBody(wanted): InBody<SearchRequest>,
) -> Answer<Timed> {
    answer(&app, &caller, wanted, Code::InvalidBody).await
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
    InQuery(wanted): InQuery<SimpleSearch>,
) -> Answer<Timed> {
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
    answer(&app, &caller, wanted, Code::InvalidQuery).await
}

async fn answer(app: &App, caller: &Caller, wanted: SearchRequest, wrong: Code) -> Answer<Timed> {
    let mode = wanted.mode.map(mode);
    Ok(match found_for(app, caller, wanted, wrong).await? {
        Some((found, failed)) => {
            app.searcher.caches().metrics().answered(mode, &found);
            (Extension(found.timings), Json(written(&found, failed)))
        }
        None => (Extension(Timings::default()), Json(nothing())),
    })
}

/// The hits of a request and the collections that failed; `None` if the caller may read no
/// collection.
pub(super) async fn found_for(
    app: &App,
    caller: &Caller,
    wanted: SearchRequest,
    wrong: Code,
) -> Answer<Option<(search::Answer, Vec<FailedCollection>)>> {
    if wanted.query.chars().count() > LONGEST_QUERY {
        let detail = format!("`query` is too long: at most {LONGEST_QUERY} characters");
        return Err(Problem::new(wrong, detail));
    }
    let names = wanted.collections.clone();
    // Validated even if there is no collection to search.
    let (mut request, counted) = request(app, caller, wanted, wrong).await?;
    let asked = asked(app, caller, &names, wrong).await?;
    let (served, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|it| it.is_served);
    if served.is_empty() {
        return match others.is_empty() {
            // Without readable collections there are no hits.
            true => Ok(None),
            false => Err(Problem::of(Code::NotServed)),
        };
    }
    request.collections = served.iter().map(|it| it.id.to_string()).collect();
    let places = afford(app, caller, &request, counted, wrong)?;
    let found = app.searcher.find(&request, &Targets(app.work.as_ref())).await;
    let found =
        found.map_err(|SearchError::Invalid(invalid)| Problem::new(wrong, invalid.to_string()))?;
    // Further candidates for `per_document` raised the cost.
    app.rates.take(Class::Search, caller.client, places_of(found.cost).saturating_sub(places));
    let mut failed: Vec<FailedCollection> =
        others.iter().map(|it| failure(it, "not_served")).collect();
    for trouble in &found.failed {
        let collection = served.iter().find(|it| it.id.to_string() == trouble.asked);
        tracing::warn!(
            collection = trouble.asked,
            error = trouble.error,
            "cannot search a collection"
        );
        // Clients can react only to this cause; others are logged.
        let reason = if trouble.is_wordless { "no_sparse_vectors" } else { "failing" };
        failed.extend(collection.map(|it| failure(it, reason)));
    }
    if found.searched.is_empty() {
        return Err(match failed.iter().all(|it| it.reason == "no_sparse_vectors") {
            true => Problem::new(wrong, "`mode`: the collections have no sparse vectors"),
            false => Problem::later(Code::Unavailable, 5),
        });
    }
    Ok(Some((found, failed)))
}

/// The requested collections, without duplicates. An unknown name is an error, because the client
/// expects hits from it.
async fn asked(
    app: &App,
    caller: &Caller,
    names: &[String],
    wrong: Code,
) -> Answer<Vec<Collection>> {
    if names.len() > MOST_COLLECTIONS {
        let detail = format!("`collections` is too long: at most {MOST_COLLECTIONS} names");
        return Err(Problem::new(wrong, detail));
    }
    let readable =
        app.caches.readable(app.catalogue.as_ref(), caller.reader(), &caller.identity).await?;
    if names.is_empty() {
        let served = readable.iter().filter(|it| it.is_served && !it.is_being_deleted);
        return Ok(served.take(MOST_COLLECTIONS).cloned().collect());
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
                return Err(Problem::new(Code::Conflict, detail));
            }
        }
    }
    Ok(found)
}

/// Cost points that count as one request.
const PLACE: u64 = 1000;

/// Number of requests as which a search of this cost counts.
fn places_of(cost: u64) -> u32 {
    u32::try_from(cost.div_ceil(PLACE).max(1)).unwrap_or(u32::MAX)
}

/// Refuses a search above the budget, and counts it by its cost, less the `counted` places. Returns
/// the places taken in total.
fn afford(app: &App, caller: &Caller, request: &Request, counted: u32, wrong: Code) -> Answer<u32> {
    let cost = request.cost().map_err(|invalid| Problem::new(wrong, invalid.to_string()))?;
    if cost > request.budget {
        let detail = format!(
            "the search costs {cost} points, more than the allowed {}: reduce `k`, `offset`, \
             `candidates`, `per_document`, `filter` or `exact`, or search fewer collections",
            request.budget
        );
        return Err(Problem::new(Code::TooCostly, detail));
    }
    let places = places_of(cost);
    app.rates.count_many(Class::Search, caller.client, places.saturating_sub(counted))?;
    Ok(places.max(counted))
}

/// The validated request without its collections, and the places counted so far: one when the
/// request arrived, and those for patterns, which are counted before they are compiled.
async fn request(
    app: &App,
    caller: &Caller,
    wanted: SearchRequest,
    wrong: Code,
) -> Answer<(Request, u32)> {
    let mut counted = 1;
    let filter = match wanted.filter {
        Some(filter) => {
            let filter = Value::Object(filter);
            let invalid = |error: FilterError| Problem::new(wrong, error.to_string());
            let bytes = u64::try_from(Condition::measure(&filter).map_err(invalid)?);
            let places = places_of(bytes.unwrap_or(u64::MAX).saturating_mul(PATTERN_BYTE)) - 1;
            app.rates.count_many(Class::Search, caller.client, places)?;
            counted += places;
            Some(app.searcher.parse(filter).await?.map_err(invalid)?)
        }
        None => None,
    };
    let fusion = wanted.fusion.unwrap_or_default();
    let request = Request {
        mode: wanted.mode.map(mode),
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
        effort: if wanted.exact { Effort::Exact } else { Effort::Indexed },
        budget: BUDGET,
        ..Request::new(wanted.query, Vec::new())
    };
    let checked = request.check_question();
    checked.map_err(|invalid| Problem::new(wrong, invalid.to_string()))?;
    Ok((request, counted))
}

fn mode(mode: Mode) -> search::Mode {
    match mode {
        Mode::Dense => search::Mode::Dense,
        Mode::Sparse => search::Mode::Sparse,
        Mode::Hybrid => search::Mode::Hybrid,
    }
}

/// Resolves collections by id; access was checked before.
struct Targets<'a>(&'a dyn Work);

#[async_trait]
impl search::Resolve for Targets<'_> {
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, BoxError> {
        self.0.target(collection.parse()?).await
    }

    fn doubt(&self, collection: &str) {
        self.0.doubt(collection.parse().ok());
    }
}

fn failure(collection: &Collection, reason: &'static str) -> FailedCollection {
    FailedCollection { collection: collection.id, name: collection.name.clone(), reason }
}

fn nothing() -> SearchAnswer {
    let timings = SearchTimings { total_ms: 0.0, embed_ms: 0.0, store_ms: 0.0, own_ms: 0.0 };
    let (hits, searched, failed) = (Vec::new(), Vec::new(), Vec::new());
    SearchAnswer { hits, next: None, searched, failed, timings }
}

fn written(found: &search::Answer, failed: Vec<FailedCollection>) -> SearchAnswer {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let hits = found.hits.iter().map(|hit| {
        let Searched { name, collection, .. } = &found.searched[hit.from];
        let payload = &hit.payload;
        SearchHit {
            collection: *collection,
            collection_name: name.clone(),
            score: hit.score,
            similarity: hit.similarity,
            highlights: in_characters(&payload.content, &hit.highlights),
            text: payload.content.clone(),
            document: payload.document,
            chunk_index: payload.chunk_index,
            uri: payload.uri.clone(),
            title: Some(title::shown(payload.title.as_deref(), &payload.uri)),
            headings: payload.headings.clone(),
            page: payload.page,
            start: payload.start,
            end: payload.end,
            mime_type: payload.mime_type.clone(),
            language: payload.language.clone(),
            modified_at: payload.modified_at.and_then(DateTime::from_timestamp_micros),
            source: payload.source.clone(),
            metadata: by_key(&payload.facts),
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
            own_ms: ms(found.timings.own()),
        },
    }
}
