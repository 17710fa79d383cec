//! The outcome of a node: rows that continue, and documents that leave here. It is the result of a
//! unit of work, so it can be sent to another process: rows as Arrow IPC, the rest with serde.

use std::borrow::Cow;
use std::fmt;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::Field;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::SchemaError;
use crate::column::{CONTENT_HASH, CTIME, INODE, MTIME, SIZE, SOURCE, URI};

/// Result of a batch in a node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Rows for the next nodes; serialised with [`crate::ipc`].
    #[serde(with = "crate::ipc")]
    pub rows: RecordBatch,
    /// Documents that leave the pipeline here, with their reasons.
    pub rejected: Vec<Rejection>,
}

impl From<RecordBatch> for Outcome {
    fn from(rows: RecordBatch) -> Self {
        Self { rows, rejected: Vec::new() }
    }
}

/// SHA-256 of a document's content.
///
/// ```
/// use pipeline::ContentHash;
///
/// let hash = ContentHash::try_from([0x0f; 32].as_slice())?;
/// assert_eq!(hash.to_string(), "0f".repeat(32));
/// assert!(ContentHash::try_from([0x0f; 20].as_slice()).is_err());
/// # Ok::<_, std::array::TryFromSliceError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash(#[serde(with = "crate::hex")] pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(&self.0, f)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<&[u8]> for ContentHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// Location of a document with the attributes of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// See [`URI`].
    pub uri: String,
    /// See [`SOURCE`].
    pub source: String,
    /// Size in bytes.
    pub size: u64,
    /// Time of last modification, microseconds since 1970-01-01 UTC.
    pub mtime: Option<i64>,
    /// Time of last change of the inode, microseconds since 1970-01-01 UTC.
    pub ctime: Option<i64>,
    /// Inode number.
    pub inode: Option<u64>,
}

impl Location {
    /// Columns of a location; every source produces them.
    pub fn fields() -> [Field; 6] {
        [URI.field(), SOURCE.field(), SIZE.field(), MTIME.field(), CTIME.field(), INODE.field()]
    }

    /// Reads the location of a row.
    ///
    /// # Errors
    /// If the batch lacks one of [`Location::fields`].
    pub fn from_row(rows: &RecordBatch, row: usize) -> Result<Self, SchemaError> {
        let (mtime, ctime, inode) = (MTIME.of(rows)?, CTIME.of(rows)?, INODE.of(rows)?);
        Ok(Self {
            uri: URI.of(rows)?.value(row).to_owned(),
            source: SOURCE.of(rows)?.value(row).to_owned(),
            size: SIZE.of(rows)?.value(row),
            mtime: mtime.is_valid(row).then(|| mtime.value(row)),
            ctime: ctime.is_valid(row).then(|| ctime.value(row)),
            inode: inode.is_valid(row).then(|| inode.value(row)),
        })
    }
}

/// A document that leaves the pipeline before a sink. It is data, not an error: the run continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// Location of the document.
    pub location: Location,
    /// Hash of the content; `None` if it was not computed.
    pub content_hash: Option<ContentHash>,
    /// The reason.
    pub reason: RejectReason,
}

impl Rejection {
    /// Sets a row of a batch aside.
    ///
    /// # Errors
    /// If the batch lacks one of [`Location::fields`].
    pub fn from_row(
        rows: &RecordBatch,
        row: usize,
        why: RejectReason,
    ) -> Result<Self, SchemaError> {
        let content_hash = match CONTENT_HASH.of(rows) {
            Ok(hashes) => ContentHash::try_from(hashes.value(row)).ok(),
            Err(_) => None,
        };
        Ok(Self { location: Location::from_row(rows, row)?, content_hash, reason: why })
    }
}

/// The reason why a document leaves the pipeline before a sink.
///
/// ```
/// use pipeline::{DocumentError, RejectReason};
///
/// let corrupt = DocumentError::Corrupt { format: "PDF".into(), cause: "no trailer".to_owned() };
/// let reason = RejectReason::from(corrupt);
/// assert_eq!(reason.code(), "failed");
/// assert_eq!(reason.to_string(), "is not a valid PDF file: no trailer");
///
/// let scanned = RejectReason::ImagesOnly { images: 4, pages: 4 };
/// assert_eq!(scanned.code(), "empty");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Intended: it is already stored, and its file is unchanged.
    #[error("is already stored, and its file is unchanged")]
    Unchanged,
    /// Intended: it is already stored, and only attributes of its file, such as times, have
    /// changed.
    #[error("is already stored, and only attributes of its file have changed")]
    MetadataChanged,
    /// Intended: a document with this content is in the collection, or came earlier in this run.
    #[error("has the same content as another document")]
    Duplicate,
    /// It contains no text.
    #[error("has no text")]
    Empty,
    /// It contains no text, only images of pages, such as those of a scanner.
    #[error("has no text layer: {} (OCR is not supported)", image_page_text(*images, *pages))]
    ImagesOnly {
        /// Number of pages that are images.
        images: u64,
        /// Number of pages.
        pages: u64,
    },
    /// It is larger than the limit of the pipeline file.
    #[error(
        "has {size} bytes; the limit is {limit} (raise `max_size` of the scan node to index it)"
    )]
    TooLarge {
        /// Size in bytes.
        size: u64,
        /// Limit in bytes.
        limit: u64,
    },
    /// No extractor supports this format.
    #[error("has the type {mime_type}, which no extractor supports")]
    Unsupported {
        /// Media type.
        mime_type: String,
    },
    /// The `when:` conditions of all next nodes exclude it.
    #[error("matches no `when:` condition of the next nodes")]
    Unrouted,
    /// Not intended: the document could not be processed.
    #[error("{0}")]
    Failed(#[from] DocumentError),
    /// Intended: a user deleted it, and its content is unchanged since.
    #[error("{message} (`semantik documents undelete FILE PATH` restores it)")]
    Withheld {
        /// User and time of the deletion, as text.
        message: String,
    },
    /// An earlier run set it aside, and neither it nor the settings have changed.
    #[error("{message}")]
    PreviouslyRejected {
        /// Node that set it aside.
        node: String,
        /// Reason code of the rejection, as in [`RejectReason::code`].
        reason: String,
        /// Message of the rejection.
        message: String,
        /// Start of the rejection; `None` if it was not recorded.
        since: Option<DateTime<Utc>>,
    },
}

/// Number of pages that are images, as text.
fn image_page_text(images: u64, pages: u64) -> String {
    match (images, pages) {
        (1, 1) => "its page is an image".to_owned(),
        (images, pages) if images == pages => format!("its {pages} pages are images"),
        (images, pages) => format!("{images} of its {pages} pages are images"),
    }
}

/// [`RejectReason::code`] of a failed document. Exit code 2 reports failures that were not known
/// before.
pub const FAILED_REASON: &str = "failed";

impl RejectReason {
    /// Reason code, the same in reports, metrics and tables.
    pub fn code(&self) -> &str {
        match self {
            Self::Unchanged | Self::MetadataChanged => "unchanged",
            Self::Duplicate => "duplicate",
            Self::Empty | Self::ImagesOnly { .. } => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported { .. } => "unsupported",
            Self::Unrouted => "unrouted",
            Self::Withheld { .. } => "withheld",
            Self::Failed(_) => FAILED_REASON,
            Self::PreviouslyRejected { reason, .. } => reason,
        }
    }
}

/// The reason why one document could not be processed. It is permanent: the same bytes with the
/// same settings fail in the same way.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentError {
    /// The file could not be opened or read.
    #[error("cannot be read: {cause}")]
    Unreadable {
        /// Message of the system.
        cause: String,
    },
    /// The content violates its format.
    #[error("is not a valid {format} file: {cause}")]
    Corrupt {
        /// The format: `PDF`, `DOCX`, …
        format: Cow<'static, str>,
        /// Message of the parser.
        cause: String,
    },
    /// It requires a password.
    #[error("is encrypted and requires a password")]
    Encrypted,
    /// Processing exceeded a limit per document.
    #[error("exceeds the limit of {limit} per document")]
    LimitExceeded {
        /// The limit, with its unit and the option that sets it: `60 s (max_seconds)`.
        limit: String,
    },
}
