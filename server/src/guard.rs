//! Authenticates, rate-limits and authorises a request before its handler runs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::App;
use super::credential::Credential;
use super::logged;
use super::ports::{By, Reader};
use super::problem::{Answer, Code, Problem};
use super::rate::{Class, Client};
use super::right::{Given, Identity, Level, Right, Scope, decide, level};
use super::{secret, wire};

/// Address of the client; set by `layers.rs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address(pub(super) IpAddr);

/// The caller of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    /// Credential of the request.
    pub(super) credential: Credential,
    /// Client for the rate limit.
    pub(super) client: Client,
    pub(super) address: IpAddr,
    agent: Option<String>,
}

impl Caller {
    /// Actor for the audit log.
    pub(super) fn by(&self) -> By {
        By {
            user: self.identity.user(),
            ip: Some(self.address.to_string()),
            agent: self.agent.clone(),
        }
    }

    /// Reader for the catalogue.
    pub(super) fn reader(&self) -> Reader {
        Reader {
            user: self.identity.user(),
            key: self.identity.key(),
            is_superuser: self.identity.is_superuser(),
        }
    }

    /// The account. The right of the endpoint ensures that it exists.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for an anonymous caller.
    pub(super) fn user(&self) -> Answer<Uuid> {
        self.identity.user().ok_or_else(|| Problem::of(Code::Unauthenticated))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Problem::internal("the guard set no `Caller`"))
    }
}

/// The collection of the path, on which the caller has the right of the endpoint.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) collection: Arc<wire::Collection>,
    pub(super) level: Level,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Problem::internal("the guard set no `Target`"))
    }
}

/// The requirements of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    pub(super) right: Right,
    pub(super) class: Class,
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
    let admitted = admit(&app, admission, &mut parts).await;
    let caller = parts.extensions.get::<Caller>().cloned();
    let mut response = match admitted {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    };
    // For the access log.
    response.extensions_mut().extend(caller.map(with).unwrap_or_default());
    response
}

fn with(caller: Caller) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(caller);
    extensions
}

async fn admit(app: &App, admission: Admission, parts: &mut Parts) -> Answer<()> {
    let Admission { right, class, outlives_collection } = admission;
    let Some(Address(address)) = parts.extensions.get().copied() else {
        return Err(Problem::internal("the layers set no `Address`"));
    };
    let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.map(|agent| logged::cleaned(agent, logged::AGENT));
    let (identity, credential) = if right == Right::Open {
        (Identity::Anonymous, Credential::None)
    } else {
        identify(app, &parts.headers, address).await?
    };
    let client = match identity.key().or(identity.user()) {
        Some(id) => Client::Known(id),
        None => Client::at(address),
    };
    let caller = Caller { identity, credential, client, address, agent };
    parts.extensions.insert(caller.clone());
    app.rates.count_many(class, client, places_of(class, &parts.uri))?;
    let collection = collection_of(app, right, parts).await?;
    let target = match collection {
        Some(id) => app.catalogue.seen(caller.reader(), id).await?,
        None => None,
    };
    let given = match (&target, collection) {
        (Some((_, given)), _) => Some(*given),
        (None, Some(id)) if outlives_collection => given_of_deleted(app, &caller, id).await?,
        (None, _) => None,
    };
    let level = given.and_then(|given| level(&caller.identity, given));
    decide(right, &caller.identity, level)?;
    if let (Some((mut collection, _)), Some(level)) = (target, level) {
        collection.right = shown(level, &caller.identity).name();
        parts.extensions.insert(Target { collection: Arc::new(collection), level });
    }
    Ok(())
}

/// The rights of a caller on a deleted collection: all for its last owner, none for others. `None`
/// if no such collection was deleted.
async fn given_of_deleted(app: &App, caller: &Caller, id: Uuid) -> Answer<Option<Given>> {
    let owner = app.catalogue.owner_of_deleted(id).await?;
    let given =
        |owner| Given { is_owner: caller.identity.user() == Some(owner), ..Given::default() };
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
fn places_of(class: Class, uri: &Uri) -> u32 {
    if class != Class::Look {
        return 1;
    }
    let size = Query::<PageSize>::try_from_uri(uri).ok().and_then(|Query(size)| size.limit);
    size.filter(|size| (1..=wire::LONGEST).contains(size)).map_or(1, |size| size.div_ceil(ROWS))
}

/// Rate-limits requests for files without a right (the page, the description of the API), by
/// address in [`Class::Look`].
pub(super) async fn count_file(app: App, request: Request, next: Next) -> Response {
    let Some(Address(address)) = request.extensions().get().copied() else {
        return Problem::internal("the layers set no `Address`").into_response();
    };
    match app.rates.count(Class::Look, Client::at(address)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The right on a collection as shown to the caller: for a key limited by its scopes.
pub(super) fn shown(level: Level, identity: &Identity) -> Level {
    match identity {
        Identity::Key { scope, .. } => match scope {
            None | Some(Scope::Search | Scope::Read) => Level::Read,
            Some(Scope::Write) => level.min(Level::Write),
            Some(Scope::Admin) => level,
        },
        Identity::Anonymous | Identity::User { .. } => level,
    }
}

/// Authenticates the caller by the header `Authorization`. Invalid credentials are an error, never
/// anonymous access.
async fn identify(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
) -> Answer<(Identity, Credential)> {
    let nobody = (Identity::Anonymous, Credential::None);
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(nobody) };
    let bearer = header.to_str().ok().and_then(|header| {
        let (scheme, bearer) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(bearer.trim())
    });
    let credential = match bearer {
        Some(bearer) if secret::is_key(bearer) => Some(by_key(app, bearer, address)?),
        Some(bearer) => by_token(app, bearer).await?,
        None => None,
    };
    let identity = match &credential {
        Some(credential) => credential.identity(app).await?,
        None => None,
    };
    match credential.and_then(|credential| Some((identity?, credential))) {
        Some(known) => Ok(known),
        None => {
            // Guesses of keys are limited like guesses of passwords.
            app.rates.count(Class::Login, Client::at(address))?;
            Err(Problem::of(Code::InvalidCredentials))
        }
    }
}

/// An API key. Only the store can check it; an address with too many failed attempts is refused
/// without a lookup, unless the key was valid recently.
fn by_key(app: &App, key: &str, address: IpAddr) -> Answer<Credential> {
    let digest = secret::digest(key);
    if !app.caches.is_good_key(&digest) {
        app.rates.may_try(Client::at(address))?;
    }
    Ok(Credential::Key(digest))
}

/// An access token; `None` if its signature is invalid, which needs no lookup.
async fn by_token(app: &App, token: &str) -> Answer<Option<Credential>> {
    let signed = app.signer.session(token, app.accounts.as_ref()).await?;
    Ok(signed.map(|(user, session)| Credential::Session { session, user }))
}

/// The collection named in the path, or that of the operation named in the path.
async fn collection_of(app: &App, right: Right, parts: &mut Parts) -> Answer<Option<Uuid>> {
    match right {
        Right::Read | Right::Write | Right::Admin | Right::Owner => {}
        Right::Open
        | Right::Search
        | Right::Browse
        | Right::Known
        | Right::Session
        | Right::Superuser
        | Right::SuperuserSession => return Ok(None),
    }
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::of(Code::NotFound))?;
    let named = |name: &str| {
        let found = params.iter().find(|(it, _)| *it == name);
        found.and_then(|(_, value)| value.parse::<Uuid>().ok())
    };
    if let Some(collection) = named("collection") {
        return Ok(Some(collection));
    }
    let Some(operation) = named("operation") else { return Ok(None) };
    Ok(app.catalogue.operation(operation).await?.map(|operation| operation.collection_id))
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
            assert_eq!(places_of(Class::Look, &uri), places, "{query}");
            assert_eq!(places_of(Class::Search, &uri), 1, "{query}");
        }
    }
}
