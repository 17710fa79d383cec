//! What can be typed behind `semantik documents`.

use std::ffi::OsString;

use clap::{Subcommand, ValueEnum};

use super::{Change, OfFile};

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    Pending,
    Processing,
    #[value(alias = "stored")]
    Completed,
    /// Set aside, for any reason; `--reason` names one.
    #[value(alias = "set-aside", alias = "set_aside")]
    Failed,
    Deleted,
}

/// Why a document was set aside.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// It could not be read, is broken or encrypted, or exceeded a limit.
    Failed,
    /// No extractor reads its format.
    Unsupported,
    /// It has no text.
    Empty,
    /// It is larger than `max_size`.
    TooLarge,
    /// No branch of the pipeline takes it.
    Unrouted,
    /// Somebody deleted it, and it is what it was then.
    Withheld,
}

impl Reason {
    /// As it stands in reports and in the store.
    pub(crate) fn word(self) -> &'static str {
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
    /// Lists documents in order of id.
    List {
        #[command(flatten)]
        of: OfFile,
        /// Only those of this status.
        #[arg(long, value_enum)]
        status: Option<Status>,
        /// Only those that were set aside for this reason.
        #[arg(long, value_enum)]
        reason: Option<Reason>,
        /// Only those behind this one: an id, or the URL of one that has none.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Shows one document with every place where it is seen.
    Show {
        /// Its id, a path or a URL.
        document: OsString,
        #[command(flatten)]
        of: OfFile,
    },
    /// Deletes documents. They stay out while their files stay as they are.
    Delete {
        /// Ids, paths or URLs.
        #[arg(required = true)]
        documents: Vec<OsString>,
        #[command(flatten)]
        change: Change,
    },
    /// Takes documents in again that were deleted.
    Undelete {
        /// Ids, paths or URLs.
        #[arg(required = true)]
        documents: Vec<OsString>,
        #[command(flatten)]
        change: Change,
    },
}
