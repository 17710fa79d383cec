//! `extract` on mail, source code, data and markup languages: real files of `tests/data/markup`,
//! made by other programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{UInt8Type, UInt64Type};
use pipeline::column::{LANGUAGE, METADATA, MIME_TYPE, OUTLINE, PAGES, TEXT, TITLE, URI};
use pipeline::test_util::reasons;
use pipeline::{Outcome, SplitMix64};
use proptest::prelude::*;
use serde_json::{Value, json};
use sources::mime;

use crate::extract::with_worker;
use crate::support::{empty_resources, files, mutated, run, stage};

/// The files of the folder by name.
fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/markup");
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs_err::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !matches!(name.as_str(), "README.md" | "make.py"))
        .collect()
}

fn rows_of(named: &[(&str, &[u8])]) -> RecordBatch {
    let typed: Vec<(&str, &str, &[u8])> = named
        .iter()
        .map(|(name, bytes)| (*name, mime::detect(Path::new(name), bytes), *bytes))
        .collect();
    files(&typed)
}

fn extract(named: &[(&str, &[u8])]) -> Outcome {
    run(&*stage("extract", json!({})), &with_worker(), rows_of(named))
}

/// A heading: level, title, and the text from it on.
struct Found {
    level: u8,
    title: String,
    at: usize,
}

fn outline(rows: &RecordBatch, row: usize) -> Vec<Found> {
    let headings = OUTLINE.of(rows).unwrap().value(row);
    let headings = headings.as_struct();
    let at = headings.column_by_name("at").unwrap().as_primitive::<UInt64Type>();
    let levels = headings.column_by_name("level").unwrap().as_primitive::<UInt8Type>();
    let titles = headings.column_by_name("title").unwrap().as_string::<i32>();
    (0..headings.len())
        .map(|index| Found {
            level: levels.value(index),
            title: titles.value(index).to_owned(),
            at: usize::try_from(at.value(index)).unwrap(),
        })
        .collect()
}

/// Everything that a user sees of a document.
fn shown(rows: &RecordBatch, row: usize) -> String {
    let language = LANGUAGE.of(rows).unwrap();
    let language = if language.is_valid(row) { language.value(row) } else { "-" };
    let text = TEXT.of(rows).unwrap().value(row);
    let mut out = format!("type: {}\n", MIME_TYPE.of(rows).unwrap().value(row));
    writeln!(out, "title: {}", TITLE.of(rows).unwrap().value(row)).unwrap();
    writeln!(out, "language: {language}").unwrap();
    let metadata: BTreeMap<String, Value> =
        serde_json::from_str(METADATA.of(rows).unwrap().value(row)).unwrap();
    for (key, value) in metadata {
        writeln!(out, "{key}: {value}").unwrap();
    }
    writeln!(out, "pages: {}", PAGES.of(rows).unwrap().value(row).len()).unwrap();
    for heading in outline(rows, row) {
        let line = text[heading.at..].lines().next().unwrap_or_default();
        writeln!(out, "heading {} {:?} at {line:?}", heading.level, heading.title).unwrap();
    }
    format!("{out}---\n{text}\n")
}

#[test]
fn each_file_gives_its_text_headings_and_metadata() {
    let fixtures = fixtures();
    let named: Vec<(&str, &[u8])> =
        fixtures.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let outcome = extract(&named);
    for row in 0..outcome.rows.num_rows() {
        let uri = URI.of(&outcome.rows).unwrap().value(row);
        let name = uri.rsplit('/').next().unwrap();
        insta::assert_snapshot!(format!("markup_{name}"), shown(&outcome.rows, row));
    }
    insta::assert_debug_snapshot!(reasons(&outcome.rejected));
}

/// The same article in each markup language has the same words and headings.
#[test]
fn an_article_is_the_same_in_every_language() {
    let fixtures = fixtures();
    let named: Vec<(&str, &[u8])> = fixtures
        .iter()
        .filter(|(name, _)| name.starts_with("article."))
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let outcome = extract(&named);
    assert_eq!(outcome.rows.num_rows(), 9);
    let words = "oak grows slowly society history mature 250,000 leaves bark resists fire cork peeled \
                 nine years 1000 birch 120 Sorrel below birches Fern shade bracken spleenwort \
                 Growth sqrt first frac later Zirben Alpine stone pine line.dark quillwort";
    for row in 0..outcome.rows.num_rows() {
        let name = URI.of(&outcome.rows).unwrap().value(row);
        let text = TEXT.of(&outcome.rows).unwrap().value(row);
        for word in words.split_whitespace() {
            assert!(text.contains(word), "{name} lacks {word:?}: {text}");
        }
        let headings = outline(&outcome.rows, row);
        let titles: Vec<&str> = headings.iter().map(|it| it.title.as_str()).collect();
        let sections = ["Broadleaves", "Measured heights", "Conifers", "Counting rings"];
        let own = titles.iter().copied().filter(|title| sections.contains(title));
        assert_eq!(own.collect::<Vec<_>>(), sections, "{name}: {titles:?}");
        for pair in headings.windows(2) {
            let is_deeper = sections.iter().position(|it| *it == pair[1].title).unwrap() % 2 == 1;
            assert!(!is_deeper || pair[1].level == pair[0].level + 1, "{name}");
        }
        if !name.ends_with(".ipynb") {
            assert_eq!(TITLE.of(&outcome.rows).unwrap().value(row), "Trees of the North", "{name}");
            let metadata = METADATA.of(&outcome.rows).unwrap().value(row);
            assert!(metadata.contains("Björn Öberg"), "{name}: {metadata}");
        }
    }
}

#[test]
fn this_process_and_the_worker_read_the_same() {
    let fixtures = fixtures();
    let named: Vec<(&str, &[u8])> =
        fixtures.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let here = run(&*stage("extract", json!({})), &empty_resources(), rows_of(&named));
    let there = extract(&named);
    assert_eq!(here.rows, there.rows);
    assert_eq!(here.rejected, there.rejected);
}

/// No mutated file ends the worker, and each is accounted for. The worker reports a crash as a
/// parser that crashed, and a panic with its message.
#[test]
fn mutated_files_are_read_or_set_aside() {
    let fixtures = fixtures();
    let mut random = SplitMix64::new(1);
    for (name, bytes) in &fixtures {
        let mutants: Vec<Vec<u8>> = (0..60).map(|_| mutated(bytes, &mut random)).collect();
        let named: Vec<(&str, &[u8])> =
            mutants.iter().map(|bytes| (name.as_str(), bytes.as_slice())).collect();
        let outcome = extract(&named);
        assert_eq!(outcome.rows.num_rows() + outcome.rejected.len(), mutants.len());
        for (_, reason) in reasons(&outcome.rejected) {
            let faults = ["crashed", "out of bounds", "out of range", "overflow", "boundary"];
            for fault in faults {
                assert!(!reason.contains(fault), "{name}: {reason}");
            }
        }
    }
}

/// A line of a document in a markup language, and the heading that it is.
fn line() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        2 => "[A-Za-zäß][A-Za-zäß ]{0,20}[a-z]".prop_map(|title| (title, true)),
        5 => "[A-Za-zäß,. ]{0,40}".prop_map(|text| (format!("text {text}"), false)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In languages of which the syntax is kept, each title is found, and its offset points at it.
    #[test]
    fn offsets_point_at_titles(lines in prop::collection::vec(line(), 1..12)) {
        let write = |heading: &dyn Fn(&str) -> String| {
            let parts = lines.iter().map(|(text, is_title)| if *is_title { heading(text) } else { text.clone() });
            parts.collect::<Vec<_>>().join("\n\n")
        };
        let documents = [
            ("a.adoc", write(&|title| format!("== {title}")), "== "),
            ("a.rst", write(&|title| format!("{title}\n{}", "-".repeat(title.chars().count()))), ""),
            ("a.org", write(&|title| format!("* {title}")), "* "),
            ("a.md", write(&|title| format!("# {title}")), "# "),
            ("a.tex", write(&|title| format!("\\section{{{title}}}")), ""),
        ];
        let named: Vec<(&str, &[u8])> =
            documents.iter().map(|(name, text, _)| (*name, text.as_bytes())).collect();
        let outcome = run(&*stage("extract", json!({})), &empty_resources(), rows_of(&named));
        prop_assert_eq!(reasons(&outcome.rejected), []);
        for (row, (name, _, sign)) in documents.iter().enumerate() {
            let text = TEXT.of(&outcome.rows).unwrap().value(row);
            let headings = outline(&outcome.rows, row);
            let titles = lines.iter().filter(|(_, is_title)| *is_title);
            let collapsed = |title: &str| title.split_whitespace().collect::<Vec<_>>().join(" ");
            let titles: Vec<String> = titles.map(|(title, _)| collapsed(title)).collect();
            let found: Vec<&str> = headings.iter().map(|heading| heading.title.as_str()).collect();
            prop_assert_eq!(&found, &titles, "{}: {}", name, text);
            for heading in headings {
                let line = text[heading.at..].lines().next().unwrap();
                prop_assert!(line.starts_with(sign), "{}: {:?}", name, line);
                prop_assert_eq!(collapsed(&line[sign.len()..]), heading.title, "{}", name);
            }
        }
    }

    /// The text of source code is the file.
    #[test]
    fn source_code_is_kept_verbatim(code in "([ -~äß]{0,60}\n){0,20}") {
        let outcome = run(&*stage("extract", json!({})), &empty_resources(), rows_of(&[("a.rs", code.as_bytes())]));
        if code.trim().is_empty() {
            prop_assert_eq!(outcome.rows.num_rows(), 0);
        } else {
            prop_assert_eq!(TEXT.of(&outcome.rows).unwrap().value(0), code.as_str());
            prop_assert_eq!(TITLE.of(&outcome.rows).unwrap().value(0), "a.rs");
        }
    }

    /// Every key, string and number of a JSON document is in its text.
    #[test]
    fn nothing_of_json_is_lost(value in any_json()) {
        let bytes = value.to_string();
        let outcome = run(&*stage("extract", json!({})), &empty_resources(), rows_of(&[("a.json", bytes.as_bytes())]));
        prop_assume!(outcome.rows.num_rows() == 1);
        let text = TEXT.of(&outcome.rows).unwrap().value(0);
        let mut leaves = Vec::new();
        collect(&value, &mut leaves);
        for leaf in leaves {
            prop_assert!(text.contains(&leaf), "{} lacks {:?} of {}", text, leaf, bytes);
        }
        for heading in outline(&outcome.rows, 0) {
            prop_assert!(heading.at < text.len());
            let before = text[..heading.at].chars().next_back();
            prop_assert!(before.is_none_or(|char| matches!(char, '\n' | ' ')));
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-z]{1,8}( [a-z]{1,8}){0,5}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}|name|title", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys and values as they must be in the text.
fn collect(value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::String(text) => leaves.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, leaves)),
        Value::Object(members) => {
            for (key, value) in members {
                leaves.push(format!("{key}:"));
                collect(value, leaves);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => leaves.push(value.to_string()),
    }
}
