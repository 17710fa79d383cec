//! Browser sessions: created by the login page, shared by all tabs, ended for all tabs together.
//!
//! They are based on a cookie (`browser.rs`), which only these endpoints read. A tab gets an access
//! token like any other client and keeps it in memory.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue, SET_COOKIE};
use axum::response::{IntoResponse as _, Response};
use metadata::{NewToken, SessionLifetime, User};
use uuid::Uuid;

use super::sessions::verify_login;
use crate::browser::{ABSOLUTE_TIMEOUT, BrowserRequest, IDLE_TIMEOUT};
use crate::extract::JsonBody;
use crate::guard::Caller;
use crate::problem::HandlerResult;
use crate::token::ACCESS_TOKEN_LIFETIME;
use crate::wire::{BrowserSession, Login, SetUpState};
use crate::{App, secret};

type WithCookie<T> = (StatusCode, [(HeaderName, HeaderValue); 1], T);

/// Log in with a browser
///
/// Creates a session with a cookie that all tabs share. For this server's own page, which sends
/// `X-Semantik-CSRF: 1`; programs use `POST /sessions`.
#[utoipa::path(post, path = "/sessions/browser", tag = "sessions", request_body = Login,
    responses((status = CREATED, body = BrowserSession),
        (status = UNAUTHORIZED, description = "Wrong user name or password"),
        (status = FORBIDDEN, description = "The request is not from this server's page")))]
pub(crate) async fn log_in(
    State(app): State<App>,
    caller: Caller,
    browser: BrowserRequest,
    JsonBody(login): JsonBody<Login>,
) -> HandlerResult<WithCookie<Json<BrowserSession>>> {
    let user = verify_login(&app, &caller, &login).await?;
    // The previous session of this browser, of any account, must not stay active unnoticed.
    if let Some(before) = &browser.credential {
        app.accounts().end_browser_session(&secret::digest(before), &caller.actor()).await?;
        app.caches.invalidate_accounts();
    }
    let credential = secret::random_secret();
    let hash = secret::digest(&credential);
    let token = NewToken { hash: &hash, lifetime: IDLE_TIMEOUT };
    let session = app.accounts().begin_browser_session(user.id, token, &caller.actor()).await?;
    let cookie = [(SET_COOKIE, browser.set_cookie(&credential))];
    Ok((StatusCode::CREATED, cookie, Json(to_browser_session(&app, user, session))))
}

/// Get an access token for a tab
///
/// Authenticated by the session cookie of the browser. Responds with 204 without an active session.
#[utoipa::path(post, path = "/sessions/browser/token", tag = "sessions",
    responses((status = OK, body = BrowserSession),
        (status = NO_CONTENT, description = "The browser has no active session"),
        (status = FORBIDDEN, description = "The request is not from this server's page")))]
pub(crate) async fn token(
    State(app): State<App>,
    browser: BrowserRequest,
) -> HandlerResult<Response> {
    let Some(credential) = &browser.credential else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let lifetime = SessionLifetime { idle: IDLE_TIMEOUT, absolute: ABSOLUTE_TIMEOUT };
    match app.accounts().resume_browser_session(&secret::digest(credential), lifetime).await? {
        Some((user, session)) => Ok(Json(to_browser_session(&app, user, session)).into_response()),
        None => {
            Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, browser.clear_cookie())]).into_response())
        }
    }
}

/// Log out with a browser
///
/// Ends the session in all tabs and invalidates its access tokens. Without an active session it has
/// no effect.
#[utoipa::path(delete, path = "/sessions/browser", tag = "sessions",
    responses((status = NO_CONTENT), (status = FORBIDDEN, description = "The request is not from this server's page")))]
pub(crate) async fn log_out(
    State(app): State<App>,
    caller: Caller,
    browser: BrowserRequest,
) -> HandlerResult<WithCookie<()>> {
    if let Some(credential) = &browser.credential {
        app.accounts().end_browser_session(&secret::digest(credential), &caller.actor()).await?;
        app.caches.invalidate_accounts();
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, browser.clear_cookie())], ()))
}

/// Get the set-up state
///
/// Tells whether the first administrator must still be created.
#[utoipa::path(get, path = "/setup", tag = "sessions", responses((status = OK, body = SetUpState)))]
pub(crate) async fn set_up_state(State(app): State<App>) -> HandlerResult<Json<SetUpState>> {
    let is_set_up = app.caches.has_administrator(&app.accounts()).await?;
    Ok(Json(SetUpState { is_needed: !is_set_up }))
}

fn to_browser_session(app: &App, user: User, session: Uuid) -> BrowserSession {
    BrowserSession {
        access_token: app.signer.sign(user.id, session),
        token_type: "Bearer",
        expires_in: ACCESS_TOKEN_LIFETIME.as_secs(),
        user,
    }
}
