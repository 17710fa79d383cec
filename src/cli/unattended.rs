//! What can be typed of runs that nobody starts: workers, schedules, samples, and watching.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Pipeline files, and folders of them. A file that changes is read anew.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// How many operations it carries out at once, each on a collection of its own.
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = one_or_more)]
    pub operations: usize,
    /// Seconds within which what is in flight is stored after a signal; the rest is handed back.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub grace: u32,
    /// Serves metrics at `/metrics` of this address.
    #[arg(long, value_name = "ADDRESS", value_parser = super::typed::address)]
    pub metrics: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleVerb {
    /// Lists the schedules of a store.
    List {
        /// A pipeline file, whose metadata store is meant.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Prints them as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Says when the next runs of a file are due. No store is asked.
    Next {
        /// The pipeline file.
        file: PathBuf,
        /// How many.
        #[arg(long, short = 'n', default_value = "5", value_parser = one_or_more)]
        count: usize,
        /// Prints them as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Has a worker run a file now, as its schedule says.
    RunNow {
        /// The pipeline file.
        file: PathBuf,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Pauses a schedule until it is resumed.
    Pause {
        /// The pipeline file.
        file: PathBuf,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Resumes a paused schedule. Runs that were due meanwhile are skipped.
    Resume {
        /// The pipeline file.
        file: PathBuf,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the last runs of a file, newest first, with what became of each.
    History {
        /// The pipeline file.
        file: PathBuf,
        /// How many at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Prints them as a JSON array.
        #[arg(long)]
        json: bool,
    },
}

fn one_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Only the samples whose name contains this.
    #[arg(long, value_name = "WORDS")]
    pub only: Option<String>,
    /// Writes snapshots anew that are not what was found.
    #[arg(long)]
    pub update: bool,
    /// Prints what came of each as a JSON array.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The operation; the one that goes on, or the last one, unless it is named.
    pub operation: Option<uuid::Uuid>,
    /// The pipeline file that fills the collection.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "server",
        conflicts_with = "server"
    )]
    pub config: Option<PathBuf>,
    /// The address of a server, instead of a file.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// An access token or API key for the server.
    #[arg(long, env = "SEMANTIK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Prints one picture, and ends; so it does where there is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Prints the state as one JSON object, and ends.
    #[arg(long)]
    pub json: bool,
}
