//! Sample documents in a pipeline file with their expected results.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::PipelineSpec;
use crate::finding::{Finding, suggest};

/// A sample document with its expected result; `semantik test` runs it through the nodes before the
/// model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleSpec {
    /// Description of the sample.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The document.
    pub input: InputSpec,
    /// Expected result.
    pub expect: ExpectSpec,
}

/// A sample document: `text` with a `name`, or a `file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Content of the document.
    #[serde(default)]
    pub text: Option<String>,
    /// File name, whose extension determines the format; default: the name of `file`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Path of a file, relative to the pipeline file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Source node that produces the document; default: the first source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Expected result of a sample document; keys that are left out are not checked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectSpec {
    /// Expected text after extraction.
    #[serde(default)]
    pub text: Option<TextSpec>,
    /// Expected chunks.
    #[serde(default)]
    pub chunks: Option<ChunksSpec>,
    /// Expected route through the graph.
    #[serde(default)]
    pub route: Option<RouteSpec>,
    /// Expected metadata: `title`, `language`, `mime_type` and other fields from extraction.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// Expected text.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// The text contains all of these.
    #[serde(default)]
    pub contains: Vec<String>,
    /// The text contains none of these.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// The text equals this, ignoring white space at both ends.
    #[serde(default)]
    pub equals: Option<String>,
    /// The text equals this file, relative to the pipeline file; `semantik test --update` writes
    /// it.
    #[serde(default)]
    pub snapshot: Option<PathBuf>,
}

/// Expected chunks of a document.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunksSpec {
    /// Number of chunks.
    #[serde(default)]
    pub count: Option<usize>,
    /// Expected content of single chunks.
    #[serde(default)]
    pub at: Vec<ChunkSpec>,
    /// Maximum number of tokens per chunk.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<usize>,
    /// Maximum number of characters per chunk.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_chars: Option<usize>,
    /// The chunks equal this file, relative to the pipeline file; `semantik test --update` writes
    /// it.
    #[serde(default)]
    pub snapshot: Option<PathBuf>,
}

/// Expected content of one chunk.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Index of the chunk, from 0.
    pub index: usize,
    /// The chunk contains this.
    #[serde(default)]
    pub contains: Option<String>,
    /// The chunk equals this, ignoring white space at both ends.
    #[serde(default)]
    pub equals: Option<String>,
    /// Heading path of the chunk, joined by ` > `.
    #[serde(default)]
    pub headings: Option<String>,
    /// Page on which the chunk starts, from 1.
    #[serde(default)]
    pub page: Option<u32>,
}

/// Expected route of a document.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The document reaches all of these nodes.
    #[serde(default)]
    pub through: Vec<String>,
    /// The document reaches none of these nodes.
    #[serde(default)]
    pub around: Vec<String>,
    /// The document is set aside with this reason: `empty`, `unsupported`, `unrouted`, `failed`, ….
    #[serde(default)]
    pub set_aside: Option<String>,
    /// Node that sets the document aside.
    #[serde(default)]
    pub at: Option<String>,
    /// The message of the rejection contains this.
    #[serde(default)]
    pub because: Option<String>,
}

/// Checks that the files and nodes of all samples exist.
pub(crate) fn check(spec: &PipelineSpec, findings: &mut Vec<Finding>) {
    let nodes: Vec<&str> = spec.file.nodes.iter().map(|node| node.id.as_str()).collect();
    for (index, sample) in spec.file.tests.iter().enumerate() {
        let pointer = format!("/tests/{index}");
        let input = &sample.input;
        let at = || spec.span_of(&format!("{pointer}/input"));
        match (&input.text, &input.file, &input.name) {
            (Some(_), Some(_), _) => {
                let message = "a sample has `text` or `file`, not both";
                findings.push(Finding::new(at(), message));
            }
            (None, None, _) => {
                findings.push(Finding::new(at(), "the sample has neither `text` nor `file`"));
            }
            (Some(_), None, None) => findings.push(
                Finding::new(at(), "a sample with `text` needs a `name`")
                    .with_help("the extension determines the format: `name: page.html`"),
            ),
            (Some(_), None, Some(_)) | (None, Some(_), _) => {}
        }
        if let Some(file) = &input.file
            && !spec.base.join(file).exists()
        {
            let at = spec.span_of(&format!("{pointer}/input/file"));
            findings.push(Finding::new(at, format!("file {} does not exist", file.display())));
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
                let finding = Finding::new(spec.span_of(&pointer), format!("unknown node `{id}`"));
                findings.push(Finding { help: suggest(&id, nodes.iter().copied()), ..finding });
            }
        }
    }
}
