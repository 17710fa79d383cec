//! Arguments of `semantik operations` and `semantik top`.

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, Args, Subcommand, ValueHint};
use uuid::Uuid;

use super::{CollectionArgs, OperationName};

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsVerb {
    /// List the operations of a collection, newest first
    #[command(after_long_help = "Examples:\n  semantik operations list handbook.yaml --limit 5")]
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
        before: Option<Uuid>,
        /// Limit the number of operations
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show an operation with its request and statistics
    #[command(after_long_help = "Examples:\n  semantik operations show handbook.yaml latest")]
    Show {
        #[command(flatten)]
        of: CollectionArgs,
        /// Operation: `latest`, an id, or an unambiguous prefix of one
        #[arg(value_name = "ID")]
        id: OperationName,
    },
    /// Cancel an operation, whichever process executes it
    #[command(after_long_help = "Examples:\n  semantik operations cancel handbook.yaml 3f0c1a5e")]
    Cancel {
        #[command(flatten)]
        of: CollectionArgs,
        /// Operation: `latest`, an id, or an unambiguous prefix of one
        #[arg(value_name = "ID")]
        id: OperationName,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("watched").args(["file", "server"]).required(true).multiple(true))]
pub(crate) struct TopArgs {
    /// Pipeline file that fills the collection
    ///
    /// Absent with `--server`.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Id of the operation
    ///
    /// Default: the running operation, otherwise the last one.
    pub operation: Option<Uuid>,
    /// Connect to this server instead of reading a file
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
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

impl TopArgs {
    /// Takes a single positional as the operation if `--server` replaces the file.
    ///
    /// # Errors
    /// If there are both, or the operation is not an id.
    pub(super) fn assign_positionals(&mut self) -> Result<(), clap::Error> {
        if self.server.is_none() || self.file.is_none() {
            return Ok(());
        }
        if self.operation.is_some() {
            let mut error = clap::Error::new(ErrorKind::ArgumentConflict);
            for (kind, name) in
                [(ContextKind::InvalidArg, "--server <URL>"), (ContextKind::PriorArg, "<FILE>")]
            {
                error.insert(kind, ContextValue::String(name.to_owned()));
            }
            return Err(error);
        }
        let word = self.file.take().unwrap_or_default();
        let word = word.to_string_lossy();
        self.operation = word.parse().ok();
        if self.operation.is_some() {
            return Ok(());
        }
        let mut error = clap::Error::new(ErrorKind::ValueValidation);
        for (kind, value) in
            [(ContextKind::InvalidArg, "[OPERATION]"), (ContextKind::InvalidValue, word.as_ref())]
        {
            error.insert(kind, ContextValue::String(value.to_owned()));
        }
        let tip = StyledStr::from("'--server' replaces FILE");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        Err(error)
    }
}
