//! Accounts: the caller's own, and all of them for administrators. Accounts are deactivated instead
//! of deleted, because operations and audit entries refer to them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use metadata::{NewUser, User, UserUpdate};
use pipeline::{Remedy, StoreError};
use uuid::Uuid;

use super::check_line;
use crate::App;
use crate::extract::{JsonBody, PathParams, QueryParams};
use crate::guard::Caller;
use crate::problem::{HandlerResult, Problem, ProblemCode};
use crate::wire::{ChangeMe, ChangePassword, ChangeUser, CreateUser, Page, Paging, SetPassword};

/// Largest length of a user name.
const MAX_NAME: usize = 64;
/// Largest length of an address (RFC 5321, 4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;
/// Size limit of the preferences in bytes.
const MAX_PREFERENCES_BYTES: usize = 16 << 10;

/// Get the caller's account
#[utoipa::path(get, path = "/users/me", tag = "users", responses((status = OK, body = User)))]
pub(crate) async fn me(State(app): State<App>, caller: Caller) -> HandlerResult<Json<User>> {
    found_or_404(app.accounts().find_user(caller.user()?).await?)
}

/// Change the caller's account
#[utoipa::path(patch, path = "/users/me", tag = "users", request_body = ChangeMe,
    responses((status = OK, body = User)))]
pub(crate) async fn change_me(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<ChangeMe>,
) -> HandlerResult<Json<User>> {
    let size = serde_json::to_vec(&wanted.preferences).map_or(0, |it| it.len());
    if size > MAX_PREFERENCES_BYTES {
        let detail = format!("`preferences` is too large: at most {MAX_PREFERENCES_BYTES} bytes");
        return Err(Problem::new(ProblemCode::InvalidBody, detail));
    }
    let ChangeMe { email, full_name, preferences } = wanted;
    let change = UserUpdate { email, full_name, preferences, ..UserUpdate::default() };
    update_user(&app, caller.user()?, change, &caller).await
}

/// Change the caller's password
///
/// Ends all sessions of the account, including the current one.
#[utoipa::path(post, path = "/users/me/password", tag = "users", request_body = ChangePassword,
    responses((status = NO_CONTENT)))]
pub(crate) async fn change_password(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<ChangePassword>,
) -> HandlerResult<StatusCode> {
    let Json(user) = found_or_404(app.accounts().find_user(caller.user()?).await?)?;
    let attempt = app.throttle.begin(&app.accounts(), &user.username, caller.address).await?;
    let known = app.accounts().password_hash(user.id).await?;
    match app.passwords.verify(&wanted.current, known.as_deref()).await {
        Ok(true) => attempt.succeeded(),
        Ok(false) => {
            return Err(Problem::new(
                ProblemCode::InvalidBody,
                "`current` is not the current password",
            ));
        }
        Err(busy) => {
            attempt.withdraw();
            return Err(busy);
        }
    }
    store_password(&app, &user, &wanted.new, &caller).await
}

/// List accounts
///
/// In order of id.
#[utoipa::path(get, path = "/users", tag = "users", params(Paging),
    responses((status = OK, body = Page<User>)))]
pub(crate) async fn list(
    State(app): State<App>,
    QueryParams(paging): QueryParams<Paging>,
) -> HandlerResult<Json<Page<User>>> {
    let limit = paging.limit()?;
    let users = app.accounts().list_users(paging.after()?, limit + 1).await?;
    Ok(Json(Page::new(users, limit, |user| user.id.to_string())))
}

/// Create an account
///
/// Creating an administrator requires a session; a key cannot do it.
#[utoipa::path(post, path = "/users", tag = "users", request_body = CreateUser,
    responses((status = CREATED, body = User)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateUser>,
) -> HandlerResult<(StatusCode, Json<User>)> {
    check_username(&wanted.username)?;
    check_email(&wanted.email)?;
    wanted.full_name.as_deref().map_or(Ok(()), |name| check_line("full_name", name, 200))?;
    // A stolen key must not be able to create an administrator.
    if wanted.is_superuser && caller.identity.key().is_some() {
        return Err(Problem::from_code(ProblemCode::SessionRequired));
    }
    let hashed_password = app.passwords.hash(&wanted.password, &wanted.username).await?;
    let new = NewUser {
        username: wanted.username,
        email: wanted.email,
        full_name: wanted.full_name,
        hashed_password,
        is_superuser: wanted.is_superuser,
    };
    let user = app.accounts().create_user(&new, &caller.actor()).await.map_err(account_conflict)?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// Get an account
#[utoipa::path(get, path = "/users/{user}", tag = "users", params(("user" = Uuid, Path)),
    responses((status = OK, body = User)))]
pub(crate) async fn show(
    State(app): State<App>,
    PathParams(user): PathParams<Uuid>,
) -> HandlerResult<Json<User>> {
    found_or_404(app.accounts().find_user(user).await?)
}

/// Change an account
///
/// Grants or revokes administrator rights, and activates or deactivates the account.
#[utoipa::path(patch, path = "/users/{user}", tag = "users", params(("user" = Uuid, Path)),
    request_body = ChangeUser, responses((status = OK, body = User)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    PathParams(user): PathParams<Uuid>,
    JsonBody(wanted): JsonBody<ChangeUser>,
) -> HandlerResult<Json<User>> {
    let ChangeUser { email, full_name, is_active, is_superuser } = wanted;
    let change = UserUpdate { email, full_name, is_active, is_superuser, preferences: None };
    update_user(&app, user, change, &caller).await
}

/// Set the password of an account
///
/// Ends all sessions of the account.
#[utoipa::path(put, path = "/users/{user}/password", tag = "users", params(("user" = Uuid, Path)),
    request_body = SetPassword, responses((status = NO_CONTENT)))]
pub(crate) async fn set_password(
    State(app): State<App>,
    caller: Caller,
    PathParams(user): PathParams<Uuid>,
    JsonBody(wanted): JsonBody<SetPassword>,
) -> HandlerResult<StatusCode> {
    let Json(user) = found_or_404(app.accounts().find_user(user).await?)?;
    store_password(&app, &user, &wanted.password, &caller).await
}

async fn store_password(
    app: &App,
    user: &User,
    password: &str,
    caller: &Caller,
) -> HandlerResult<StatusCode> {
    let hash = app.passwords.hash(password, &user.username).await?;
    if !app.accounts().set_password(user.id, &hash, &caller.actor()).await? {
        return Err(Problem::not_found("user"));
    }
    app.caches.invalidate_accounts();
    Ok(StatusCode::NO_CONTENT)
}

async fn update_user(
    app: &App,
    user: Uuid,
    change: UserUpdate,
    caller: &Caller,
) -> HandlerResult<Json<User>> {
    change.email.as_deref().map_or(Ok(()), check_email)?;
    change.full_name.as_deref().map_or(Ok(()), |name| check_line("full_name", name, 200))?;
    let loses_rights = change.is_active == Some(false) || change.is_superuser == Some(false);
    let changed = app.accounts().update_user(user, &change, &caller.actor()).await;
    app.caches.invalidate_accounts();
    found_or_404(changed.map_err(|error| match error.remedy {
        Remedy::Conflict if loses_rights => Problem::new(
            ProblemCode::Conflict,
            "no administrator would remain, or the address is taken",
        ),
        Remedy::Conflict | Remedy::Retry | Remedy::GiveUp => account_conflict(error),
    })?)
}

fn found_or_404(user: Option<User>) -> HandlerResult<Json<User>> {
    user.map(Json).ok_or_else(|| Problem::not_found("user"))
}

/// Converts a conflict with another account.
pub(super) fn account_conflict(error: StoreError) -> Problem {
    match error.remedy {
        Remedy::Conflict => {
            Problem::new(ProblemCode::Conflict, "the user name or the address is taken")
        }
        Remedy::Retry | Remedy::GiveUp => error.into(),
    }
}

/// Checks a user name: lower-case letters, digits and punctuation, so that no two names look alike.
pub(super) fn check_username(name: &str) -> HandlerResult<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|byte| is_plain(byte) || b"._-".contains(&byte));
    if is_good {
        return Ok(());
    }
    let detail = format!(
        "invalid user name: expected up to {MAX_NAME} lower-case letters, digits, `.`, `_` and \
         `-`, starting with a letter or digit"
    );
    Err(Problem::new(ProblemCode::InvalidBody, detail))
}

/// Checks the form of an address: one `@`, no white space. Only a mail can prove that it exists.
pub(super) fn check_email(email: &str) -> HandlerResult<()> {
    let is_good = email.len() <= MAX_EMAIL
        && !email.chars().any(|it| it.is_whitespace() || it.is_control())
        && matches!(email.split('@').collect::<Vec<_>>()[..], [name, host] if !name.is_empty() && !host.is_empty());
    if is_good {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::InvalidBody, "invalid `email`: expected the form name@host"))
}
