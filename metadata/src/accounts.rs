//! Accounts of users and programs, with their sessions and API keys. Passwords, tokens and keys are
//! stored and passed as digests only; the caller computes them.

mod browser_sessions;
mod keys;
mod sessions;
mod setup;
mod signing_keys;
mod users;

use sqlx::PgPool;

use crate::Postgres;

pub use browser_sessions::SessionLifetime;
pub use keys::{ApiKey, AuthenticatedKey, NewKey};
pub use sessions::{NewToken, RotationResult};
pub use signing_keys::SigningKey;
pub use users::{NewUser, User, UserUpdate};

#[cfg(feature = "test-util")]
pub(crate) use {
    keys::{AUTHENTICATE, LIST_KEYS},
    sessions::ACTIVE_USER,
};

/// The built-in account that the command line acts as.
pub const LOCAL_ACCOUNT: &str = "local";

/// The accounts of the metadata store, with their sessions and API keys.
///
/// # Errors
/// Every method fails if the store cannot be reached; methods with further errors list them.
pub struct Accounts<'a>(&'a PgPool);

impl Postgres {
    /// The accounts, with their sessions and API keys.
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(&self.pool)
    }
}
