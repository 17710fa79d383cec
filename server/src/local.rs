//! The endpoints for commands on this machine. They are served on a socket that only the user of
//! the server can open, so they check no credential: this user can read the stores, too.
//!
//! A command cannot read embedded vectors while an operation of the server writes to them. The
//! server can, so `search`, `eval` and `verify` ask it (docs/adr/0046-commands-beside-a-server.md).
//! There are no other endpoints here.

use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use search::Timings;
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use super::App;
use super::extract::{JsonBody, PathParams};
use super::guard::Caller;
use super::layers::{RequestLog, panic_response, request_id};
use super::problem::{HandlerResult, Problem, ProblemCode, render_problem};
use super::routes::search::search;
use super::wire::{ServedList, VerifyRequest};

/// The routes of the local socket: a search as in the API, the served collections, and the
/// comparison of stores.
pub fn local_router(app: &App) -> Router {
    let outer = app.clone();
    Router::new()
        .route("/api/v1/search", post(search))
        .route("/api/v1/served", get(served))
        .route("/api/v1/collections/{collection}/verify", post(verify))
        .layer(DefaultBodyLimit::max(app.config.max_body_bytes))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(from_fn(move |request, next| request_layer(outer.clone(), request, next)))
        .with_state(app.clone())
}

/// Names the caller, and writes the access log and the metrics as for requests from the network.
async fn request_layer(app: App, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let asked = RequestLog::of(&request);
    let method = request.method().clone();
    let caller = Caller::local();
    request.extensions_mut().insert(caller.clone());
    let (response, problem) = render_problem(next.run(request).await, &id);
    let (metrics, status) = (&app.config.metrics, response.status());
    metrics.record_request("local", method.as_str(), status.as_u16(), began.elapsed());
    if let Some(timings) = response.extensions().get::<Timings>() {
        metrics.record_overhead(
            began.elapsed().saturating_sub(timings.embed + timings.store + timings.rerank),
        );
    }
    asked.log(&id, caller.address, Some(&caller), status, problem.as_ref(), began);
    response
}

/// The collections that this server searches.
async fn served(State(app): State<App>, caller: Caller) -> HandlerResult<Json<ServedList>> {
    let readable = app.caches.readable(&app, caller.principal(), &caller.identity).await?;
    let served = readable.iter().filter(|it| it.is_served && !it.is_being_deleted);
    Ok(Json(ServedList { collections: served.map(|it| it.id).collect() }))
}

async fn verify(
    State(app): State<App>,
    PathParams(collection): PathParams<Uuid>,
    JsonBody(wanted): JsonBody<VerifyRequest>,
) -> HandlerResult<Json<Value>> {
    let found = app.service.verify(collection, wanted.wait).await;
    found.map(Json).map_err(|error| {
        Problem::new(ProblemCode::Unavailable, pipeline::error_chain(error.as_ref()))
    })
}
