//! Ports of the server: accounts, the catalogue of the metadata, and the work on collections.
//!
//! The root package implements these traits with the metadata store, the vector stores and the
//! executor of operations, so that this crate depends on neither SQL nor Qdrant. They use the types
//! of [`super::wire`] where these are the result, so that a row becomes a response in one step
//! (docs/adr/0015-http-api.md has the reason why the ports are here and not in `pipeline`).
//! Implementations check no rights; the server does before it calls them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use pipeline::{BoxError, StoreError};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem::Answer;
use super::right::Given;
use super::wire;
use search::Target;

/// Actor of a change and its origin, for the audit log.
#[derive(Clone, Debug, Default)]
pub struct By {
    /// The account; `None` for an anonymous caller.
    pub user: Option<Uuid>,
    /// The address of the client.
    pub ip: Option<String>,
    /// The `User-Agent` of the client.
    pub agent: Option<String>,
}

/// A key that signs access tokens.
#[derive(Clone)]
pub struct SigningKey {
    /// Key id in the header of a token.
    pub kid: String,
    /// 32 random bytes.
    pub secret: Vec<u8>,
}

/// A valid API key.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// Id of the key.
    pub key: Uuid,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// The account for which it acts.
    pub user: Uuid,
    /// User name of the account.
    pub username: String,
    /// `true` if the account is an administrator of the server.
    pub is_superuser: bool,
}

/// Result of spending a refresh token.
pub enum Rotation {
    /// The token was spent and replaced; account and session.
    Rotated(Box<wire::User>, Uuid),
    /// The token is unknown, expired or revoked.
    Unknown,
    /// The token was spent before; its session was ended.
    Reused,
}

/// A new account.
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub full_name: Option<String>,
    /// In the PHC string format.
    pub hashed_password: String,
    pub is_superuser: bool,
}

/// Changes of an account; `None` leaves a field unchanged.
#[derive(Default)]
pub struct UserChange {
    pub email: Option<String>,
    pub full_name: Option<String>,
    pub is_active: Option<bool>,
    pub is_superuser: Option<bool>,
    pub preferences: Option<Map<String, Value>>,
}

/// A new API key.
pub struct NewKey {
    pub name: String,
    pub prefix: String,
    /// See [`super::secret::digest`].
    pub hash: String,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Position in a list from new to old: time and id of the last entry of the previous page.
pub type Before = Option<(DateTime<Utc>, Uuid)>;

type Stored<T> = Result<T, StoreError>;

/// Accounts with their sessions and keys. Secrets are passed as digests.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The keys that sign access tokens, newest first. Stores `fresh` (id, secret) if all are older
    /// than `age`.
    async fn signing_keys(&self, fresh: (&str, &[u8]), age: Duration) -> Stored<Vec<SigningKey>>;
    /// The account of an active session.
    async fn session(&self, session: Uuid) -> Stored<Option<wire::User>>;
    /// The key with this digest, if it is valid.
    async fn key(&self, hash: &str) -> Stored<Option<KeyUse>>;

    /// Creates the first administrator, if the set-up token with this digest is valid.
    async fn set_up(&self, hash: &str, new: NewUser, by: &By) -> Stored<Option<wire::User>>;
    /// Creates a session with a refresh token of this digest; returns its id.
    async fn begin(&self, user: Uuid, hash: &str, lifetime: Duration, by: &By) -> Stored<Uuid>;
    /// Replaces the refresh token `spent` of a session by `hash`.
    async fn go_on(&self, spent: &str, hash: &str, lifetime: Duration, by: &By)
    -> Stored<Rotation>;
    /// Creates a browser session with a reusable credential of this digest; returns its id.
    async fn begin_browser(&self, user: Uuid, hash: &str, by: &By) -> Stored<Uuid>;
    /// Account and id of an active browser session.
    async fn resume_browser(&self, hash: &str) -> Stored<Option<(wire::User, Uuid)>>;
    /// Ends a browser session; returns `false` if it was not active.
    async fn end_browser(&self, hash: &str, by: &By) -> Stored<bool>;
    /// Returns true if an administrator exists.
    async fn is_set_up(&self) -> Stored<bool>;
    /// Ends the session of a refresh token.
    async fn end(&self, hash: &str, by: &By) -> Stored<()>;
    /// The addresses of an account's logins within the last month.
    async fn login_addresses(&self, username: &str) -> Stored<Vec<String>>;
    /// Records a failed login.
    async fn refused(&self, user: Option<Uuid>, by: &By) -> Stored<()>;

    /// Accounts in order of id.
    async fn users(&self, after: Option<Uuid>, limit: u32) -> Stored<Vec<wire::User>>;
    async fn user(&self, id: Uuid) -> Stored<Option<wire::User>>;
    async fn user_named(&self, username: &str) -> Stored<Option<wire::User>>;
    /// The hash of an account's password.
    async fn password(&self, user: Uuid) -> Stored<Option<String>>;
    async fn create_user(&self, new: NewUser, by: &By) -> Stored<wire::User>;
    async fn change_user(
        &self,
        id: Uuid,
        change: UserChange,
        by: &By,
    ) -> Stored<Option<wire::User>>;
    /// Also ends the sessions of the account; returns `false` if it does not exist.
    async fn set_password(&self, id: Uuid, hash: &str, by: &By) -> Stored<bool>;

    /// Keys of an account in order of id.
    async fn keys(&self, user: Uuid, after: Option<Uuid>, limit: u32) -> Stored<Vec<wire::Key>>;
    async fn create_key(&self, user: Uuid, new: NewKey, by: &By) -> Stored<wire::Key>;
    async fn revoke_key(&self, user: Uuid, key: Uuid, by: &By) -> Stored<bool>;

    /// Audit entries of accounts, newest first.
    async fn audit(&self, before: Before, limit: u32) -> Stored<Vec<wire::AuditEntry>>;
}

/// A document of a list, with its sort key as text.
pub struct Listed {
    pub document: wire::Document,
    pub key: String,
}

/// A caller of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    pub user: Option<Uuid>,
    pub key: Option<Uuid>,
    pub is_superuser: bool,
}

/// Read and write access to the metadata of collections.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// A collection and the rights of the reader on it; the field `right` is filled by the server.
    async fn seen(&self, reader: Reader, id: Uuid) -> Stored<Option<(wire::Collection, Given)>>;
    /// The last owner of a deleted collection; `None` if no collection with this id was deleted.
    async fn owner_of_deleted(&self, id: Uuid) -> Stored<Option<Uuid>>;
    /// The collections that the reader may read, in order of id.
    async fn readable(
        &self,
        reader: Reader,
        after: Option<Uuid>,
        limit: u32,
    ) -> Stored<Vec<(wire::Collection, Given)>>;
    /// Returns `false` if the collection does not exist.
    async fn change_collection(&self, id: Uuid, change: CollectionChange, by: &By) -> Stored<bool>;
    async fn generations(&self, collection: Uuid) -> Stored<Vec<wire::Generation>>;
    async fn sources(&self, collection: Uuid) -> Stored<Vec<wire::Source>>;

    async fn grants(&self, collection: Uuid) -> Stored<Vec<wire::Grant>>;
    /// Grants a permission; returns the id of the grant. `None` if the account or key does not
    /// exist, the account cannot log in, or the key is not valid.
    async fn give(
        &self,
        collection: Uuid,
        to: Grantee,
        permission: &str,
        by: &By,
    ) -> Stored<Option<Uuid>>;
    async fn take(&self, collection: Uuid, grant: Uuid, by: &By) -> Stored<bool>;
    async fn limits(&self, collection: Uuid) -> Stored<Option<wire::LimitsAndUsage>>;
    async fn set_limits(&self, collection: Uuid, limits: wire::Limits, by: &By) -> Stored<()>;
    async fn audit(
        &self,
        collection: Uuid,
        before: Before,
        limit: u32,
    ) -> Stored<Vec<wire::AuditEntry>>;

    /// A page of a list of documents.
    async fn documents(
        &self,
        collection: Uuid,
        list: &wire::DocumentList,
        limit: u32,
    ) -> Stored<Vec<Listed>>;
    /// Number of documents by status, and of those set aside by reason.
    async fn document_counts(&self, collection: Uuid) -> Stored<wire::DocumentCounts>;
    async fn document(&self, collection: Uuid, id: Uuid) -> Stored<Option<wire::Document>>;

    /// Operations of one collection, newest first.
    async fn operations(
        &self,
        collection: Uuid,
        before: Before,
        limit: u32,
    ) -> Stored<Vec<wire::Operation>>;
    /// Operations of all collections that the reader may read, newest first.
    async fn readable_operations(
        &self,
        reader: Reader,
        before: Before,
        limit: u32,
    ) -> Stored<Vec<wire::Operation>>;
    async fn operation(&self, id: Uuid) -> Stored<Option<wire::Operation>>;
}

/// Changes of a collection; `None` leaves a field unchanged.
#[derive(Default)]
pub struct CollectionChange {
    pub description: Option<String>,
    pub is_public: Option<bool>,
    /// The new owner.
    pub owner: Option<Uuid>,
}

/// Recipient of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// Id of an account.
    User(Uuid),
    /// Id of a key.
    Key(Uuid),
}

/// A request for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Update the collection, or build a new generation.
    Run { kind: wire::Wanted, allow_deletes: bool, retry_failed: bool },
    /// Remove the documents that only this source contains.
    RemoveSource { source: String },
    /// Delete documents.
    DeleteDocuments(Vec<Uuid>),
    /// Restore deleted documents.
    UndeleteDocuments(Vec<Uuid>),
    /// Delete the collection.
    Delete,
}

/// Notification of a changed operation: requested, started, progressed or ended.
#[derive(Clone, Debug)]
pub struct Change {
    pub operation: Uuid,
    /// Its collection, if the notification names it.
    pub collection: Option<Uuid>,
}

/// Operations and searches on the collections that this server serves. Others are refused with
/// [`super::problem::Code::NotServed`].
#[async_trait]
pub trait Work: Send + Sync {
    /// Requests an operation; returns its id. It starts when the collection has no other.
    async fn start(&self, collection: Uuid, order: Order, by: &By) -> Answer<Uuid>;
    /// Cancels an operation, in whichever process it runs.
    async fn cancel(&self, operation: Uuid, by: &By) -> Answer<()>;
    /// Changes of all operations in the database from now on. A slow receiver may miss some.
    fn changes(&self) -> BoxStream<'static, Change>;
    /// The live generation of a collection, for searches.
    async fn target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError>;
    /// Invalidates cached data of a collection, or of all with `None`.
    fn doubt(&self, collection: Option<Uuid>);
    /// Up to `limit` chunks of a document from index `from` on, and the total number.
    async fn chunks(
        &self,
        collection: Uuid,
        document: Uuid,
        from: u32,
        limit: u32,
    ) -> Answer<wire::Chunks>;
    /// History of a document or location, in the form of `semantik why --json`.
    async fn why(&self, collection: Uuid, named: &str) -> Answer<Value>;
    /// State of each dependency by name: `Ok`, or the cause of the failure.
    async fn health(&self) -> Vec<(String, Result<(), String>)>;
    /// All metrics, in the text format of Prometheus.
    async fn metrics(&self) -> String;
}
