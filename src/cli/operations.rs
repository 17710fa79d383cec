//! Arguments of `semantik operations` and `semantik top`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CollectionArgs, OperationName};

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsVerb {
    /// List the operations of a collection, newest first
    List {
        #[command(flatten)]
        of: CollectionArgs,
        /// Include operations on deleted collections of this name
        ///
        /// If no collection has the name, the operations on the last deleted one are listed without
        /// this flag.
        #[arg(long)]
        deleted: bool,
        /// List only operations older than this id
        #[arg(long, value_name = "ID")]
        before: Option<uuid::Uuid>,
        /// Limit the number of operations
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show an operation with its request and statistics
    Show {
        /// Operation: `latest`, an id, or an unambiguous prefix of one
        #[arg(value_name = "ID")]
        id: OperationName,
        #[command(flatten)]
        of: CollectionArgs,
    },
    /// Cancel an operation, whichever process executes it
    Cancel {
        /// Operation: `latest`, an id, or an unambiguous prefix of one
        #[arg(value_name = "ID")]
        id: OperationName,
        #[command(flatten)]
        of: CollectionArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Id of the operation
    ///
    /// Default: the running operation, otherwise the last one.
    pub operation: Option<uuid::Uuid>,
    /// Show an operation of this pipeline file's collection
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "server",
        conflicts_with = "server"
    )]
    pub config: Option<PathBuf>,
    /// Connect to this server instead of reading a file
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Authenticate with this access token or API key
    #[arg(long, env = "SEMANTIK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print one snapshot and exit
    ///
    /// This is the default without a terminal.
    #[arg(long)]
    pub once: bool,
    /// Print the state as a JSON object and exit
    #[arg(long)]
    pub json: bool,
}
