//! API keys: credentials of programs. Only the digest of a key is stored.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::audit::{Actor, record_account_event};
use crate::query_error::is_read_only;
use crate::retry_call;

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct ApiKey {
    /// Id of the key, for grants and revocation.
    pub id: Uuid,
    /// Purpose of the key.
    name: String,
    /// The first characters of the key, for recognition.
    #[schema(example = "smk_k3Xp0aQz")]
    prefix: String,
    scopes: Vec<String>,
    /// `false` once the key was revoked.
    is_active: bool,
    /// Time of the last use, to the minute.
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

/// Data of a key to create.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name, chosen by the owner.
    pub name: String,
    /// Display prefix of the key.
    pub prefix: String,
    /// SHA-256 of the key in hexadecimal digits.
    pub hash: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Time of expiry; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A valid key and what it grants.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AuthenticatedKey {
    /// Id of the key.
    pub key_id: Uuid,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The account that it acts for.
    pub user_id: Uuid,
    /// User name of that account.
    pub username: String,
    /// `true` if the account has all rights.
    pub is_superuser: bool,
}

pub(crate) const AUTHENTICATE: &str = "
    SELECT k.id AS key_id, k.scopes, u.id AS user_id, u.username, u.is_superuser
    FROM api_keys k
    CROSS JOIN LATERAL (SELECT u.id, u.username, u.is_superuser, u.is_active FROM users u
                        WHERE u.id = k.user_id OFFSET 0) u
    WHERE k.key_hash = $1 AND k.is_active AND u.is_active AND coalesce(k.expires_at > now(), TRUE)";

pub(crate) const LIST_KEYS: &str = "
    SELECT id, name, prefix, scopes, is_active, last_used_at, created_at, expires_at
    FROM api_keys WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3";

impl Accounts<'_> {
    /// The keys of an account, revoked ones included, in order of id, after `after`.
    pub async fn list_keys(
        &self,
        user: Uuid,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, StoreError> {
        retry_call(self.0, "list the keys", || async {
            Ok(sqlx::query_as(LIST_KEYS)
                .bind(user)
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(i64::from(limit))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// Creates a key for an account.
    pub async fn create_key(
        &self,
        user: Uuid,
        new: &NewKey,
        by: &Actor,
    ) -> Result<ApiKey, StoreError> {
        let id = Uuid::new_v4();
        retry_call(self.0, "create the key", || async {
            let mut transaction = self.0.begin().await?;
            let key = sqlx::query_as(
                "INSERT INTO api_keys (id, user_id, name, prefix, key_hash, scopes, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 RETURNING id, name, prefix, scopes, is_active, last_used_at, created_at, expires_at",
            )
            .bind(id)
            .bind(user)
            .bind(&new.name)
            .bind(&new.prefix)
            .bind(&new.hash)
            .bind(&new.scopes)
            .bind(new.expires_at)
            .fetch_one(&mut *transaction)
            .await?;
            let details = json!({ "key": id, "name": new.name, "scopes": new.scopes });
            record_account_event(&mut transaction, Some(user), by, "key_created", &details).await?;
            transaction.commit().await?;
            Ok(key)
        })
        .await
    }

    /// Revokes a key of an account; `false` if it does not exist.
    pub async fn revoke_key(&self, user: Uuid, key: Uuid, by: &Actor) -> Result<bool, StoreError> {
        retry_call(self.0, "revoke the key", || async {
            let mut transaction = self.0.begin().await?;
            let revoked =
                sqlx::query("UPDATE api_keys SET is_active = FALSE WHERE id = $1 AND user_id = $2")
                    .bind(key)
                    .bind(user)
                    .execute(&mut *transaction)
                    .await?
                    .rows_affected();
            if revoked > 0 {
                let details = json!({ "key": key });
                record_account_event(&mut transaction, Some(user), by, "key_revoked", &details)
                    .await?;
            }
            transaction.commit().await?;
            Ok(revoked > 0)
        })
        .await
    }

    /// The valid key with this digest; records its use at most once a minute.
    pub async fn authenticate_key(
        &self,
        hash: &str,
    ) -> Result<Option<AuthenticatedKey>, StoreError> {
        retry_call(self.0, "find the key", || async {
            let found: Option<AuthenticatedKey> =
                sqlx::query_as(AUTHENTICATE).bind(hash).fetch_optional(self.0).await?;
            if let Some(found) = &found {
                let noted = sqlx::query(
                    "UPDATE api_keys SET last_used_at = now()
                     WHERE id = $1 AND coalesce(last_used_at < now() - interval '1 minute', TRUE)",
                )
                .bind(found.key_id)
                .execute(self.0)
                .await;
                // The key is valid even if its use cannot be recorded.
                if let Err(error) = noted {
                    if !is_read_only(&error) {
                        return Err(error.into());
                    }
                    tracing::trace!("the database is read-only: the use of a key is not recorded");
                }
            }
            Ok(found)
        })
        .await
    }
}
