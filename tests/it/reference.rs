//! `docs/reference/` and the manual pages are those of the command, and their examples work.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{ROOT, command, model, ran};
use crate::tidy::every_source;

/// A page of `docs/reference/`; writes it first with `SEMANTIK_UPDATE`.
fn page(name: &str) -> String {
    let printed = ran(command(&["reference", name]).output().unwrap());
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let path = Path::new(ROOT).join(format!("docs/reference/{name}.md"));
    if std::env::var_os("SEMANTIK_UPDATE").is_some() {
        std::fs::write(&path, &printed.stdout).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == printed.stdout,
        "docs/reference/{name}.md is out of date; run `make snapshots`"
    );
    kept
}

/// The code blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("\n```{language}\n");
    let parts = page.split(&start).skip(1);
    parts.map(|part| part.split("\n```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_command_line_reference_is_current() {
    let page = page("cli");
    for verb in ["semantik run", "semantik documents list", "semantik man"] {
        assert!(page.contains(&format!("# {verb}\n")), "`{verb}` has no section");
    }
}

#[test]
fn the_examples_of_the_pipeline_file_reference_are_one_valid_file() {
    let page = page("pipeline-file");
    let yaml = blocks(&page, "yaml").join("\n");
    let schema = std::fs::read_to_string(Path::new(ROOT).join("configs/schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for node in schema["$defs"]["NodeSpec"]["properties"]["uses"]["oneOf"].as_array().unwrap() {
        let uses = format!("uses: {}", node["const"].as_str().unwrap());
        assert!(yaml.contains(&uses), "no example has `{uses}`");
    }
    // The model of the tests instead of one that has to be downloaded.
    let model = model().display().to_string();
    let local = yaml.replace("hf:sentence-transformers/all-MiniLM-L6-v2", &model);
    assert_ne!(local, yaml);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("corpus")).unwrap();
    std::fs::write(folder.path().join("corpus/page.html"), "<p>a page</p>").unwrap();
    std::fs::write(folder.path().join("pipeline.yaml"), local).unwrap();
    for verb in ["check", "test"] {
        let mut command = command(&[verb, "pipeline.yaml"]);
        let ran = ran(command.current_dir(folder.path()).env("PGPASSWORD", "x").output().unwrap());
        assert_eq!(ran.code, 0, "{verb}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("share/man1");
    let written = ran(command(&["man", to.to_str().unwrap()]).output().unwrap());
    assert_eq!(written.code, 0, "{}", written.stderr);
    let mut pages: Vec<String> = std::fs::read_dir(&to)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let headings = page("cli");
    let headings =
        headings.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let mut expected: Vec<String> = headings
        .filter(|heading| heading.starts_with("semantik "))
        .map(|heading| format!("{}.1", heading.replace(' ', "-")))
        .chain(["semantik.1".to_owned()])
        .collect();
    expected.sort();
    assert_eq!(pages, expected);
    for name in pages {
        let text = std::fs::read_to_string(to.join(&name)).unwrap();
        for section in [".TH", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH \"EXIT STATUS\""] {
            assert!(text.contains(section), "{name} has no {section}");
        }
    }
}

#[test]
fn every_reason_has_a_remedy() {
    let page = page("cli");
    let option = page.lines().find(|line| line.starts_with("| `--reason <REASON>` |")).unwrap();
    let values = option.split("Values: ").nth(1).unwrap().split("; ");
    let reasons: Vec<&str> = values.map(|value| value.split(':').next().unwrap()).collect();
    assert!(reasons.contains(&"`too_large`"), "{reasons:?}");
    let remedies =
        std::fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    for reason in reasons {
        let has_row = remedies.lines().any(|line| line.starts_with(&format!("| {reason}")));
        assert!(has_row, "docs/troubleshooting.md has no remedy for {reason}");
    }
}

/// Channels of database notifications, whose names look like those of metrics.
const CHANNELS: [&str; 2] = ["semantik_operation", "semantik_progress"];

/// The names of metrics between these quotes.
fn metrics(text: &str, quote: char) -> BTreeSet<String> {
    let words = text.split(quote).filter(|word| word.starts_with("semantik_"));
    let is_name = |word: &&str| word.chars().all(|it| it.is_ascii_lowercase() || it == '_');
    let names = words.filter(is_name).filter(|name| !CHANNELS.contains(name));
    names.map(str::to_owned).collect()
}

#[test]
fn the_list_of_metrics_is_complete() {
    let sources = every_source().into_iter().filter(|(name, _)| !name.starts_with("tests/"));
    let in_code: BTreeSet<String> = sources.flat_map(|(_, text)| metrics(&text, '"')).collect();
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/metrics.md")).unwrap();
    assert_eq!(metrics(&page, '`'), in_code, "docs/metrics.md, and the code");
}
