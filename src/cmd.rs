//! The verbs, one file each, and the exit codes of the command.

use std::process::ExitCode;

use pipeline::{BoxError, Findings};

use crate::cli::Verb;
use crate::telemetry::Telemetry;

pub(crate) use self::signals::Signals;

mod check;
mod collections;
mod confirm;
mod document_ref;
mod document_view;
mod documents;
mod embed;
mod eval;
mod graph;
mod man;
mod migrate;
mod models;
mod operations;
mod plan;
mod reference;
mod report;
mod rollback;
mod run;
mod schedule;
mod schema;
mod search;
mod serve;
mod signals;
mod sources;
mod status;
mod test;
mod top;
mod tune;
mod users;
mod verify;
pub(crate) mod why;
mod worker;

/// The outcome of a command, which determines its exit code.
pub(crate) enum Exit {
    /// Success: exit code 0.
    Success,
    /// The command failed: exit code 1.
    Failed(BoxError),
    /// The run completed, but at least one document newly failed: exit code 2.
    DocumentsFailed,
    /// A sample of the pipeline file does not meet its expectations: exit code 1.
    SamplesFailed,
    /// The pipeline file is invalid; `report` prints the findings: exit code 78.
    BadConfig(Findings),
    /// The pipeline file is invalid and its findings are printed already: exit code 78.
    FaultsReported,
    /// The pipeline file is valid but does not support the verb: exit code 78.
    Misconfigured(String),
    /// The signal with this number stopped the command after the batches in flight were stored:
    /// exit code 128 plus the number.
    Stopped(u8),
}

/// `sysexits.h`: invalid usage of the command.
pub(crate) const EX_USAGE: u8 = 64;
/// `sysexits.h`: an error in a configuration file.
const EX_CONFIG: u8 = 78;

/// Exit codes with their meaning, for the manual pages and the reference.
const EXIT_CODES: [(&str, &str); 6] = [
    ("0", "Success."),
    (
        "1",
        "The command failed. Also: a sample of `test` failed, `verify` found differences, a score of \
         `eval` is below its minimum, or a collection did not respond to `search`.",
    ),
    ("2", "The run completed, and documents failed that were not known to fail."),
    ("64", "The command line is invalid."),
    ("78", "The pipeline file is invalid or cannot be read, or does not support the command."),
    (
        "130, 143",
        "SIGINT or SIGTERM stopped the command. Batches in flight were stored, unless a further \
         signal or `--grace` prevented it.",
    ),
];

impl Exit {
    /// Prints the error, if any, to standard error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Success => ExitCode::SUCCESS,
            Self::Failed(error) => {
                crate::render::print_error(error.as_ref());
                ExitCode::FAILURE
            }
            Self::SamplesFailed => ExitCode::FAILURE,
            Self::DocumentsFailed => ExitCode::from(2),
            Self::BadConfig(findings) => {
                crate::render::print_findings(&findings);
                ExitCode::from(EX_CONFIG)
            }
            Self::FaultsReported => ExitCode::from(EX_CONFIG),
            Self::Misconfigured(message) => {
                crate::render::print_error_line(format_args!("semantik: {message}"));
                ExitCode::from(EX_CONFIG)
            }
            Self::Stopped(signal) => ExitCode::from(128 + signal),
        }
    }
}

impl<E: Into<BoxError>> From<E> for Exit {
    fn from(error: E) -> Self {
        let error = error.into();
        let error = match error.downcast::<Findings>() {
            Ok(findings) => return Self::BadConfig(*findings),
            Err(error) => error,
        };
        let error = match error.downcast::<::operations::UnreadableFile>() {
            Ok(unreadable) => return Self::Misconfigured(unreadable.to_string()),
            Err(error) => error,
        };
        match error.downcast::<::operations::NoCollection>() {
            Ok(missing) => Self::Misconfigured(missing.to_string()),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Runs the verb.
pub(crate) async fn dispatch(verb: Verb, telemetry: &Telemetry) -> Exit {
    let ended = match verb {
        Verb::Check(args) => return check::check(&args),
        Verb::Test(args) => return test::test(&args).await,
        Verb::Graph(args) => graph::graph(&args),
        Verb::Run(args) => return run::run(&args, run::RunMode::Update, telemetry).await,
        Verb::Worker(args) => return worker::worker(&args, telemetry).await,
        Verb::Schedule(verb) => schedule::schedule(verb).await,
        Verb::Plan(args) => plan::plan(&args).await,
        Verb::Reindex(args) => return run::run(&args, run::RunMode::Rebuild, telemetry).await,
        Verb::Rollback(args) => rollback::rollback(&args).await,
        Verb::Collections(verb) => collections::collections(verb).await,
        Verb::Sources(verb) => sources::sources(verb).await,
        Verb::Operations(verb) => operations::operations(verb).await,
        Verb::Documents(verb) => return documents::documents(verb).await,
        Verb::Search(args) => search::search(&args).await,
        Verb::Serve(args) => serve::serve(&args, telemetry).await,
        Verb::Eval(args) => eval::eval(&args).await,
        Verb::Tune(args) => tune::tune(&args).await,
        Verb::Embed(args) => tokio::task::block_in_place(|| embed::embed(&args)),
        Verb::Models(verb) => tokio::task::block_in_place(|| models::models(&verb)),
        Verb::Top(args) => top::top(&args).await,
        Verb::Status(args) => status::status(&args).await,
        Verb::Why(args) => why::why(&args).await,
        Verb::Verify(args) => return verify::verify(&args).await,
        Verb::Users(verb) => users::users(verb).await,
        Verb::Migrate(args) => migrate::migrate(args.direction).await,
        Verb::Schema => schema::schema(),
        Verb::Completions { shell } => schema::completions(shell),
        Verb::Man { dir } => man::man(&dir),
        Verb::Reference { page } => reference::reference(page),
        Verb::ExtractWorker { .. } => unreachable!("`main` runs it without a runtime"),
    };
    ended.map_or_else(Exit::from, |()| Exit::Success)
}
