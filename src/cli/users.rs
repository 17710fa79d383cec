//! Arguments of `semantik users`.

use std::ffi::OsStr;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Subcommand};

use super::StoreArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersVerb {
    /// List the accounts
    #[command(after_long_help = "Examples:\n  semantik users list handbook.yaml")]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Print the accounts as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Create an account, with its password from standard input
    #[command(
        override_usage = "semantik users add [OPTIONS] --email <EMAIL> <FILE|--url <URL>> <NAME>",
        after_long_help = "Examples:\n  semantik users add handbook.yaml anna --email anna@example.org"
    )]
    Add {
        #[command(flatten)]
        account: AccountArgs,
        /// Set the email address of the account
        #[arg(long)]
        email: String,
        /// Grant all rights
        #[arg(long)]
        superuser: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the password of an account
    ///
    /// Reads the password from standard input and revokes the sessions of the account.
    #[command(
        override_usage = "semantik users password [OPTIONS] <FILE|--url <URL>> <NAME>",
        after_long_help = "Examples:\n  semantik users password handbook.yaml anna"
    )]
    Password {
        #[command(flatten)]
        account: AccountArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// A store, and the login name of an account in it.
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Login name
    #[arg(required_unless_present = "url")]
    pub name: Option<String>,
}

impl AccountArgs {
    /// The store and the login name.
    pub(crate) fn into_parts(self) -> (StoreArgs, String) {
        (self.store, self.name.expect("`parse` refuses a command line without it"))
    }

    /// Takes a single positional as the name if a URL names the store.
    ///
    /// # Errors
    /// If the name is missing. A pipeline file is no name: with `DATABASE_URL` set, a forgotten
    /// name must not make it one.
    pub(super) fn assign_positionals(&mut self) -> Result<(), clap::Error> {
        if self.name.is_none() {
            let word = self.store.file.take().filter(|word| !is_yaml(word));
            self.name = word.and_then(|word| word.into_os_string().into_string().ok());
        }
        if self.name.is_some() {
            return Ok(());
        }
        let mut error = clap::Error::new(ErrorKind::MissingRequiredArgument);
        error.insert(ContextKind::InvalidArg, ContextValue::Strings(vec!["<NAME>".to_owned()]));
        Err(error)
    }
}

fn is_yaml(word: &Path) -> bool {
    matches!(word.extension().and_then(OsStr::to_str), Some("yaml" | "yml"))
}
