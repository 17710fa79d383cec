//! Accounts, sessions, keys and the audit log, as JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::right::Scope;

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct User {
    pub id: Uuid,
    /// What it logs in by.
    pub username: String,
    pub email: String,
    pub full_name: Option<String>,
    /// Whether it may do anything.
    pub is_active: bool,
    /// Whether it is an administrator of the server.
    pub is_superuser: bool,
    pub created_at: DateTime<Utc>,
    pub last_login: Option<DateTime<Utc>>,
    /// What its owner likes; nothing but the page reads it.
    #[schema(value_type = Object)]
    pub preferences: Value,
}

/// The first administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    /// The token that the server printed when it was started.
    pub token: String,
    /// Lower-case letters, digits, `.`, `_` and `-`; the first is a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub username: String,
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: String,
    /// 12 characters at least, and 256 bytes at most.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
    pub full_name: Option<String>,
}

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub username: String,
    pub password: String,
}

/// A session that is to go on, or to end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    pub refresh_token: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// Goes into the header `Authorization: Bearer …`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds that the access token is good.
    pub expires_in: u64,
    /// Good for one use: `POST /api/v1/sessions/refresh` gives another one. A second use ends the session.
    pub refresh_token: String,
    /// Seconds that the refresh token is good.
    pub refresh_expires_in: u64,
    pub user: User,
}

/// The session of a browser. What it goes on by is in a cookie that scripts cannot read.
#[derive(Serialize, ToSchema)]
pub struct BrowserSession {
    /// Goes into the header `Authorization: Bearer …`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds that the access token is good.
    pub expires_in: u64,
    pub user: User,
}

/// Whether a server can be used.
#[derive(Serialize, ToSchema)]
pub struct SetUpState {
    /// There is no administrator yet: `POST /api/v1/setup` makes the first one.
    pub is_needed: bool,
}

/// An account that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Lower-case letters, digits, `.`, `_` and `-`; the first is a letter or digit.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub username: String,
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: String,
    /// 12 characters at least, and 256 bytes at most.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
    pub full_name: Option<String>,
    #[serde(default)]
    pub is_superuser: bool,
}

/// What is to change of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    pub full_name: Option<String>,
    /// `false` ends its sessions, and its keys are good for nothing.
    pub is_active: Option<bool>,
    pub is_superuser: Option<bool>,
}

/// What somebody may change of their own account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMe {
    #[schema(pattern = r"^[^@\s]+@[^@\s]+$", max_length = 254)]
    pub email: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    pub full_name: Option<String>,
    /// Replaces what was there.
    #[schema(value_type = Option<Object>)]
    pub preferences: Option<serde_json::Map<String, Value>>,
}

/// Another password for one's own account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    pub current: String,
    /// 12 characters at least, and 256 bytes at most.
    #[schema(min_length = 12, max_length = 256)]
    pub new: String,
}

/// Another password for somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// 12 characters at least, and 256 bytes at most.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
}

/// A key, without what makes it one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Key {
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// Its first characters, to recognise it by.
    #[schema(example = "smk_k3Xp0aQz")]
    pub prefix: String,
    pub scopes: Vec<String>,
    /// Whether it was not revoked.
    pub is_active: bool,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// Until when it can be used; for ever unless it is said. Ten years at most.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey {
    #[serde(flatten)]
    pub key: Key,
    /// The key itself. It is shown this once.
    pub secret: String,
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    /// What: `collection_changed`, `grant_given`, `login`, …
    pub action: String,
    /// The user name of who did it.
    pub by: Option<String>,
    /// The user name of whom it was done to, where it was an account.
    pub subject: Option<String>,
    /// The operation that did it.
    pub operation_id: Option<Uuid>,
    #[schema(value_type = Object)]
    pub details: Value,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
}
