//! The option `--config FILE` of earlier versions. It is replaced by the positional FILE before
//! clap sees the command line, so that no verb declares it and no help text lists it.
//!
//! In an earlier command line every other positional keeps its order behind FILE:
//! `why PATH --config FILE` is `why FILE PATH`.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// Words in the present grammar.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub words: Vec<OsString>,
    /// The line that names the present spelling, if `--config` was used.
    pub notice: Option<String>,
}

/// Replaces `--config` in the words behind `verb`, which begin at `start`. Words of a verb without
/// a pipeline file are left as they are.
///
/// # Errors
/// If `--config` has no value, or has several and the verb takes one file.
pub(super) fn rewrite(
    verb: &Command,
    typed: Vec<OsString>,
    start: usize,
) -> Result<Rewritten, clap::Error> {
    let Some(positional) = file_positional(verb) else {
        return Ok(Rewritten { words: typed, notice: None });
    };
    let (before, behind) = typed.split_at(start);
    let (files, others) = take_config(behind)?;
    let Some((first, further)) = files.split_first() else {
        return Ok(Rewritten { words: typed, notice: None });
    };
    let mut inserted = vec![first.clone()];
    let takes_several = positional.get_num_args().is_some_and(|number| number.max_values() > 1);
    let takes_also = verb.get_arguments().any(|arg| arg.get_long() == Some("also"));
    for file in further {
        if takes_also {
            inserted.push("--also".into());
        } else if !takes_several {
            return Err(given_twice());
        }
        inserted.push(file.clone());
    }
    let notice = notice(verb, &inserted, !others.is_empty());
    Ok(Rewritten { words: [before, &inserted, &others].concat(), notice: Some(notice) })
}

/// The first positional of a verb that takes a pipeline file.
fn file_positional(verb: &Command) -> Option<&Arg> {
    let first = verb.get_positionals().next()?;
    matches!(first.get_id().as_str(), "file" | "files").then_some(first)
}

/// The values of `--config` before `--`, and the other words in their order.
fn take_config(typed: &[OsString]) -> Result<(Vec<OsString>, Vec<OsString>), clap::Error> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    let mut words = typed.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            others.push(word.clone());
            break;
        }
        if word == "--config" {
            let value = words.next().filter(|value| *value == "-" || !is_option(value));
            files.push(as_positional(value.ok_or_else(no_value)?));
        } else if let Some(value) = word.as_encoded_bytes().strip_prefix(b"--config=") {
            files.push(as_positional(&suffix(word, value.len())));
        } else {
            others.push(word.clone());
        }
    }
    others.extend(words.cloned());
    Ok((files, others))
}

/// The last `length` bytes of a word, which follow ASCII text.
fn suffix(word: &OsStr, length: usize) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    OsString::from_vec(word.as_bytes()[word.len() - length..].to_vec())
}

/// A file name that clap does not take for an option.
fn as_positional(file: &OsStr) -> OsString {
    if file == "-" || !is_option(file) {
        return file.to_owned();
    }
    let mut path = OsString::from("./");
    path.push(file);
    path
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Names the present spelling up to the file. The other words follow unchanged; they are omitted,
/// since they can be many and can contain a secret.
fn notice(verb: &Command, inserted: &[OsString], has_more: bool) -> String {
    let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name());
    let mut spelling = name.to_owned();
    for word in inserted {
        spelling.push(' ');
        spelling.push_str(&quoted(&word.to_string_lossy()));
    }
    if has_more {
        spelling.push_str(" …");
    }
    format!("semantik: `--config FILE` is deprecated and will be removed: write `{spelling}`")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "-_./:@%+=,~".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn no_value() -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::InvalidValue);
    error.insert(ContextKind::InvalidArg, ContextValue::String("--config <FILE>".to_owned()));
    error.insert(ContextKind::InvalidValue, ContextValue::String(String::new()));
    error
}

fn given_twice() -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::ArgumentConflict);
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        error.insert(kind, ContextValue::String("--config <FILE>".to_owned()));
    }
    error
}
