//! Who may do what: the rights that endpoints ask for, what a caller has on a collection, and the decision, which is a
//! pure function.
//!
//! What a caller may not see is not there for them: the answer is 404, the same as for what does not exist. What they
//! see and may not change is 403, or 401 where nobody is logged in.

use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::{Code, Problem};

/// What an endpoint asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Nothing; credentials are not even looked at.
    Open,
    /// Nothing, but what is found depends on who searches. A key of any scope may.
    Search,
    /// Nothing, but what is listed depends on who looks. A key needs the scope `read`.
    Browse,
    /// Somebody who is logged in, or a key.
    Known,
    /// Somebody who is logged in; not a key.
    Session,
    /// An administrator of the server.
    Superuser,
    /// An administrator of the server who is logged in; not a key, which would outlive being revoked by what it changes.
    SuperuserSession,
    /// Reading the collection of the path.
    Read,
    /// Changing what is in the collection of the path.
    Write,
    /// Changing who may use the collection of the path.
    Admin,
    /// The owner of the collection of the path.
    Owner,
}

impl Right {
    /// Its word in the description of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Search => "search",
            Self::Browse => "browse",
            Self::Known => "known",
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

/// What somebody may do to a collection; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Find it, and look at everything in it.
    Read,
    /// Change what is in it.
    Write,
    /// Change who may use it.
    Admin,
    /// Hand it over, delete it.
    Owner,
}

impl Level {
    /// By the word that grants and answers use.
    pub fn of(word: &str) -> Option<Self> {
        LEVELS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).expect("all are listed").0
    }
}

const LEVELS: [(&str, Level); 4] = [
    ("read", Level::Read),
    ("write", Level::Write),
    ("admin", Level::Admin),
    ("owner", Level::Owner),
];

/// How far the scopes of a key reach; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Searches.
    Search,
    /// Looks at everything that can be read.
    Read,
    /// Changes what is in collections.
    Write,
    /// Does what its account may do, but for what takes a session: keys, passwords, rights of accounts.
    Admin,
}

/// The scopes by the words that people use.
pub const SCOPES: [(&str, Scope); 4] = [
    ("search", Scope::Search),
    ("read", Scope::Read),
    ("write", Scope::Write),
    ("admin", Scope::Admin),
];

impl Scope {
    /// Its word.
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).expect("all are listed").0
    }

    /// The furthest of several, by their words. Words that are none count for nothing.
    pub fn furthest(words: &[String]) -> Option<Self> {
        let known = |word: &String| SCOPES.iter().find(|(name, _)| name == word);
        words.iter().filter_map(known).map(|(_, scope)| *scope).max()
    }
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody that is known.
    Anonymous,
    /// Somebody who has logged in.
    User { id: Uuid, username: String, is_superuser: bool },
    /// A program with a key, acting for an account.
    Key { key: Uuid, id: Uuid, username: String, is_superuser: bool, scope: Option<Scope> },
}

impl Identity {
    /// The account.
    pub fn user(&self) -> Option<Uuid> {
        match self {
            Self::Anonymous => None,
            Self::User { id, .. } | Self::Key { id, .. } => Some(*id),
        }
    }

    /// The key.
    pub fn key(&self) -> Option<Uuid> {
        match self {
            Self::Key { key, .. } => Some(*key),
            Self::Anonymous | Self::User { .. } => None,
        }
    }

    /// Whether its account is an administrator of the server.
    pub fn is_superuser(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::User { is_superuser, .. } | Self::Key { is_superuser, .. } => *is_superuser,
        }
    }

    /// Whether a key reaches so far; nobody else has a scope to be held to.
    pub fn reaches(&self, needed: Scope) -> bool {
        match self {
            Self::Key { scope, .. } => *scope >= Some(needed),
            Self::Anonymous | Self::User { .. } => true,
        }
    }
}

/// What a caller was given of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// It is theirs.
    pub is_owner: bool,
    /// Everybody may read it.
    pub is_public: bool,
    /// A grant to the account.
    pub to_user: Option<Level>,
    /// A grant to the key.
    pub to_key: Option<Level>,
}

/// What follows from it: the most that a caller may do to a collection. Public is readable and no more.
pub fn level(identity: &Identity, given: Given) -> Option<Level> {
    if identity.is_superuser() || (given.is_owner && identity.user().is_some()) {
        return Some(Level::Owner);
    }
    given.to_user.max(given.to_key).max(given.is_public.then_some(Level::Read))
}

/// Whether a caller has a right; `level` is what [`level`] gave for the collection of the path.
///
/// # Errors
/// The problem to answer with.
pub fn decide(right: Right, identity: &Identity, level: Option<Level>) -> Result<(), Problem> {
    let (needed, scope) = match right {
        Right::Open => return Ok(()),
        Right::Search => return scoped(identity, Scope::Search),
        Right::Browse => return scoped(identity, Scope::Read),
        Right::Known | Right::Session | Right::Superuser | Right::SuperuserSession => {
            return personal(right, identity);
        }
        Right::Read => (Level::Read, Scope::Read),
        Right::Write => (Level::Write, Scope::Write),
        Right::Admin => (Level::Admin, Scope::Admin),
        Right::Owner => (Level::Owner, Scope::Admin),
    };
    let Some(level) = level else { return Err(Problem::not_found("collection or operation")) };
    if level < needed {
        return Err(refused(identity));
    }
    scoped(identity, scope)
}

fn personal(right: Right, identity: &Identity) -> Result<(), Problem> {
    match (right, identity) {
        (_, Identity::Anonymous) => Err(Problem::of(Code::Unauthenticated)),
        (Right::Session | Right::SuperuserSession, Identity::Key { .. }) => {
            Err(Problem::of(Code::SessionRequired))
        }
        (Right::Superuser | Right::SuperuserSession, _) if !identity.is_superuser() => {
            Err(Problem::of(Code::Forbidden))
        }
        (Right::Superuser, _) => scoped(identity, Scope::Admin),
        (_, _) => Ok(()),
    }
}

fn scoped(identity: &Identity, needed: Scope) -> Result<(), Problem> {
    if identity.reaches(needed) { Ok(()) } else { Err(Problem::of(Code::InsufficientScope)) }
}

fn refused(identity: &Identity) -> Problem {
    match identity {
        Identity::Anonymous => Problem::of(Code::Unauthenticated),
        Identity::User { .. } | Identity::Key { .. } => Problem::of(Code::Forbidden),
    }
}
