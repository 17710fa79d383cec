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

use super::problem::HandlerResult;
use super::right::AccessGrants;
use super::wire;
use search::Target;

/// Actor of a change and its origin, for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The account; `None` for an anonymous caller.
    pub user: Option<Uuid>,
    /// The address of the client.
    pub ip: Option<String>,
    /// The `User-Agent` of the client.
    pub user_agent: Option<String>,
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
pub struct AuthenticatedKey {
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
pub enum RotationResult {
    /// The token was spent and replaced; account and session.
    Rotated(Box<wire::User>, Uuid),
    /// The token is unknown, expired or revoked.
    Unknown,
    /// The token was spent before; its session was ended.
    Reused,
}

/// A new account.
pub struct NewUser {
    /// Valid by the rules of the API; unique among accounts.
    pub username: String,
    /// E-mail address; unique among accounts.
    pub email: String,
    /// Name for display.
    pub full_name: Option<String>,
    /// In the PHC string format.
    pub hashed_password: String,
    /// `true` for an administrator of the server.
    pub is_superuser: bool,
}

/// Changes of an account; `None` leaves a field unchanged.
#[derive(Default)]
pub struct UserUpdate {
    /// New e-mail address.
    pub email: Option<String>,
    /// New name for display.
    pub full_name: Option<String>,
    /// `false` ends the sessions and disables the keys of the account.
    pub is_active: Option<bool>,
    /// `true` makes the account an administrator of the server.
    pub is_superuser: Option<bool>,
    /// Replaces the preferences of the web UI.
    pub preferences: Option<Map<String, Value>>,
}

/// A new API key.
pub struct NewKey {
    /// Purpose of the key, for its owner.
    pub name: String,
    /// The first characters of the key, for recognition.
    pub prefix: String,
    /// See [`super::secret::digest`].
    pub hash: String,
    /// Names of the scopes; see [`super::right::SCOPES`].
    pub scopes: Vec<String>,
    /// Time from which the key is refused; `None` if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Position in a list from new to old: time and id of the last entry of the previous page.
pub type ListCursor = Option<(DateTime<Utc>, Uuid)>;

type StoreResult<T> = Result<T, StoreError>;

/// Accounts with their sessions and keys. Secrets are passed as digests.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The keys that sign access tokens, newest first. Stores `fresh` (id, secret) if all are older
    /// than `age`.
    async fn signing_keys(
        &self,
        fresh: (&str, &[u8]),
        age: Duration,
    ) -> StoreResult<Vec<SigningKey>>;
    /// The account of an active session.
    async fn active_user(&self, session: Uuid) -> StoreResult<Option<wire::User>>;
    /// The key with this digest, if it is valid.
    async fn authenticate_key(&self, hash: &str) -> StoreResult<Option<AuthenticatedKey>>;

    /// Creates the first administrator, if the set-up token with this digest is valid.
    async fn create_first_administrator(
        &self,
        hash: &str,
        new: NewUser,
        by: &Actor,
    ) -> StoreResult<Option<wire::User>>;
    /// Creates a session with a refresh token of this digest; returns its id.
    async fn begin_session(
        &self,
        user: Uuid,
        hash: &str,
        lifetime: Duration,
        by: &Actor,
    ) -> StoreResult<Uuid>;
    /// Replaces the refresh token `spent` of a session by `hash`.
    async fn rotate_refresh_token(
        &self,
        spent: &str,
        hash: &str,
        lifetime: Duration,
        by: &Actor,
    ) -> StoreResult<RotationResult>;
    /// Creates a browser session with a reusable credential of this digest; returns its id.
    async fn begin_browser_session(&self, user: Uuid, hash: &str, by: &Actor) -> StoreResult<Uuid>;
    /// Account and id of an active browser session.
    async fn resume_browser_session(&self, hash: &str) -> StoreResult<Option<(wire::User, Uuid)>>;
    /// Ends a browser session; returns `false` if it was not active.
    async fn end_browser_session(&self, hash: &str, by: &Actor) -> StoreResult<bool>;
    /// Returns true if an administrator exists.
    async fn has_administrator(&self) -> StoreResult<bool>;
    /// Ends the session of a refresh token.
    async fn end_session(&self, hash: &str, by: &Actor) -> StoreResult<()>;
    /// The addresses of an account's logins within the last month.
    async fn login_addresses(&self, username: &str) -> StoreResult<Vec<String>>;
    /// Records a failed login.
    async fn record_failed_login(&self, user: Option<Uuid>, by: &Actor) -> StoreResult<()>;

    /// Accounts in order of id.
    async fn list_users(&self, after: Option<Uuid>, limit: u32) -> StoreResult<Vec<wire::User>>;
    /// The account with this id; `None` if it does not exist.
    async fn find_user(&self, id: Uuid) -> StoreResult<Option<wire::User>>;
    /// The account with this user name; `None` if it does not exist.
    async fn find_user_by_name(&self, username: &str) -> StoreResult<Option<wire::User>>;
    /// The hash of an account's password.
    async fn password_hash(&self, user: Uuid) -> StoreResult<Option<String>>;
    /// Creates an account; [`pipeline::Remedy::Conflict`] if name or address is taken.
    async fn create_user(&self, new: NewUser, by: &Actor) -> StoreResult<wire::User>;
    /// The changed account; `None` if it does not exist.
    async fn update_user(
        &self,
        id: Uuid,
        change: UserUpdate,
        by: &Actor,
    ) -> StoreResult<Option<wire::User>>;
    /// Also ends the sessions of the account; returns `false` if it does not exist.
    async fn set_password(&self, id: Uuid, hash: &str, by: &Actor) -> StoreResult<bool>;

    /// Keys of an account in order of id.
    async fn list_keys(
        &self,
        user: Uuid,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<wire::Key>>;
    /// Creates a key for an account.
    async fn create_key(&self, user: Uuid, new: NewKey, by: &Actor) -> StoreResult<wire::Key>;
    /// Revokes a key; returns `false` if the account has no key with this id.
    async fn revoke_key(&self, user: Uuid, key: Uuid, by: &Actor) -> StoreResult<bool>;

    /// Audit entries of accounts, newest first.
    async fn audit_log(&self, before: ListCursor, limit: u32)
    -> StoreResult<Vec<wire::AuditEntry>>;
}

/// A document of a list, with its sort key as text.
pub struct ListedDocument {
    /// The document.
    pub document: wire::Document,
    /// Value of the sort key of the list, for the cursor.
    pub key: String,
}

/// A caller of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Id of the account; `None` for an anonymous caller.
    pub user: Option<Uuid>,
    /// Id of the key; `None` for a caller with a session or without credentials.
    pub key: Option<Uuid>,
    /// `true` if the account is an administrator of the server.
    pub is_superuser: bool,
}

/// Read and write access to the metadata of collections.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// A collection and the rights of the reader on it; the field `right` is filled by the server.
    async fn visible_collection(
        &self,
        reader: Principal,
        id: Uuid,
    ) -> StoreResult<Option<(wire::Collection, AccessGrants)>>;
    /// The last owner of a deleted collection; `None` if no collection with this id was deleted.
    async fn owner_of_deleted(&self, id: Uuid) -> StoreResult<Option<Uuid>>;
    /// The collections that the reader may read, in order of id.
    async fn readable_collections(
        &self,
        reader: Principal,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<(wire::Collection, AccessGrants)>>;
    /// Returns `false` if the collection does not exist.
    async fn update_collection(
        &self,
        id: Uuid,
        change: CollectionUpdate,
        by: &Actor,
    ) -> StoreResult<bool>;
    /// Generations of a collection, in order of their numbers.
    async fn generations(&self, collection: Uuid) -> StoreResult<Vec<wire::Generation>>;
    /// Sources of a collection, in order of their roots.
    async fn sources(&self, collection: Uuid) -> StoreResult<Vec<wire::Source>>;

    /// Grants on a collection, oldest first.
    async fn grants(&self, collection: Uuid) -> StoreResult<Vec<wire::Grant>>;
    /// Grants a permission; returns the id of the grant. `None` if the account or key does not
    /// exist, the account cannot log in, or the key is not valid.
    async fn grant(
        &self,
        collection: Uuid,
        to: Grantee,
        permission: &str,
        by: &Actor,
    ) -> StoreResult<Option<Uuid>>;
    /// Removes a grant; returns `false` if the collection has none with this id.
    async fn revoke_grant(&self, collection: Uuid, grant: Uuid, by: &Actor) -> StoreResult<bool>;
    /// Limits and usage; `None` if the collection does not exist.
    async fn limits(&self, collection: Uuid) -> StoreResult<Option<wire::LimitsAndUsage>>;
    /// Replaces the limits of a collection.
    async fn set_limits(
        &self,
        collection: Uuid,
        limits: wire::Limits,
        by: &Actor,
    ) -> StoreResult<()>;
    /// Audit entries of a collection, newest first.
    async fn audit_log(
        &self,
        collection: Uuid,
        before: ListCursor,
        limit: u32,
    ) -> StoreResult<Vec<wire::AuditEntry>>;

    /// A page of a list of documents.
    async fn documents(
        &self,
        collection: Uuid,
        list: &wire::DocumentList,
        limit: u32,
    ) -> StoreResult<Vec<ListedDocument>>;
    /// Number of documents by status, and of those set aside by reason.
    async fn document_counts(&self, collection: Uuid) -> StoreResult<wire::DocumentCounts>;
    /// A document of a collection; `None` if the collection has none with this id.
    async fn document(&self, collection: Uuid, id: Uuid) -> StoreResult<Option<wire::Document>>;

    /// Operations of one collection, newest first.
    async fn operations(
        &self,
        collection: Uuid,
        before: ListCursor,
        limit: u32,
    ) -> StoreResult<Vec<wire::Operation>>;
    /// Operations of all collections that the reader may read, newest first.
    async fn readable_operations(
        &self,
        reader: Principal,
        before: ListCursor,
        limit: u32,
    ) -> StoreResult<Vec<wire::Operation>>;
    /// An operation of any collection; `None` if it does not exist.
    async fn operation(&self, id: Uuid) -> StoreResult<Option<wire::Operation>>;
}

/// Changes of a collection; `None` leaves a field unchanged.
#[derive(Default)]
pub struct CollectionUpdate {
    /// New description for users.
    pub description: Option<String>,
    /// `true` lets every caller read the collection.
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
pub enum OperationRequest {
    /// Update the collection, or build a new generation.
    Run {
        /// Update, or a new generation.
        kind: wire::RequestedOperation,
        /// `true` to delete missing documents, whatever their number.
        allow_deletes: bool,
        /// `true` to retry failed documents whose delay has passed.
        retry_failed: bool,
    },
    /// Remove the documents that only this source contains.
    RemoveSource {
        /// The source root, as in the list of sources.
        source: String,
    },
    /// Delete documents.
    DeleteDocuments(Vec<Uuid>),
    /// Restore deleted documents.
    UndeleteDocuments(Vec<Uuid>),
    /// Delete the collection.
    Delete,
}

/// Notification of a changed operation: requested, started, progressed or ended.
#[derive(Clone, Debug)]
pub struct OperationChange {
    /// Id of the operation.
    pub operation: Uuid,
    /// Its collection, if the notification names it.
    pub collection: Option<Uuid>,
}

/// Operations and searches on the collections that this server serves. Others are refused with
/// [`super::problem::ProblemCode::NotServed`].
#[async_trait]
pub trait CollectionService: Send + Sync {
    /// Requests an operation; returns its id. It starts when the collection has no other.
    async fn start_operation(
        &self,
        collection: Uuid,
        order: OperationRequest,
        by: &Actor,
    ) -> HandlerResult<Uuid>;
    /// Cancels an operation, in whichever process it runs.
    async fn cancel_operation(&self, operation: Uuid, by: &Actor) -> HandlerResult<()>;
    /// Changes of all operations in the database from now on. A slow receiver may miss some.
    fn operation_changes(&self) -> BoxStream<'static, OperationChange>;
    /// The live generation of a collection, for searches.
    async fn search_target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError>;
    /// Invalidates cached data of a collection, or of all with `None`.
    fn invalidate(&self, collection: Option<Uuid>);
    /// Up to `limit` chunks of a document from index `from` on, and the total number.
    async fn chunks(
        &self,
        collection: Uuid,
        document: Uuid,
        from: u32,
        limit: u32,
    ) -> HandlerResult<wire::Chunks>;
    /// History of a document or location, in the form of `semantik why --json`.
    async fn why(&self, collection: Uuid, named: &str) -> HandlerResult<Value>;
    /// State of each dependency by name: `Ok`, or the cause of the failure.
    async fn health(&self) -> Vec<(String, Result<(), String>)>;
    /// All metrics, in the text format of Prometheus.
    async fn metrics(&self) -> String;
}
