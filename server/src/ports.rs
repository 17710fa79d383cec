//! What the server needs of the world: accounts, the catalogue of what is stored, and the work on it.
//!
//! The root package stands behind these traits with the metadata store, the vectors and the executor of operations, so
//! that this crate knows neither SQL nor Qdrant. They speak the types of [`super::wire`] where those are what is asked
//! for anyway: a row becomes an answer in one step (docs/adr/0015-http-api.md says why the ports are here and not in
//! `pipeline`). Nothing behind them checks a right; that is done before anything is asked of them.

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

/// Who does something, and from where; for the audit log.
#[derive(Clone, Debug, Default)]
pub struct By {
    /// The account; `None` where nobody is logged in.
    pub user: Option<Uuid>,
    /// The address of the client.
    pub ip: Option<String>,
    /// What the client calls itself.
    pub agent: Option<String>,
}

/// A key that signs access tokens.
#[derive(Clone)]
pub struct SigningKey {
    /// Its name.
    pub kid: String,
    /// 32 random bytes.
    pub secret: Vec<u8>,
}

/// A key that is good.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// Its id.
    pub key: Uuid,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// The account that it acts for.
    pub user: Uuid,
    /// The name of that.
    pub username: String,
    /// Whether that is an administrator of the server.
    pub is_superuser: bool,
}

/// What became of a refresh token.
pub enum Rotation {
    /// It is spent, and the new one is good, in this session.
    Rotated(Box<wire::User>, Uuid),
    /// It is not good.
    Unknown,
    /// It was spent before; its session has ended.
    Reused,
}

/// An account that is to be made.
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub full_name: Option<String>,
    /// In the PHC string format.
    pub hashed_password: String,
    pub is_superuser: bool,
}

/// What is to change of an account; `None` stays as it is.
#[derive(Default)]
pub struct UserChange {
    pub email: Option<String>,
    pub full_name: Option<String>,
    pub is_active: Option<bool>,
    pub is_superuser: Option<bool>,
    pub preferences: Option<Map<String, Value>>,
}

/// A key that is to be made.
pub struct NewKey {
    pub name: String,
    pub prefix: String,
    /// See [`super::secret::digest`].
    pub hash: String,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A place in a list from new to old.
pub type Before = Option<(DateTime<Utc>, Uuid)>;

type Stored<T> = Result<T, StoreError>;

/// Accounts, with their sessions and keys. Secrets come as digests.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The keys that sign access tokens, newest first; `fresh` among them if none is younger than `age`.
    async fn signing_keys(&self, fresh: (&str, &[u8]), age: Duration) -> Stored<Vec<SigningKey>>;
    /// The account of a session that goes on.
    async fn session(&self, session: Uuid) -> Stored<Option<wire::User>>;
    /// The key of a digest, if it is good.
    async fn key(&self, hash: &str) -> Stored<Option<KeyUse>>;

    /// Makes the first administrator, if the token of this digest is good.
    async fn set_up(&self, hash: &str, new: NewUser, by: &By) -> Stored<Option<wire::User>>;
    /// Begins a session, with a refresh token of this digest; gives its id.
    async fn begin(&self, user: Uuid, hash: &str, lifetime: Duration, by: &By) -> Stored<Uuid>;
    /// Goes on with a session: the token of `spent` is spent for one of `hash`.
    async fn go_on(&self, spent: &str, hash: &str, lifetime: Duration, by: &By)
    -> Stored<Rotation>;
    /// Begins the session of a browser, with a credential of this digest that lasts; gives its id.
    async fn begin_browser(&self, user: Uuid, hash: &str, by: &By) -> Stored<Uuid>;
    /// The account and the id of a browser's session that goes on.
    async fn resume_browser(&self, hash: &str) -> Stored<Option<(wire::User, Uuid)>>;
    /// Ends the session of a browser; says whether it went on.
    async fn end_browser(&self, hash: &str, by: &By) -> Stored<bool>;
    /// Whether there is an administrator.
    async fn is_set_up(&self) -> Stored<bool>;
    /// Ends the session of a refresh token.
    async fn end(&self, hash: &str, by: &By) -> Stored<()>;
    /// The addresses from which an account has logged in within the last month.
    async fn login_addresses(&self, username: &str) -> Stored<Vec<String>>;
    /// Notes that a login failed.
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
    /// Ends the account's sessions, too.
    async fn set_password(&self, id: Uuid, hash: &str, by: &By) -> Stored<bool>;

    /// Keys of an account in order of id.
    async fn keys(&self, user: Uuid, after: Option<Uuid>, limit: u32) -> Stored<Vec<wire::Key>>;
    async fn create_key(&self, user: Uuid, new: NewKey, by: &By) -> Stored<wire::Key>;
    async fn revoke_key(&self, user: Uuid, key: Uuid, by: &By) -> Stored<bool>;

    /// What was done to accounts, newest first.
    async fn audit(&self, before: Before, limit: u32) -> Stored<Vec<wire::AuditEntry>>;
}

/// A document in a list, with what the list is ordered by, as text.
pub struct Listed {
    pub document: wire::Document,
    pub key: String,
}

/// Who looks at the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    pub user: Option<Uuid>,
    pub key: Option<Uuid>,
    pub is_superuser: bool,
}

/// What is stored, by the metadata.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// A collection, and what the reader was given of it; the `right` in it is not known yet.
    async fn seen(&self, reader: Reader, id: Uuid) -> Stored<Option<(wire::Collection, Given)>>;
    /// The account that owned a deleted collection; `None` if no collection of this id was deleted.
    async fn owner_of_deleted(&self, id: Uuid) -> Stored<Option<Uuid>>;
    /// The collections that the reader may read, in order of id.
    async fn readable(
        &self,
        reader: Reader,
        after: Option<Uuid>,
        limit: u32,
    ) -> Stored<Vec<(wire::Collection, Given)>>;
    /// Says whether there was such a collection.
    async fn change_collection(&self, id: Uuid, change: CollectionChange, by: &By) -> Stored<bool>;
    async fn generations(&self, collection: Uuid) -> Stored<Vec<wire::Generation>>;
    async fn sources(&self, collection: Uuid) -> Stored<Vec<wire::Source>>;

    async fn grants(&self, collection: Uuid) -> Stored<Vec<wire::Grant>>;
    /// Gives the id of the grant, if there is such an account or key, somebody can log in to the account, and the key is
    /// good.
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
    /// How many documents there are of each status, and were set aside for each reason.
    async fn document_counts(&self, collection: Uuid) -> Stored<wire::DocumentCounts>;
    async fn document(&self, collection: Uuid, id: Uuid) -> Stored<Option<wire::Document>>;

    /// Operations on one collection, newest first.
    async fn operations(
        &self,
        collection: Uuid,
        before: Before,
        limit: u32,
    ) -> Stored<Vec<wire::Operation>>;
    /// Operations on all that the reader may read, newest first.
    async fn readable_operations(
        &self,
        reader: Reader,
        before: Before,
        limit: u32,
    ) -> Stored<Vec<wire::Operation>>;
    async fn operation(&self, id: Uuid) -> Stored<Option<wire::Operation>>;
}

/// What is to change of a collection; `None` stays as it is.
#[derive(Default)]
pub struct CollectionChange {
    pub description: Option<String>,
    pub is_public: Option<bool>,
    /// The account that it is to belong to.
    pub owner: Option<Uuid>,
}

/// Who is given something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// An account.
    User(Uuid),
    /// A key.
    Key(Uuid),
}

/// What is to be done to a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Bring it up to date, or build it anew.
    Run { kind: wire::Wanted, allow_deletes: bool, retry_failed: bool },
    /// Take out what only this source gives.
    RemoveSource { source: String },
    /// Take out documents.
    DeleteDocuments(Vec<Uuid>),
    /// Take documents in again that somebody had taken out.
    UndeleteDocuments(Vec<Uuid>),
    /// Delete the collection.
    Delete,
}

/// An operation has changed: it was asked for, has begun, got further, or has ended.
#[derive(Clone, Debug)]
pub struct Change {
    pub operation: Uuid,
    /// Its collection, where that was told.
    pub collection: Option<Uuid>,
}

/// The work on collections that this server serves. Others are refused with [`super::problem::Code::NotServed`].
#[async_trait]
pub trait Work: Send + Sync {
    /// Asks for an operation; gives its id. It begins when the collection is free.
    async fn start(&self, collection: Uuid, order: Order, by: &By) -> Answer<Uuid>;
    /// Stops an operation, whoever works on it.
    async fn cancel(&self, operation: Uuid, by: &By) -> Answer<()>;
    /// Changes of operations from now on, of any collection of the database. Some may be missed by who reads slowly.
    fn changes(&self) -> BoxStream<'static, Change>;
    /// The live generation of a collection, to be searched.
    async fn target(&self, collection: Uuid) -> Result<Arc<Target>, BoxError>;
    /// What was looked up of a collection may not hold any more; of any, if none is named.
    fn doubt(&self, collection: Option<Uuid>);
    /// The chunks of a document from this one on, at most so many, and how many there are.
    async fn chunks(
        &self,
        collection: Uuid,
        document: Uuid,
        from: u32,
        limit: u32,
    ) -> Answer<wire::Chunks>;
    /// What is known of a document or a place, as `semantik why --json` tells it.
    async fn why(&self, collection: Uuid, named: &str) -> Answer<Value>;
    /// Each thing that the server depends on, by name: `Ok` or what is the matter.
    async fn health(&self) -> Vec<(String, Result<(), String>)>;
    /// Everything that is measured, in the text format of Prometheus.
    async fn metrics(&self) -> String;
}
