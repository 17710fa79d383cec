//! What a run asks the metadata store again and again is known: every statement that is repeated with the documents is in
//! `metadata::HOT_QUERIES`, whose plans are tested. The log of the server says what was asked.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Place;

/// Few documents, and many.
const DOCUMENTS: [usize; 2] = [50, 4_000];

/// By as much a statement is sent more often for other reasons than that there are more documents.
const FEW: usize = 2;

/// A statement without its line breaks and indents.
fn plain(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How often each statement stands in the log of the server, from this byte on.
fn statements(log: &str) -> BTreeMap<String, usize> {
    let mut found: Vec<String> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if let Some(last) = found.last_mut() {
                last.push(' ');
                last.push_str(rest);
            }
        } else {
            let (_, said) = line.split_once("LOG:  ").unwrap_or(("", ""));
            let statement = match said.split_once(": ") {
                Some((what, statement)) if what.starts_with("execute") => statement,
                Some(("statement", statement)) => statement,
                _ => "",
            };
            found.push(statement.to_owned());
        }
    }
    let mut counts = BTreeMap::new();
    for statement in found {
        *counts.entry(plain(&statement)).or_default() += 1;
    }
    counts
}

/// How often a first run over so many documents sends each statement, one that finds nothing changed, and one that finds
/// all of them edited.
fn asked(documents: usize) -> Vec<BTreeMap<String, usize>> {
    let place = Place::with_stand_in();
    let write = |word: &str| {
        for n in 0..documents {
            place.write(&format!("{n}.txt"), format!("{word} number {n}"));
        }
    };
    write("document");
    // With its tables.
    assert_eq!(place.semantik(&["migrate", "up", "--config", "pipeline.yaml"]).code, 0);
    let data = place.value("SHOW data_directory");
    let log = Path::new(&data).parent().unwrap().join("log");
    place.execute("ALTER SYSTEM SET log_statement = 'all'");
    place.execute("SELECT pg_reload_conf()");
    place.wait_until("SELECT current_setting('log_statement') = 'all'");
    let run = || {
        let before = std::fs::read(&log).unwrap().len();
        place.run();
        let text = std::fs::read(&log).unwrap().split_off(before);
        statements(&String::from_utf8_lossy(&text))
    };
    let (new, unchanged) = (run(), run());
    write("text");
    vec![new, unchanged, run()]
}

#[test]
fn what_a_run_asks_again_and_again_is_known() {
    let hot: Vec<String> = metadata::HOT_QUERIES.iter().map(|query| plain(query.sql)).collect();
    let is_control = |statement: &str| {
        // The driver asks for the types of parameters, once on each connection.
        if statement.starts_with("SELECT pg_type.oid") {
            return true;
        }
        let first = statement.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        ["", "BEGIN", "COMMIT", "ROLLBACK", "SET", "ANALYZE"].contains(&first.as_str())
    };
    let [few, many] = DOCUMENTS.map(asked);
    let mut grown = Vec::new();
    for (what, (few, many)) in ["all are new", "nothing has changed", "all were edited"]
        .into_iter()
        .zip(few.iter().zip(&many))
    {
        for (statement, count) in many {
            let before = few.get(statement).copied().unwrap_or(0);
            if *count <= before + FEW {
                continue;
            }
            let is_known = is_control(statement) || hot.contains(statement);
            let times = format!("{before} times, then {count}");
            assert!(is_known, "{what}: {times}, and not in HOT_QUERIES: {statement}");
            grown.push(statement.clone());
        }
    }
    // The test would notice: it has seen the ways of a document into the store.
    for doing in ["identify documents", "write documents", "make sure that an operation may write"]
    {
        let query = metadata::HOT_QUERIES.iter().find(|query| query.doing == doing).unwrap();
        assert!(grown.contains(&plain(query.sql)), "{doing}");
    }
}
