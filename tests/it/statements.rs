//! Every statement that a run repeats in proportion to the number of documents is listed in
//! `metadata::HOT_QUERIES`, whose plans are tested. The statements come from the server log.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::TestProject;

/// A small and a large number of documents.
const DOCUMENTS: [usize; 2] = [50, 4_000];

/// Allowed increase of a statement count for reasons other than the number of documents.
const CONSTANT_STATEMENTS: usize = 2;

/// A statement on one line, without indentation.
fn plain(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Counts each statement in the server log from this byte offset on.
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

/// Statement counts of a first run with this many documents, of a run without changes, and of a run
/// after all documents were edited.
fn statement_counts(documents: usize) -> Vec<BTreeMap<String, usize>> {
    let place = TestProject::with_stand_in();
    let write = |word: &str| {
        for n in 0..documents {
            place.write(&format!("{n}.txt"), format!("{word} number {n}"));
        }
    };
    write("document");
    // Creates the tables.
    assert_eq!(place.semantik(&["migrate", "up", "pipeline.yaml"]).code, 0);
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
fn statements_do_not_grow_with_the_corpus() {
    let hot: Vec<String> = metadata::HOT_QUERIES.iter().map(|query| plain(query.sql)).collect();
    let is_control = |statement: &str| {
        // The driver queries parameter types once per connection.
        if statement.starts_with("SELECT pg_type.oid") {
            return true;
        }
        let first = statement.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        ["", "BEGIN", "COMMIT", "ROLLBACK", "SET", "ANALYZE"].contains(&first.as_str())
    };
    let [few, many] = DOCUMENTS.map(statement_counts);
    let mut grown = Vec::new();
    for (what, (few, many)) in ["all are new", "nothing has changed", "all were edited"]
        .into_iter()
        .zip(few.iter().zip(&many))
    {
        for (statement, count) in many {
            let before = few.get(statement).copied().unwrap_or(0);
            if *count <= before + CONSTANT_STATEMENTS {
                continue;
            }
            let is_known = is_control(statement) || hot.contains(statement);
            let times = format!("{before} times, then {count}");
            assert!(is_known, "{what}: {times}, but missing in HOT_QUERIES: {statement}");
            grown.push(statement.clone());
        }
    }
    // Checks that the test detects statements: these ran once per document.
    for doing in ["identify documents", "write documents", "check that an operation may write"] {
        let query = metadata::HOT_QUERIES.iter().find(|query| query.doing == doing).unwrap();
        assert!(grown.contains(&plain(query.sql)), "{doing}");
    }
}
