//! Search in the collections that the caller may read. All hits of a collection are from one
//! generation.

mod answer;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::{Extension, Json};
use pipeline::BoxError;
use search::{SearchError, Target, Timings};

use self::answer::{empty_answer, failed_collection, to_wire};
use self::request::{build_request, charge_cost, request_count, resolve_collections, search_mode};
use crate::App;
use crate::extract::{JsonBody, QueryParams};
use crate::guard::Caller;
use crate::ports::CollectionService;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::rate::RateClass;
use crate::right::Identity;
use crate::wire::{FailedCollection, SearchAnswer, SearchRequest, SimpleSearch};

/// Largest length of a query, in characters.
const MAX_QUERY: usize = 10_000;

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
        (status = CONFLICT, description = "No requested collection is served"),
        (status = UNPROCESSABLE_ENTITY, description = "Search too costly")))]
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
        rerank: None,
        exact_terms: None,
        typos: None,
        candidates: None,
        proximity: None,
        siblings: None,
        freshness: None,
        diversity: None,
        merge_adjacent: false,
        highlight: true,
        explain: false,
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
    let is_local = caller.identity == Identity::Local;
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
        others.iter().map(|it| failed_collection(it, "not_served", None)).collect();
    for trouble in &found.failed {
        let collection = served.iter().find(|it| it.id.to_string() == trouble.requested);
        tracing::warn!(
            collection = trouble.requested,
            error = trouble.error,
            "cannot search a collection"
        );
        // Clients can react only to this cause; others are logged.
        let reason = match trouble {
            _ if trouble.lacks_sparse_vectors => "no_sparse_vectors",
            _ if trouble.lacks_reranker => "no_reranker",
            _ => "failing",
        };
        // The user who runs the server may also read its log.
        let cause = is_local.then_some(&*trouble.error);
        failed.extend(collection.map(|it| failed_collection(it, reason, cause)));
    }
    if found.searched.is_empty() && !is_local {
        return Err(match failed.iter().all(|it| it.reason == "no_sparse_vectors") {
            true => Problem::new(wrong, "`mode`: the collections have no sparse vectors"),
            false => Problem::retry_later(ProblemCode::Unavailable, 5),
        });
    }
    Ok(Some((found, failed)))
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
