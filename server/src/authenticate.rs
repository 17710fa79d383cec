//! Authenticates a request by its `Authorization` header: an API key or an access token.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::App;
use super::credential::Credential;
use super::problem::{HandlerResult, Problem, ProblemCode};
use super::rate::{ClientId, RateClass};
use super::right::Identity;
use super::secret;

/// Authenticates the caller by the header `Authorization`. Invalid credentials are an error, never
/// anonymous access.
pub(super) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    address: IpAddr,
) -> HandlerResult<(Identity, Credential)> {
    let anonymous = (Identity::Anonymous, Credential::None);
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(anonymous) };
    let bearer = header.to_str().ok().and_then(|header| {
        let (scheme, bearer) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(bearer.trim())
    });
    let credential = match bearer {
        Some(bearer) if secret::is_api_key(bearer) => Some(authenticate_key(app, bearer, address)?),
        Some(bearer) => authenticate_token(app, bearer).await?,
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
            app.request_limiter.check(RateClass::Login, ClientId::from_address(address))?;
            Err(Problem::from_code(ProblemCode::InvalidCredentials))
        }
    }
}

/// An API key. Only the store can check it; an address with too many failed attempts is refused
/// without a lookup, unless the key was valid recently.
fn authenticate_key(app: &App, key: &str, address: IpAddr) -> HandlerResult<Credential> {
    let digest = secret::digest(key);
    if !app.caches.was_valid_key(&digest) {
        app.request_limiter.check_login_attempts(ClientId::from_address(address))?;
    }
    Ok(Credential::Key(digest))
}

/// An access token; `None` if its signature is invalid, which needs no lookup.
async fn authenticate_token(app: &App, token: &str) -> HandlerResult<Option<Credential>> {
    let signed = app.signer.verify(token, &app.accounts()).await?;
    Ok(signed.map(|(user, session)| Credential::Session { session, user }))
}
