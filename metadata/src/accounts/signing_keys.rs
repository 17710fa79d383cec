//! The keys that sign access tokens, shared by all servers of the database.

use std::time::Duration;

use pipeline::StoreError;
use sqlx::FromRow;

use crate::accounts::Accounts;
use crate::retry_call;

/// A key that signs access tokens.
#[derive(Clone, PartialEq, Eq, FromRow)]
pub struct SigningKey {
    /// Key id in the header of a token.
    pub kid: String,
    /// 32 random bytes.
    pub secret: Vec<u8>,
}

const SIGNING_KEYS: &str = "
    SELECT kid, secret FROM signing_keys ORDER BY created_at DESC, kid";

impl Accounts<'_> {
    /// The keys that sign access tokens, newest first. Inserts `fresh` if no key is younger than
    /// `age`; deletes keys older than twice `age`.
    pub async fn signing_keys(
        &self,
        fresh: (&str, &[u8]),
        age: Duration,
    ) -> Result<Vec<SigningKey>, StoreError> {
        let seconds = age.as_secs_f64();
        retry_call(self.0, "read the signing keys", || async {
            let read_only: bool = sqlx::query_scalar(
                "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
            )
            .fetch_one(self.0)
            .await?;
            if read_only {
                // Existing tokens are still verified. Logins are impossible, so no token is signed;
                // the fresh key is returned because the caller needs a newest key.
                let mut keys: Vec<SigningKey> = sqlx::query_as(SIGNING_KEYS).fetch_all(self.0).await?;
                if keys.is_empty() {
                    let (kid, secret) = (fresh.0.to_owned(), fresh.1.to_vec());
                    keys.push(SigningKey { kid, secret, });
                }
                return Ok(keys);
            }
            let mut transaction = self.0.begin().await?;
            // Servers that start concurrently must not insert one key each.
            sqlx::query("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "INSERT INTO signing_keys (kid, secret) SELECT $1, $2 WHERE NOT EXISTS (
                     SELECT FROM signing_keys WHERE created_at > now() - make_interval(secs => $3))",
            )
            .bind(fresh.0)
            .bind(fresh.1)
            .bind(seconds)
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "DELETE FROM signing_keys WHERE created_at < now() - make_interval(secs => 2 * $1)",
            )
            .bind(seconds)
            .execute(&mut *transaction)
            .await?;
            let keys = sqlx::query_as(SIGNING_KEYS).fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(keys)
        })
        .await
    }
}
