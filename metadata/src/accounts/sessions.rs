//! Sessions: families of refresh tokens with one valid token at a time.
//!
//! Only digests of tokens are stored. Each use of a refresh token replaces it; the reuse of a
//! replaced token proves a copy and revokes the whole family.

use std::time::Duration;

use pipeline::StoreError;
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::users::{User, has_administrator, select_user};
use crate::audit::{Actor, record_account_event};
use crate::query_error::QueryError;
use crate::retry_call;

/// Credential of a new or renewed session.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of the refresh token in hexadecimal digits.
    pub hash: &'a str,
    /// Time until it expires.
    pub lifetime: Duration,
}

/// Kind of the credential of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialKind {
    /// A refresh token: each use replaces it.
    Rotating,
    /// The cookie of a browser: unchanged during the whole session.
    Browser,
}

/// Result of the use of a refresh token.
#[derive(Clone, Debug, PartialEq)]
pub enum RotationResult {
    /// The token was replaced by the new one; account and token family.
    Rotated(Box<User>, Uuid),
    /// The token is unknown, expired or revoked, or its account is deactivated.
    Unknown,
    /// The token was used before. Its family is revoked now.
    Reused,
}

/// Stored state of a refresh token.
#[derive(FromRow)]
struct RefreshTokenRow {
    id: Uuid,
    user_id: Uuid,
    family_id: Uuid,
    is_spent: bool,
    is_good: bool,
    /// See `browser_sessions.rs`.
    is_browser: bool,
}

pub(crate) const ACTIVE_USER: &str = select_user!(
    "WHERE u.is_active AND u.id = (
         SELECT t.user_id FROM refresh_tokens t
         WHERE t.family_id = $1 AND NOT t.is_revoked AND t.expires_at > now() LIMIT 1)"
);

impl Accounts<'_> {
    /// Starts a session and returns its token family.
    pub async fn begin_session(
        &self,
        user: Uuid,
        token: NewToken<'_>,
        by: &Actor,
    ) -> Result<Uuid, StoreError> {
        self.begin_as(CredentialKind::Rotating, user, token, by).await
    }

    /// Starts a session with a credential of this kind and returns its token family.
    pub(super) async fn begin_as(
        &self,
        kind: CredentialKind,
        user: Uuid,
        token: NewToken<'_>,
        by: &Actor,
    ) -> Result<Uuid, StoreError> {
        let family = Uuid::new_v4();
        retry_call(self.0, "start the session", || async {
            let mut transaction = self.0.begin().await?;
            sqlx::query("DELETE FROM refresh_tokens WHERE user_id = $1 AND expires_at < now()")
                .bind(user)
                .execute(&mut *transaction)
                .await?;
            insert_token(&mut transaction, kind, user, family, token).await?;
            sqlx::query("UPDATE users SET last_login = now() WHERE id = $1")
                .bind(user)
                .execute(&mut *transaction)
                .await?;
            record_account_event(&mut transaction, Some(user), by, "login", &json!({})).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
        Ok(family)
    }

    /// Replaces a refresh token by a new one. Never retried: a second attempt would count as reuse.
    pub async fn rotate_refresh_token(
        &self,
        hash: &str,
        token: NewToken<'_>,
        by: &Actor,
    ) -> Result<RotationResult, StoreError> {
        let rotated = self.try_rotate(hash, token, by).await;
        rotated.map_err(|failure| failure.at(self.0).into_store_error("renew the session"))
    }

    async fn try_rotate(
        &self,
        hash: &str,
        token: NewToken<'_>,
        by: &Actor,
    ) -> Result<RotationResult, QueryError> {
        let mut transaction = self.0.begin().await?;
        let Some(known) = find_token(&mut transaction, hash).await? else {
            return Ok(RotationResult::Unknown);
        };
        let RefreshTokenRow { id, user_id: user, family_id: family, is_spent, is_good, is_browser } =
            known;
        // The credential of a browser session is valid only as a cookie.
        if !is_good || is_browser {
            return Ok(RotationResult::Unknown);
        }
        if is_spent {
            revoke_family(&mut transaction, family).await?;
            let what = "refresh_token_reused";
            record_account_event(&mut transaction, Some(user), by, what, &json!({})).await?;
            transaction.commit().await?;
            return Ok(RotationResult::Reused);
        }
        sqlx::query("UPDATE refresh_tokens SET used_at = now() WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        insert_token(&mut transaction, CredentialKind::Rotating, user, family, token).await?;
        let user = sqlx::query_as(select_user!("WHERE u.id = $1"))
            .bind(user)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(RotationResult::Rotated(Box::new(user), family))
    }

    /// Ends the session of a refresh token and returns its family; `None` if the token is unknown.
    pub async fn end_session(&self, hash: &str, by: &Actor) -> Result<Option<Uuid>, StoreError> {
        retry_call(self.0, "end the session", || async {
            let mut transaction = self.0.begin().await?;
            let Some(known) = find_token(&mut transaction, hash).await? else { return Ok(None) };
            revoke_family(&mut transaction, known.family_id).await?;
            record_account_event(&mut transaction, Some(known.user_id), by, "logout", &json!({}))
                .await?;
            transaction.commit().await?;
            Ok(Some(known.family_id))
        })
        .await
    }

    /// The account of a valid session; `None` if it has ended or expired.
    pub async fn active_user(&self, family: Uuid) -> Result<Option<User>, StoreError> {
        retry_call(self.0, "find the session", || async {
            Ok(sqlx::query_as(ACTIVE_USER).bind(family).fetch_optional(self.0).await?)
        })
        .await
    }

    /// `true` if an active administrator exists.
    pub async fn has_administrator(&self) -> Result<bool, StoreError> {
        retry_call(self.0, "look for an administrator", || async {
            Ok(has_administrator(&mut *self.0.acquire().await?).await?)
        })
        .await
    }

    /// The distinct addresses among the last thousand logins of an account within a month.
    pub async fn login_addresses(&self, username: &str) -> Result<Vec<String>, StoreError> {
        retry_call(self.0, "find the addresses of logins", || async {
            Ok(sqlx::query_scalar(
                "SELECT DISTINCT ip_address FROM (
                     SELECT a.ip_address FROM account_audit_log a
                     WHERE a.subject_id = (SELECT id FROM users WHERE username = $1) AND a.action = 'login'
                           AND a.ip_address IS NOT NULL AND a.created_at > now() - interval '30 days'
                     ORDER BY a.created_at DESC LIMIT 1000) logins",
            )
            .bind(username)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// Records a failed login. `user` is `None` if the attempted name belongs to no account; the
    /// name is then not recorded.
    pub async fn record_failed_login(
        &self,
        user: Option<Uuid>,
        by: &Actor,
    ) -> Result<(), StoreError> {
        retry_call(self.0, "record the failed login", || async {
            let mut connection = self.0.acquire().await?;
            Ok(record_account_event(&mut connection, user, by, "login_failed", &json!({})).await?)
        })
        .await
    }
}

pub(super) async fn revoke_family(
    connection: &mut PgConnection,
    family: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE refresh_tokens SET is_revoked = TRUE WHERE family_id = $1")
        .bind(family)
        .execute(connection)
        .await
        .map(drop)
}

async fn find_token(
    connection: &mut PgConnection,
    hash: &str,
) -> Result<Option<RefreshTokenRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT t.id, t.user_id, t.family_id, t.used_at IS NOT NULL AS is_spent,
                NOT t.is_revoked AND t.expires_at > now() AND u.is_active AS is_good, t.is_browser
         FROM refresh_tokens t JOIN users u ON u.id = t.user_id WHERE t.token_hash = $1 FOR UPDATE OF t",
    )
    .bind(hash)
    .fetch_optional(connection)
    .await
}

async fn insert_token(
    connection: &mut PgConnection,
    kind: CredentialKind,
    user: Uuid,
    family: Uuid,
    token: NewToken<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO refresh_tokens (user_id, family_id, token_hash, expires_at, is_browser)
         VALUES ($1, $2, $3, now() + make_interval(secs => $4), $5)",
    )
    .bind(user)
    .bind(family)
    .bind(token.hash)
    .bind(token.lifetime.as_secs_f64())
    .bind(kind == CredentialKind::Browser)
    .execute(connection)
    .await
    .map(drop)
}
