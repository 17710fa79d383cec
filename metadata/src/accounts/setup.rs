//! Set-up of a server: the token for the first administrator.

use std::time::Duration;

use pipeline::StoreError;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::users::{NewUser, User, has_administrator, insert};
use crate::audit::Actor;
use crate::retry_call;

impl Accounts<'_> {
    /// Offers a setup token for the first administrator; `false` if an administrator exists or a
    /// setup token was consumed before.
    pub async fn create_setup_token(
        &self,
        hash: &str,
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        retry_call(self.0, "offer the setup token", || async {
            let offered = sqlx::query(
                "INSERT INTO setup_tokens (token_hash, expires_at)
                 SELECT $1, now() + make_interval(secs => $2)
                 WHERE NOT EXISTS (SELECT FROM users WHERE is_superuser)
                 ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, expires_at = excluded.expires_at
                 WHERE setup_tokens.used_at IS NULL",
            )
            .bind(hash)
            .bind(lifetime.as_secs_f64())
            .execute(self.0)
            .await?;
            Ok(offered.rows_affected() > 0)
        })
        .await
    }

    /// Consumes the setup token and creates the first administrator; `None` if the token is invalid
    /// or expired.
    ///
    /// # Errors
    /// [`pipeline::Remedy::Conflict`] if the name or the email address is in use; the token stays
    /// valid then.
    pub async fn create_first_administrator(
        &self,
        hash: &str,
        new: &NewUser,
        by: &Actor,
    ) -> Result<Option<User>, StoreError> {
        let id = Uuid::new_v4();
        retry_call(self.0, "create the first administrator", || async {
            let mut transaction = self.0.begin().await?;
            // A concurrent caller waits here and then finds the token consumed.
            let spent = sqlx::query(
                "UPDATE setup_tokens SET used_at = now()
                 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()",
            )
            .bind(hash)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            if spent == 0 || has_administrator(&mut transaction).await? {
                return Ok(None);
            }
            let user = insert(&mut transaction, id, new, by).await?;
            transaction.commit().await?;
            Ok(Some(user))
        })
        .await
    }
}
