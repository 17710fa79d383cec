//! Sessions: set-up of the first administrator, login, refresh, logout.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::accounts::{check_email, check_username, taken};
use crate::extract::InBody;
use crate::guard::Caller;
use crate::ports::{NewUser, Rotation};
use crate::problem::{Answer, Code, Problem};
use crate::wire::{Login, Refresh, Session, SetUp, User};
use crate::{App, LIFETIME, REFRESH, secret};

/// Create the first administrator
///
/// Works once, with the set-up token that the server printed when it started.
#[utoipa::path(post, path = "/setup", tag = "sessions", request_body = SetUp,
    responses((status = CREATED, body = User), (status = UNAUTHORIZED, description = "The token is invalid, expired or used",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_up(
    State(app): State<App>,
    caller: Caller,
    InBody(wanted): InBody<SetUp>,
) -> Answer<(StatusCode, Json<User>)> {
    check_username(&wanted.username)?;
    check_email(&wanted.email)?;
    let hashed_password = app.passwords.hash(&wanted.password, &wanted.username).await?;
    let new = NewUser {
        username: wanted.username,
        email: wanted.email,
        full_name: wanted.full_name,
        hashed_password,
        is_superuser: true,
    };
    let made = app.accounts.set_up(&secret::digest(&wanted.token), new, &caller.by()).await;
    let made = made.map_err(taken)?;
    let Some(user) = made else {
        let detail = match app.caches.is_set_up(app.accounts.as_ref()).await? {
            true => "the server already has an administrator: log in",
            false => {
                "the set-up token is wrong or from an earlier start: each start of the server \
                 prints a new one, valid for one day"
            }
        };
        return Err(Problem::new(Code::InvalidCredentials, detail));
    };
    app.caches.forget_accounts();
    Ok((StatusCode::CREATED, Json(user)))
}

/// Log in
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = Login,
    responses((status = CREATED, body = Session), (status = UNAUTHORIZED, description = "Wrong user name or password",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn login(
    State(app): State<App>,
    caller: Caller,
    InBody(login): InBody<Login>,
) -> Answer<(StatusCode, Json<Session>)> {
    let user = authenticated(&app, &caller, &login).await?;
    let token = secret::random();
    let hash = secret::digest(&token);
    let session = app.accounts.begin(user.id, &hash, REFRESH, &caller.by()).await?;
    Ok((StatusCode::CREATED, Json(session_of(&app, user, session, token))))
}

/// The account of a login with the right password.
pub(super) async fn authenticated(app: &App, caller: &Caller, login: &Login) -> Answer<User> {
    // Counted as failed until verified, so that concurrent guesses are counted before they are
    // verified.
    let accounts = app.accounts.as_ref();
    let attempt = app.throttle.begin(accounts, &login.username, caller.address).await?;
    let user = app.accounts.user_named(&login.username).await?;
    // Unknown accounts take the same steps, so that the time does not reveal them.
    let id = user.as_ref().map_or(Uuid::nil(), |user| user.id);
    let known = app.accounts.password(id).await?;
    let is_right = match app.passwords.verify(&login.password, known.as_deref()).await {
        Ok(is_right) => is_right,
        Err(busy) => {
            attempt.withdraw();
            return Err(busy);
        }
    };
    match user {
        Some(user) if is_right && user.is_active => {
            attempt.succeeded();
            Ok(user)
        }
        user => {
            app.accounts.refused(user.map(|user| user.id), &caller.by()).await?;
            Err(Problem::of(Code::InvalidCredentials))
        }
    }
}

fn session_of(app: &App, user: User, session: Uuid, refresh_token: String) -> Session {
    Session {
        access_token: app.signer.sign(user.id, session),
        token_type: "Bearer",
        expires_in: LIFETIME.as_secs(),
        refresh_token,
        refresh_expires_in: REFRESH.as_secs(),
        user,
    }
}

/// Refresh a session
///
/// Replaces the refresh token by a new one. A second use of a token ends the session, because two
/// clients have it.
#[utoipa::path(post, path = "/sessions/refresh", tag = "sessions", request_body = Refresh,
    responses((status = OK, body = Session), (status = UNAUTHORIZED, description = "The token is invalid, expired or used",
        body = crate::problem::ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn refresh(
    State(app): State<App>,
    caller: Caller,
    InBody(Refresh { refresh_token }): InBody<Refresh>,
) -> Answer<Json<Session>> {
    let spent = secret::digest(&refresh_token);
    let token = secret::random();
    let hash = secret::digest(&token);
    match app.accounts.go_on(&spent, &hash, REFRESH, &caller.by()).await? {
        Rotation::Rotated(user, session) => Ok(Json(session_of(&app, *user, session, token))),
        Rotation::Unknown => Err(Problem::of(Code::InvalidCredentials)),
        Rotation::Reused => {
            app.caches.forget_accounts();
            Err(Problem::of(Code::InvalidCredentials))
        }
    }
}

/// Log out
///
/// Ends the session of a refresh token and invalidates its access tokens. An invalid token has no
/// effect.
#[utoipa::path(post, path = "/sessions/logout", tag = "sessions", request_body = Refresh,
    responses((status = NO_CONTENT)))]
pub(crate) async fn logout(
    State(app): State<App>,
    caller: Caller,
    InBody(Refresh { refresh_token }): InBody<Refresh>,
) -> Answer<StatusCode> {
    app.accounts.end(&secret::digest(&refresh_token), &caller.by()).await?;
    app.caches.forget_accounts();
    Ok(StatusCode::NO_CONTENT)
}
