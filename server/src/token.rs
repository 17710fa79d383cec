//! Access tokens: JWT by HMAC-SHA-256 (RFC 7519), good for a quarter of an hour.
//!
//! A token names its account and its session, and nothing about rights: those are looked up, so that what was taken
//! away is gone at once. The keys lie in the database, where every server of it finds them; a new one is made when
//! the newest is a month old.

use std::sync::RwLock;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pipeline::StoreError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ports::{Accounts, SigningKey};
use super::secret;

/// How long an access token is good.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a refresh token may be used.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How old the newest key may grow. Keys of twice that age check nothing any more.
const KEY_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Keys are read again for a token that names an unknown one, but not more often than this.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The account.
    sub: Uuid,
    /// The session.
    sid: Uuid,
    /// When it was made and until when it is good, in seconds since 1970.
    iat: u64,
    exp: u64,
    /// Who has made it. Servers of one database name nobody, so a token that does is meant for something else.
    #[serde(default, skip_serializing)]
    iss: Option<serde_json::Value>,
}

/// Seconds by which the clocks of servers of one database may differ.
const LEEWAY: u64 = 5;

/// Signs and checks access tokens.
pub(crate) struct Signer {
    keys: RwLock<(Vec<SigningKey>, Instant)>,
}

impl Signer {
    /// Reads the keys, and makes the first.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(crate) async fn new(accounts: &dyn Accounts) -> Result<Self, StoreError> {
        let keys = read(accounts).await?;
        Ok(Self { keys: RwLock::new((keys, Instant::now())) })
    }

    /// A token for a session of an account.
    pub(super) fn sign(&self, user: Uuid, session: Uuid) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let exp = now + LIFETIME.as_secs();
        let claims = Claims { sub: user, sid: session, iat: now, exp, iss: None };
        let keys = self.keys.read().expect("nobody panics while holding it");
        let newest = keys.0.first().expect("reading makes one");
        let header = Header { kid: Some(newest.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&newest.secret))
            .expect("claims are JSON, and HMAC takes any key")
    }

    /// The account and the session of a token that is good: signed by one of the keys, for this server (`iss` and `aud` are
    /// absent), at a time between `iat`, `nbf` and `exp`. Whether the session goes on, and is the account's, is looked up.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(super) async fn session(
        &self,
        token: &str,
        accounts: &dyn Accounts,
    ) -> Result<Option<(Uuid, Uuid)>, StoreError> {
        let Some(kid) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid)
        else {
            return Ok(None);
        };
        if self.key(&kid).is_none() && self.is_stale() {
            let keys = read(accounts).await?;
            *self.keys.write().expect("nobody panics while holding it") = (keys, Instant::now());
        }
        let Some(secret) = self.key(&kid) else { return Ok(None) };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // A token with an audience is refused, since none is expected.
        validation.validate_aud = true;
        let key = DecodingKey::from_secret(&secret);
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        let now = jsonwebtoken::get_current_timestamp();
        let good = decoded.ok().map(|token| token.claims).filter(|claims| {
            let lifetime = claims.exp.saturating_sub(claims.iat);
            claims.iss.is_none() && claims.iat <= now + LEEWAY && lifetime <= LIFETIME.as_secs()
        });
        Ok(good.map(|claims| (claims.sub, claims.sid)))
    }

    fn key(&self, kid: &str) -> Option<Vec<u8>> {
        let keys = self.keys.read().expect("nobody panics while holding it");
        keys.0.iter().find(|key| key.kid == kid).map(|key| key.secret.clone())
    }

    fn is_stale(&self) -> bool {
        self.keys.read().expect("nobody panics while holding it").1.elapsed() > READ_AGAIN
    }
}

async fn read(accounts: &dyn Accounts) -> Result<Vec<SigningKey>, StoreError> {
    let (kid, secret) = (secret::random()[..16].to_owned(), secret::random_bytes());
    accounts.signing_keys((&kid, &secret), KEY_AGE).await
}
