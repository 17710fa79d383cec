//! Facets: which values there are in the fields by which people narrow a search, and how many passages have each.
//!
//! They are counted in the whole collection. A search by meaning ranks every passage and leaves none out, so there is
//! no smaller number that would be true of all of its pages.

use axum::Json;
use axum::extract::State;
use pipeline::{Facet, Keyword, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::App;
use crate::http::guard::Target;
use crate::http::problem::{Answer, Code, Problem};

/// The most values of a field.
const MOST: usize = 50;

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
        body = crate::http::problem::ProblemDetails, content_type = "application/problem+json")))]
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
