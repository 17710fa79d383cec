//! The port `Accounts`, implemented on the metadata store.

use std::time::Duration;

use async_trait::async_trait;
use metadata::{Lifetime, NewKey, NewToken, NewUser, Postgres, UserChange};
use pipeline::StoreError;
use serde_json::Value;
use server::ports::{self, Accounts, Before, KeyUse, Rotation, SigningKey};
use server::wire;
use uuid::Uuid;

use super::rows;

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

    async fn session(&self, session: Uuid) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.sessions().alive(session).await?.map(rows::user))
    }

    async fn key(&self, hash: &str) -> Result<Option<KeyUse>, StoreError> {
        let found = self.0.keys().used(hash).await?;
        Ok(found.map(|key| KeyUse {
            key: key.key_id,
            scopes: key.scopes,
            user: key.user_id,
            username: key.username,
            is_superuser: key.is_superuser,
        }))
    }

    async fn set_up(
        &self,
        hash: &str,
        new: ports::NewUser,
        by: &ports::By,
    ) -> Result<Option<wire::User>, StoreError> {
        let made = self.0.sessions().set_up(hash, &new_user(new), &rows::by(by)).await?;
        Ok(made.map(rows::user))
    }

    async fn begin(
        &self,
        user: Uuid,
        hash: &str,
        lifetime: Duration,
        by: &ports::By,
    ) -> Result<Uuid, StoreError> {
        self.0.sessions().begin(user, NewToken { hash, lifetime }, &rows::by(by)).await
    }

    async fn go_on(
        &self,
        spent: &str,
        hash: &str,
        lifetime: Duration,
        by: &ports::By,
    ) -> Result<Rotation, StoreError> {
        let token = NewToken { hash, lifetime };
        Ok(match self.0.sessions().rotate(spent, token, &rows::by(by)).await? {
            metadata::Rotation::Rotated(user, session) => {
                Rotation::Rotated(Box::new(rows::user(*user)), session)
            }
            metadata::Rotation::Unknown => Rotation::Unknown,
            metadata::Rotation::Reused => Rotation::Reused,
        })
    }

    async fn begin_browser(
        &self,
        user: Uuid,
        hash: &str,
        by: &ports::By,
    ) -> Result<Uuid, StoreError> {
        let token = NewToken { hash, lifetime: server::IDLE };
        self.0.sessions().begin_browser(user, token, &rows::by(by)).await
    }

    async fn resume_browser(&self, hash: &str) -> Result<Option<(wire::User, Uuid)>, StoreError> {
        let lifetime = Lifetime { idle: server::IDLE, most: server::MOST };
        let found = self.0.sessions().resume_browser(hash, lifetime).await?;
        Ok(found.map(|(user, session)| (rows::user(user), session)))
    }

    async fn end_browser(&self, hash: &str, by: &ports::By) -> Result<bool, StoreError> {
        self.0.sessions().end_browser(hash, &rows::by(by)).await
    }

    async fn is_set_up(&self) -> Result<bool, StoreError> {
        self.0.sessions().is_set_up().await
    }

    async fn end(&self, hash: &str, by: &ports::By) -> Result<(), StoreError> {
        self.0.sessions().end(hash, &rows::by(by)).await.map(drop)
    }

    async fn login_addresses(&self, username: &str) -> Result<Vec<String>, StoreError> {
        self.0.users().login_addresses(username).await
    }

    async fn refused(&self, user: Option<Uuid>, by: &ports::By) -> Result<(), StoreError> {
        self.0.users().refused(user, &rows::by(by)).await
    }

    async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<wire::User>, StoreError> {
        let users = self.0.users().list(after, limit).await?;
        Ok(users.into_iter().map(rows::user).collect())
    }

    async fn user(&self, id: Uuid) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.users().find(id).await?.map(rows::user))
    }

    async fn user_named(&self, username: &str) -> Result<Option<wire::User>, StoreError> {
        Ok(self.0.users().named(username).await?.map(rows::user))
    }

    async fn password(&self, user: Uuid) -> Result<Option<String>, StoreError> {
        self.0.users().password(user).await
    }

    async fn create_user(
        &self,
        new: ports::NewUser,
        by: &ports::By,
    ) -> Result<wire::User, StoreError> {
        self.0.users().create(&new_user(new), &rows::by(by)).await.map(rows::user)
    }

    async fn change_user(
        &self,
        id: Uuid,
        change: ports::UserChange,
        by: &ports::By,
    ) -> Result<Option<wire::User>, StoreError> {
        let change = UserChange {
            email: change.email,
            full_name: change.full_name,
            is_active: change.is_active,
            is_superuser: change.is_superuser,
            preferences: change.preferences.map(Value::Object),
        };
        Ok(self.0.users().change(id, &change, &rows::by(by)).await?.map(rows::user))
    }

    async fn set_password(&self, id: Uuid, hash: &str, by: &ports::By) -> Result<bool, StoreError> {
        self.0.users().set_password(id, hash, &rows::by(by)).await
    }

    async fn keys(
        &self,
        user: Uuid,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<wire::Key>, StoreError> {
        let keys = self.0.keys().list(user, after, limit).await?;
        Ok(keys.into_iter().map(rows::key).collect())
    }

    async fn create_key(
        &self,
        user: Uuid,
        new: ports::NewKey,
        by: &ports::By,
    ) -> Result<wire::Key, StoreError> {
        let new = NewKey {
            name: new.name,
            prefix: new.prefix,
            hash: new.hash,
            scopes: new.scopes,
            expires_at: new.expires_at,
        };
        self.0.keys().create(user, &new, &rows::by(by)).await.map(rows::key)
    }

    async fn revoke_key(&self, user: Uuid, key: Uuid, by: &ports::By) -> Result<bool, StoreError> {
        self.0.keys().revoke(user, key, &rows::by(by)).await
    }

    async fn audit(&self, before: Before, limit: u32) -> Result<Vec<wire::AuditEntry>, StoreError> {
        let entries = self.0.audit().of_accounts(before, limit).await?;
        Ok(entries.into_iter().map(rows::audit).collect())
    }
}
