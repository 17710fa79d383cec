//! The request of a search: validated, with its collections, and counted by its cost.

use std::collections::HashSet;
use std::time::Duration;

use pipeline::SearchAccuracy;
use search::cost::PATTERN_BYTE_COST;
use search::{
    COST_BUDGET, FilterError, Freshness, Fusion, Proximity, Request, RerankOverride,
    SettingsOverrides,
};
use serde_json::Value;
use uuid::Uuid;

use crate::App;
use crate::guard::Caller;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::rate::RateClass;
use crate::right::Identity;
use crate::wire::{
    Collection, FusionMethod, FusionRequest, Mode, RerankOptions, RerankRequest, SearchRequest,
};

/// Largest number of collections in a search.
const MAX_COLLECTIONS: usize = 100;

/// The requested collections, without duplicates. An unknown name is an error, because the client
/// expects hits from it.
pub(super) async fn resolve_collections(
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
pub(super) fn request_count(cost: u64) -> u32 {
    u32::try_from(cost.div_ceil(POINTS_PER_REQUEST).max(1)).unwrap_or(u32::MAX)
}

/// Refuses a search above the budget, and counts it by its cost, less the `counted` places. Returns
/// the places taken in total.
pub(super) fn charge_cost(
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
pub(super) async fn build_request(
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
            let bytes = u64::try_from(search::pattern_bytes(&filter).map_err(invalid)?);
            let places =
                request_count(bytes.unwrap_or(u64::MAX).saturating_mul(PATTERN_BYTE_COST)) - 1;
            app.request_limiter.check_many(RateClass::Search, caller.client, places)?;
            counted += places;
            Some(app.searcher.parse_filter(filter).await?.map_err(invalid)?)
        }
        None => None,
    };
    let fusion = match wanted.fusion {
        Some(fusion) => Some(build_fusion(fusion).map_err(|detail| Problem::new(wrong, detail))?),
        None => None,
    };
    let request = Request {
        mode: wanted.mode.map(search_mode),
        k: wanted.k,
        offset: wanted.offset,
        cursor: wanted.cursor,
        filter,
        threshold: wanted.threshold,
        per_document: wanted.per_document,
        overrides: SettingsOverrides {
            fusion,
            exact_terms: wanted.exact_terms,
            typos: wanted.typos,
            rerank: wanted.rerank.map(rerank),
            siblings: wanted.siblings,
            lead: None,
            freshness: wanted
                .freshness
                .map(|it| Freshness { half_life: it.half_life.as_secs(), weight: it.weight }),
            proximity: wanted
                .proximity
                .map(|it| Proximity { weight: it.weight, candidates: it.candidates }),
            diversity: wanted.diversity,
        },
        merge_adjacent: wanted.merge_adjacent,
        candidates: wanted.candidates,
        highlight: wanted.highlight,
        explain: wanted.explain,
        search_params: if wanted.exact {
            SearchAccuracy::Exact
        } else {
            SearchAccuracy::Approximate
        },
        budget: if caller.identity == Identity::Local { u64::MAX } else { COST_BUDGET },
        ..Request::new(wanted.query, Vec::new())
    };
    let checked = request.check_query();
    checked.map_err(|invalid| Problem::new(wrong, invalid.to_string()))?;
    Ok((request, counted))
}

fn rerank(wanted: RerankRequest) -> RerankOverride {
    let options = match wanted {
        RerankRequest::Switch(false) => return RerankOverride::Off,
        RerankRequest::Switch(true) => RerankOptions::default(),
        RerankRequest::Options(options) => options,
    };
    let budget = options.budget_ms.map(Duration::from_millis);
    RerankOverride::On { model: None, candidates: options.candidates, budget }
}

/// The fusion of a request; its ranges are checked with the request.
fn build_fusion(wanted: FusionRequest) -> Result<Fusion, &'static str> {
    let FusionRequest { method, k, dense, sparse } = wanted;
    match method {
        Some(FusionMethod::Convex) if k.is_some() || sparse.is_some() => {
            Err("`fusion`: the method `convex` has no `k` and no `sparse`")
        }
        Some(FusionMethod::Convex) => {
            Ok(dense.map_or(Fusion::convex(), |dense| Fusion::Convex { dense }))
        }
        Some(FusionMethod::Rrf) | None => Ok(Fusion::Rrf {
            k: k.unwrap_or(60),
            dense: dense.unwrap_or(1.0),
            sparse: sparse.unwrap_or(1.0),
        }),
    }
}

pub(super) fn search_mode(mode: Mode) -> search::SearchMode {
    match mode {
        Mode::Dense => search::SearchMode::Dense,
        Mode::Sparse => search::SearchMode::Sparse,
        Mode::Hybrid => search::SearchMode::Hybrid,
    }
}
