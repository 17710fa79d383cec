//! Parsing of the command line. Every verb accepts its pipeline file both as `FILE` and as
//! `--config FILE`, and errors about an unknown verb or an invalid address suggest the right one.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory as _, Parser as _};

use super::Cli;

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

/// Parses a command line; the first word is the program.
///
/// # Errors
/// If it is invalid, or requests help or the version.
pub(crate) fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let command = Cli::command();
    let typed = normalize_file_argument(&command, typed.into_iter().collect());
    Cli::try_parse_from(typed).map_err(|error| with_suggestions(&command, error))
}

/// The words with the pipeline file in the form that the verb declares.
fn normalize_file_argument(root: &Command, typed: Vec<OsString>) -> Vec<OsString> {
    let mut verb = root;
    let mut at = 1;
    while verb.has_subcommands() {
        let Some(word) = typed.get(at) else { return typed };
        at += 1;
        if let Some(next) = verb.find_subcommand(word) {
            verb = next;
        } else if let Some(takes_next) = option_arity(root, word) {
            at += usize::from(takes_next);
        } else {
            return typed;
        }
    }
    let (before, behind) = typed.split_at(at.min(typed.len()));
    let is_config = |arg: &&Arg| arg.get_long() == Some("config");
    let config = verb.get_arguments().find(is_config);
    let has_file =
        verb.get_positionals().any(|arg| matches!(arg.get_id().as_str(), "file" | "files"));
    let behind = match config {
        Some(config) => positional_to_option(root, verb, config, behind),
        None if has_file => option_to_positional(behind),
        None => behind.to_vec(),
    };
    [before, &behind].concat()
}

/// Replaces `--config FILE` and `--config=FILE` by `FILE`.
fn option_to_positional(typed: &[OsString]) -> Vec<OsString> {
    let mut out = Vec::with_capacity(typed.len());
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            out.push(word.clone());
            break;
        }
        match word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            Some(file) => out.push(file.into()),
            // A `--config` without value stays, and clap refuses it.
            None if word == "--config" => out.push(words.next().unwrap_or(word).clone()),
            None => out.push(word.clone()),
        }
    }
    out.extend(words.cloned());
    out
}

/// Replaces a first word that names a YAML file by `--config FILE`, unless the option is present;
/// further ones if the verb takes several.
fn positional_to_option(
    root: &Command,
    verb: &Command,
    config: &Arg,
    typed: &[OsString],
) -> Vec<OsString> {
    let is_given = |word: &OsString| {
        word == "--config" || word.to_str().is_some_and(|word| word.starts_with("--config="))
    };
    let options = typed.split(|word| word == "--").next().unwrap_or_default();
    if options.iter().any(is_given) {
        return typed.to_vec();
    }
    let takes_several = matches!(config.get_action(), ArgAction::Append);
    let mut out = Vec::with_capacity(typed.len() + 1);
    let mut words = typed.iter();
    let mut found = false;
    while let Some(word) = words.next() {
        let takes_next = option_arity(verb, word).or_else(|| option_arity(root, word));
        let is_file = (!found || takes_several) && is_yaml(word);
        if let Some(takes_next) = takes_next {
            out.push(word.clone());
            if takes_next {
                out.extend(words.next().cloned());
            }
        } else if is_file {
            found = true;
            out.extend([OsString::from("--config"), word.clone()]);
        } else {
            out.push(word.clone());
            break;
        }
    }
    out.extend(words.cloned());
    out
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

fn is_yaml(word: &OsStr) -> bool {
    let ending = std::path::Path::new(word).extension().and_then(OsStr::to_str);
    matches!(ending, Some("yaml" | "yml"))
}

fn with_suggestions(root: &Command, mut error: clap::Error) -> clap::Error {
    let is_config = |it: &ContextValue| it.to_string() == "--config";
    if error.kind() == ErrorKind::UnknownArgument
        && error.get(ContextKind::InvalidArg).is_some_and(is_config)
    {
        let tip = StyledStr::from("'--config' needs a pipeline file: '--config FILE'");
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that clap receives for a typed command line.
    fn given(typed: &str) -> String {
        let typed = typed.split(' ').map(OsString::from).collect();
        let given = normalize_file_argument(&Cli::command(), typed);
        given.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_ways_of_naming_the_file_are_one() {
        for (typed, wanted) in [
            ("semantik run --config f.yaml --json", "semantik run f.yaml --json"),
            ("semantik run --json --config=f", "semantik run --json f"),
            ("semantik --log debug status --config f", "semantik --log debug status f"),
            (
                "semantik schedule history --config f --limit 3",
                "semantik schedule history f --limit 3",
            ),
            ("semantik run --config", "semantik run --config"),
            ("semantik search f.yaml what is it", "semantik search --config f.yaml what is it"),
            ("semantik search f.yaml --json x", "semantik search --config f.yaml --json x"),
            ("semantik search a.yaml b.yml x", "semantik search --config a.yaml --config b.yml x"),
            (
                "semantik search -k 3 f.yaml x.yaml",
                "semantik search -k 3 --config f.yaml --config x.yaml",
            ),
            ("semantik search --config f.yaml x.yaml", "semantik search --config f.yaml x.yaml"),
            ("semantik search what f.yaml is", "semantik search what f.yaml is"),
            ("semantik why f.yaml a/b.yaml", "semantik why --config f.yaml a/b.yaml"),
            (
                "semantik documents list f.yaml --limit 3",
                "semantik documents list --config f.yaml --limit 3",
            ),
            ("semantik serve a.yaml b.yaml", "semantik serve --config a.yaml --config b.yaml"),
            ("semantik top f.yaml", "semantik top --config f.yaml"),
            ("semantik migrate up f.yaml", "semantik migrate up --config f.yaml"),
            ("semantik models show m.yaml", "semantik models show m.yaml"),
            ("semantik nonsense f.yaml", "semantik nonsense f.yaml"),
            ("semantik", "semantik"),
        ] {
            assert_eq!(given(typed), wanted, "{typed}");
        }
    }
}
