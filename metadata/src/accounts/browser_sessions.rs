//! Browser sessions: one credential in a cookie that scripts cannot read. It stays the same for the
//! whole session, so any number of tabs can use it concurrently.
//!
//! The session is a row of the refresh tokens in a separate token family: everything that ends the
//! sessions of an account ends it too. It is not accepted as a refresh token.

use std::time::Duration;

use pipeline::StoreError;
use serde_json::json;
use sqlx::FromRow;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::sessions::{CredentialKind, NewToken, revoke_family};
use crate::accounts::users::{User, select_user};
use crate::audit::{Actor, record_account_event};
use crate::retry_call;

/// Used lifetime before a session is extended, so that opening a tab does not always cause a write.
const EXTEND_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits on the lifetime of a browser session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLifetime {
    /// Longest time between two uses.
    pub idle: Duration,
    /// Longest time since the login.
    pub absolute: Duration,
}

#[derive(FromRow)]
struct BrowserSessionRow {
    id: Uuid,
    user_id: Uuid,
    family_id: Uuid,
    is_due: bool,
}

const FIND_BROWSER_SESSION: &str = "
    SELECT t.id, t.user_id, t.family_id,
           t.expires_at < least(now() + make_interval(secs => $2), t.created_at + make_interval(secs => $3))
               AND current_setting('transaction_read_only') = 'off' AS is_due
    FROM refresh_tokens t JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = $1 AND t.is_browser AND NOT t.is_revoked AND t.expires_at > now() AND u.is_active";

impl Accounts<'_> {
    /// Starts a browser session and returns its token family.
    pub async fn begin_browser_session(
        &self,
        user: Uuid,
        token: NewToken<'_>,
        by: &Actor,
    ) -> Result<Uuid, StoreError> {
        self.begin_as(CredentialKind::Browser, user, token, by).await
    }

    /// Extends a browser session and returns its account and token family; `None` if the session
    /// has expired or was ended.
    pub async fn resume_browser_session(
        &self,
        hash: &str,
        lifetime: SessionLifetime,
    ) -> Result<Option<(User, Uuid)>, StoreError> {
        let soon = lifetime.idle.saturating_sub(EXTEND_AFTER).as_secs_f64();
        retry_call(self.0, "resume the session", || async {
            let mut connection = self.0.acquire().await?;
            let known: Option<BrowserSessionRow> = sqlx::query_as(FIND_BROWSER_SESSION)
                .bind(hash)
                .bind(soon)
                .bind(lifetime.absolute.as_secs_f64())
                .fetch_optional(&mut *connection)
                .await?;
            let Some(known) = known else { return Ok(None) };
            if known.is_due {
                sqlx::query(
                    "UPDATE refresh_tokens SET used_at = now(), expires_at = greatest(expires_at,
                         least(now() + make_interval(secs => $2), created_at + make_interval(secs => $3)))
                     WHERE id = $1",
                )
                .bind(known.id)
                .bind(lifetime.idle.as_secs_f64())
                .bind(lifetime.absolute.as_secs_f64())
                .execute(&mut *connection)
                .await?;
            }
            let user = sqlx::query_as(select_user!("WHERE u.id = $1"))
                .bind(known.user_id)
                .fetch_one(&mut *connection)
                .await?;
            Ok(Some((user, known.family_id)))
        })
        .await
    }

    /// Ends a browser session; `false` if it has expired or was ended before.
    pub async fn end_browser_session(&self, hash: &str, by: &Actor) -> Result<bool, StoreError> {
        retry_call(self.0, "end the session", || async {
            let mut transaction = self.0.begin().await?;
            let known: Option<BrowserSessionRow> = sqlx::query_as(FIND_BROWSER_SESSION)
                .bind(hash)
                .bind(0.0)
                .bind(0.0)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(known) = known else { return Ok(false) };
            revoke_family(&mut transaction, known.family_id).await?;
            record_account_event(&mut transaction, Some(known.user_id), by, "logout", &json!({}))
                .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }
}
