//! Parsing of the command line. Errors about a missing argument, an unknown verb or an invalid
//! address say how to write the command.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};

use super::legacy::{self, Rewritten};
use super::{Cli, UsersVerb, Verb, help};

/// Verbs of other programs, and the equivalent verb of this one.
const SYNONYMS: &[(&str, &str)] = &[
    ("index", "run"),
    ("ingest", "run"),
    ("sync", "run"),
    ("update", "run"),
    ("import", "run"),
    ("query", "search"),
    ("find", "search"),
    ("ask", "search"),
    ("validate", "check"),
    ("lint", "check"),
    ("explain", "why"),
    ("dry-run", "plan"),
    ("preview", "plan"),
    ("server", "serve"),
    ("ui", "serve"),
    ("jobs", "operations"),
    ("docs", "documents"),
    ("files", "documents"),
    ("ls", "documents"),
    ("undo", "rollback"),
    ("info", "status"),
    ("stats", "status"),
    ("rebuild", "reindex"),
    ("upgrade", "migrate"),
];

/// A valid command line.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub cli: Cli,
    /// A line for standard error about a deprecated spelling.
    pub notice: Option<String>,
}

/// Parses a command line; the first word is the program.
///
/// # Errors
/// If it is invalid, or requests help or the version.
pub(crate) fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let mut root = help::group_verbs(Cli::command());
    root.build();
    let typed: Vec<OsString> = typed.into_iter().collect();
    let Some((names, start)) = find_verb(&root, &typed) else {
        let cli = parse_words(typed).map_err(|error| with_suggestions(&root, error))?;
        return Ok(Parsed { cli, notice: None });
    };
    let verb = names.iter().fold(&mut root, |verb, name| {
        verb.find_subcommand_mut(name).expect("`find_verb` found it")
    });
    let Rewritten { words, notice } = match legacy::rewrite(verb, typed, start) {
        Ok(rewritten) => rewritten,
        Err(error) => return Err(help::with_synopsis(verb, error)),
    };
    let mut cli = match parse_words(words) {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            return Err(help::with_synopsis(verb, error));
        }
        Err(error) => return Err(error),
    };
    match assign_positionals(&mut cli.verb) {
        Ok(()) => Ok(Parsed { cli, notice }),
        Err(error) => Err(help::with_synopsis(verb, error)),
    }
}

fn parse_words(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut root = help::group_verbs(Cli::command());
    let matches = root.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut root))
}

/// Completes the assignment of positionals where an option can take the place of FILE; clap has
/// assigned them from FILE on.
fn assign_positionals(verb: &mut Verb) -> Result<(), clap::Error> {
    if let Verb::Top(args) = verb {
        return args.assign_positionals();
    }
    if let Verb::Users(UsersVerb::Add { account, .. } | UsersVerb::Password { account, .. }) = verb
    {
        return account.assign_positionals();
    }
    Ok(())
}

/// The names of the verb without subcommands that the words request, and the index of the word
/// behind it.
fn find_verb(root: &Command, typed: &[OsString]) -> Option<(Vec<String>, usize)> {
    let mut names = Vec::new();
    let mut verb = root;
    let mut at = 1;
    while verb.has_subcommands() {
        let word = typed.get(at)?;
        at += 1;
        if let Some(next) = verb.find_subcommand(word) {
            names.push(next.get_name().to_owned());
            verb = next;
        } else {
            at += usize::from(option_arity(root, word)?);
        }
    }
    Some((names, at.min(typed.len())))
}

/// `None` if the word is not an option, otherwise `true` if its value is the next word.
fn option_arity(command: &Command, word: &OsStr) -> Option<bool> {
    let word = word.to_str()?;
    let takes = |arg: Option<&Arg>| arg.is_some_and(|arg| arg.get_action().takes_values());
    if let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
        return (arg.is_some() || name.contains('=')).then(|| takes(arg));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter));
    arg.map(|_| takes(arg) && letters.as_str().is_empty())
}

fn with_suggestions(root: &Command, mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && option == "--config"
    {
        error.remove(ContextKind::SuggestedArg);
        let tip = StyledStr::from("the pipeline file follows the verb: 'semantik VERB FILE'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        return error;
    }
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let typed = typed.clone();
    if let Some((_, verb)) = SYNONYMS.iter().find(|(word, _)| *word == typed)
        && let Some(verb) = root.find_subcommand(verb)
        && !is_subcommand_error(&error)
    {
        error.remove(ContextKind::SuggestedSubcommand);
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let about = about.split(". ").next().unwrap_or_default();
        let tip = format!("the equivalent subcommand is '{}': {about}", verb.get_name());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
        return error;
    }
    // The most similar first.
    if let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand) {
        let mut similar = similar.clone();
        let likeness = |name: &String| strsim::normalized_damerau_levenshtein(&typed, name);
        similar.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(similar));
    }
    error
}

/// `true` if the unknown word follows a verb with subcommands: `documents index`.
fn is_subcommand_error(error: &clap::Error) -> bool {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<'])).count() > 2
}

/// Parses an address to listen on: `HOST:PORT` with a numeric host.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().unwrap_or_default();
        let port = if port.parse::<u16>().is_ok() { port } else { "8080" };
        format!(
            "expected an IP address with a port: `127.0.0.1:{port}` accepts connections from this \
             machine, `0.0.0.0:{port}` from everywhere"
        )
    })
}
