//! `semantik reference`: the pages of `docs/reference/` as Markdown, from the definitions that the
//! command itself uses.

mod cli;
mod pipeline_file;
mod schema_type;

use clap::Command;
use pipeline::BoxError;

use crate::cli::ReferencePage;
use crate::render;

/// Width of prose in the documentation.
const WIDTH: usize = 100;

pub(super) fn reference(page: ReferencePage) -> Result<(), BoxError> {
    render::print(&match page {
        ReferencePage::Cli => cli::page(),
        ReferencePage::PipelineFile => pipeline_file::page(),
    })
}

/// The examples of a command, without their heading and indentation; `None` if it has none.
pub(super) fn examples(command: &Command) -> Option<String> {
    let help = command.get_after_long_help()?.to_string();
    let lines = help.lines().skip(1).map(|line| line.strip_prefix("  ").unwrap_or(line));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// A paragraph, wrapped; further lines are indented by `indent`.
fn paragraph(text: &str, indent: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .subsequent_indent(indent);
    textwrap::fill(&one_line(text), options) + "\n"
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// A row of a table.
fn row<const N: usize>(cells: [&str; N]) -> String {
    format!("| {} |\n", cells.map(cell).join(" | ")).replace("|  |", "| |")
}

/// Sentences, each with a full stop, joined by spaces; a single phrase is unchanged.
fn sentences(parts: &[String]) -> String {
    if let [only] = parts {
        return only.clone();
    }
    let ended = |part: &String| {
        if part.ends_with(['.', ':']) { part.clone() } else { format!("{part}.") }
    };
    parts.iter().map(ended).collect::<Vec<_>>().join(" ")
}

/// A list such as `a, b or c`.
fn alternatives(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The anchor of a heading, as web pages of Git hosts and mdBook form it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char.to_ascii_lowercase() }).collect()
}
