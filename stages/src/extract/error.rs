//! Errors of the extraction of a document.

use std::borrow::Cow;

use pipeline::ByteSize;
use serde::{Deserialize, Serialize};

/// A document without text, with the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExtractError {
    /// The name of the format; `None` if the document was refused before one was chosen.
    pub(crate) format: Option<Cow<'static, str>>,
    pub(crate) kind: ExtractErrorKind,
}

/// The reason for which a document has no text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum ExtractErrorKind {
    #[error("empty")]
    Empty,
    /// The number of pages that are images, and the number of all pages.
    #[error("{0} of {1} pages are images")]
    ImagesOnly(u64, u64),
    /// The media type without a parser.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The content is binary, although its type is text.
    #[error("not text")]
    NotText,
    /// The message of the parser.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("encrypted")]
    Encrypted,
    /// The limit that the document exceeds.
    #[error("exceeds {0}")]
    LimitExceeded(String),
}

impl ExtractErrorKind {
    pub(crate) fn unpack_limit(most: u64) -> Self {
        Self::LimitExceeded(format!(
            "{} of unpacked content (a quarter of max_memory)",
            ByteSize(most)
        ))
    }

    /// The result of a part without which a document can be read: `None` if it violates the format.
    /// Other errors, such as those of limits, cost the document.
    pub(crate) fn unless_corrupt<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Self::Corrupt(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The error of a document of the format with this name.
    pub(crate) fn with_format(self, format: Option<&'static str>) -> ExtractError {
        ExtractError { format: format.map(Cow::Borrowed), kind: self }
    }
}
