//! Arguments that name a metadata store, and those of `semantik migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    pub direction: Direction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Direction {
    /// Apply all pending migrations
    #[command(after_long_help = "Examples:\n  semantik migrate up handbook.yaml")]
    Up {
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Revert migrations together with their data
    ///
    /// Lists the data to be lost and asks for confirmation.
    #[command(after_long_help = "Examples:\n  semantik migrate down handbook.yaml --steps 2")]
    Down {
        #[command(flatten)]
        store: ExplicitStoreArgs,
        /// Set the number of migrations to revert
        #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        steps: usize,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// Skip the confirmation prompt
        #[arg(long, short)]
        yes: bool,
    },
    /// List the migrations
    #[command(
        after_long_help = "Examples:\n  semantik migrate status --url postgres://semantik@db/semantik"
    )]
    Status {
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[group(id = "store", required = true, multiple = true)]
pub(crate) struct StoreArgs {
    /// Pipeline file that names the metadata store
    ///
    /// Takes precedence over the URL.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Use the database at this URL
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_hint = ValueHint::Url
    )]
    pub url: Option<String>,
}

/// A metadata store that the command line has to name: commands that destroy data do not read
/// `DATABASE_URL`.
#[derive(Debug, Args)]
#[group(id = "store", required = true, multiple = false)]
pub(crate) struct ExplicitStoreArgs {
    /// Pipeline file that names the metadata store
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Use the database at this URL
    ///
    /// `DATABASE_URL` is not read by this command.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
}
