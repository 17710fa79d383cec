//! The command line: verbs and their arguments as clap types. Execution is in `cmd`.

mod automation;
mod collection;
mod documents;
mod embed;
mod examples;
#[cfg(test)]
mod grammar;
mod help;
mod legacy;
mod models;
mod operation_name;
mod operations;
mod parse;
mod pipeline;
mod search;
mod serve;
mod store;
mod tune;
mod users;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::automation::{ScheduleVerb, WorkerArgs};
pub(crate) use self::collection::{
    ChangeArgs, CollectionArgs, CollectionsVerb, RollbackArgs, SourcesVerb, StatusArgs, VerifyArgs,
    WhyArgs,
};
pub(crate) use self::documents::{DocumentsVerb, ReasonArg, StatusArg};
pub(crate) use self::embed::{EmbedArgs, TextKindArg};
pub(crate) use self::models::ModelsVerb;
pub(crate) use self::operation_name::{IdPrefix, OperationName};
pub(crate) use self::operations::{OperationsVerb, TopArgs};
pub(crate) use self::parse::{Parsed, parse};
pub(crate) use self::pipeline::{CheckArgs, GraphArgs, GraphFormat, PlanArgs, RunArgs, TestArgs};
pub(crate) use self::search::{EvalArgs, ModeArg, SearchArgs};
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::store::{Direction, ExplicitStoreArgs, MigrateArgs, StoreArgs};
pub(crate) use self::tune::TuneArgs;
pub(crate) use self::users::UsersVerb;

/// Index documents with pipelines declared in YAML, and search them
#[derive(Debug, Parser)]
#[command(name = "semantik", version, max_term_width = 100)]
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
    /// Propose search settings for a collection, and prove their gain
    ///
    /// Chooses settings on one half of the questions, and measures them on the other. Prints the
    /// changes of the file as a diff, and changes nothing.
    #[command(after_long_help = examples::TUNE)]
    Tune(TuneArgs),
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
