//! Access tokens: JWT with HMAC-SHA-256 (RFC 7519), valid for 15 minutes.
//!
//! A token names its account and session but no rights: those are looked up, so that a revocation
//! takes effect immediately. The keys are in the database, shared by all servers that use it; a new
//! key is created when the newest is a month old.

use std::sync::RwLock;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use metadata::{Accounts, SigningKey};
use pipeline::StoreError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::secret;

/// Lifetime of an access token.
pub(super) const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Lifetime of a refresh token.
pub(super) const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Age of the newest key at which a new one is created. Keys of twice this age are no longer valid.
const MAX_KEY_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Minimum interval of reading the keys again for a token that names an unknown one.
const KEY_RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Claims of a token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The account.
    sub: Uuid,
    /// The session.
    sid: Uuid,
    /// Time of issue and of expiry, in seconds since 1970.
    iat: u64,
    exp: u64,
    /// Issuer. Servers do not set it, so a token that has one is meant for another system.
    #[serde(default, skip_serializing)]
    iss: Option<serde_json::Value>,
}

/// Allowed clock difference between servers of one database, in seconds.
const LEEWAY: u64 = 5;

/// Signs and verifies access tokens.
pub(crate) struct TokenSigner {
    keys: RwLock<(Vec<SigningKey>, Instant)>,
}

impl TokenSigner {
    /// Reads the keys; creates the first one.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(crate) async fn new(accounts: &Accounts<'_>) -> Result<Self, StoreError> {
        let keys = load_keys(accounts).await?;
        Ok(Self { keys: RwLock::new((keys, Instant::now())) })
    }

    /// A token for a session of an account.
    pub(super) fn sign(&self, user: Uuid, session: Uuid) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let exp = now + ACCESS_TOKEN_LIFETIME.as_secs();
        let claims = Claims { sub: user, sid: session, iat: now, exp, iss: None };
        let keys = self.keys.read().expect("no code panics with this lock");
        let newest = keys.0.first().expect("reading creates one");
        let header = Header { kid: Some(newest.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&newest.secret))
            .expect("claims are JSON, and HMAC takes any key")
    }

    /// Account and session of a valid token: signed with one of the keys, without `iss` and `aud`,
    /// at a time between `iat`, `nbf` and `exp`. `None` for other tokens. The caller looks up
    /// whether the session is active and belongs to the account.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(super) async fn verify(
        &self,
        token: &str,
        accounts: &Accounts<'_>,
    ) -> Result<Option<(Uuid, Uuid)>, StoreError> {
        let Some(kid) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid)
        else {
            return Ok(None);
        };
        if self.key(&kid).is_none() && self.is_stale() {
            let keys = load_keys(accounts).await?;
            *self.keys.write().expect("no code panics with this lock") = (keys, Instant::now());
        }
        let Some(secret) = self.key(&kid) else { return Ok(None) };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // No audience is expected, so a token with one is refused.
        validation.validate_aud = true;
        let key = DecodingKey::from_secret(&secret);
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        let now = jsonwebtoken::get_current_timestamp();
        let good = decoded.ok().map(|token| token.claims).filter(|claims| {
            let lifetime = claims.exp.saturating_sub(claims.iat);
            claims.iss.is_none()
                && claims.iat <= now + LEEWAY
                && lifetime <= ACCESS_TOKEN_LIFETIME.as_secs()
        });
        Ok(good.map(|claims| (claims.sub, claims.sid)))
    }

    fn key(&self, kid: &str) -> Option<Vec<u8>> {
        let keys = self.keys.read().expect("no code panics with this lock");
        keys.0.iter().find(|key| key.kid == kid).map(|key| key.secret.clone())
    }

    fn is_stale(&self) -> bool {
        self.keys.read().expect("no code panics with this lock").1.elapsed() > KEY_RELOAD_INTERVAL
    }
}

async fn load_keys(accounts: &Accounts<'_>) -> Result<Vec<SigningKey>, StoreError> {
    let (kid, secret) = (secret::random_secret()[..16].to_owned(), secret::random_bytes());
    accounts.signing_keys((&kid, &secret), MAX_KEY_AGE).await
}
