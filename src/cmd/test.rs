//! `semantik test`: checks the samples of a pipeline file against their expectations.

use std::path::Path;
use std::sync::Arc;

use pipeline::{
    BoxError, ChunksSpec, ExpectSpec, PipelineSpec, RejectionReport, RouteSpec, SampleSpec,
    TextSpec,
};
use serde_json::{Value, json};
use similar::TextDiff;

use super::Exit;
use crate::cli::TestArgs;
use crate::composition;
use crate::render;
use crate::sample_runner::{self, SampleChunk, SampleDocument, SampleOutcome};

/// An expectation that was not met.
struct SampleFailure {
    /// The subject: `route`, `text`, `chunk 3`.
    what: String,
    message: String,
    /// A unified diff of the expected and the actual text.
    diff: Option<String>,
}

/// The result of one sample.
struct SampleResult<'a> {
    name: &'a str,
    failures: Vec<SampleFailure>,
    /// Snapshots that were written.
    updated: Vec<String>,
}

pub(super) async fn test(args: &TestArgs) -> Exit {
    match try_test(args).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_test(args: &TestArgs) -> Result<Exit, BoxError> {
    let spec = composition::read_spec(&args.file)?;
    let wanted = |sample: &&SampleSpec| {
        args.only.as_ref().is_none_or(|only| sample.name.contains(only.as_str()))
    };
    let models = sample_runner::models();
    let mut judged = Vec::new();
    for sample in spec.file.tests.iter().filter(wanted) {
        let came = sample_runner::run(&spec, Arc::clone(&models), &sample.input).await?;
        judged.push(check_sample(&spec, sample, &came, args.update)?);
    }
    let failed = judged.iter().filter(|it| !it.failures.is_empty()).count();
    if args.json {
        render::print_json(&judged.iter().map(as_json).collect())?;
    } else {
        render::print(&as_text(&args.file, &judged, failed))?;
    }
    Ok(if failed > 0 { Exit::SamplesFailed } else { Exit::Success })
}

fn as_json(judged: &SampleResult<'_>) -> Value {
    let failures = judged
        .failures
        .iter()
        .map(|it| json!({ "what": it.what, "message": it.message, "diff": it.diff }));
    json!({
        "name": judged.name,
        "passed": judged.failures.is_empty(),
        "failures": failures.collect::<Vec<_>>(),
        "updated": judged.updated,
    })
}

fn as_text(file: &Path, judged: &[SampleResult<'_>], failed: usize) -> String {
    if judged.is_empty() {
        return format!("{}: no tests\n", file.display());
    }
    let mut out = String::new();
    for SampleResult { name, failures, updated } in judged {
        let mark = if failures.is_empty() { "passed" } else { "FAILED" };
        out.push_str(&format!("{mark}  {name}\n"));
        for SampleFailure { what, message, diff } in failures {
            out.push_str(&format!("    {what}: {message}\n"));
            for line in diff.iter().flat_map(|diff| diff.lines()) {
                out.push_str(&format!("        {line}\n"));
            }
        }
        for path in updated {
            out.push_str(&format!("    written: {path}\n"));
        }
    }
    let passed = judged.len() - failed;
    out.push_str(&format!("{passed} passed, {failed} failed\n"));
    out
}

/// Compares the result of a sample with its expectations.
fn check_sample<'a>(
    spec: &PipelineSpec,
    sample: &'a SampleSpec,
    came: &SampleOutcome,
    update: bool,
) -> Result<SampleResult<'a>, BoxError> {
    let mut judge = SampleChecker { spec, update, failures: Vec::new(), updated: Vec::new() };
    let ExpectSpec { text, chunks, route, metadata } = &sample.expect;
    judge.route(route.as_ref(), came, text.is_some() || chunks.is_some() || !metadata.is_empty());
    if let Some(document) = &came.document {
        if let Some(text) = text {
            judge.text(text, document)?;
        }
        if let Some(chunks) = chunks {
            judge.chunks(chunks, document)?;
        }
        for (key, wanted) in metadata {
            let found = document.metadata.get(key).unwrap_or(&Value::Null);
            if found != wanted {
                judge.fail(format!("metadata {key}"), format!("is {found}, expected {wanted}"));
            }
        }
    }
    let SampleChecker { failures, updated, .. } = judge;
    Ok(SampleResult { name: &sample.name, failures, updated })
}

struct SampleChecker<'a> {
    spec: &'a PipelineSpec,
    update: bool,
    failures: Vec<SampleFailure>,
    updated: Vec<String>,
}

impl SampleChecker<'_> {
    fn fail(&mut self, what: impl Into<String>, message: impl Into<String>) {
        self.failures.push(SampleFailure {
            what: what.into(),
            message: message.into(),
            diff: None,
        });
    }

    fn differs(&mut self, what: &str, message: String, wanted: &str, found: &str) {
        let diff = diff(wanted, found);
        self.failures.push(SampleFailure { what: what.to_owned(), message, diff: Some(diff) });
    }

    /// Checks the route of a sample; `wants_document` is `true` if its text, chunks or metadata are
    /// checked too.
    fn route(&mut self, wanted: Option<&RouteSpec>, came: &SampleOutcome, wants_document: bool) {
        let nothing = RouteSpec::default();
        let route = wanted.unwrap_or(&nothing);
        for node in &route.through {
            if came.not_run.contains(node) {
                self.fail(
                    "route",
                    format!("`{node}` follows the model, which samples do not reach"),
                );
            } else if !came.reached_nodes.contains(node) {
                let nodes: Vec<_> = came.reached_nodes.iter().map(String::as_str).collect();
                let nodes = nodes.join(", ");
                self.fail("route", format!("did not reach `{node}`, only {nodes}"));
            }
        }
        for node in route.around.iter().filter(|node| came.reached_nodes.contains(*node)) {
            self.fail("route", format!("reached `{node}`"));
        }
        match (&came.set_aside, &route.set_aside) {
            (Some(found), Some(reason)) => {
                if found.reason != *reason {
                    let (found, message) = (&found.reason, &found.message);
                    self.fail(
                        "set aside",
                        format!("as `{found}` ({message}), expected `{reason}`"),
                    );
                }
            }
            (Some(found), None) => {
                let RejectionReport { node, reason, message, .. } = found;
                self.fail("set aside", format!("by `{node}` as `{reason}`: {message}"));
            }
            (None, Some(reason)) => {
                self.fail("set aside", format!("was not, expected `{reason}`"));
            }
            (None, None) if came.document.is_none() && wants_document => {
                self.fail("route", "did not reach the model or a sink");
            }
            (None, None) => {}
        }
        if let Some(found) = &came.set_aside {
            if let Some(node) = route.at.as_ref().filter(|node| found.node != **node) {
                self.fail("set aside", format!("by `{}`, expected `{node}`", found.node));
            }
            if let Some(words) = route.because.as_ref().filter(|it| !found.message.contains(*it)) {
                self.fail(
                    "set aside",
                    format!("because it {}, which lacks `{words}`", found.message),
                );
            }
        }
    }

    fn text(&mut self, wanted: &TextSpec, document: &SampleDocument) -> Result<(), BoxError> {
        let Some(text) = &document.text else {
            self.fail("text", "no node extracts it");
            return Ok(());
        };
        for words in wanted.contains.iter().filter(|words| !text.contains(words.as_str())) {
            self.fail("text", format!("lacks `{words}`{}", closest_line(text, words)));
        }
        for words in wanted.lacks.iter().filter(|words| text.contains(words.as_str())) {
            self.fail("text", format!("contains `{words}`"));
        }
        if let Some(equals) = wanted.equals.as_ref().filter(|it| it.trim() != text.trim()) {
            self.differs("text", "differs".to_owned(), equals, text);
        }
        match &wanted.snapshot {
            Some(path) => self.snapshot("text", path, text),
            None => Ok(()),
        }
    }

    fn chunks(&mut self, wanted: &ChunksSpec, document: &SampleDocument) -> Result<(), BoxError> {
        let chunks = &document.chunks;
        if let Some(count) = wanted.count.filter(|count| *count != chunks.len()) {
            self.fail("chunks", format!("found {}, expected {count}", chunks.len()));
        }
        for spec in &wanted.at {
            let what = format!("chunk {}", spec.index);
            let Some(chunk) = chunks.get(spec.index) else {
                self.fail(
                    what,
                    format!("does not exist; the number of chunks is {}", chunks.len()),
                );
                continue;
            };
            if let Some(words) = spec.contains.as_ref().filter(|it| !chunk.text.contains(*it)) {
                self.differs(&what, format!("lacks `{words}`"), words, &chunk.text);
            }
            if let Some(text) = spec.equals.as_ref().filter(|it| it.trim() != chunk.text.trim()) {
                self.differs(&what, "differs".to_owned(), text, &chunk.text);
            }
            if spec.headings.is_some() && spec.headings != chunk.headings {
                let [found, wanted] = [&chunk.headings, &spec.headings]
                    .map(|it| it.clone().unwrap_or_else(|| "nothing".to_owned()));
                self.fail(what.clone(), format!("is under `{found}`, expected `{wanted}`"));
            }
            if let Some(page) = spec.page.filter(|page| chunk.page != Some(*page)) {
                let found =
                    chunk.page.map_or_else(|| "no page".to_owned(), |it| format!("page {it}"));
                self.fail(what, format!("is on {found}, expected page {page}"));
            }
        }
        let mut at_most = |most: Option<usize>, unit: &str, of: &dyn Fn(&SampleChunk) -> usize| {
            let Some(most) = most else { return };
            let longest = chunks.iter().enumerate().max_by_key(|(_, chunk)| of(chunk));
            if let Some((at, chunk)) = longest.filter(|(_, chunk)| of(chunk) > most) {
                let has = of(chunk);
                self.fail(
                    format!("chunk {at}"),
                    format!("has {has} {unit}, expected at most {most}"),
                );
            }
        };
        at_most(wanted.max_tokens, "tokens", &|chunk| chunk.tokens);
        at_most(wanted.max_chars, "characters", &|chunk| chunk.text.chars().count());
        match &wanted.snapshot {
            Some(path) => self.snapshot("chunks", path, &listed(chunks)),
            None => Ok(()),
        }
    }

    /// Compares with a snapshot file, or writes it with `--update`.
    fn snapshot(&mut self, what: &str, path: &Path, found: &str) -> Result<(), BoxError> {
        let file = self.spec.base.join(path);
        let kept = match fs_err::read_to_string(&file) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if kept.as_deref().map(str::trim_end) == Some(found.trim_end()) {
            return Ok(());
        }
        if self.update {
            if let Some(folder) = file.parent() {
                fs_err::create_dir_all(folder)?;
            }
            fs_err::write(&file, format!("{}\n", found.trim_end()))?;
            self.updated.push(path.display().to_string());
            return Ok(());
        }
        let shown = path.display();
        match kept {
            Some(kept) => {
                let message = format!("differs from {shown} (`--update` overwrites it)");
                self.differs(what, message, &kept, found);
            }
            None => self.fail(what, format!("{shown} does not exist (`--update` creates it)")),
        }
        Ok(())
    }
}

/// The chunks in the format of a snapshot.
fn listed(chunks: &[SampleChunk]) -> String {
    let mut out = String::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let headings = chunk.headings.as_ref().map_or_else(String::new, |it| format!(" · {it}"));
        let page = chunk.page.map_or_else(String::new, |page| format!(" · page {page}"));
        out.push_str(&format!("── {at}{headings}{page}\n{}\n", chunk.text.trim_end()));
    }
    out
}

/// A unified diff of the expected and the actual text.
fn diff(wanted: &str, found: &str) -> String {
    let (wanted, found) = (format!("{}\n", wanted.trim_end()), format!("{}\n", found.trim_end()));
    let diff = TextDiff::from_lines(&wanted, &found);
    diff.unified_diff().context_radius(2).header("expected", "found").to_string()
}

/// The most similar line of a text, as a message; empty if none is similar.
fn closest_line(text: &str, words: &str) -> String {
    let mut best = (0.6, None);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let ratio = TextDiff::from_chars(words, line.trim()).ratio();
        if ratio > best.0 {
            best = (ratio, Some(line.trim()));
        }
    }
    best.1.map_or_else(String::new, |line| format!("; the nearest is `{line}`"))
}
