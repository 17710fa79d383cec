//! Examples at the end of long help texts. The manual pages and `docs/reference/cli.md` repeat
//! them, so a command that is renamed is corrected here only.
//!
//! A line with `#` explains the command below it.

pub(crate) const CHECK: &str = "\
Examples:
  # Report all errors and warnings of a file
  semantik check handbook.yaml
  # Show the columns on each edge of the graph
  semantik check handbook.yaml --columns";

pub(crate) const TEST: &str = "\
Examples:
  # Run the samples of a file
  semantik test handbook.yaml
  # Accept the current results as the expected ones
  semantik test handbook.yaml --update";

pub(crate) const GRAPH: &str = "\
Examples:
  # Draw the graph with Graphviz
  semantik graph handbook.yaml --format dot | dot -Tsvg > handbook.svg";

pub(crate) const RUN: &str = "\
Examples:
  # Store new and changed documents, and delete missing ones
  semantik run handbook.yaml
  # Store for at most 30 seconds after Ctrl-C, and leave the rest to the next run
  semantik run handbook.yaml --grace 30
  # Run from cron, and export metrics for node_exporter
  semantik run handbook.yaml --wait --metrics-file /var/lib/node_exporter/handbook.prom";

pub(crate) const WORKER: &str = "\
Examples:
  # Run the schedules of all pipeline files of a folder
  semantik worker /etc/semantik --metrics 127.0.0.1:9187";

pub(crate) const SCHEDULE: &str = "\
Examples:
  # Print the next three due times of a file
  semantik schedule next handbook.yaml --count 3
  # Pause the schedule, and resume it
  semantik schedule pause handbook.yaml
  semantik schedule resume handbook.yaml";

pub(crate) const PLAN: &str = "\
Examples:
  # Show what the next run would do, with the number of tokens and the time
  semantik plan handbook.yaml";

pub(crate) const REINDEX: &str = "\
Examples:
  # Rebuild the collection; searches use the live generation until the swap
  semantik reindex handbook.yaml";

pub(crate) const ROLLBACK: &str = "\
Examples:
  # Return to the generation before the last swap
  semantik rollback handbook.yaml";

pub(crate) const SEARCH: &str = "\
Examples:
  # Print the five best passages
  semantik search handbook.yaml \"who signs a contract\"
  # Search two collections, and group the hits by document
  semantik search handbook.yaml \"restore a backup\" --also manuals.yaml --per-document 2
  # Search by words only, in files below a folder
  semantik search handbook.yaml ENOSPC --mode sparse --filter '{\"path\": {\"glob\": \"ops/**\"}}'
  # Search a collection of a server elsewhere; SEMANTIK_TOKEN is an API key
  semantik search handbook --server https://search.example.org \"who signs a contract\"";

pub(crate) const EVAL: &str = "\
Examples:
  # Measure all search modes, and fail if nDCG@10 is below 0.4
  semantik eval handbook.yaml --judgements judged.jsonl --min ndcg@10=0.4";

pub(crate) const TUNE: &str = "\
Examples:
  # Propose settings by judged queries
  semantik tune handbook.yaml --judgements judged.jsonl
  # Propose settings by questions made from the collection, and save the diff
  semantik tune handbook.yaml --json | jq -r '.diff // empty' > tuned.diff";

pub(crate) const SERVE: &str = "\
Examples:
  # Serve two collections and the web UI on http://127.0.0.1:8080
  semantik serve handbook.yaml manuals.yaml
  # Serve on all addresses behind a proxy that terminates TLS
  semantik serve handbook.yaml --listen 0.0.0.0:8080 --trusted-proxy 10.0.0.0/8 \\
      --public-url https://search.example.org";

pub(crate) const USERS: &str = "\
Examples:
  # Create an administrator; the password is read from standard input
  semantik users add handbook.yaml anna --email anna@example.org --superuser < password.txt";

pub(crate) const EMBED: &str = "\
Examples:
  # Embed the lines of a file, and write Parquet
  semantik embed --model hf:sentence-transformers/all-MiniLM-L6-v2 --input lines.txt \\
      --output vectors.parquet";

pub(crate) const MODELS: &str = "\
Examples:
  # Download a model, so that later runs need no network
  semantik models fetch hf:sentence-transformers/all-MiniLM-L6-v2
  # Show the dimension and the maximum input length of a model
  semantik models show ./models/all-MiniLM-L6-v2";

pub(crate) const STATUS: &str = "\
Examples:
  # Show the content of the collection and its last operations
  semantik status handbook.yaml";

pub(crate) const TOP: &str = "\
Examples:
  # Watch the running operation of a collection
  semantik top handbook.yaml
  # Watch an operation that a server executes
  semantik top --server https://search.example.org 0193a1b2-0000-7000-8000-000000000001";

pub(crate) const WHY: &str = "\
Examples:
  # Explain why a file is or is not in the collection
  semantik why handbook.yaml contracts/signing.html";

pub(crate) const VERIFY: &str = "\
Examples:
  # Compare both stores
  semantik verify handbook.yaml
  # Remove surplus points, and write missing ones again
  semantik verify handbook.yaml --repair";

pub(crate) const COLLECTIONS: &str = "\
Examples:
  # List the collections of a metadata store
  semantik collections list handbook.yaml
  # Show who changed a collection, and when
  semantik collections audit handbook.yaml";

pub(crate) const SOURCES: &str = "\
Examples:
  # List the sources with the number of their documents
  semantik sources list handbook.yaml
  # Remove the documents that only this source provides
  semantik sources delete handbook.yaml file:///srv/old-handbook";

pub(crate) const OPERATIONS: &str = "\
Examples:
  # Show the last operation with its statistics
  semantik operations show handbook.yaml latest
  # Cancel an operation by the first digits of its id
  semantik operations cancel handbook.yaml 0193a1b2";

pub(crate) const DOCUMENTS: &str = "\
Examples:
  # List the documents that failed, each with its message
  semantik documents list handbook.yaml --reason failed
  # Delete a document while its file stays unchanged, and restore it
  semantik documents delete handbook.yaml drafts/plan.md
  semantik documents undelete handbook.yaml drafts/plan.md";

pub(crate) const MIGRATE: &str = "\
Examples:
  # Apply pending migrations to the metadata store of a file
  semantik migrate up handbook.yaml
  # Revert the last migration, with the data that it added
  semantik migrate down handbook.yaml --steps 1";

pub(crate) const SCHEMA: &str = "\
Examples:
  # Write the schema for an editor
  semantik schema > semantik.schema.json";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  # Install completions for bash
  semantik completions bash > /etc/bash_completion.d/semantik";

pub(crate) const MAN: &str = "\
Examples:
  # Install the manual pages
  semantik man /usr/local/share/man/man1
  man semantik-run";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Command, CommandFactory as _};

    use crate::cli::{Cli, parse};

    /// The words of a shell command up to a pipe or a redirection; quotes group words.
    fn words(line: &str) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut quote = None;
        let mut word: Option<String> = None;
        for char in line.chars() {
            match (quote, char) {
                (Some(open), char) if char == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(char);
                    word.get_or_insert_default();
                }
                (None, '|' | '<' | '>') => break,
                (None, ' ') => words.extend(word.take().map(OsString::from)),
                (_, char) => word.get_or_insert_default().push(char),
            }
        }
        words.extend(word.map(OsString::from));
        words
    }

    fn collect(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            if let Some(help) = below.get_after_long_help() {
                let help = help.to_string().replace("\\\n", "");
                let lines = help.lines().skip(1).map(str::trim);
                let commands = lines.filter(|line| !line.starts_with('#'));
                found.extend(commands.map(|line| (path.clone(), line.to_owned())));
            }
            collect(below, &path, found);
        }
    }

    #[test]
    fn every_example_is_a_valid_command_line() {
        let mut examples = Vec::new();
        collect(&Cli::command(), "semantik", &mut examples);
        assert!(examples.len() > 30, "{examples:?}");
        for (verb, line) in examples.iter().filter(|(_, line)| !line.starts_with("man ")) {
            assert!(line.starts_with(verb), "an example of `{verb}` is `{line}`");
            match parse(words(line)) {
                Ok(parsed) => assert_eq!(parsed.notice, None, "`{line}`"),
                Err(error) => panic!("`{line}`: {error}"),
            }
        }
    }

    #[test]
    fn every_visible_verb_has_an_example() {
        let mut todo = vec![Cli::command()];
        while let Some(command) = todo.pop() {
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                let has_example = verb.get_after_long_help().is_some();
                assert!(has_example || verb.has_subcommands(), "`{}` has none", verb.get_name());
                todo.push(verb.clone());
            }
        }
    }
}
