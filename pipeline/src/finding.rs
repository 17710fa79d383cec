//! Findings: diagnostics about a pipeline file with their positions, and their output.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A diagnostic about a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Byte range in the file.
    pub span: Range<usize>,
    /// Message in one line.
    pub message: String,
    /// Byte range of another part of the file that is involved, with a label.
    pub related: Option<(Range<usize>, String)>,
    /// Suggested remedy.
    pub help: Option<String>,
}

impl Finding {
    pub(crate) fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: at, message: message.into(), related: None, help: None }
    }

    pub(crate) fn with_related(self, at: Range<usize>, label: String) -> Self {
        Self { related: Some((at, label)), ..self }
    }

    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// All findings about a pipeline file, in file order.
///
/// ```
/// use std::path::Path;
///
/// use pipeline::Findings;
///
/// let text = "version: 1\nname: \n";
/// let findings = Findings::single(Path::new("a.yaml"), text, 11..15, "`name` is empty");
/// assert_eq!(findings.position(&findings.findings[0]), (2, 1));
/// let shown = findings.render(false);
/// assert!(shown.starts_with("error: `name` is empty"));
/// assert!(shown.contains("a.yaml:2:1") && shown.ends_with("a.yaml: 1 error\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Findings {
    /// Path of the file as given by the user.
    pub file: String,
    /// Text of the file, for the lines in the output.
    pub source: String,
    /// At least one finding.
    pub findings: Vec<Finding>,
}

impl Findings {
    pub(crate) fn new(file: &str, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
        findings.dedup();
        Self { file: file.to_owned(), source: text.to_owned(), findings }
    }

    /// A single finding about a file.
    pub fn single(file: &Path, text: &str, at: Range<usize>, message: &str) -> Self {
        Self::new(&file.display().to_string(), text, vec![Finding::new(at, message)])
    }

    /// Line and column of a finding, both from 1; the column counts characters.
    pub fn position(&self, finding: &Finding) -> (usize, usize) {
        let before = &self.source[..finding.span.start.min(self.source.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// Formats the findings as errors with their lines; `colours` adds terminal colours.
    pub fn render(&self, colours: bool) -> String {
        self.render_as(&Level::ERROR, "error", colours)
    }

    /// Formats the findings as warnings; see [`Findings::render`].
    pub fn render_warnings(&self, colours: bool) -> String {
        self.render_as(&Level::WARNING, "warning", colours)
    }

    fn render_as(&self, level: &Level<'static>, noun: &str, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for finding in &self.findings {
            let mut place = Snippet::source(&self.source)
                .path(&self.file)
                .annotation(AnnotationKind::Primary.span(finding.span.clone()));
            if let Some((at, label)) = &finding.related {
                place = place.annotation(AnnotationKind::Context.span(at.clone()).label(label));
            }
            let title = level.clone().primary_title(&finding.message);
            let mut group = title.element(place);
            if let Some(help) = &finding.help {
                group = group.element(Level::HELP.message(help));
            }
            out.push_str(&renderer.render(&[group]));
            out.push_str("\n\n");
        }
        let count = self.findings.len();
        let ending = if count == 1 { "" } else { "s" };
        out.push_str(&format!("{}: {count} {noun}{ending}\n", self.file));
        out
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Findings {}

/// `did you mean …?` with the most similar candidate; `None` if its similarity is below 0.5.
pub(crate) fn suggest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
