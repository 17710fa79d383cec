//! Sessions: set-up of the first administrator, login, refresh, logout.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use metadata::{NewToken, NewUser, RotationResult, User};
use uuid::Uuid;

use super::accounts::{account_conflict, check_email, check_username};
use crate::extract::JsonBody;
use crate::guard::Caller;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::token::{ACCESS_TOKEN_LIFETIME, REFRESH_TOKEN_LIFETIME};
use crate::wire::{Login, Refresh, Session, SetUp};
use crate::{App, secret};

/// Create the first administrator
///
/// Works once, with the set-up token that the server printed when it started.
#[utoipa::path(post, path = "/setup", tag = "sessions", request_body = SetUp,
    responses((status = CREATED, body = User), (status = UNAUTHORIZED, description = "The token is invalid, expired or used")))]
pub(crate) async fn set_up(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<SetUp>,
) -> HandlerResult<(StatusCode, Json<User>)> {
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
    let made = app
        .accounts()
        .create_first_administrator(&secret::digest(&wanted.token), &new, &caller.actor())
        .await;
    let made = made.map_err(account_conflict)?;
    let Some(user) = made else {
        let detail = match app.caches.has_administrator(&app.accounts()).await? {
            true => "the server already has an administrator: log in",
            false => {
                "the set-up token is wrong or from an earlier start: each start of the server \
                 prints a new one, valid for one day"
            }
        };
        return Err(Problem::new(ProblemCode::InvalidCredentials, detail));
    };
    app.caches.invalidate_accounts();
    Ok((StatusCode::CREATED, Json(user)))
}

/// Log in
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = Login,
    responses((status = CREATED, body = Session), (status = UNAUTHORIZED, description = "Wrong user name or password")))]
pub(crate) async fn login(
    State(app): State<App>,
    caller: Caller,
    JsonBody(login): JsonBody<Login>,
) -> HandlerResult<(StatusCode, Json<Session>)> {
    let user = verify_login(&app, &caller, &login).await?;
    let token = secret::random_secret();
    let hash = secret::digest(&token);
    let new = NewToken { hash: &hash, lifetime: REFRESH_TOKEN_LIFETIME };
    let session = app.accounts().begin_session(user.id, new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(to_session(&app, user, session, token))))
}

/// The account of a login with the right password.
pub(super) async fn verify_login(app: &App, caller: &Caller, login: &Login) -> HandlerResult<User> {
    // Counted as failed until verified, so that concurrent guesses are counted before they are
    // verified.
    let attempt = app.throttle.begin(&app.accounts(), &login.username, caller.address).await?;
    let user = app.accounts().find_user_by_name(&login.username).await?;
    // Unknown accounts take the same steps, so that the time does not reveal them.
    let id = user.as_ref().map_or(Uuid::nil(), |user| user.id);
    let known = app.accounts().password_hash(id).await?;
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
            app.accounts().record_failed_login(user.map(|user| user.id), &caller.actor()).await?;
            Err(Problem::from_code(ProblemCode::InvalidCredentials))
        }
    }
}

fn to_session(app: &App, user: User, session: Uuid, refresh_token: String) -> Session {
    Session {
        access_token: app.signer.sign(user.id, session),
        token_type: "Bearer",
        expires_in: ACCESS_TOKEN_LIFETIME.as_secs(),
        refresh_token,
        refresh_expires_in: REFRESH_TOKEN_LIFETIME.as_secs(),
        user,
    }
}

/// Refresh a session
///
/// Replaces the refresh token by a new one. A second use of a token ends the session, because two
/// clients have it.
#[utoipa::path(post, path = "/sessions/refresh", tag = "sessions", request_body = Refresh,
    responses((status = OK, body = Session), (status = UNAUTHORIZED, description = "The token is invalid, expired or used")))]
pub(crate) async fn refresh(
    State(app): State<App>,
    caller: Caller,
    JsonBody(Refresh { refresh_token }): JsonBody<Refresh>,
) -> HandlerResult<Json<Session>> {
    let spent = secret::digest(&refresh_token);
    let token = secret::random_secret();
    let hash = secret::digest(&token);
    let new = NewToken { hash: &hash, lifetime: REFRESH_TOKEN_LIFETIME };
    match app.accounts().rotate_refresh_token(&spent, new, &caller.actor()).await? {
        RotationResult::Rotated(user, session) => Ok(Json(to_session(&app, *user, session, token))),
        RotationResult::Unknown => Err(Problem::from_code(ProblemCode::InvalidCredentials)),
        RotationResult::Reused => {
            app.caches.invalidate_accounts();
            Err(Problem::from_code(ProblemCode::InvalidCredentials))
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
    JsonBody(Refresh { refresh_token }): JsonBody<Refresh>,
) -> HandlerResult<StatusCode> {
    app.accounts().end_session(&secret::digest(&refresh_token), &caller.actor()).await?;
    app.caches.invalidate_accounts();
    Ok(StatusCode::NO_CONTENT)
}
