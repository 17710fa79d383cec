//! What a pipeline file says, word for word: its keys, their types, and nothing about their meaning.
//!
//! Environment variables are read here, in `stores` and nowhere else.

pub(crate) mod samples;
pub(crate) mod unattended;

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Secret;
use crate::finding::{Finding, Findings};
use crate::mask::{masked, masked_blindly};
use crate::validate::{Fault, validate};
use crate::yaml::Document;

pub use samples::{ChunkSpec, ChunksSpec, ExpectSpec, InputSpec, RouteSpec, SampleSpec, TextSpec};
pub use unattended::{
    Event, Missed, NotifySpec, Overlap, RetrySpec, ScheduleSpec, ScheduledOperation, Span,
    WebhookSpec, Webhooks,
};

/// A pipeline file.
pub struct PipelineSpec {
    /// What the file says.
    pub file: PipelineFile,
    /// The folder that relative paths are relative to.
    pub base: PathBuf,
    name: String,
    /// The file's text as findings may show it.
    text: String,
    pub(crate) document: Document,
    /// What is wrong with its form; the parts concerned are left out of `file`.
    pub(crate) faults: Vec<Finding>,
}

/// A document-indexing pipeline: a graph of nodes from sources over stages to sinks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "semantik pipeline")]
pub struct PipelineFile {
    /// Version of the form of this file.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the pipeline, for metrics and logs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Name of the collection that it fills.
    #[schemars(length(min = 1))]
    pub collection: String,
    /// What the collection is about, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The account that owns the collection; the built-in account `local` unless it is named.
    #[serde(default = "local")]
    #[schemars(length(min = 1))]
    pub owner: String,
    /// Where metadata and vectors are kept.
    #[serde(default)]
    pub stores: StoresSpec,
    /// The nodes, in any order.
    #[schemars(length(min = 1))]
    pub nodes: Vec<NodeSpec>,
    /// Bytes that may wait between two nodes before the first has to stop.
    #[serde(default = "edge_bytes")]
    #[schemars(range(min = 1024, max = 4_294_967_295_u32))]
    pub edge_bytes: u32,
    /// What is deleted, kept and checked in the course of time.
    #[serde(default)]
    pub lifecycle: LifecycleSpec,
    /// When a worker runs the pipeline.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
    /// Who is told how operations go.
    #[serde(default)]
    pub notify: Vec<NotifySpec>,
    /// Sample documents with what is expected to become of them.
    #[serde(default)]
    pub tests: Vec<SampleSpec>,
}

fn local() -> String {
    "local".to_owned()
}

fn edge_bytes() -> u32 {
    8 << 20
}

/// Where metadata and vectors are kept. `${VAR}` and `${VAR:-default}` are read in here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoresSpec {
    /// `embedded`, or the URL of a PostgreSQL database.
    pub postgres: PostgresSpec,
    /// `embedded`, or a Qdrant server.
    pub vectors: VectorsSpec,
    /// Folder of the embedded stores. Unless it is named, that of the environment variable `SEMANTIK_DATA`, or else
    /// `.semantik` beside the file.
    pub data: Option<PathBuf>,
    /// Whether a verb that writes brings the schema of an older database up to date: `auto`, or `manual`, which leaves it to
    /// `semantik migrate up`. A new database is always made, and a verb that only reads never changes one.
    pub migrate: Migrate,
    /// MiB of the data folder that may remember what was computed before, so that it is not computed again;
    /// 0 remembers nothing.
    pub memo_mib: u32,
    /// Addresses that can be told of something by HTTP, by the name that `notify` uses.
    pub webhooks: Webhooks,
}

impl Default for StoresSpec {
    fn default() -> Self {
        Self {
            postgres: PostgresSpec::default(),
            vectors: VectorsSpec::default(),
            data: None,
            migrate: Migrate::Auto,
            memo_mib: 4096,
            webhooks: Webhooks::new(),
        }
    }
}

/// Who brings the schema of a database up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// Whoever writes to it next.
    #[default]
    Auto,
    /// `semantik migrate up`.
    Manual,
}

/// Where metadata is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PostgresSpec {
    /// A private PostgreSQL cluster in the data folder.
    #[default]
    #[serde(skip)]
    Embedded,
    /// `embedded`, or `postgres://user:password@host/database`.
    Url(
        #[schemars(regex(pattern = r"^(embedded$|postgres(ql)?://|\$\{)"))]
        Secret,
    ),
}

/// Where vectors are kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VectorsSpec {
    /// Qdrant Edge, in this process.
    #[default]
    #[serde(skip)]
    Embedded,
    /// `embedded`.
    Word(Embedded),
    /// A Qdrant server or cluster.
    Server(QdrantSpec),
}

/// The word `embedded`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Embedded {
    /// In this process, in the data folder.
    Embedded,
}

/// A Qdrant server or cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdrantSpec {
    /// URL of its gRPC port: `http://localhost:6334`.
    #[schemars(regex(pattern = r"^(https?://|\$\{)"))]
    pub qdrant: Secret,
    /// Key for it.
    #[serde(default)]
    pub api_key: Option<Secret>,
}

/// A node of the graph.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Name of the node, for `from`, metrics and messages.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_-]*$"))]
    pub id: String,
    /// What it is.
    pub uses: String,
    /// The node or nodes that it reads; none for a source.
    #[serde(default)]
    pub from: From,
    /// Its options.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// How many batches it works on at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub workers: usize,
    /// The rows that it takes, by conditions on their columns, which all have to hold; all rows unless
    /// it is given.
    #[serde(default)]
    pub when: Option<Map<String, Value>>,
}

fn one() -> usize {
    1
}

/// One id or a list of ids.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum From {
    /// None.
    #[default]
    #[serde(skip)]
    Nothing,
    /// One node.
    One(String),
    /// Several nodes, which must give the same columns.
    Several(#[schemars(length(min = 1))] Vec<String>),
}

impl From {
    /// The ids, each with its JSON pointer below the node.
    pub fn ids(&self) -> Vec<(&str, String)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(id) => vec![(id, "/from".to_owned())],
            Self::Several(ids) => {
                ids.iter().enumerate().map(|(i, id)| (id.as_str(), format!("/from/{i}"))).collect()
            }
        }
    }
}

/// What is deleted, kept and checked in the course of time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSpec {
    /// Share of a source's documents that may be gone at once. If more are, and 20 documents at least, the run
    /// deletes nothing, and asks for `--allow-deletes`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_delete_ratio: f64,
    /// How many generations that were live are kept, for going back to them.
    #[schemars(range(min = 0, max = 100))]
    pub retain_generations: usize,
    /// Days for which it is remembered that a document was deleted, and which id it had.
    #[schemars(range(min = 0, max = 36_500))]
    pub retention_days: u32,
    /// Questions that a new generation has to answer before it is put in place.
    pub golden: Vec<GoldenSpec>,
    /// A file of judged questions, in JSON Lines, that a new generation is measured by before it is put in place.
    pub judgements: Option<PathBuf>,
    /// The least that is good enough, of the means over those questions.
    pub min: LeastSpec,
}

impl Default for LifecycleSpec {
    fn default() -> Self {
        Self {
            max_delete_ratio: 0.3,
            retain_generations: 1,
            retention_days: 30,
            golden: Vec::new(),
            judgements: None,
            min: LeastSpec::default(),
        }
    }
}

/// The least of each measure that is good enough, from 0 to 1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeastSpec {
    /// How near the first ten are to the best order.
    #[serde(rename = "ndcg@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ndcg_10: Option<f64>,
    /// The share of what is relevant that is among the first ten.
    #[serde(rename = "recall@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_10: Option<f64>,
    /// The share of what is relevant that is among the first hundred.
    #[serde(rename = "recall@100")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_100: Option<f64>,
    /// One by the rank of the first right answer.
    #[serde(rename = "mrr@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mrr_10: Option<f64>,
}

impl LeastSpec {
    /// What is given, by the names of the measures.
    pub fn given(&self) -> Vec<(&'static str, f64)> {
        let all = [
            ("ndcg@10", self.ndcg_10),
            ("recall@10", self.recall_10),
            ("recall@100", self.recall_100),
            ("mrr@10", self.mrr_10),
        ];
        all.into_iter().filter_map(|(name, least)| Some((name, least?))).collect()
    }
}

/// A question with a document that has to be among the first answers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldenSpec {
    /// The question.
    #[schemars(length(min = 1))]
    pub query: String,
    /// How the path or URL of the document ends.
    #[schemars(length(min = 1))]
    pub expect: String,
    /// How many chunks are looked at.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub k: usize,
}

fn ten() -> usize {
    10
}

impl PipelineSpec {
    /// Reads a pipeline file's text. `file` names it in findings; `env` gives the value of an
    /// environment variable.
    ///
    /// Faults of form (unknown keys, types, ranges, variables that are not set) are kept for
    /// [`crate::Plan::compile`], which reports them together with all others.
    ///
    /// # Errors
    /// If the text is not YAML, or so far from a pipeline file that nothing more can be said of it.
    pub fn from_yaml(
        file: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Findings> {
        let name = file.display().to_string();
        let parsed = Document::parse(text);
        let mut document =
            parsed.map_err(|finding| Findings::new(&name, &masked_blindly(text), vec![finding]))?;
        let shown = masked(text, &document);
        let refuse = |findings| Findings::new(&name, &shown, findings);
        // The form is checked before variables are read, so that no message can show their values.
        let faults = validate(&document, "", &schemars::schema_for!(PipelineFile).into());
        let mut findings = read_variables(&mut document, env);
        let sound = without_faults(document.value.clone(), &faults);
        findings.extend(faults.into_iter().map(|fault| fault.finding(&document)));
        let mut says: PipelineFile = match serde_json::from_value(sound) {
            Ok(says) => says,
            Err(_) if !findings.is_empty() => return Err(refuse(findings)),
            Err(error) => return Err(refuse(vec![Finding::new(0..0, error.to_string())])),
        };
        if let PostgresSpec::Url(url) = &says.stores.postgres {
            match url.reveal().split_once("://") {
                Some(("postgres" | "postgresql", _)) => {}
                None if url.reveal() == "embedded" => says.stores.postgres = PostgresSpec::Embedded,
                _ => findings.extend(not_a_url(&document, "/stores/postgres", &findings)),
            }
        }
        if let VectorsSpec::Server(server) = &says.stores.vectors
            && !matches!(server.qdrant.reveal().split_once("://"), Some(("http" | "https", _)))
        {
            findings.extend(not_a_url(&document, "/stores/vectors/qdrant", &findings));
        }
        if matches!(says.stores.vectors, VectorsSpec::Word(Embedded::Embedded)) {
            says.stores.vectors = VectorsSpec::Embedded;
        }
        if says.lifecycle.judgements.is_none() && !says.lifecycle.min.given().is_empty() {
            let at = document.at("/lifecycle/min");
            let message = "there is nothing to measure: `judgements` names no file".to_owned();
            findings.push(Finding::new(at, message));
        }
        let base = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let base = std::path::absolute(&base).unwrap_or(base);
        Ok(Self { file: says, base, name, text: shown, document, faults: findings })
    }

    /// The file as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Folder of the embedded stores.
    pub fn data_folder(&self) -> PathBuf {
        match &self.file.stores.data {
            Some(folder) => self.base.join(folder),
            None => self.base.join(".semantik"),
        }
    }

    /// Findings about this file, with what they say of it.
    pub fn refuse(&self, findings: Vec<Finding>) -> Findings {
        Findings::new(&self.name, &self.text, findings)
    }

    pub(crate) fn at(&self, pointer: &str) -> Range<usize> {
        self.document.at(pointer)
    }
}

/// The value without its faulty parts, so that the rest can still be checked: a faulty value goes, a node
/// keeps its place under an empty name, and what the file as a whole lacks is filled in.
fn without_faults(mut value: Value, faults: &[Fault]) -> Value {
    for fault in faults.iter().rev() {
        let is_whole = fault.pointer.is_empty();
        let is_node = fault.pointer.strip_prefix("/nodes/").is_some_and(|rest| !rest.contains('/'));
        match (&fault.missing, value.pointer_mut(&fault.pointer)) {
            (Some(key), Some(Value::Object(map))) if is_whole || is_node => {
                let filler = match key.as_str() {
                    "version" => Value::from(1),
                    "nodes" => Value::Array(Vec::new()),
                    _ => Value::from(""),
                };
                map.insert(key.clone(), filler);
            }
            (None, Some(node)) if is_node => *node = serde_json::json!({ "id": "", "uses": "" }),
            _ => remove(&mut value, &fault.pointer),
        }
    }
    value
}

/// Removes a value from the map that holds it. What a map cannot do without leaves an empty text, and an
/// item of a list goes with its list.
fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) if matches!(key, "id" | "uses" | "name" | "collection") => {
            map.insert(key.to_owned(), Value::from(""));
        }
        Some(Value::Object(map)) if key == "version" => {
            map.insert(key.to_owned(), Value::from(1));
        }
        Some(Value::Object(map)) => {
            map.remove(key);
        }
        Some(Value::Array(_)) => remove(value, parent),
        _ => {}
    }
}

/// A URL that is none once its variables were read, unless something was found there already.
fn not_a_url(document: &Document, pointer: &str, findings: &[Finding]) -> Option<Finding> {
    let at = document.at(pointer);
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let is_known = findings.iter().any(|finding| finding.at == at);
    (!is_known).then(|| {
        Finding::new(at, format!("`{name}`, its variables read, is not a URL of that store"))
    })
}

/// Puts the values of environment variables into `stores`.
fn read_variables(document: &mut Document, env: &dyn Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(mut stores) = document.value.get("stores").cloned() {
        substitute(&mut stores, "/stores", document, env, &mut findings);
        document.value["stores"] = stores;
    }
    findings
}

fn substitute(
    value: &mut Value,
    pointer: &str,
    document: &Document,
    env: &dyn Fn(&str) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    match value {
        Value::String(text) => match expand(text, env) {
            Ok(expanded) => *text = expanded,
            Err((message, help)) => {
                findings.push(Finding::new(document.at(pointer), message).help(help));
            }
        },
        Value::Object(map) => {
            for (key, value) in map {
                substitute(value, &format!("{pointer}/{key}"), document, env, findings);
            }
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces `${VAR}` and `${VAR:-default}`; a default stands in for a variable that is not set or empty,
/// as in a shell.
fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, &'static str)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            return Err(("`${` is never closed".to_owned(), "write `${VAR}` or `${VAR:-default}`"));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || inside.contains("${") {
            return Err((
                format!("`${{{inside}}}` is not a variable"),
                "write `${VAR}` or `${VAR:-default}`",
            ));
        }
        let value = env(name).filter(|value| default.is_none() || !value.is_empty());
        match (value, default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err((
                    format!("the environment variable `{name}` is not set"),
                    "set it, or give a default: `${VAR:-default}`",
                ));
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}
