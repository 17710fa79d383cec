//! What can be typed behind `semantik users`.

use clap::Subcommand;

use super::StoreArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersVerb {
    /// Lists accounts.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Prints them as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Makes an account. Its password is read from standard input.
    Add {
        /// What it logs in by.
        name: String,
        /// Where it can be reached.
        #[arg(long)]
        email: String,
        /// It may do everything.
        #[arg(long)]
        superuser: bool,
        #[command(flatten)]
        store: StoreArgs,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives an account another password, read from standard input, and ends its sessions.
    Password {
        /// What it logs in by.
        name: String,
        #[command(flatten)]
        store: StoreArgs,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
}
