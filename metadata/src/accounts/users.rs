//! The accounts themselves: created, listed, changed.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::audit::{Actor, record_account_event, without_nulls};
use crate::query_error::QueryError;
use crate::{LOCAL_ACCOUNT, retry_call};

/// An account.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize, ToSchema)]
pub struct User {
    /// Id of the account; it never changes.
    pub id: Uuid,
    /// Name for the login.
    pub username: String,
    /// E-mail address; unique among accounts.
    pub email: String,
    full_name: Option<String>,
    /// `true` if it can log in and its keys are valid.
    pub is_active: bool,
    /// `true` if it is an administrator of the server.
    pub is_superuser: bool,
    created_at: DateTime<Utc>,
    /// Time of the last login with a password; missing before the first.
    pub last_login: Option<DateTime<Utc>>,
    /// Preferences of the user, read by the web UI only.
    #[schema(value_type = Object)]
    preferences: Value,
}

/// Data of an account to create.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique name for the login.
    pub username: String,
    /// Unique email address.
    pub email: String,
    /// Display name.
    pub full_name: Option<String>,
    /// Password hash in PHC string format.
    pub hashed_password: String,
    /// `true` if it has all rights.
    pub is_superuser: bool,
}

/// Changes to an account; `None` keeps a field.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    /// New email address, unique.
    pub email: Option<String>,
    /// New display name.
    pub full_name: Option<String>,
    /// `false` deactivates the account.
    pub is_active: Option<bool>,
    /// `true` if it has all rights.
    pub is_superuser: Option<bool>,
    /// Replaces all preferences.
    pub preferences: Option<Map<String, Value>>,
}

/// A query with the columns of [`User`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.username, u.email, u.full_name, u.is_active, u.is_superuser, u.created_at, u.last_login,
                    u.preferences
             FROM users u ",
            $rest
        )
    };
}
pub(super) use select as select_user;

impl Accounts<'_> {
    /// Accounts in order of id, after `after`.
    pub async fn list_users(
        &self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<User>, StoreError> {
        retry_call(self.0, "list the users", || async {
            Ok(sqlx::query_as(select!("WHERE u.id > $1 ORDER BY u.id LIMIT $2"))
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(i64::from(limit))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// One account; `None` if it does not exist.
    pub async fn find_user(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        retry_call(self.0, "find the user", || async {
            Ok(sqlx::query_as(select!("WHERE u.id = $1")).bind(id).fetch_optional(self.0).await?)
        })
        .await
    }

    /// One account by user name; `None` if it does not exist.
    pub async fn find_user_by_name(&self, username: &str) -> Result<Option<User>, StoreError> {
        retry_call(self.0, "find the user", || async {
            Ok(sqlx::query_as(select!("WHERE u.username = $1"))
                .bind(username)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// Password hash of an account; `None` if it does not exist.
    pub async fn password_hash(&self, id: Uuid) -> Result<Option<String>, StoreError> {
        retry_call(self.0, "read the password", || async {
            Ok(sqlx::query_scalar("SELECT hashed_password FROM users WHERE id = $1")
                .bind(id)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the name or the email address is in use.
    pub async fn create_user(&self, new: &NewUser, by: &Actor) -> Result<User, StoreError> {
        let id = Uuid::new_v4();
        retry_call(self.0, "create the user", || async {
            let mut transaction = self.0.begin().await?;
            let user = insert(&mut transaction, id, new, by).await?;
            transaction.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Changes an account; `None` if it does not exist. Deactivation ends its sessions.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the email address is in use, or no administrator would be
    /// left.
    pub async fn update_user(
        &self,
        id: Uuid,
        change: &UserUpdate,
        by: &Actor,
    ) -> Result<Option<User>, StoreError> {
        retry_call(self.0, "change the user", || self.try_update(id, change, by)).await
    }

    async fn try_update(
        &self,
        id: Uuid,
        change: &UserUpdate,
        by: &Actor,
    ) -> Result<Option<User>, QueryError> {
        let mut transaction = self.0.begin().await?;
        // Serialises two administrators that deactivate each other.
        sqlx::query("SELECT id FROM users WHERE is_superuser ORDER BY id FOR UPDATE")
            .execute(&mut *transaction)
            .await?;
        let changed = sqlx::query(
            "UPDATE users SET email = coalesce($2, email), full_name = coalesce($3, full_name),
                    is_active = coalesce($4, is_active), is_superuser = coalesce($5, is_superuser),
                    preferences = coalesce($6, preferences)
             WHERE id = $1 AND username <> $7",
        )
        .bind(id)
        .bind(&change.email)
        .bind(&change.full_name)
        .bind(change.is_active)
        .bind(change.is_superuser)
        .bind(change.preferences.as_ref().map(Json))
        .bind(LOCAL_ACCOUNT)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if changed == 0 {
            return Ok(None);
        }
        let loses_rights = change.is_active == Some(false) || change.is_superuser == Some(false);
        if loses_rights && !has_administrator(&mut transaction).await? {
            return Err(QueryError::Conflict("no administrator would be left".to_owned()));
        }
        if change.is_active == Some(false) {
            revoke_sessions(&mut transaction, id).await?;
        }
        let details = without_nulls(json!({
            "email": change.email, "full_name": change.full_name, "is_active": change.is_active,
            "is_superuser": change.is_superuser,
        }));
        record_account_event(&mut transaction, Some(id), by, "user_changed", &details).await?;
        let user = sqlx::query_as(select!("WHERE u.id = $1"))
            .bind(id)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(user))
    }

    /// Changes the password of an account and ends its sessions; `false` if it does not exist.
    pub async fn set_password(&self, id: Uuid, hash: &str, by: &Actor) -> Result<bool, StoreError> {
        retry_call(self.0, "change the password", || async {
            let mut transaction = self.0.begin().await?;
            let changed = sqlx::query(
                "UPDATE users SET hashed_password = $2 WHERE id = $1 AND username <> $3",
            )
            .bind(id)
            .bind(hash)
            .bind(LOCAL_ACCOUNT)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            if changed > 0 {
                revoke_sessions(&mut transaction, id).await?;
                record_account_event(
                    &mut transaction,
                    Some(id),
                    by,
                    "password_changed",
                    &json!({}),
                )
                .await?;
            }
            transaction.commit().await?;
            Ok(changed > 0)
        })
        .await
    }
}

/// `true` if an active administrator exists.
pub(super) async fn has_administrator(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM users WHERE is_superuser AND is_active)")
        .fetch_one(connection)
        .await
}

/// Creates an account and writes the audit entry.
pub(super) async fn insert(
    connection: &mut PgConnection,
    id: Uuid,
    new: &NewUser,
    by: &Actor,
) -> Result<User, sqlx::Error> {
    let user = sqlx::query_as(
        "INSERT INTO users AS u (id, username, email, full_name, hashed_password, is_superuser)
         VALUES ($1, $2, $3, $4, $5, $6)
         RETURNING u.id, u.username, u.email, u.full_name, u.is_active, u.is_superuser, u.created_at, u.last_login,
                   u.preferences",
    )
    .bind(id)
    .bind(&new.username)
    .bind(&new.email)
    .bind(&new.full_name)
    .bind(&new.hashed_password)
    .bind(new.is_superuser)
    .fetch_one(&mut *connection)
    .await?;
    let details = json!({ "username": new.username, "is_superuser": new.is_superuser });
    record_account_event(connection, Some(id), by, "user_created", &details).await?;
    Ok(user)
}

/// Ends every session of an account.
async fn revoke_sessions(connection: &mut PgConnection, user: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE refresh_tokens SET is_revoked = TRUE WHERE user_id = $1")
        .bind(user)
        .execute(connection)
        .await
        .map(drop)
}
