//! By what a caller has come in: a session or a key. What goes on for long asks again whether it still holds.

use pipeline::StoreError;
use uuid::Uuid;

use super::App;
use super::right::{Identity, Scope};

/// What a caller has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nothing.
    None,
    /// An access token, of a session of an account.
    Session { session: Uuid, user: Uuid },
    /// An API key, by its digest.
    Key(String),
}

impl Credential {
    /// Who that is now; `None` if it is not good (any more). Believed for as long as `caches.rs` says.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(super) async fn identity(&self, app: &App) -> Result<Option<Identity>, StoreError> {
        let accounts = app.accounts.as_ref();
        match self {
            Self::None => Ok(Some(Identity::Anonymous)),
            Self::Session { session, user } => {
                let found = app.caches.session(accounts, *session).await?;
                // A token names its account; one that names another was not made by this server.
                let found = found.filter(|found| found.id == *user);
                Ok(found.map(|user| Identity::User {
                    id: user.id,
                    username: user.username.clone(),
                    is_superuser: user.is_superuser,
                }))
            }
            Self::Key(digest) => {
                let found = app.caches.key(accounts, digest.clone()).await?;
                Ok(found.map(|found| Identity::Key {
                    key: found.key,
                    id: found.user,
                    username: found.username.clone(),
                    is_superuser: found.is_superuser,
                    scope: Scope::furthest(&found.scopes),
                }))
            }
        }
    }
}
