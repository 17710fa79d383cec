//! Tests of the grammar: `semantik VERB FILE …` for every verb, its help, and the replacement of
//! `--config`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _, ValueHint};

use super::help::GROUPS;
use super::*;

/// Verbs that read no pipeline file.
const WITHOUT_FILE: [&str; 8] = [
    "completions",
    "embed",
    "extract-worker",
    "man",
    "models fetch",
    "models show",
    "reference",
    "schema",
];
/// Verbs whose output has a format of its own, and verbs that run until they are stopped.
const WITHOUT_JSON: [&str; 8] =
    ["completions", "embed", "extract-worker", "man", "reference", "schema", "serve", "worker"];
/// First words of the help of verbs and options.
const IMPERATIVES: &str = "Accept Allow Apply Authenticate Cancel Check Compare Connect Create \
    Delete Download Embed Evaluate Explain Extract Fetch Grant Group Include Limit List Listen \
    Make Measure Normalise Pause Plan Print Propose Push Read Rebuild Remove Repair Require Rerank \
    Restore Resume Retry Return Revert Run Search Select Serve Set Show Skip Test Truncate Trust \
    Update Use Wait Weight Write";

/// All commands below the root with the words that name them.
fn commands() -> Vec<(String, Command)> {
    let mut found = Vec::new();
    let mut todo = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = todo.pop() {
        let below = command.get_subcommands();
        todo.extend(below.map(|it| (format!("{path} {}", it.get_name()), it.clone())));
        found.push((path.trim().to_owned(), command));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().filter(|(path, _)| !path.is_empty()).collect()
}

fn verbs() -> impl Iterator<Item = (String, Command)> {
    commands().into_iter().filter(|(_, command)| !command.has_subcommands())
}

fn parsed(typed: &str) -> Result<Parsed, clap::Error> {
    parse(typed.split(' ').map(OsString::from))
}

/// The verb of a valid command line as its debug text, which contains all arguments.
fn verb_of(typed: &str) -> String {
    let parsed = parsed(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
    format!("{:?}", parsed.cli.verb)
}

#[test]
fn every_verb_takes_its_pipeline_file_first() {
    let mut without = Vec::new();
    for (path, verb) in verbs() {
        assert!(verb.get_arguments().all(|arg| arg.get_long() != Some("config")), "{path}");
        let takes_file = |arg: &&Arg| matches!(arg.get_id().as_str(), "file" | "files");
        if !verb.get_arguments().any(|arg| takes_file(&arg)) {
            without.push(path);
            continue;
        }
        let first = verb.get_positionals().next().filter(takes_file);
        let first = first.unwrap_or_else(|| panic!("{path}: the file is not the first positional"));
        let names = first.get_value_names().unwrap_or_default();
        assert!(names.iter().map(|name| name.as_str()).eq(["FILE"]), "{path}: {names:?}");
        let hint = first.get_value_hint();
        assert!(matches!(hint, ValueHint::FilePath | ValueHint::AnyPath), "{path}: {hint:?}");
    }
    assert_eq!(without, WITHOUT_FILE);
}

#[test]
fn every_verb_that_prints_prints_json_if_asked() {
    let has_json = |verb: &Command| verb.get_arguments().any(|it| it.get_long() == Some("json"));
    let without = verbs().filter(|(_, verb)| !has_json(verb)).map(|(path, _)| path);
    assert_eq!(without.collect::<Vec<_>>(), WITHOUT_JSON);
}

#[test]
fn every_help_text_is_a_short_imperative() {
    let imperatives: Vec<&str> = IMPERATIVES.split_whitespace().collect();
    let is_good = |about: &str, is_imperative: bool| {
        let words: Vec<&str> = about.split_whitespace().collect();
        let first = words.first().map(|word| word.trim_end_matches(','));
        (1..=10).contains(&words.len())
            && !about.ends_with('.')
            && (!is_imperative || first.is_some_and(|first| imperatives.contains(&first)))
    };
    let mut wrong = Vec::new();
    for (path, command) in commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if !is_good(&about, true) {
            wrong.push(format!("{path}: {about}"));
        }
        for arg in command.get_arguments() {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if !is_good(&about, !arg.is_positional()) {
                wrong.push(format!("{path}, {}: {about}", arg.get_id()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_help_lists_every_verb_under_one_subject() {
    let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
    listed.sort_unstable();
    let root = Cli::command();
    let visible = root.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut visible: Vec<&str> = visible.map(Command::get_name).chain(["help"]).collect();
    visible.sort_unstable();
    assert_eq!(listed, visible);
}

#[test]
fn config_means_the_file_before_all_other_positionals() {
    for (old, new) in [
        ("run --config f.yaml --json", "run f.yaml --json"),
        ("run --json --config=f", "run f --json"),
        ("--log debug status --config f", "--log debug status f"),
        ("schedule history --config f --limit 3", "schedule history f --limit 3"),
        ("schedule list --config f", "schedule list f"),
        ("search --config f.yaml what is it", "search f.yaml what is it"),
        ("search what --config f.yaml is -k 3 it", "search f.yaml what is -k 3 it"),
        // A word that looks like a file is a word of the query.
        ("search --config f.yaml x.yaml", "search f.yaml x.yaml"),
        ("search x.yaml --config f.yaml", "search f.yaml x.yaml"),
        ("search --config a --config=b x --config c", "search a --also b --also c x"),
        ("search --config f -- --config x", "search f -- --config x"),
        ("why a/b.yaml --config f.yaml", "why f.yaml a/b.yaml"),
        ("why --config f.yaml a/b.yaml", "why f.yaml a/b.yaml"),
        ("eval --judgements j --config f", "eval f --judgements j"),
        ("documents delete a b --config f --yes", "documents delete f a b --yes"),
        ("documents --log debug list --config f", "documents --log debug list f"),
        ("operations show latest --config f", "operations show f latest"),
        ("sources delete file:///a --config f", "sources delete f file:///a"),
        ("serve --config a b --listen 127.0.0.1:1", "serve a b --listen 127.0.0.1:1"),
        ("serve --config a --config b", "serve a b"),
        ("worker --config a b", "worker a b"),
        ("top --config f", "top f"),
        (
            "top 3f0c1a5e-0000-4000-8000-00000000abcd --config f",
            "top f 3f0c1a5e-0000-4000-8000-00000000abcd",
        ),
        ("migrate up --config f", "migrate up f"),
        ("migrate down --config f --steps 2", "migrate down f --steps 2"),
        ("collections list --config f --url u", "collections list f --url u"),
        ("users add n --config f --email e", "users add f n --email e"),
        ("status --config=-f.yaml", "status ./-f.yaml"),
    ] {
        let [old, new] = [old, new].map(|typed| format!("semantik {typed}"));
        assert_eq!(verb_of(&old), verb_of(&new), "{old}");
        assert!(parsed(&old).unwrap().notice.is_some(), "{old}");
        assert_eq!(parsed(&new).unwrap().notice, None, "{new}");
    }
}

#[test]
fn the_notice_names_the_new_spelling() {
    for (typed, expected) in [
        ("status --config f.yaml", "semantik status f.yaml"),
        ("top --token secret --config f.yaml", "semantik top f.yaml …"),
        ("search --config a --config b x", "semantik search a --also b …"),
        ("documents list --config it's.yaml", r"semantik documents list 'it'\''s.yaml'"),
    ] {
        let notice = parsed(&format!("semantik {typed}")).unwrap().notice.unwrap();
        assert!(notice.ends_with(&format!(": write `{expected}`")), "{notice}");
        assert!(!notice.contains('\n'), "{notice}");
    }
}

#[test]
fn config_is_an_error_where_it_is_not_one_file() {
    for (typed, kind) in [
        ("run --config", ErrorKind::InvalidValue),
        ("run --config --json", ErrorKind::InvalidValue),
        ("status --config a --config b", ErrorKind::ArgumentConflict),
        ("why --config a --config b x", ErrorKind::ArgumentConflict),
        ("status a --config b", ErrorKind::UnknownArgument),
        ("embed --model m --config f", ErrorKind::UnknownArgument),
        ("models show m --config f", ErrorKind::UnknownArgument),
        ("--config f status", ErrorKind::UnknownArgument),
        ("migrate down --config f --url u", ErrorKind::ArgumentConflict),
        ("search --config f", ErrorKind::MissingRequiredArgument),
    ] {
        let error = parsed(&format!("semantik {typed}")).unwrap_err();
        assert_eq!(error.kind(), kind, "{typed}: {error}");
    }
    let error = parsed("semantik --config f status").unwrap_err().to_string();
    assert!(error.contains("tip: the pipeline file follows the verb"), "{error}");
}

#[test]
fn an_option_that_names_the_store_takes_the_place_of_the_file() {
    let id = "3f0c1a5e-0000-4000-8000-00000000abcd";
    let top = |typed: &str| match parsed(&format!("semantik top {typed}")).map(|it| it.cli.verb) {
        Ok(Verb::Top(args)) => Ok((args.file, args.operation.map(|it| it.to_string()))),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind()),
    };
    let file = Some(PathBuf::from("f"));
    assert_eq!(top("f"), Ok((file.clone(), None)));
    assert_eq!(top(&format!("f {id}")), Ok((file, Some(id.to_owned()))));
    assert_eq!(top("--server http://h"), Ok((None, None)));
    assert_eq!(top(&format!("--server http://h {id}")), Ok((None, Some(id.to_owned()))));
    assert_eq!(top(&format!("{id} --server http://h")), Ok((None, Some(id.to_owned()))));
    assert_eq!(top("f --server http://h"), Err(ErrorKind::ValueValidation));
    assert_eq!(top(&format!("f {id} --server http://h")), Err(ErrorKind::ArgumentConflict));
    assert_eq!(top("--once"), Err(ErrorKind::MissingRequiredArgument));

    let user = |typed: &str| {
        let typed = format!("semantik users password {typed}");
        match parsed(&typed).map(|it| it.cli.verb) {
            Ok(Verb::Users(UsersVerb::Password { account, .. })) => {
                let (store, name) = account.into_parts();
                Ok((store.file.is_some(), name))
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.kind()),
        }
    };
    assert_eq!(user("f.yaml anna"), Ok((true, "anna".to_owned())));
    assert_eq!(user("f.yaml --json anna"), Ok((true, "anna".to_owned())));
    assert_eq!(user("anna --url u"), Ok((false, "anna".to_owned())));
    assert_eq!(user("--url u anna"), Ok((false, "anna".to_owned())));
    assert_eq!(user("f.yaml anna --url u"), Ok((true, "anna".to_owned())));
    assert_eq!(user("f.yaml --url u"), Err(ErrorKind::MissingRequiredArgument));
    assert_eq!(user("--url u"), Err(ErrorKind::MissingRequiredArgument));
}
