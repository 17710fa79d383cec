//! Text that must not be shown: connection strings and keys.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// A text that prints as `***`, so that it reaches no log, error or table by accident.
///
/// ```
/// use pipeline::Secret;
///
/// let url = Secret::from("postgres://semantik:hunter2@db/semantik".to_owned());
/// assert_eq!(format!("{url} {url:?}"), "*** ***");
/// assert!(url.reveal().contains("hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// The plain text, for the call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
