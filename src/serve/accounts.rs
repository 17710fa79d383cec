//! The port `Accounts`, implemented on the metadata store.

use std::time::Duration;

use async_trait::async_trait;
use metadata::{NewKey, NewToken, NewUser, Postgres, SessionLifetime, UserUpdate};
use pipeline::StoreError;
use serde_json::Value;
use server::ports::{self, Accounts, AuthenticatedKey, ListCursor, RotationResult, SigningKey};
use server::wire;
use uuid::Uuid;

use super::convert;

/// The accounts of a metadata store.
pub(super) struct StoredAccounts(pub(super) Postgres);

fn new_user(new: ports::NewUser) -> NewUser {
    NewUser {
        username: new.username,
        email: new.email,
        full_name: new.full_name,
        hashed_password: new.hashed_password,
        is_superuser: new.is_superuser,
    }
}

#[async_trait]
impl Accounts for StoredAccounts {
    async fn signing_keys(
        &self,
        fresh: (&str, &[u8]),
        age: Duration,
    ) -> Result<Vec<SigningKey>, StoreError> {
        let keys = self.0.sessions().signing_keys(fresh, age).await?;
        Ok(keys.into_iter().map(|key| SigningKey { kid: key.kid, secret: key.secret }).collect())
    }

    async fn active_user(&self, session: Uuid) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.sessions().active_user(session).await?.map(convert::to_user))
    }

    async fn authenticate_key(&self, hash: &str) -> Result<Option<AuthenticatedKey>, StoreError> {
        let found = self.0.api_keys().authenticate(hash).await?;
        Ok(found.map(|key| AuthenticatedKey {
            key: key.key_id,
            scopes: key.scopes,
            user: key.user_id,
            username: key.username,
            is_superuser: key.is_superuser,
        }))
    }

    async fn create_first_administrator(
        &self,
        hash: &str,
        new: ports::NewUser,
        by: &ports::Actor,
    ) -> Result<Option<wire::User>, StoreError> {
        let made = self
            .0
            .sessions()
            .create_first_administrator(hash, &new_user(new), &convert::to_actor(by))
            .await?;
        Ok(made.map(convert::to_user))
    }

    async fn begin_session(
        &self,
        user: Uuid,
        hash: &str,
        lifetime: Duration,
        by: &ports::Actor,
    ) -> Result<Uuid, StoreError> {
        self.0.sessions().begin(user, NewToken { hash, lifetime }, &convert::to_actor(by)).await
    }

    async fn rotate_refresh_token(
        &self,
        spent: &str,
        hash: &str,
        lifetime: Duration,
        by: &ports::Actor,
    ) -> Result<RotationResult, StoreError> {
        let token = NewToken { hash, lifetime };
        Ok(match self.0.sessions().rotate(spent, token, &convert::to_actor(by)).await? {
            metadata::RotationResult::Rotated(user, session) => {
                RotationResult::Rotated(Box::new(convert::to_user(*user)), session)
            }
            metadata::RotationResult::Unknown => RotationResult::Unknown,
            metadata::RotationResult::Reused => RotationResult::Reused,
        })
    }

    async fn begin_browser_session(
        &self,
        user: Uuid,
        hash: &str,
        by: &ports::Actor,
    ) -> Result<Uuid, StoreError> {
        let token = NewToken { hash, lifetime: server::IDLE_TIMEOUT };
        self.0.sessions().begin_browser_session(user, token, &convert::to_actor(by)).await
    }

    async fn resume_browser_session(
        &self,
        hash: &str,
    ) -> Result<Option<(wire::User, Uuid)>, StoreError> {
        let lifetime =
            SessionLifetime { idle: server::IDLE_TIMEOUT, absolute: server::ABSOLUTE_TIMEOUT };
        let found = self.0.sessions().resume_browser_session(hash, lifetime).await?;
        Ok(found.map(|(user, session)| (convert::to_user(user), session)))
    }

    async fn end_browser_session(&self, hash: &str, by: &ports::Actor) -> Result<bool, StoreError> {
        self.0.sessions().end_browser_session(hash, &convert::to_actor(by)).await
    }

    async fn has_administrator(&self) -> Result<bool, StoreError> {
        self.0.sessions().has_administrator().await
    }

    async fn end_session(&self, hash: &str, by: &ports::Actor) -> Result<(), StoreError> {
        self.0.sessions().end(hash, &convert::to_actor(by)).await.map(drop)
    }

    async fn login_addresses(&self, username: &str) -> Result<Vec<String>, StoreError> {
        self.0.users().login_addresses(username).await
    }

    async fn record_failed_login(
        &self,
        user: Option<Uuid>,
        by: &ports::Actor,
    ) -> Result<(), StoreError> {
        self.0.users().record_failed_login(user, &convert::to_actor(by)).await
    }

    async fn list_users(
        &self,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<wire::User>, StoreError> {
        let users = self.0.users().list(after, limit).await?;
        Ok(users.into_iter().map(convert::to_user).collect())
    }

    async fn find_user(&self, id: Uuid) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.users().find(id).await?.map(convert::to_user))
    }

    async fn find_user_by_name(&self, username: &str) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.users().find_by_name(username).await?.map(convert::to_user))
    }

    async fn password_hash(&self, user: Uuid) -> Result<Option<String>, StoreError> {
        self.0.users().password_hash(user).await
    }

    async fn create_user(
        &self,
        new: ports::NewUser,
        by: &ports::Actor,
    ) -> Result<wire::User, StoreError> {
        self.0.users().create(&new_user(new), &convert::to_actor(by)).await.map(convert::to_user)
    }

    async fn update_user(
        &self,
        id: Uuid,
        change: ports::UserUpdate,
        by: &ports::Actor,
    ) -> Result<Option<wire::User>, StoreError> {
        let change = UserUpdate {
            email: change.email,
            full_name: change.full_name,
            is_active: change.is_active,
            is_superuser: change.is_superuser,
            preferences: change.preferences.map(Value::Object),
        };
        Ok(self.0.users().update(id, &change, &convert::to_actor(by)).await?.map(convert::to_user))
    }

    async fn set_password(
        &self,
        id: Uuid,
        hash: &str,
        by: &ports::Actor,
    ) -> Result<bool, StoreError> {
        self.0.users().set_password(id, hash, &convert::to_actor(by)).await
    }

    async fn list_keys(
        &self,
        user: Uuid,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<wire::Key>, StoreError> {
        let keys = self.0.api_keys().list(user, after, limit).await?;
        Ok(keys.into_iter().map(convert::to_key).collect())
    }

    async fn create_key(
        &self,
        user: Uuid,
        new: ports::NewKey,
        by: &ports::Actor,
    ) -> Result<wire::Key, StoreError> {
        let new = NewKey {
            name: new.name,
            prefix: new.prefix,
            hash: new.hash,
            scopes: new.scopes,
            expires_at: new.expires_at,
        };
        self.0.api_keys().create(user, &new, &convert::to_actor(by)).await.map(convert::to_key)
    }

    async fn revoke_key(
        &self,
        user: Uuid,
        key: Uuid,
        by: &ports::Actor,
    ) -> Result<bool, StoreError> {
        self.0.api_keys().revoke(user, key, &convert::to_actor(by)).await
    }

    async fn audit_log(
        &self,
        before: ListCursor,
        limit: u32,
    ) -> Result<Vec<wire::AuditEntry>, StoreError> {
        let entries = self.0.audit_log().for_accounts(before, limit).await?;
        Ok(entries.into_iter().map(convert::to_audit_entry).collect())
    }
}
