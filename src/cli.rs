//! The command line: verbs and their arguments as clap types. Execution is in `cmd`.

mod automation;
mod documents;
mod embed;
mod examples;
mod models;
mod operation;
mod parse;
mod search;
mod serve;
mod users;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use self::automation::{ScheduleVerb, TestArgs, TopArgs, WorkerArgs};
pub(crate) use self::documents::{DocumentsVerb, ReasonArg, StatusArg};
pub(crate) use self::embed::{EmbedArgs, TextKindArg};
pub(crate) use self::models::ModelsVerb;
pub(crate) use self::operation::{IdPrefix, OperationName};
pub(crate) use self::parse::parse;
pub(crate) use self::search::{EvalArgs, ModeArg, SearchArgs};
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::users::UsersVerb;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Index documents with pipelines declared in YAML, and search them
#[derive(Debug, Parser)]
#[command(name = "semantik", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// Set the log level or filter
    ///
    /// A level (error, warn, info, debug, trace) or a filter such as `info,metadata=debug`.
    #[arg(long, global = true, env = "SEMANTIK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Set the log format
    #[arg(
        long,
        global = true,
        env = "SEMANTIK_LOG_FORMAT",
        value_enum,
        default_value_t = LogFormat::Text,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Format of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines of text
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check a pipeline file and report all errors and warnings
    #[command(after_long_help = examples::CHECK)]
    Check(CheckArgs),
    /// Test the sample documents of a pipeline file
    ///
    /// Runs the samples as far as the model and compares the results with the expectations in the
    /// file. Uses no database and loads no model.
    #[command(after_long_help = examples::TEST)]
    Test(TestArgs),
    /// Print the graph of a pipeline file
    #[command(after_long_help = examples::GRAPH)]
    Graph(GraphArgs),
    /// Run a pipeline: store new documents, remove deleted ones
    ///
    /// Changed documents are updated. If the file requests another model, dimension or
    /// quantisation, the run builds a new generation beside the live one and makes it live.
    #[command(after_long_help = examples::RUN)]
    Run(RunArgs),
    /// Run scheduled pipelines and queued operations until stopped
    #[command(after_long_help = examples::WORKER)]
    Worker(WorkerArgs),
    /// Show and control the schedules of pipeline files
    #[command(subcommand, after_long_help = examples::SCHEDULE)]
    Schedule(ScheduleVerb),
    /// Show what a run would do, without doing it
    ///
    /// Names each decision with its reason. Changes nothing.
    #[command(after_long_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Rebuild a collection as a new generation
    ///
    /// The new generation is built beside the live one, checked, and made live.
    #[command(after_long_help = examples::REINDEX)]
    Reindex(RunArgs),
    /// Make the previous generation live again
    #[command(after_long_help = examples::ROLLBACK)]
    Rollback(RollbackArgs),
    /// Search collections for passages that match a query
    #[command(after_long_help = examples::SEARCH)]
    Search(SearchArgs),
    /// Measure search quality with judged queries
    ///
    /// The exit code is 1 if a score is below a minimum set by `--min`.
    #[command(after_long_help = examples::EVAL)]
    Eval(EvalArgs),
    /// Serve collections over HTTP and execute operations
    ///
    /// Serves search, collections, documents and operations, and executes queued operations and
    /// scheduled runs.
    #[command(after_long_help = examples::SERVE)]
    Serve(Box<ServeArgs>),
    /// List and create accounts, and set passwords
    #[command(subcommand, after_long_help = examples::USERS)]
    Users(UsersVerb),
    /// Embed texts without a pipeline or store
    #[command(after_long_help = examples::EMBED)]
    Embed(EmbedArgs),
    /// Fetch and show embedding models
    #[command(subcommand, after_long_help = examples::MODELS)]
    Models(ModelsVerb),
    /// Show the content and last operations of a collection
    #[command(after_long_help = examples::STATUS)]
    Status(StatusArgs),
    /// Show a running operation live
    ///
    /// Shows its throughput, its nodes and the bottleneck.
    #[command(after_long_help = examples::TOP)]
    Top(TopArgs),
    /// Explain the state of one document
    ///
    /// Shows if it is stored, since when, and the reason if it is not.
    #[command(after_long_help = examples::WHY)]
    Why(WhyArgs),
    /// Compare the metadata store with the vector store
    ///
    /// Compares in both directions. The exit code is 1 if they differ.
    #[command(after_long_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// List, show and delete collections
    #[command(subcommand, after_long_help = examples::COLLECTIONS)]
    Collections(CollectionsVerb),
    /// List the sources of a collection, or remove one
    #[command(subcommand, after_long_help = examples::SOURCES)]
    Sources(SourcesVerb),
    /// List, show and cancel operations
    #[command(subcommand, after_long_help = examples::OPERATIONS)]
    Operations(OperationsVerb),
    /// List, show, delete and restore documents
    #[command(subcommand, after_long_help = examples::DOCUMENTS)]
    Documents(DocumentsVerb),
    /// Apply, revert and list database migrations
    #[command(after_long_help = examples::MIGRATE)]
    Migrate(MigrateArgs),
    /// Print the JSON Schema of pipeline files
    #[command(after_long_help = examples::SCHEMA)]
    Schema,
    /// Print shell completions
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions {
        /// Shell to print completions for
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one per command
    ///
    /// Existing files of the same names are overwritten.
    #[command(after_long_help = examples::MAN)]
    Man {
        /// Folder of the pages; created if it does not exist
        dir: PathBuf,
    },
    /// Print a page of the reference as Markdown
    #[command(hide = true)]
    Reference {
        /// Page to print
        #[arg(value_enum)]
        page: ReferencePage,
    },
    /// Extract documents from standard input (started by `run`)
    #[command(hide = true)]
    ExtractWorker {
        /// Limits of one document, or `--probe`
        ///
        /// `--probe` prints the restrictions that this machine can enforce.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Page of `docs/reference/`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReferencePage {
    /// The commands with their options
    Cli,
    /// The keys of pipeline files
    PipelineFile,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Pipeline file
    pub file: PathBuf,
    /// Print the checked graph with the columns of its edges
    #[arg(long)]
    pub columns: bool,
    /// Print the findings as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Pipeline file
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
    #[arg(long, value_name = "ADDRESS", value_parser = parse::address)]
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

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Path, URL or id of a document
    ///
    /// The file does not have to exist, now or earlier.
    pub document: OsString,
    #[command(flatten)]
    pub of: CollectionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Pipeline file that fills the collection
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
    pub file: PathBuf,
    /// Print the status as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    pub direction: Direction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Direction {
    /// Apply all pending migrations
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
    Status {
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct StoreArgs {
    /// Use the metadata store of this pipeline file
    ///
    /// Takes precedence over the URL.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use the database at this URL
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub url: Option<String>,
}

/// A metadata store that the command line has to name: commands that destroy data do not read
/// `DATABASE_URL`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExplicitStoreArgs {
    /// Use the metadata store of this pipeline file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use the database at this URL
    ///
    /// `DATABASE_URL` is not read by this command.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Arguments of commands that read one collection.
#[derive(Debug, Args)]
pub(crate) struct CollectionArgs {
    /// Use the collection of this pipeline file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of commands that change one collection.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Use the collection of this pipeline file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
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
    Show {
        #[command(flatten)]
        of: CollectionArgs,
    },
    /// Show the audit log of a collection, newest first
    ///
    /// The log remains after the collection was deleted.
    Audit {
        #[command(flatten)]
        of: CollectionArgs,
        /// Limit the number of entries
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Delete a collection permanently from both stores
    Delete {
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourcesVerb {
    /// List the sources of a collection with document counts
    List {
        #[command(flatten)]
        of: CollectionArgs,
    },
    /// Remove a source and the documents only it provides
    Delete {
        /// Source, as printed by `sources list`
        source: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

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

/// The value of an environment variable. Only this module reads the environment.
pub(crate) fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The folder of the embedded stores of files that do not name one: `SEMANTIK_DATA`. `None` if it
/// is unset or empty.
pub(crate) fn data_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SEMANTIK_DATA").filter(|folder| !folder.is_empty())?;
    // Relative to the working directory of the command, not to the pipeline file.
    Some(std::path::absolute(&folder).unwrap_or_else(|_| folder.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Verbs whose output has a format of its own, and verbs that run until they are stopped.
    const WITHOUT_JSON: [&str; 8] =
        ["worker", "serve", "embed", "schema", "completions", "man", "reference", "extract-worker"];

    #[test]
    fn every_verb_that_prints_prints_json_if_asked() {
        let mut without = Vec::new();
        let mut todo = vec![(String::new(), Cli::command())];
        while let Some((path, command)) = todo.pop() {
            if command.has_subcommands() {
                let below = command.get_subcommands().cloned();
                todo.extend(below.map(|it| (format!("{path} {}", it.get_name()), it)));
            } else if !command.get_arguments().any(|it| it.get_long() == Some("json")) {
                without.push(path.trim().to_owned());
            }
        }
        without.sort();
        let mut expected = WITHOUT_JSON.map(str::to_owned);
        expected.sort();
        assert_eq!(without, expected);
    }
}
