//! Arguments of `semantik documents`.

use std::ffi::OsString;

use clap::{Subcommand, ValueEnum, ValueHint};

use super::{ChangeArgs, CollectionArgs};

/// Status of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusArg {
    /// Recorded, not yet processed
    Pending,
    /// Being processed
    Processing,
    /// Stored with its vectors
    #[value(alias = "stored")]
    Completed,
    /// Set aside, for any reason (`--reason` selects one)
    #[value(alias = "set-aside", alias = "set_aside")]
    Failed,
    /// Deleted by a user, or its last location no longer exists
    Deleted,
}

/// Reason for which a document was set aside.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ReasonArg {
    /// Unreadable, corrupt or encrypted, or a limit was exceeded
    Failed,
    /// No extractor reads its format
    Unsupported,
    /// It contains no text
    Empty,
    /// It is larger than `max_size`
    TooLarge,
    /// No branch of the pipeline takes it
    Unrouted,
    /// A user deleted it, and its content is unchanged since
    Withheld,
}

impl ReasonArg {
    /// The code in reports and in the store.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unsupported => "unsupported",
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::Unrouted => "unrouted",
            Self::Withheld => "withheld",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum DocumentsVerb {
    /// List documents in order of id
    #[command(
        after_long_help = "Examples:\n  semantik documents list handbook.yaml --status failed"
    )]
    List {
        #[command(flatten)]
        of: CollectionArgs,
        /// List only documents with this status
        #[arg(long, value_enum)]
        status: Option<StatusArg>,
        /// List only documents set aside for this reason
        #[arg(long, value_enum)]
        reason: Option<ReasonArg>,
        /// List only documents after this one
        ///
        /// An id, or the URL of a document without an id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// Limit the number of documents
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show a document with all its locations
    #[command(
        after_long_help = "Examples:\n  semantik documents show handbook.yaml corpus/holidays.pdf"
    )]
    Show {
        #[command(flatten)]
        of: CollectionArgs,
        /// Id, path or URL of the document
        #[arg(value_hint = ValueHint::AnyPath)]
        document: OsString,
    },
    /// Delete documents while their files stay unchanged
    ///
    /// A deleted document is stored again when its content changes.
    #[command(
        after_long_help = "Examples:\n  semantik documents delete handbook.yaml corpus/draft.html"
    )]
    Delete {
        #[command(flatten)]
        change: ChangeArgs,
        /// Ids, paths or URLs of the documents
        #[arg(required = true, value_name = "DOCUMENT", value_hint = ValueHint::AnyPath)]
        documents: Vec<OsString>,
    },
    /// Restore deleted documents
    #[command(
        after_long_help = "Examples:\n  semantik documents undelete handbook.yaml corpus/draft.html"
    )]
    Undelete {
        #[command(flatten)]
        change: ChangeArgs,
        /// Ids, paths or URLs of the documents
        #[arg(required = true, value_name = "DOCUMENT", value_hint = ValueHint::AnyPath)]
        documents: Vec<OsString>,
    },
}
