//! The credential of a caller: a session or a key. Long responses use it to check again that it is
//! still valid.

use pipeline::StoreError;
use uuid::Uuid;

use super::App;
use super::right::{Identity, Scope};

/// The credential of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// No credential.
    None,
    /// An access token of a session of an account.
    Session { session: Uuid, user: Uuid },
    /// The digest of an API key.
    Key(String),
}

impl Credential {
    /// The current identity; `None` if the credential is invalid, expired or revoked. Cached as
    /// `caches.rs` describes.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(super) async fn identity(&self, app: &App) -> Result<Option<Identity>, StoreError> {
        let accounts = app.accounts();
        match self {
            Self::None => Ok(Some(Identity::Anonymous)),
            Self::Session { session, user } => {
                let found = app.caches.session(&accounts, *session).await?;
                // A token contains its account; a mismatch means that this server did not issue it.
                let found = found.filter(|found| found.id == *user);
                Ok(found.map(|user| Identity::User {
                    id: user.id,
                    username: user.username.clone(),
                    is_superuser: user.is_superuser,
                }))
            }
            Self::Key(digest) => {
                let found = app.caches.key(&accounts, digest.clone()).await?;
                Ok(found.map(|found| Identity::Key {
                    key: found.key_id,
                    id: found.user_id,
                    username: found.username.clone(),
                    is_superuser: found.is_superuser,
                    scope: Scope::widest(&found.scopes),
                }))
            }
        }
    }
}
