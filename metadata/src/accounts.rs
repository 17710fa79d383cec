//! Accounts of users and programs: their sessions and API keys.

pub(crate) mod browser_sessions;
pub(crate) mod keys;
pub(crate) mod sessions;
pub(crate) mod users;
