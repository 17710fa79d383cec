//! JSON types of accounts, sessions and keys.

use chrono::{DateTime, Utc};
use metadata::{ApiKey, User};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::right::Scope;

/// The first administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    /// The set-up token that the server printed when it started.
    pub token: String,
    /// Lower-case letters, digits, `.`, `_` and `-`; the first is a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub username: String,
    /// E-mail address of the administrator.
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: String,
    /// At least 12 characters and at most 256 bytes.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
    /// Name for display.
    pub full_name: Option<String>,
}

/// Credentials of a login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name of the account, not its e-mail address.
    pub username: String,
    /// Password of the account.
    pub password: String,
}

/// A session to refresh or end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The last refresh token of the session.
    pub refresh_token: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// Sent in the header `Authorization: Bearer …`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Lifetime of the access token in seconds.
    pub expires_in: u64,
    /// Valid once: `POST /api/v1/sessions/refresh` replaces it. A second use ends the session.
    pub refresh_token: String,
    /// Lifetime of the refresh token in seconds.
    pub refresh_expires_in: u64,
    /// The account that logged in.
    pub user: User,
}

/// A browser session. Its credential is in a cookie that scripts cannot read.
#[derive(Serialize, ToSchema)]
pub struct BrowserSession {
    /// Sent in the header `Authorization: Bearer …`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Lifetime of the access token in seconds.
    pub expires_in: u64,
    /// The account that logged in.
    pub user: User,
}

/// Set-up state of a server.
#[derive(Serialize, ToSchema)]
pub struct SetUpState {
    /// `true` if no administrator exists yet: `POST /api/v1/setup` creates the first one.
    pub is_needed: bool,
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Lower-case letters, digits, `.`, `_` and `-`; the first is a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub username: String,
    /// E-mail address; no other account has it.
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: String,
    /// At least 12 characters and at most 256 bytes.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
    /// Name for display.
    pub full_name: Option<String>,
    /// `true` for an administrator of the server.
    #[serde(default)]
    pub is_superuser: bool,
}

/// Changes of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// New e-mail address; no other account has it.
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: Option<String>,
    /// New name for display.
    #[schema(min_length = 1, max_length = 200)]
    pub full_name: Option<String>,
    /// `false` ends its sessions and disables its keys.
    pub is_active: Option<bool>,
    /// `true` makes the account an administrator of the server.
    pub is_superuser: Option<bool>,
}

/// Changes of the caller's own account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMe {
    /// New e-mail address; no other account has it.
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: Option<String>,
    /// New name for display.
    #[schema(min_length = 1, max_length = 200)]
    pub full_name: Option<String>,
    /// Replaces the previous preferences.
    #[schema(value_type = Option<Object>)]
    pub preferences: Option<serde_json::Map<String, Value>>,
}

/// A new password of the caller's own account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password that is replaced.
    pub current: String,
    /// At least 12 characters and at most 256 bytes.
    #[schema(min_length = 12, max_length = 256)]
    pub new: String,
}

/// A new password of an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// At least 12 characters and at most 256 bytes.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
}

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// Purpose of the key.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Scopes of the key; the widest one counts.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// Time of expiry, at most ten years from now; never if missing.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A created API key.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    /// The key without its secret.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The complete key. It is returned only once.
    pub secret: String,
}
