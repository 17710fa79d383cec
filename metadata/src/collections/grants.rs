//! Grants: access to a collection for accounts and keys other than the owner, and the resulting
//! rights of one caller.

use chrono::{DateTime, Utc};
use pipeline::StoreError;
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::{Actor, record_collection_event};
use crate::collections::{Collection, Collections, select_collection};
use crate::{LOCAL_ACCOUNT, retry_call};

/// A permission on a collection, granted to a user or key.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize, ToSchema)]
pub struct Grant {
    /// Id of the grant, for its revocation.
    pub id: Uuid,
    /// User name of the recipient.
    user: Option<String>,
    /// Id of the key that received it.
    key: Option<Uuid>,
    /// The first characters of that key, for recognition.
    key_prefix: Option<String>,
    /// `read`, `write` or `admin`.
    permission: String,
    created_at: DateTime<Utc>,
}

/// Receiver of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// An account, by id.
    User(Uuid),
    /// A key, by id.
    Key(Uuid),
}

/// The caller of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The account; `None` for an unauthenticated caller.
    pub user: Option<Uuid>,
    /// The key that acts for the account; `None` for a session.
    pub key: Option<Uuid>,
    /// `true` if it has all rights.
    pub is_superuser: bool,
}

/// A collection and the rights of a caller on it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct VisibleCollection {
    /// The collection.
    #[sqlx(flatten)]
    pub collection: Collection,
    /// User name of the owner.
    pub owner: String,
    /// `true` if the caller is the owner.
    pub is_owner: bool,
    /// Grant of the account: `read`, `write` or `admin`.
    pub user_grant: Option<String>,
    /// Grant of the key: `read`, `write` or `admin`.
    pub key_grant: Option<String>,
}

/// Query for a collection with the rights of a caller; `$1` is the account, `$2` the key.
macro_rules! seen {
    ($rest:literal) => {
        select_collection!(
            ", o.username AS owner, coalesce(c.owner_id = $1, FALSE) AS is_owner,
               ug.permission AS user_grant, kg.permission AS key_grant ",
            "CROSS JOIN LATERAL (SELECT o.username FROM users o WHERE o.id = c.owner_id OFFSET 0) o
             LEFT JOIN LATERAL (SELECT g.id, g.permission FROM collection_permissions g
                                WHERE g.collection_id = c.id AND g.user_id = $1 OFFSET 0) ug ON TRUE
             LEFT JOIN LATERAL (SELECT g.id, g.permission FROM collection_permissions g
                                WHERE g.collection_id = c.id AND g.api_key_id = $2 OFFSET 0) kg ON TRUE ",
            $rest
        )
    };
}

pub(crate) const VISIBLE_COLLECTION: &str = seen!("WHERE c.id = $3");

pub(crate) const READABLE_COLLECTIONS: &str = seen!(
    "WHERE c.id > $3 AND ($4 OR c.is_public OR c.owner_id = $1 OR ug.id IS NOT NULL OR kg.id IS NOT NULL)
     ORDER BY c.id LIMIT $5"
);

impl Collections<'_> {
    /// A collection with the rights of the caller, even if the caller has none.
    pub async fn visible(
        &self,
        reader: Principal,
        collection: Uuid,
    ) -> Result<Option<VisibleCollection>, StoreError> {
        retry_call(self.0, "find the collection", || async {
            Ok(sqlx::query_as(VISIBLE_COLLECTION)
                .bind(reader.user)
                .bind(reader.key)
                .bind(collection)
                .fetch_optional(self.0)
                .await?)
        })
        .await
    }

    /// The collections that the caller may read, in order of id, after `after`.
    pub async fn readable(
        &self,
        reader: Principal,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<VisibleCollection>, StoreError> {
        retry_call(self.0, "list the collections", || async {
            Ok(sqlx::query_as(READABLE_COLLECTIONS)
                .bind(reader.user)
                .bind(reader.key)
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(reader.is_superuser)
                .bind(i64::from(limit))
                .fetch_all(self.0)
                .await?)
        })
        .await
    }

    /// The grants on a collection, oldest first, without a limit.
    pub async fn grants(&self, collection: Uuid) -> Result<Vec<Grant>, StoreError> {
        retry_call(self.0, "list the grants", || async {
            Ok(sqlx::query_as(
                r#"SELECT g.id, u.username AS "user", g.api_key_id AS key, k.prefix AS key_prefix, g.permission, g.created_at
                 FROM collection_permissions g LEFT JOIN users u ON u.id = g.user_id
                 LEFT JOIN api_keys k ON k.id = g.api_key_id
                 WHERE g.collection_id = $1 ORDER BY g.created_at, g.id LIMIT 10000"#,
            )
            .bind(collection)
            .fetch_all(self.0)
            .await?)
        })
        .await
    }

    /// Grants a permission in place of the previous one; `None` if the account or key does not
    /// exist or cannot be used: the built-in account, a deactivated account, a revoked or expired
    /// key.
    pub async fn grant(
        &self,
        collection: Uuid,
        grantee: Grantee,
        permission: &str,
        by: &Actor,
    ) -> Result<Option<Uuid>, StoreError> {
        let (user, key) = match grantee {
            Grantee::User(id) => (Some(id), None),
            Grantee::Key(id) => (None, Some(id)),
        };
        retry_call(self.0, "grant the permission", || async {
            let mut transaction = self.0.begin().await?;
            let there: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND is_active AND username <> $3)
                     OR EXISTS (SELECT FROM api_keys k JOIN users u ON u.id = k.user_id
                                WHERE k.id = $2 AND k.is_active AND u.is_active
                                      AND (k.expires_at IS NULL OR k.expires_at > now()))",
            )
            .bind(user)
            .bind(key)
            .bind(LOCAL_ACCOUNT)
            .fetch_one(&mut *transaction)
            .await?;
            if !there {
                return Ok(None);
            }
            // Two partial indexes allow one grant per grantee, so the old one is deleted first.
            sqlx::query(
                "DELETE FROM collection_permissions WHERE collection_id = $1 AND (user_id = $2 OR api_key_id = $3)",
            )
            .bind(collection)
            .bind(user)
            .bind(key)
            .execute(&mut *transaction)
            .await?;
            let id = sqlx::query_scalar(
                "INSERT INTO collection_permissions (collection_id, user_id, api_key_id, permission)
                 VALUES ($1, $2, $3, $4) RETURNING id",
            )
            .bind(collection)
            .bind(user)
            .bind(key)
            .bind(permission)
            .fetch_one(&mut *transaction)
            .await?;
            let details = json!({ "user": user, "key": key, "permission": permission });
            record_collection_event(&mut transaction, collection, None, by, "grant_given", &details).await?;
            transaction.commit().await?;
            Ok(Some(id))
        })
        .await
    }

    /// Revokes a grant; `false` if it does not exist.
    pub async fn revoke_grant(
        &self,
        collection: Uuid,
        grant: Uuid,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        retry_call(self.0, "revoke the permission", || async {
            let mut transaction = self.0.begin().await?;
            let taken: Option<(Option<Uuid>, Option<Uuid>)> = sqlx::query_as(
                "DELETE FROM collection_permissions WHERE collection_id = $1 AND id = $2
                 RETURNING user_id, api_key_id",
            )
            .bind(collection)
            .bind(grant)
            .fetch_optional(&mut *transaction)
            .await?;
            let Some((user, key)) = taken else { return Ok(false) };
            let details = json!({ "user": user, "key": key });
            record_collection_event(
                &mut transaction,
                collection,
                None,
                by,
                "grant_taken",
                &details,
            )
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }
}
