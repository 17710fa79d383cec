//! What a pipeline file says of itself: sample documents, and what is expected to become of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::PipelineSpec;
use crate::finding::{Finding, suggest};

/// A sample document with what is expected to become of it; `semantik test` runs it through the pipeline as far as
/// its model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleSpec {
    /// What it shows, in words.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The document.
    pub input: InputSpec,
    /// What is expected of it.
    pub expect: ExpectSpec,
}

/// A sample document: `text` with a `name`, or a `file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// What is in it.
    #[serde(default)]
    pub text: Option<String>,
    /// Its file name, whose ending says what it is; that of `file` unless it is given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// A file, relative to the pipeline file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The source node that gives it; the first one unless it is named.
    #[serde(default)]
    pub source: Option<String>,
}

/// What is expected of a sample document; whatever is not named may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectSpec {
    /// Of the text that is extracted.
    #[serde(default)]
    pub text: Option<TextSpec>,
    /// Of the chunks.
    #[serde(default)]
    pub chunks: Option<ChunksSpec>,
    /// Of the way it takes.
    #[serde(default)]
    pub route: Option<RouteSpec>,
    /// Of what it says of itself: `title`, `language`, `mime_type`, and what extraction finds besides.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// What is expected of a text.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// It holds each of these.
    #[serde(default)]
    pub contains: Vec<String>,
    /// It holds none of these.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// It is this; space at either end does not matter.
    #[serde(default)]
    pub equals: Option<String>,
    /// It is what is in this file, relative to the pipeline file; `semantik test --update` writes it.
    #[serde(default)]
    pub snapshot: Option<PathBuf>,
}

/// What is expected of the chunks of a document.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunksSpec {
    /// How many there are.
    #[serde(default)]
    pub count: Option<usize>,
    /// What some of them are.
    #[serde(default)]
    pub at: Vec<ChunkSpec>,
    /// The most tokens that any of them has.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<usize>,
    /// The most characters that any of them has.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_chars: Option<usize>,
    /// They are what is in this file, relative to the pipeline file; `semantik test --update` writes it.
    #[serde(default)]
    pub snapshot: Option<PathBuf>,
}

/// What is expected of one chunk.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Which one, from 0.
    pub index: usize,
    /// It holds this.
    #[serde(default)]
    pub contains: Option<String>,
    /// It is this; space at either end does not matter.
    #[serde(default)]
    pub equals: Option<String>,
    /// The headings above it, joined by ` > `.
    #[serde(default)]
    pub headings: Option<String>,
    /// The page that it begins on, from 1.
    #[serde(default)]
    pub page: Option<u32>,
}

/// What is expected of the way of a document.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// It comes to each of these nodes.
    #[serde(default)]
    pub through: Vec<String>,
    /// It comes to none of these nodes.
    #[serde(default)]
    pub around: Vec<String>,
    /// It is set aside, for this reason: `empty`, `unsupported`, `unrouted`, `failed`, ….
    #[serde(default)]
    pub set_aside: Option<String>,
    /// The node that sets it aside.
    #[serde(default)]
    pub at: Option<String>,
    /// What is said of why it is set aside holds this.
    #[serde(default)]
    pub because: Option<String>,
}

/// Checks the samples of a file: what they name must be there.
pub(crate) fn check(spec: &PipelineSpec, findings: &mut Vec<Finding>) {
    let nodes: Vec<&str> = spec.file.nodes.iter().map(|node| node.id.as_str()).collect();
    for (index, sample) in spec.file.tests.iter().enumerate() {
        let pointer = format!("/tests/{index}");
        let input = &sample.input;
        let at = || spec.at(&format!("{pointer}/input"));
        match (&input.text, &input.file, &input.name) {
            (Some(_), Some(_), _) => {
                let message = "a sample is a `text` or a `file`, not both";
                findings.push(Finding::new(at(), message));
            }
            (None, None, _) => {
                findings.push(Finding::new(at(), "the sample has neither `text` nor `file`"));
            }
            (Some(_), None, None) => findings.push(
                Finding::new(at(), "a sample of `text` needs a `name`")
                    .help("its ending says what it is: `name: page.html`"),
            ),
            (Some(_), None, Some(_)) | (None, Some(_), _) => {}
        }
        if let Some(file) = &input.file
            && !spec.base.join(file).exists()
        {
            let at = spec.at(&format!("{pointer}/input/file"));
            findings.push(Finding::new(at, format!("there is no file {}", file.display())));
        }
        let route = sample.expect.route.as_ref();
        let named = |key: &str, ids: &[String]| -> Vec<(String, String)> {
            let ids = ids.iter().enumerate();
            ids.map(|(place, id)| (format!("{pointer}/expect/route/{key}/{place}"), id.clone()))
                .collect()
        };
        let mut ids = Vec::new();
        if let Some(route) = route {
            ids.extend(named("through", &route.through));
            ids.extend(named("around", &route.around));
            ids.extend(
                route.at.iter().map(|id| (format!("{pointer}/expect/route/at"), id.clone())),
            );
        }
        ids.extend(input.source.iter().map(|id| (format!("{pointer}/input/source"), id.clone())));
        for (pointer, id) in ids {
            if !nodes.contains(&id.as_str()) {
                let finding = Finding::new(spec.at(&pointer), format!("there is no node `{id}`"));
                findings.push(Finding { help: suggest(&id, nodes.iter().copied()), ..finding });
            }
        }
    }
}
