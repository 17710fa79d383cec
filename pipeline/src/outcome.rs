//! What a node hands back: the rows that go on, and the documents that leave here.

use std::fmt;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::Field;
use chrono::{DateTime, Utc};

use crate::SchemaError;
use crate::column::{CONTENT_HASH, CTIME, INODE, MTIME, SIZE, SOURCE, URI};

/// What became of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// The rows that go on to the next nodes.
    pub rows: RecordBatch,
    /// The documents that leave the pipeline here, each with its reason.
    pub set_aside: Vec<SetAside>,
}

impl From<RecordBatch> for Outcome {
    fn from(rows: RecordBatch) -> Self {
        Self { rows, set_aside: Vec::new() }
    }
}

/// SHA-256 of a document's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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

/// Where a document was seen, and what the file system said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// See [`URI`].
    pub uri: String,
    /// See [`SOURCE`].
    pub source: String,
    /// Size in bytes.
    pub size: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub mtime: Option<i64>,
    /// Microseconds since 1970-01-01 UTC.
    pub ctime: Option<i64>,
    /// Inode number.
    pub inode: Option<u64>,
}

impl Location {
    /// The columns that a location is read from; every source gives them.
    pub fn fields() -> [Field; 6] {
        [URI.field(), SOURCE.field(), SIZE.field(), MTIME.field(), CTIME.field(), INODE.field()]
    }

    /// Reads the location of one row.
    ///
    /// # Errors
    /// If the batch does not carry the columns that every source gives.
    pub fn of(rows: &RecordBatch, row: usize) -> Result<Self, SchemaError> {
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

/// A document that leaves the pipeline before a sink. Data, not an error: the run goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// Where it was seen.
    pub location: Location,
    /// Its content, if it was read that far.
    pub content_hash: Option<ContentHash>,
    /// Why it leaves.
    pub why: Why,
}

impl SetAside {
    /// Sets one row of a batch aside.
    ///
    /// # Errors
    /// If the batch does not carry the columns that every source gives.
    pub fn row(rows: &RecordBatch, row: usize, why: Why) -> Result<Self, SchemaError> {
        let content_hash = match CONTENT_HASH.of(rows) {
            Ok(hashes) => ContentHash::try_from(hashes.value(row)).ok(),
            Err(_) => None,
        };
        Ok(Self { location: Location::of(rows, row)?, content_hash, why })
    }
}

/// Why a document leaves the pipeline before a sink.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// Intended: it is stored already, and nothing about its file has changed.
    #[error("stored already, and not changed since")]
    Unchanged,
    /// Intended: it is stored already, and only the times or the like of its file have changed.
    #[error("stored already, and only touched since")]
    Touched,
    /// Intended: a document with this content is in the collection, or went before it in this run.
    #[error("has the same content as another document")]
    Duplicate,
    /// There is no text in it.
    #[error("has no text")]
    Empty,
    /// There is no text in it, but images of pages, as a scanner makes them.
    #[error("has no text layer: {} (OCR is not supported)", images_of(*images, *pages))]
    Images {
        /// Pages that are images.
        images: u64,
        /// Pages in all.
        pages: u64,
    },
    /// It is larger than the pipeline file allows.
    #[error(
        "has {size} bytes; the limit is {limit} (raise `max_size` of the scan node to take it in)"
    )]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// No extractor reads this format.
    #[error("is of type {mime_type}, which no extractor reads")]
    Unsupported {
        /// Its media type.
        mime_type: String,
    },
    /// No branch of a `when:` took it.
    #[error("no branch takes it")]
    Unrouted,
    /// Not intended: this one document could not be processed.
    #[error("{0}")]
    Failed(#[from] DocError),
    /// Intended: somebody has deleted it, and it is still what it was then.
    #[error("{message} (`semantik documents undelete` takes it in again)")]
    Withheld {
        /// Who and when, in words.
        message: String,
    },
    /// It was set aside by an earlier run, and neither it nor the settings have changed since.
    #[error("{message}")]
    Before {
        /// The node that set it aside then.
        node: String,
        /// The reason of then, as [`Why::reason`] gives it.
        reason: String,
        /// The message of then.
        message: String,
        /// Since when it is known, if that was noted.
        since: Option<DateTime<Utc>>,
    },
}

/// How many of the pages are images, in words.
fn images_of(images: u64, pages: u64) -> String {
    match (images, pages) {
        (1, 1) => "its page is an image".to_owned(),
        (images, pages) if images == pages => format!("its {pages} pages are images"),
        (images, pages) => format!("{images} of its {pages} pages are images"),
    }
}

/// What [`Why::reason`] says of a document that failed; exit code 2 stands for those that were not known before.
pub const FAILED: &str = "failed";

impl Why {
    /// One word for it, the same in reports, metrics and tables.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unchanged | Self::Touched => "unchanged",
            Self::Duplicate => "duplicate",
            Self::Empty | Self::Images { .. } => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported { .. } => "unsupported",
            Self::Unrouted => "unrouted",
            Self::Withheld { .. } => "withheld",
            Self::Failed(_) => FAILED,
            Self::Before { reason, .. } => reason,
        }
    }
}

/// Why one document could not be processed, in words for the person who owns it. Running again on
/// the same bytes with the same settings would fail in the same way.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DocError {
    /// The file could not be opened or read.
    #[error("cannot be read: {cause}")]
    Unreadable {
        /// What the system said.
        cause: String,
    },
    /// The content is not what its format demands.
    #[error("is not a valid {format} file: {cause}")]
    Corrupt {
        /// The format: `PDF`, `DOCX`, …
        format: &'static str,
        /// What the parser said.
        cause: String,
    },
    /// It cannot be opened without a password.
    #[error("is encrypted, and cannot be read without its password")]
    Encrypted,
    /// A limit on one document was exceeded while it was processed.
    #[error("exceeds the limit of {limit} on one document")]
    Limit {
        /// The limit, with its unit and the option that sets it: `60 s (max_seconds)`.
        limit: String,
    },
}
