//! The reference of the command line: `docs/reference/cli.md`.

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::cmd::EXIT_CODES;
use crate::cmd::reference::{anchor, examples, one_line, paragraph, row, sentences};

const INTRODUCTION: &str = "\
# Command line

<!-- Generated from the command; `make snapshots` updates this page. -->

A command that uses a pipeline file has this form; `semantik VERB --help` prints the same text as
this page, and `semantik man DIR` writes it as manual pages.

    semantik VERB FILE [ARGUMENTS] [OPTIONS]

FILE is the [pipeline file](../pipeline-file.md). Results are printed on standard output, messages
and logs on standard error. `--json` prints one JSON value with stable keys
([output and logs](../notifications.md)).
";

const ENVIRONMENT: &str = "
| variable | meaning |
|---|---|
| `SEMANTIK_DATA` | folder of the embedded stores of files without `stores.data` |
| `NO_COLOR` | disables colours if it is set |
| `HF_HOME`, `HF_TOKEN` | cache and access token of the [Hugging Face hub](../embedding.md) |

Options that can be set by a variable name it below.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Commands\n\n";
    page += &subcommands(&root);
    page += "\n## Options of all commands\n\n| option | description |\n|---|---|\n";
    for arg in root.get_arguments() {
        page += &argument(arg);
    }
    page += "\n## Environment\n";
    page += ENVIRONMENT;
    page += "\n## Exit codes\n\n| code | meaning |\n|---|---|\n";
    for (code, meaning) in EXIT_CODES {
        page += &row([&format!("`{code}`"), meaning]);
    }
    page += &format!(
        "\n{}",
        paragraph("[Troubleshooting](../troubleshooting.md#exit-codes) has the remedies.", "")
    );
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        page += &section(command, 2);
    }
    page
}

/// The section of a command, followed by those of its subcommands.
fn section(command: &mut Command, level: usize) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = format!("\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        for about in about.to_string().split("\n\n") {
            let stop = if about.ends_with(['.', ':']) { "" } else { "." };
            text += &format!("\n{}", paragraph(&format!("{}{stop}", as_code(about)), ""));
        }
    }
    let usage = command.render_usage().to_string();
    let usage = one_line(usage.strip_prefix("Usage:").unwrap_or(&usage));
    text += &format!("\n```text\n{usage}\n```\n");
    let own = command.get_arguments().filter(|arg| is_own(arg));
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = own.partition(|arg| arg.is_positional());
    if !(positional.is_empty() && options.is_empty()) {
        text += "\n| argument | description |\n|---|---|\n";
        for arg in positional.into_iter().chain(options) {
            text += &argument(arg);
        }
    }
    if let Some(examples) = examples(command) {
        text += &format!("\n```sh\n{examples}\n```\n");
    }
    if command.has_subcommands() {
        text += &format!("\n{}", subcommands(command));
    }
    for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set()) {
        text += &section(below, level + 1);
    }
    text
}

/// Options of all commands are described once.
fn is_own(arg: &Arg) -> bool {
    let is_general = matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
        || matches!(arg.get_action(), ArgAction::HelpLong | ArgAction::HelpShort)
        || arg.is_global_set();
    !(is_general || arg.is_hide_set())
}

/// A table of the subcommands with links to their sections.
fn subcommands(command: &Command) -> String {
    let mut table = "| command | purpose |\n|---|---|\n".to_owned();
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let name = below.get_bin_name().unwrap_or_else(|| below.get_name());
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        table += &row([&format!("[`{name}`](#{})", anchor(name)), &as_code(&about)]);
    }
    table
}

/// The row of an argument.
fn argument(arg: &Arg) -> String {
    let takes_values = arg.get_action().takes_values();
    let several = matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    let mut value = arg.get_value_names().unwrap_or_default().join(" ");
    if several && arg.is_positional() {
        value.push('…');
    }
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("`-{short}`")));
    match arg.get_long() {
        Some(long) if takes_values => names.push(format!("`--{long} <{value}>`")),
        Some(long) => names.push(format!("`--{long}`")),
        None => names.push(format!("`{value}`")),
    }
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut parts: Vec<String> = help.split("\n\n").map(as_code).collect();
    if takes_values {
        parts.extend(possible_values(arg));
        if !arg.is_hide_default_value_set() && !arg.get_default_values().is_empty() {
            let values = arg.get_default_values().iter().map(|it| it.to_string_lossy());
            parts.push(format!("Default: `{}`", values.collect::<Vec<_>>().join(" ")));
        }
    }
    if let Some(variable) = arg.get_env() {
        parts.push(format!("Environment variable: `{}`", variable.to_string_lossy()));
    }
    row([&names.join(", "), &sentences(&parts)])
}

fn possible_values(arg: &Arg) -> Option<String> {
    let values = arg.get_possible_values();
    let shown = values.iter().filter(|value| !value.is_hide_set());
    let shown: Vec<String> = shown
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    let separator = if values.iter().any(|value| value.get_help().is_some()) { "; " } else { ", " };
    (!shown.is_empty()).then(|| format!("Values: {}", shown.join(separator)))
}

/// The text with values in single quotes as code.
fn as_code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('\'') {
        let (before, quoted) = (&rest[..start], &rest[start + 1..]);
        let opens = before.chars().next_back().is_none_or(|it| it.is_whitespace() || it == '(');
        match quoted.find('\'').filter(|_| opens) {
            Some(end) => {
                out += &format!("{before}`{}`", &quoted[..end]);
                rest = &quoted[end + 1..];
            }
            None => {
                out += &rest[..=start];
                rest = quoted;
            }
        }
    }
    out + rest
}
