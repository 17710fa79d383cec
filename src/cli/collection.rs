//! Arguments of the verbs about one collection, its sources and its documents' state.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::StoreArgs;

/// Arguments of commands that read one collection.
#[derive(Debug, Args)]
pub(crate) struct CollectionArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of commands that change one collection.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Wait while another operation works on the collection
    #[arg(long)]
    pub wait: bool,
    /// Skip the confirmation prompt
    #[arg(long, short)]
    pub yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CollectionsVerb {
    /// List the collections of a metadata store
    #[command(after_long_help = "Examples:\n  semantik collections list handbook.yaml --deleted")]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// List only collections after this id
        #[arg(long, value_name = "ID")]
        after: Option<uuid::Uuid>,
        /// Limit the number of collections
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// List deleted collections, the last deleted first
        #[arg(long, conflicts_with = "after")]
        deleted: bool,
        /// Print the collections as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a collection with its generations
    #[command(after_long_help = "Examples:\n  semantik collections show handbook.yaml")]
    Show {
        #[command(flatten)]
        of: CollectionArgs,
    },
    /// Show the audit log of a collection, newest first
    ///
    /// The log remains after the collection was deleted.
    #[command(after_long_help = "Examples:\n  semantik collections audit handbook.yaml --limit 10")]
    Audit {
        #[command(flatten)]
        of: CollectionArgs,
        /// Limit the number of entries
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Delete a collection permanently from both stores
    #[command(after_long_help = "Examples:\n  semantik collections delete handbook.yaml")]
    Delete {
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourcesVerb {
    /// List the sources of a collection with document counts
    #[command(after_long_help = "Examples:\n  semantik sources list handbook.yaml")]
    List {
        #[command(flatten)]
        of: CollectionArgs,
    },
    /// Remove a source and the documents only it provides
    #[command(
        after_long_help = "Examples:\n  semantik sources delete handbook.yaml file:///srv/handbook"
    )]
    Delete {
        #[command(flatten)]
        change: ChangeArgs,
        /// Source, as printed by `sources list`
        source: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Path, URL or id of a document
    ///
    /// The document does not have to exist, now or earlier.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub document: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Repair the differences
    ///
    /// Removes surplus points and runs the pipeline to write missing ones.
    #[arg(long)]
    pub repair: bool,
    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Wait while another operation works on the collection
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Wait while another operation works on the collection
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the status as a JSON object
    #[arg(long)]
    pub json: bool,
}
