//! Authenticates, rate-limits and authorises a request before its handler runs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{Extensions, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metadata::{Actor, Principal};
use serde::Deserialize;
use uuid::Uuid;

use super::App;
use super::authenticate::authenticate;
use super::credential::Credential;
use super::log_text;
use super::problem::{HandlerResult, Problem, ProblemCode};
use super::rate::{ClientId, RateClass};
use super::right::{
    AccessGrants, AccessLevel, Identity, Right, Scope, check_right, effective_level,
};
use super::wire;

/// Address of the client; set by `layers.rs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// The caller of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    /// Credential of the request.
    pub(super) credential: Credential,
    /// Client for the rate limit.
    pub(super) client: ClientId,
    pub(super) address: IpAddr,
    user_agent: Option<String>,
}

impl Caller {
    /// A command of the user who runs the server.
    pub(super) fn local() -> Self {
        Self {
            identity: Identity::Local,
            credential: Credential::None,
            client: ClientId::Local,
            address: Ipv4Addr::LOCALHOST.into(),
            user_agent: None,
        }
    }

    /// Actor for the audit log.
    pub(super) fn actor(&self) -> Actor {
        Actor {
            user: self.identity.user(),
            ip: Some(self.address.to_string()),
            user_agent: self.user_agent.clone(),
        }
    }

    /// The caller as a reader of the metadata store.
    pub(super) fn principal(&self) -> Principal {
        Principal {
            user: self.identity.user(),
            key: self.identity.key(),
            is_superuser: self.identity.is_superuser(),
        }
    }

    /// The account. The right of the endpoint ensures that it exists.
    ///
    /// # Errors
    /// [`ProblemCode::Unauthenticated`] for an anonymous caller.
    pub(super) fn user(&self) -> HandlerResult<Uuid> {
        self.identity.user().ok_or_else(|| Problem::from_code(ProblemCode::Unauthenticated))
    }
}

/// A value that the guard set before the handler.
fn from_guard<T: Clone + Send + Sync + 'static>(parts: &Parts, name: &str) -> HandlerResult<T> {
    let value = parts.extensions.get().cloned();
    value.ok_or_else(|| Problem::internal(format!("the guard set no `{name}`")))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> HandlerResult<Self> {
        from_guard(parts, "Caller")
    }
}

/// The collection of the path, on which the caller has the right of the endpoint.
#[derive(Clone, Debug)]
pub(super) struct AuthorizedCollection {
    pub(super) collection: Arc<wire::Collection>,
    pub(super) level: AccessLevel,
}

impl<S: Send + Sync> FromRequestParts<S> for AuthorizedCollection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> HandlerResult<Self> {
        from_guard(parts, "AuthorizedCollection")
    }
}

/// The requirements of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) right: Right,
    pub(super) class: RateClass,
    /// `true` if the endpoint reads records that outlive the collection of the path.
    pub(super) outlives_collection: bool,
}

/// Passes an admitted request to its handler; otherwise responds with the problem.
pub(super) async fn guard(
    app: App,
    admission: Admission,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = authorize(&app, admission, &mut parts).await;
    let caller = parts.extensions.get::<Caller>().cloned();
    let mut response = match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    };
    // For the access log.
    response.extensions_mut().extend(caller.map(extensions_of).unwrap_or_default());
    response
}

fn extensions_of(caller: Caller) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(caller);
    extensions
}

async fn authorize(app: &App, admission: Admission, parts: &mut Parts) -> HandlerResult<()> {
    let Admission { right, class, outlives_collection } = admission;
    let Some(ClientAddress(address)) = parts.extensions.get().copied() else {
        return Err(Problem::internal("the layers set no `Address`"));
    };
    let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.map(|agent| log_text::sanitized(agent, log_text::MAX_USER_AGENT));
    let (identity, credential) = if right == Right::Public {
        (Identity::Anonymous, Credential::None)
    } else {
        authenticate(app, &parts.headers, address).await?
    };
    let client = match identity.key().or(identity.user()) {
        Some(id) => ClientId::Authenticated(id),
        None => ClientId::from_address(address),
    };
    let caller = Caller { identity, credential, client, address, user_agent: agent };
    parts.extensions.insert(caller.clone());
    app.request_limiter.check_many(class, client, places_of(class, &parts.uri))?;
    let collection = collection_of(app, right, parts).await?;
    let target = match collection {
        Some(id) => app.metadata.collections().visible(caller.principal(), id).await?,
        None => None,
    };
    let given = match (&target, collection) {
        (Some(seen), _) => Some(AccessGrants::of(seen)),
        (None, Some(id)) if outlives_collection => given_of_deleted(app, &caller, id).await?,
        (None, _) => None,
    };
    let level = given.and_then(|given| effective_level(&caller.identity, given));
    check_right(right, &caller.identity, level)?;
    if let (Some(seen), Some(level)) = (target, level) {
        let shown = visible_level(level, &caller.identity);
        let collection = Arc::new(app.collection_view(seen, shown));
        parts.extensions.insert(AuthorizedCollection { collection, level });
    }
    Ok(())
}

/// The rights of a caller on a deleted collection: all for its last owner, none for others. `None`
/// if no such collection was deleted.
async fn given_of_deleted(
    app: &App,
    caller: &Caller,
    id: Uuid,
) -> HandlerResult<Option<AccessGrants>> {
    let owner = app.metadata.collections().owner_of_deleted(id).await?;
    let given = |owner| AccessGrants {
        is_owner: caller.identity.user() == Some(owner),
        ..AccessGrants::default()
    };
    Ok(owner.map(given))
}

/// Rows of a list that count as one request.
const ROWS: u32 = 100;

/// Query parameter with the page size of a list.
#[derive(Deserialize)]
struct PageSize {
    limit: Option<u32>,
}

/// Number of requests as which a request counts: a list counts once per [`ROWS`] rows begun.
/// Invalid page sizes and queries count once; the handler refuses them.
fn places_of(class: RateClass, uri: &Uri) -> u32 {
    if class != RateClass::ReadOnly {
        return 1;
    }
    let size = Query::<PageSize>::try_from_uri(uri).ok().and_then(|Query(size)| size.limit);
    size.filter(|size| (1..=wire::MAX_LIMIT).contains(size)).map_or(1, |size| size.div_ceil(ROWS))
}

/// Rate-limits requests for files without a right (the page, the description of the API), by
/// address in [`RateClass::ReadOnly`].
pub(super) async fn count_file(app: App, request: Request, next: Next) -> Response {
    let Some(ClientAddress(address)) = request.extensions().get().copied() else {
        return Problem::internal("the layers set no `Address`").into_response();
    };
    match app.request_limiter.check(RateClass::ReadOnly, ClientId::from_address(address)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The right on a collection as shown to the caller: for a key limited by its scopes.
pub(super) fn visible_level(level: AccessLevel, identity: &Identity) -> AccessLevel {
    match identity {
        Identity::Key { scope, .. } => match scope {
            None | Some(Scope::Search | Scope::Read) => AccessLevel::Read,
            Some(Scope::Write) => level.min(AccessLevel::Write),
            Some(Scope::Admin) => level,
        },
        Identity::Anonymous | Identity::User { .. } | Identity::Local => level,
    }
}

/// The collection named in the path, or that of the operation named in the path.
async fn collection_of(app: &App, right: Right, parts: &mut Parts) -> HandlerResult<Option<Uuid>> {
    match right {
        Right::Read | Right::Write | Right::Admin | Right::Owner => {}
        Right::Public
        | Right::Search
        | Right::Browse
        | Right::Authenticated
        | Right::Session
        | Right::Superuser
        | Right::SuperuserSession => return Ok(None),
    }
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::from_code(ProblemCode::NotFound))?;
    let named = |name: &str| {
        let found = params.iter().find(|(it, _)| *it == name);
        found.and_then(|(_, value)| value.parse::<Uuid>().ok())
    };
    if let Some(collection) = named("collection") {
        return Ok(Some(collection));
    }
    let Some(operation) = named("operation") else { return Ok(None) };
    let found = app.metadata.operations().find_record(operation).await?;
    Ok(found.map(|operation| operation.collection_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_by_its_page_size() {
        for (query, places) in [
            ("", 1),
            ("?limit=1", 1),
            ("?limit=100", 1),
            ("?cursor=x&limit=101", 2),
            ("?limit=%31000", 10),
            ("?limit=0", 1),
            ("?limit=1001", 1),
            ("?limit=-5", 1),
            ("?limit=x", 1),
            ("?limit=1000&limit=1", 1),
        ] {
            let uri: Uri = format!("/documents{query}").parse().expect("a URI");
            assert_eq!(places_of(RateClass::ReadOnly, &uri), places, "{query}");
            assert_eq!(places_of(RateClass::Search, &uri), 1, "{query}");
        }
    }
}
