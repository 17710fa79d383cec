//! Authorisation: the rights that endpoints require, the rights of a caller on a collection, and
//! the decision, a pure function.
//!
//! A collection that a caller may not see does not exist for the caller: 404. A visible one that
//! the caller may not change is 403, or 401 for an anonymous caller.

use metadata::VisibleCollection;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::{Problem, ProblemCode};

/// The right that an endpoint requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// None; credentials are ignored.
    Public,
    /// None; results are limited to collections that the caller may read. A key of any scope may
    /// search.
    Search,
    /// None; results are limited to collections that the caller may read. A key needs the scope
    /// `read`.
    Browse,
    /// A session or a key.
    Authenticated,
    /// A session, not a key.
    Session,
    /// An administrator of the server.
    Superuser,
    /// An administrator of the server with a session. With a key, changes could outlive its
    /// revocation.
    SuperuserSession,
    /// Read access to the collection of the path.
    Read,
    /// Write access to the collection of the path.
    Write,
    /// Management of the grants of the collection of the path.
    Admin,
    /// Ownership of the collection of the path.
    Owner,
}

impl Right {
    /// Name in the description of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "open",
            Self::Search => "search",
            Self::Browse => "browse",
            Self::Authenticated => "known",
            Self::Session => "session",
            Self::Superuser => "superuser",
            Self::SuperuserSession => "superuser_session",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// Permission on a collection; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessLevel {
    /// Find the collection and read everything in it.
    Read,
    /// Change its content.
    Write,
    /// Change its grants.
    Admin,
    /// Transfer or delete it.
    Owner,
}

impl AccessLevel {
    /// The level with this name in grants and responses; `None` if unknown.
    ///
    /// ```
    /// use server::right::AccessLevel;
    ///
    /// assert_eq!(AccessLevel::parse("write"), Some(AccessLevel::Write));
    /// assert_eq!(AccessLevel::parse("Write"), None);
    /// assert!(AccessLevel::Write < AccessLevel::Admin, "each level includes those before it");
    /// ```
    pub fn parse(word: &str) -> Option<Self> {
        ACCESS_LEVELS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level)
    }

    /// Name in grants and responses.
    pub fn name(self) -> &'static str {
        ACCESS_LEVELS.iter().find(|(_, level)| *level == self).expect("all are listed").0
    }
}

const ACCESS_LEVELS: [(&str, AccessLevel); 4] = [
    ("read", AccessLevel::Read),
    ("write", AccessLevel::Write),
    ("admin", AccessLevel::Admin),
    ("owner", AccessLevel::Owner),
];

/// Scope of a key; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Search.
    Search,
    /// Read everything that the account may read.
    Read,
    /// Change the content of collections.
    Write,
    /// Everything that the account may do, except what requires a session: keys, passwords, rights
    /// of accounts.
    Admin,
}

/// Scopes by their names in requests and options.
pub const SCOPES: [(&str, Scope); 4] = [
    ("search", Scope::Search),
    ("read", Scope::Read),
    ("write", Scope::Write),
    ("admin", Scope::Admin),
];

impl Scope {
    /// Name in requests and options.
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).expect("all are listed").0
    }

    /// The widest of several scopes by name; unknown names are ignored. `None` without a known one.
    ///
    /// ```
    /// use server::right::Scope;
    ///
    /// let scopes = ["search", "write", "unknown"].map(str::to_owned);
    /// assert_eq!(Scope::widest(&scopes), Some(Scope::Write));
    /// assert_eq!(Scope::widest(&[]), None);
    /// ```
    pub fn widest(words: &[String]) -> Option<Self> {
        let known = |word: &String| SCOPES.iter().find(|(name, _)| name == word);
        words.iter().filter_map(known).map(|(_, scope)| *scope).max()
    }
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A request without credentials.
    Anonymous,
    /// An account with a session.
    User {
        /// Id of the account.
        id: Uuid,
        /// Name for the login, for the audit log.
        username: String,
        /// `true` if the account is an administrator of the server.
        is_superuser: bool,
    },
    /// A program with a key, acting for an account.
    Key {
        /// Id of the key.
        key: Uuid,
        /// Id of the account.
        id: Uuid,
        /// User name of the account, for the audit log.
        username: String,
        /// `true` if the account is an administrator of the server.
        is_superuser: bool,
        /// The widest scope of the key; `None` permits nothing that requires a scope.
        scope: Option<Scope>,
    },
    /// A command of the user who runs the server, through the socket in the data folder. That user
    /// can read the stores, too.
    Local,
}

impl Identity {
    /// Id of the account; `None` for an anonymous caller.
    pub fn user(&self) -> Option<Uuid> {
        match self {
            Self::Anonymous | Self::Local => None,
            Self::User { id, .. } | Self::Key { id, .. } => Some(*id),
        }
    }

    /// Id of the key; `None` for other callers.
    pub fn key(&self) -> Option<Uuid> {
        match self {
            Self::Key { key, .. } => Some(*key),
            Self::Anonymous | Self::User { .. } | Self::Local => None,
        }
    }

    /// `true` if the account is an administrator of the server.
    pub fn is_superuser(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Local => true,
            Self::User { is_superuser, .. } | Self::Key { is_superuser, .. } => *is_superuser,
        }
    }

    /// Returns true if the scope of a key includes `needed`; other callers have no scope and always
    /// pass.
    pub fn has_scope(&self, needed: Scope) -> bool {
        match self {
            Self::Key { scope, .. } => *scope >= Some(needed),
            Self::Anonymous | Self::User { .. } | Self::Local => true,
        }
    }
}

/// Rights of a caller on a collection, before they are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessGrants {
    /// The caller's account owns it.
    pub is_owner: bool,
    /// Every caller may read it.
    pub is_public: bool,
    /// Grant to the account.
    pub user_level: Option<AccessLevel>,
    /// Grant to the key.
    pub key_level: Option<AccessLevel>,
}

impl AccessGrants {
    /// The rights of the reader for whom the collection was read.
    pub(super) fn of(seen: &VisibleCollection) -> Self {
        let level = |word: &Option<String>| word.as_deref().and_then(AccessLevel::parse);
        Self {
            is_owner: seen.is_owner,
            is_public: seen.collection.is_public,
            user_level: level(&seen.user_grant),
            key_level: level(&seen.key_grant),
        }
    }
}

/// The highest permission of a caller on a collection; `None` if the caller may not see it. A
/// public collection is readable.
///
/// ```
/// use server::right::{AccessGrants, AccessLevel, Identity, effective_level};
///
/// let public = AccessGrants { is_public: true, ..AccessGrants::default() };
/// assert_eq!(effective_level(&Identity::Anonymous, public), Some(AccessLevel::Read));
/// let granted = AccessGrants { user_level: Some(AccessLevel::Write), ..public };
/// let ada = Identity::User {
///     id: uuid::Uuid::from_u128(7),
///     username: "ada".to_owned(),
///     is_superuser: false,
/// };
/// assert_eq!(effective_level(&ada, granted), Some(AccessLevel::Write));
/// assert_eq!(effective_level(&ada, AccessGrants::default()), None);
/// ```
pub fn effective_level(identity: &Identity, given: AccessGrants) -> Option<AccessLevel> {
    if identity.is_superuser() || (given.is_owner && identity.user().is_some()) {
        return Some(AccessLevel::Owner);
    }
    given.user_level.max(given.key_level).max(given.is_public.then_some(AccessLevel::Read))
}

/// Decides whether a caller has the right of an endpoint. `effective_level` is the result of
/// [`effective_level`] for the collection of the path.
///
/// # Errors
/// The problem to respond with.
///
/// ```
/// use server::problem::ProblemCode;
/// use server::right::{AccessLevel, Identity, Right, Scope, check_right};
/// use uuid::Uuid;
///
/// let key = Identity::Key {
///     key: Uuid::from_u128(1),
///     id: Uuid::from_u128(7),
///     username: "ada".to_owned(),
///     is_superuser: false,
///     scope: Some(Scope::Read),
/// };
/// let code = |right, level| check_right(right, &key, level).err().map(|problem| problem.code);
/// let write = Some(AccessLevel::Write);
/// assert_eq!(code(Right::Read, write), None);
/// assert_eq!(code(Right::Write, write), Some(ProblemCode::InsufficientScope));
/// assert_eq!(code(Right::Owner, write), Some(ProblemCode::Forbidden));
/// assert_eq!(code(Right::Read, None), Some(ProblemCode::NotFound), "not even its existence");
/// assert_eq!(code(Right::Session, None), Some(ProblemCode::SessionRequired));
/// ```
pub fn check_right(
    right: Right,
    identity: &Identity,
    level: Option<AccessLevel>,
) -> Result<(), Problem> {
    let (needed, scope) = match right {
        Right::Public => return Ok(()),
        Right::Search => return check_scope(identity, Scope::Search),
        Right::Browse => return check_scope(identity, Scope::Read),
        Right::Authenticated | Right::Session | Right::Superuser | Right::SuperuserSession => {
            return check_identity(right, identity);
        }
        Right::Read => (AccessLevel::Read, Scope::Read),
        Right::Write => (AccessLevel::Write, Scope::Write),
        Right::Admin => (AccessLevel::Admin, Scope::Admin),
        Right::Owner => (AccessLevel::Owner, Scope::Admin),
    };
    let Some(level) = level else { return Err(Problem::not_found("collection or operation")) };
    if level < needed {
        return Err(refusal(identity));
    }
    check_scope(identity, scope)
}

fn check_identity(right: Right, identity: &Identity) -> Result<(), Problem> {
    match (right, identity) {
        (_, Identity::Anonymous) => Err(Problem::from_code(ProblemCode::Unauthenticated)),
        (Right::Session | Right::SuperuserSession, Identity::Key { .. } | Identity::Local) => {
            Err(Problem::from_code(ProblemCode::SessionRequired))
        }
        (Right::Superuser | Right::SuperuserSession, _) if !identity.is_superuser() => {
            Err(Problem::from_code(ProblemCode::Forbidden))
        }
        (Right::Superuser, _) => check_scope(identity, Scope::Admin),
        (_, _) => Ok(()),
    }
}

fn check_scope(identity: &Identity, needed: Scope) -> Result<(), Problem> {
    if identity.has_scope(needed) {
        Ok(())
    } else {
        Err(Problem::from_code(ProblemCode::InsufficientScope))
    }
}

fn refusal(identity: &Identity) -> Problem {
    match identity {
        Identity::Anonymous => Problem::from_code(ProblemCode::Unauthenticated),
        Identity::User { .. } | Identity::Key { .. } | Identity::Local => {
            Problem::from_code(ProblemCode::Forbidden)
        }
    }
}
