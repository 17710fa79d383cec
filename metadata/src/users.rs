//! Users: accounts of people and programs. What a password is hashed with is nobody's business here.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::audit::{By, given, of_account};
use super::failure::Failure;
use super::{LOCAL_ACCOUNT, attempt, sessions};

/// An account.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct User {
    /// Its id.
    pub id: Uuid,
    /// What it logs in by.
    pub username: String,
    /// Where it can be reached.
    pub email: String,
    /// What it is called.
    pub full_name: Option<String>,
    /// May it do anything?
    pub is_active: bool,
    /// May it do everything?
    pub is_superuser: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it logged in last.
    pub last_login: Option<DateTime<Utc>>,
    /// What its owner likes; for the page to know.
    pub preferences: Value,
}

/// An account that is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique.
    pub username: String,
    /// Unique.
    pub email: String,
    /// What it is called.
    pub full_name: Option<String>,
    /// In the PHC string format.
    pub hashed_password: String,
    /// May it do everything?
    pub is_superuser: bool,
}

/// What is to change of an account; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Unique.
    pub email: Option<String>,
    /// What it is called.
    pub full_name: Option<String>,
    /// May it do anything?
    pub is_active: Option<bool>,
    /// May it do everything?
    pub is_superuser: Option<bool>,
    /// Replaces what was there.
    pub preferences: Option<Value>,
}

/// The columns of [`User`].
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

/// The accounts of a store.
pub struct Users<'a>(pub(super) &'a PgPool);

impl Users<'_> {
    /// Accounts in order of id, from behind `after` on.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn list(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<User>, StoreError> {
        attempt(self.0, "list the users", || async {
            Ok(sqlx::query_as(select!("WHERE u.id > $1 ORDER BY u.id LIMIT $2"))
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(i64::from(limit))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// One account.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn find(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        attempt(self.0, "find the user", || async {
            Ok(sqlx::query_as(select!("WHERE u.id = $1")).bind(id).fetch_optional(self.0).await?)
        })
        .await
    }

    /// One account by its name.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn named(&self, username: &str) -> Result<Option<User>, StoreError> {
        attempt(self.0, "find the user", || async {
            Ok(sqlx::query_as(select!("WHERE u.username = $1"))
                .bind(username)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// The hash of an account's password.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn password(&self, id: Uuid) -> Result<Option<String>, StoreError> {
        attempt(self.0, "read the password", || async {
            Ok(sqlx::query_scalar("SELECT hashed_password FROM users WHERE id = $1")
                .bind(id)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if its name or its address is taken.
    pub async fn create(&self, new: &NewUser, by: &By) -> Result<User, StoreError> {
        let id = Uuid::new_v4();
        attempt(self.0, "make the user", || async {
            let mut transaction = self.0.begin().await?;
            let user = insert(&mut transaction, id, new, by).await?;
            transaction.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Changes an account; nothing if there is none. One that is deactivated loses its sessions.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the address is taken, or no administrator would be left.
    pub async fn change(
        &self,
        id: Uuid,
        change: &UserChange,
        by: &By,
    ) -> Result<Option<User>, StoreError> {
        attempt(self.0, "change the user", || self.try_change(id, change, by)).await
    }

    async fn try_change(
        &self,
        id: Uuid,
        change: &UserChange,
        by: &By,
    ) -> Result<Option<User>, Failure> {
        let mut transaction = self.0.begin().await?;
        // Two administrators who deactivate each other wait for one another here.
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
        .bind(&change.preferences)
        .bind(LOCAL_ACCOUNT)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if changed == 0 {
            return Ok(None);
        }
        let loses_rights = change.is_active == Some(false) || change.is_superuser == Some(false);
        if loses_rights && !has_administrator(&mut transaction).await? {
            return Err(Failure::Conflict("no administrator would be left".to_owned()));
        }
        if change.is_active == Some(false) {
            sessions::end_all(&mut transaction, id).await?;
        }
        let details = given(json!({
            "email": change.email, "full_name": change.full_name, "is_active": change.is_active,
            "is_superuser": change.is_superuser,
        }));
        of_account(&mut transaction, Some(id), by, "user_changed", &details).await?;
        let user = sqlx::query_as(select!("WHERE u.id = $1"))
            .bind(id)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(user))
    }

    /// Gives an account another password, and ends its sessions.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn set_password(&self, id: Uuid, hash: &str, by: &By) -> Result<bool, StoreError> {
        attempt(self.0, "change the password", || async {
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
                sessions::end_all(&mut transaction, id).await?;
                of_account(&mut transaction, Some(id), by, "password_changed", &json!({})).await?;
            }
            transaction.commit().await?;
            Ok(changed > 0)
        })
        .await
    }

    /// The addresses of an account's last thousand logins, within a month, each once.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn login_addresses(&self, username: &str) -> Result<Vec<String>, StoreError> {
        attempt(self.0, "find the addresses of logins", || async {
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

    /// Notes that somebody could not log in; the name that was tried is in the entry only if it is an account's.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub async fn refused(&self, user: Option<Uuid>, by: &By) -> Result<(), StoreError> {
        attempt(self.0, "note the failed login", || async {
            let mut connection = self.0.acquire().await?;
            Ok(of_account(&mut connection, user, by, "login_failed", &json!({})).await?)
        })
        .await
    }
}

/// Whether somebody is left who may do everything.
pub(super) async fn has_administrator(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM users WHERE is_superuser AND is_active)")
        .fetch_one(connection)
        .await
}

/// Makes an account, and notes who did.
pub(super) async fn insert(
    connection: &mut PgConnection,
    id: Uuid,
    new: &NewUser,
    by: &By,
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
    of_account(connection, Some(id), by, "user_created", &details).await?;
    Ok(user)
}
