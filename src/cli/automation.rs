//! Arguments of the verbs for unattended runs: workers and schedules.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Pipeline files, and folders that contain them
    ///
    /// All files must name the same metadata store. A changed file is loaded again.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Limit the number of concurrent operations
    ///
    /// Each works on a different collection.
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = one_or_more)]
    pub operations: usize,
    /// Limit the time to store documents after a signal
    ///
    /// In seconds. Documents that are not stored in time are requeued.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub grace: u32,
    /// Serve metrics at `/metrics` of this address
    #[arg(long, value_name = "ADDRESS", value_parser = super::parse::address)]
    pub metrics: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleVerb {
    /// List the schedules of a metadata store
    #[command(after_long_help = "Examples:\n  semantik schedule list handbook.yaml")]
    List {
        /// Pipeline file that names the metadata store
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Print the schedules as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Print the next due times of a file
    ///
    /// Reads the file only, not the metadata store.
    #[command(after_long_help = "Examples:\n  semantik schedule next handbook.yaml -n 10")]
    Next {
        /// Pipeline file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Set the number of due times
        #[arg(long, short = 'n', default_value = "5", value_parser = one_or_more)]
        count: usize,
        /// Print the due times as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Run a scheduled pipeline now on a worker
    #[command(after_long_help = "Examples:\n  semantik schedule run-now handbook.yaml")]
    RunNow {
        /// Pipeline file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Pause a schedule until it is resumed
    #[command(after_long_help = "Examples:\n  semantik schedule pause handbook.yaml")]
    Pause {
        /// Pipeline file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Resume a paused schedule (missed runs are skipped)
    #[command(after_long_help = "Examples:\n  semantik schedule resume handbook.yaml")]
    Resume {
        /// Pipeline file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the past runs of a schedule, newest first
    ///
    /// Each run is listed with its result.
    #[command(after_long_help = "Examples:\n  semantik schedule history handbook.yaml --limit 5")]
    History {
        /// Pipeline file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Limit the number of runs
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Print the runs as a JSON array
        #[arg(long)]
        json: bool,
    },
}

fn one_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected a number of at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
