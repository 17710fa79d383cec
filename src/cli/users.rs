//! Arguments of `semantik users`.

use clap::Subcommand;

use super::StoreArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersVerb {
    /// List the accounts
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Print the accounts as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Create an account, with its password from standard input
    Add {
        /// Login name
        name: String,
        /// Set the email address of the account
        #[arg(long)]
        email: String,
        /// Grant all rights
        #[arg(long)]
        superuser: bool,
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the password of an account
    ///
    /// Reads the password from standard input and revokes the sessions of the account.
    Password {
        /// Login name
        name: String,
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}
