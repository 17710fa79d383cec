//! The list of verbs by subject for `semantik help`, and the synopsis of a verb in errors.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

/// The verbs by subject, in the order of the help.
pub(super) const GROUPS: [(&str, &[&str]); 6] = [
    ("Pipelines", &["check", "test", "graph", "plan", "run"]),
    ("Search", &["search", "eval", "tune", "serve"]),
    (
        "Collections",
        &["status", "collections", "sources", "documents", "why", "verify", "reindex", "rollback"],
    ),
    ("Operations", &["operations", "top", "schedule", "worker"]),
    ("Models", &["models", "embed"]),
    ("Administration", &["users", "migrate", "schema", "completions", "man", "help"]),
];

/// The command with its verbs listed by subject.
pub(super) fn group_verbs(command: Command) -> Command {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let names = GROUPS.iter().flat_map(|(_, verbs)| *verbs);
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    let mut list = String::new();
    for (subject, verbs) in GROUPS {
        writeln!(list, "{header}{subject}:{header:#}").expect("writing to a String cannot fail");
        for name in verbs {
            let about = match command.find_subcommand(name).and_then(Command::get_about) {
                Some(about) => about.to_string(),
                None => "Print this help, or that of a verb".to_owned(),
            };
            let space = width - name.len() + 2;
            writeln!(list, "  {literal}{name}{literal:#}{:space$}{about}", "")
                .expect("writing to a String cannot fail");
        }
        list.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n\
         {{options}}{{after-help}}"
    );
    command.help_template(template)
}

/// The error with the verb's complete synopsis and its example.
pub(super) fn with_synopsis(verb: &mut Command, error: clap::Error) -> clap::Error {
    let mut synopsis: StyledStr = verb.render_usage();
    if let Some(example) = first_example(verb) {
        write!(synopsis, "\n\nExample: {example}").expect("writing to a String cannot fail");
    }
    let mut error = error.with_cmd(verb);
    error.insert(ContextKind::Usage, ContextValue::StyledStr(synopsis));
    error
}

/// The first command among the examples of a verb, on one line.
fn first_example(verb: &Command) -> Option<String> {
    let examples = verb.get_after_long_help()?.to_string().replace("\\\n", "");
    let mut lines = examples.lines().skip(1).map(str::trim);
    let example = lines.find(|line| !line.starts_with('#'))?;
    Some(example.split_whitespace().collect::<Vec<_>>().join(" "))
}
