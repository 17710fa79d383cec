//! Arguments of the verbs that check and run a pipeline: `check`, `test`, `graph`, `run`, `reindex`
//! and `plan`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Pipeline file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the checked graph with the columns of its edges
    #[arg(long)]
    pub columns: bool,
    /// Print the findings as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Pipeline file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Run only samples whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Update snapshots that differ from the results
    #[arg(long)]
    pub update: bool,
    /// Print the result of each sample as a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Pipeline file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Select the notation
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub format: GraphFormat,
    /// Print the nodes and their inputs as a JSON object
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Mermaid flowchart
    Mermaid,
    /// Graphviz DOT
    Dot,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Pipeline file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the report as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Delete missing documents, whatever their number
    ///
    /// Without this flag a run stops if more documents are missing than
    /// `lifecycle.max_delete_ratio` permits.
    #[arg(long)]
    pub allow_deletes: bool,
    /// Retry failed documents whose delay has passed
    ///
    /// The delay is five minutes after the first failure and four times longer after each further
    /// one, at most a week.
    #[arg(long)]
    pub retry_failed: bool,
    /// Wait while another operation works on the collection
    #[arg(long)]
    pub wait: bool,
    /// Limit the time to store documents after a signal
    ///
    /// In seconds. Documents that are not stored in time are left to the next run. Default: no
    /// limit.
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u32>,
    /// Serve metrics at `/metrics` of this address during the run
    #[arg(long, value_name = "ADDRESS", value_parser = super::parse::address)]
    pub metrics: Option<SocketAddr>,
    /// Write metrics to this file at the end
    ///
    /// In the Prometheus text format.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Push metrics to this Pushgateway at the end
    #[arg(long, value_name = "URL")]
    pub push_metrics: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Pipeline file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the plan as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Plan a run with `--allow-deletes`
    #[arg(long)]
    pub allow_deletes: bool,
    /// Plan a run with `--retry-failed`
    #[arg(long)]
    pub retry_failed: bool,
}
