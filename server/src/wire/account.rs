//! JSON types of accounts, sessions, keys and the audit log.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::right::Scope;

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct User {
    /// Id of the account; it never changes.
    pub id: Uuid,
    /// Name for the login.
    pub username: String,
    /// E-mail address; unique among accounts.
    pub email: String,
    /// Name for display; missing if the account has none.
    pub full_name: Option<String>,
    /// `true` if it can log in and its keys are valid.
    pub is_active: bool,
    /// `true` if it is an administrator of the server.
    pub is_superuser: bool,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last login with a password; missing before the first.
    pub last_login: Option<DateTime<Utc>>,
    /// Preferences of the user, read by the web UI only.
    #[schema(value_type = Object)]
    pub preferences: Value,
}

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

/// An API key without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Key {
    /// Id of the key, for grants and revocation.
    pub id: Uuid,
    /// Purpose of the key.
    pub name: String,
    /// The first characters of the key, for recognition.
    #[schema(example = "smk_k3Xp0aQz")]
    pub prefix: String,
    /// `search`, `read`, `write`, `admin`; the widest one counts.
    pub scopes: Vec<String>,
    /// `false` once the key was revoked.
    pub is_active: bool,
    /// Time of the last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time from which the key is refused; missing if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
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
    pub key: Key,
    /// The complete key. It is returned only once.
    pub secret: String,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Id of the entry.
    pub id: Uuid,
    /// The action: `collection_changed`, `grant_given`, `login`, …
    pub action: String,
    /// User name of the actor.
    pub by: Option<String>,
    /// User name of the affected account.
    pub subject: Option<String>,
    /// The operation that made the change.
    pub operation_id: Option<Uuid>,
    /// Values of the change; the keys depend on the action.
    #[schema(value_type = Object)]
    pub details: Value,
    /// Address of the client, if it is known.
    pub ip_address: Option<String>,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
    /// Time of the change.
    pub created_at: DateTime<Utc>,
}
