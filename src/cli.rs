//! What can be typed: the verbs and their arguments, and nothing about what they do.

mod documents;
mod embed;
mod models;
mod operation;
mod serve;
mod typed;
mod unattended;
mod users;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use self::documents::{DocumentsVerb, Reason, Status};
pub(crate) use self::embed::{EmbedArgs, Kind};
pub(crate) use self::models::ModelsVerb;
pub(crate) use self::operation::{IdPrefix, OperationName};
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::typed::parse;
pub(crate) use self::unattended::{ScheduleVerb, TestArgs, TopArgs, WorkerArgs};
pub(crate) use self::users::UsersVerb;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Indexes documents by pipelines declared in YAML, and searches them.
#[derive(Debug, Parser)]
#[command(name = "semantik", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,sinks=debug`.
    #[arg(long, global = true, env = "SEMANTIK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged: as lines of text, or as a JSON object a line.
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

/// How events are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line, for programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Checks a pipeline file, and reports every fault of it.
    Check(CheckArgs),
    /// Runs the samples of a pipeline file as far as its model, and compares what becomes of them with what the file
    /// expects. No database is asked and no model is loaded.
    Test(TestArgs),
    /// Prints the graph of a pipeline file.
    Graph(GraphArgs),
    /// Runs a pipeline: takes in what is new or changed, takes out what is gone. Where the file asks for
    /// other vectors than there are, a new generation is built beside them and put in their place.
    Run(RunArgs),
    /// Carries out what is due by the schedules of pipeline files, and what is handed over, until it is told to end.
    Worker(WorkerArgs),
    /// Says when runs are due, and what became of those that were.
    #[command(subcommand)]
    Schedule(ScheduleVerb),
    /// Says what a run would do and why, and changes nothing.
    Plan(PlanArgs),
    /// Builds a new generation of a collection beside the live one, and puts it in its place.
    Reindex(RunArgs),
    /// Goes back to the generation that was live before.
    Rollback(RollbackArgs),
    /// Finds the passages of a collection that answer a question.
    Search(SearchArgs),
    /// Measures how well a collection answers questions whose right answers are known. Exit code 1 where it is worse
    /// than asked for.
    Eval(EvalArgs),
    /// Serves search, collections, documents and operations over HTTP, and carries out operations.
    Serve(Box<ServeArgs>),
    /// Lists and makes accounts of the server, and gives them passwords.
    #[command(subcommand)]
    Users(UsersVerb),
    /// Turns texts into vectors, without any pipeline or store.
    Embed(EmbedArgs),
    /// Fetches models of the Hugging Face hub, and shows what a model is.
    #[command(subcommand)]
    Models(ModelsVerb),
    /// Shows what a collection holds, and its last operations.
    Status(StatusArgs),
    /// Shows a running operation as it goes on: how quickly, and what holds it up.
    Top(TopArgs),
    /// Tells the story of one document: whether it is in, since when, and if not, why.
    Why(WhyArgs),
    /// Compares the metadata with the vectors, in both directions. Exit code 1 if they differ.
    Verify(VerifyArgs),
    /// Lists, shows and deletes collections.
    #[command(subcommand)]
    Collections(CollectionsVerb),
    /// Lists the sources of a collection, and removes one with its documents.
    #[command(subcommand)]
    Sources(SourcesVerb),
    /// Lists, shows and cancels operations.
    #[command(subcommand)]
    Operations(OperationsVerb),
    /// Lists, shows, deletes and undeletes documents.
    #[command(subcommand)]
    Documents(DocumentsVerb),
    /// Changes the schema of a metadata store.
    Migrate(MigrateArgs),
    /// Prints the JSON Schema of pipeline files.
    Schema,
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Extracts documents that come on standard input; started by `run`.
    #[command(hide = true)]
    ExtractWorker {
        /// The limits of one document, or `--probe` to see which protections hold on this machine.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Prints the checked graph with the columns on its edges.
    #[arg(long)]
    pub columns: bool,
    /// Prints the faults, or that there are none, as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// The notation.
    #[arg(long, value_enum, default_value_t = Notation::Mermaid)]
    pub format: Notation,
    /// Prints the nodes and their inputs as one JSON object.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Notation {
    Mermaid,
    Dot,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Prints the report as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Deletes the documents that are gone, however many they are.
    #[arg(long)]
    pub allow_deletes: bool,
    /// Tries documents again that failed, those whose time has come: after five minutes first, then four times
    /// as long after each failure.
    #[arg(long)]
    pub retry_failed: bool,
    /// Waits for its turn if somebody else works on the collection.
    #[arg(long)]
    pub wait: bool,
    /// Seconds within which what is in flight is stored after a signal; what is not comes with the next run. As long as
    /// it takes, unless it is given.
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u32>,
    /// Serves the metrics of the run at `/metrics` of this address while it goes on.
    #[arg(long, value_name = "ADDRESS", value_parser = typed::address)]
    pub metrics: Option<SocketAddr>,
    /// Writes the metrics of the run here at its end, in Prometheus' text format.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Gives the metrics of the run to this Pushgateway at its end.
    #[arg(long, value_name = "URL")]
    pub push_metrics: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Prints it as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// As if the run were given it: documents that are gone are deleted, however many they are.
    #[arg(long)]
    pub allow_deletes: bool,
    /// As if the run were given it: documents that failed are tried again, those whose time has come.
    #[arg(long)]
    pub retry_failed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A path, a URL, or the id of a document. The file need not be there, nor have been there ever.
    pub document: OsString,
    #[command(flatten)]
    pub of: OfFile,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The pipeline file that fills the collection.
    pub file: PathBuf,
    /// Removes points that should not be there, and runs the pipeline to write those that are missing.
    #[arg(long)]
    pub repair: bool,
    /// Prints it as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Waits for its turn if somebody else works on the collection.
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The pipeline file that fills the collection.
    pub file: PathBuf,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// Waits for its turn if somebody else works on the collection.
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The pipeline file that filled the collection; several are searched together.
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Vec<PathBuf>,
    /// What is looked for.
    #[arg(required = true)]
    pub words: Vec<String>,
    /// How many hits, or documents with --per-document.
    #[arg(long, short, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub k: u16,
    /// By meaning, by words, or by both: hybrid where the collection has sparse vectors, or else dense.
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How the rankings of a hybrid search are fused: the larger, the less the first ranks stand out. 60 unless it is
    /// given.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub fusion_k: Option<u32>,
    /// What the ranking by meaning and the one by words weigh where they are fused, as '2:1'; alike unless it is given.
    #[arg(long, value_name = "MEANING:WORDS", value_parser = weights)]
    pub weights: Option<(f32, f32)>,
    /// What hits must be like, as JSON: '{"path": {"glob": "docs/**"}, "modified_at": {"gte": "2024-01-01"}}'.
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    /// The least cosine similarity of a hit to the question, in every mode.
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// How many of the best are left out.
    #[arg(long, default_value_t = 0)]
    pub offset: usize,
    /// Gathers hits by document, so many of each at most.
    #[arg(long, value_name = "N")]
    pub per_document: Option<usize>,
    /// Prints the hits as a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// Reads `2:1`; which weights there can be is the search's to say.
fn weights(text: &str) -> Result<(f32, f32), String> {
    let number = |part: &str| part.trim().parse::<f32>().ok();
    let weights = text.split_once(':');
    let weights = weights.and_then(|(dense, sparse)| Some((number(dense)?, number(sparse)?)));
    weights.ok_or_else(|| "two numbers are wanted, with a colon between".to_owned())
}

/// By what hits are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// By meaning.
    Dense,
    /// By words.
    Sparse,
    /// By both.
    Hybrid,
}

impl From<Mode> for search::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Dense => Self::Dense,
            Mode::Sparse => Self::Sparse,
            Mode::Hybrid => Self::Hybrid,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The pipeline file that filled the collection.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The questions with their right answers: JSON Lines, or qrels of TREC with --topics.
    #[arg(long, value_name = "FILE")]
    pub judgements: PathBuf,
    /// The questions that belong to qrels: a name, a tab and the words in a line.
    #[arg(long, value_name = "FILE")]
    pub topics: Option<PathBuf>,
    /// By what hits are found; several are compared with the first. All that the collection has, if none is given.
    #[arg(long, value_enum)]
    pub mode: Vec<Mode>,
    /// The generation that is asked, by its number; the live one if none is given.
    #[arg(long, value_name = "N")]
    pub generation: Option<i32>,
    /// Another generation, with which that one is compared.
    #[arg(long, value_name = "N")]
    pub against: Option<i32>,
    /// The least that is good enough: 'ndcg@10=0.4'; of ndcg@10, recall@10, recall@100 and mrr@10.
    #[arg(long, value_name = "MEASURE=SCORE")]
    pub min: Vec<String>,
    /// Prints everything as JSON, with the scores of each question.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The pipeline file that fills the collection.
    pub file: PathBuf,
    /// Prints it as one JSON object.
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
    /// Applies every migration that is not applied yet.
    Up {
        #[command(flatten)]
        store: StoreArgs,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes migrations back, with the data in what they made. Says what goes, and asks.
    Down {
        #[command(flatten)]
        store: NamedStore,
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        steps: usize,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
        /// Does not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Lists the migrations.
    Status {
        #[command(flatten)]
        store: StoreArgs,
        /// Prints the answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct StoreArgs {
    /// A pipeline file, whose metadata store is meant; outranks the URL.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// URL of the database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub url: Option<String>,
}

/// Which metadata store is meant, named in the command itself: what destroys data does not read `DATABASE_URL`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NamedStore {
    /// A pipeline file, whose metadata store is meant.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// URL of the database. DATABASE_URL is not read here.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Which collection is meant, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct OfFile {
    /// The pipeline file that fills the collection.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Prints it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is done to a collection by name.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The pipeline file that fills the collection.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Waits for its turn if somebody else works on the collection.
    #[arg(long)]
    pub wait: bool,
    /// Does not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CollectionsVerb {
    /// Lists the collections of a store.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Only those behind the one of this id.
        #[arg(long, value_name = "ID")]
        after: Option<uuid::Uuid>,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Those that are deleted, the last one first.
        #[arg(long, conflicts_with = "after")]
        deleted: bool,
        /// Prints them as a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Shows the collection of a file, with its generations.
    Show {
        #[command(flatten)]
        of: OfFile,
    },
    /// Shows who did what to the collection of a file, newest first; of one that is deleted, too.
    Audit {
        #[command(flatten)]
        of: OfFile,
        /// How many at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Deletes the collection of a file from both stores, for good.
    Delete {
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourcesVerb {
    /// Lists the places that documents came from, and what each has given.
    List {
        #[command(flatten)]
        of: OfFile,
    },
    /// Removes a source, and the documents that only it gives.
    Delete {
        /// The source, as `sources list` shows it.
        source: String,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsVerb {
    /// Lists what was and is being done to a collection, newest first.
    List {
        #[command(flatten)]
        of: OfFile,
        /// Also those on collections of this name that are deleted; where there is none now, the last one's are shown
        /// without it.
        #[arg(long)]
        deleted: bool,
        /// Only those older than the one of this id.
        #[arg(long, value_name = "ID")]
        before: Option<uuid::Uuid>,
        /// How many at most.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Shows one operation with what it was asked to do and what it has measured.
    Show {
        /// `latest`, its id, or the first digits of its id.
        #[arg(value_name = "ID")]
        id: OperationName,
        #[command(flatten)]
        of: OfFile,
    },
    /// Stops an operation, whoever works on it.
    Cancel {
        /// `latest`, its id, or the first digits of its id.
        #[arg(value_name = "ID")]
        id: OperationName,
        #[command(flatten)]
        of: OfFile,
    },
}

/// The value of an environment variable; the only place that reads the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The folder of the embedded stores of files that do not name one: `SEMANTIK_DATA`.
pub(crate) fn data_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SEMANTIK_DATA").filter(|folder| !folder.is_empty())?;
    // A relative one is relative to where the command runs, not to the pipeline file.
    Some(std::path::absolute(&folder).unwrap_or_else(|_| folder.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Verbs that print nothing but what they are for, in a form of its own, or go on until they are told to end.
    const WITHOUT_JSON: [&str; 6] =
        ["worker", "serve", "embed", "schema", "completions", "extract-worker"];

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
