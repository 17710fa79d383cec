//! The content of a pipeline file: its keys and their types, without their meaning.
//!
//! Environment variables are replaced here, in `stores` only.

pub(crate) mod automation;
pub(crate) mod samples;

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Secret;
use crate::finding::{Finding, Findings};
use crate::redact::{redact, redact_unparsed};
use crate::validate::{SchemaViolation, validate};
use crate::yaml::YamlDocument;

pub use automation::{
    HumanDuration, MissedRunPolicy, NotifyEvent, NotifySpec, Overlap, RetrySpec, ScheduleSpec,
    ScheduledOperation, WebhookSpec, Webhooks,
};
pub use samples::{ChunkSpec, ChunksSpec, ExpectSpec, InputSpec, RouteSpec, SampleSpec, TextSpec};

/// A parsed pipeline file.
pub struct PipelineSpec {
    /// The parsed keys.
    pub file: PipelineFile,
    /// Base folder of relative paths.
    pub base: PathBuf,
    name: String,
    /// Text of the file with masked secrets, for findings.
    text: String,
    pub(crate) document: YamlDocument,
    /// Errors of form; the invalid parts are left out of `file`.
    pub(crate) parse_findings: Vec<Finding>,
}

/// A document-indexing pipeline: a graph of nodes from sources through stages to sinks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "semantik pipeline")]
pub struct PipelineFile {
    /// Version of the file format.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Name of the pipeline in metrics and logs.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Name of the collection that the pipeline fills.
    #[schemars(length(min = 1))]
    pub collection: String,
    /// Description of the content of the collection.
    #[serde(default)]
    pub description: Option<String>,
    /// Account that owns the collection; default: the built-in account `local`.
    #[serde(default = "local")]
    #[schemars(length(min = 1))]
    pub owner: String,
    /// Metadata store and vector store.
    #[serde(default)]
    pub stores: StoresSpec,
    /// The nodes, in any order.
    #[schemars(length(min = 1))]
    pub nodes: Vec<NodeSpec>,
    /// Size limit in bytes of the queue in front of each node; a full queue delays the nodes before
    /// it.
    #[serde(default = "edge_bytes")]
    #[schemars(range(min = 1024, max = 4_294_967_295_u32))]
    pub edge_bytes: u32,
    /// Limits on deletions, retention periods, and checks of new generations.
    #[serde(default)]
    pub lifecycle: LifecycleSpec,
    /// Schedule on which a worker runs the pipeline.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
    /// Webhooks that receive the results of operations.
    #[serde(default)]
    pub notify: Vec<NotifySpec>,
    /// Sample documents with their expected results.
    #[serde(default)]
    pub tests: Vec<SampleSpec>,
}

fn local() -> String {
    "local".to_owned()
}

fn edge_bytes() -> u32 {
    8 << 20
}

/// Metadata store and vector store. `${VAR}` and `${VAR:-default}` are replaced here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoresSpec {
    /// `embedded`, or the URL of a PostgreSQL database.
    pub postgres: PostgresSpec,
    /// `embedded`, or a Qdrant server.
    pub vectors: VectorsSpec,
    /// Folder of the embedded stores; default: the value of the environment variable
    /// `SEMANTIK_DATA`, else `.semantik` next to the file.
    pub data: Option<PathBuf>,
    /// Migration of an older database schema: `auto` migrates when a command writes, `manual`
    /// leaves it to `semantik migrate up`. A new database is always created, and a command that
    /// only reads never migrates.
    pub migrate: Migrate,
    /// Size limit in MiB of the cache of extracted texts and vectors in the data folder; 0 disables
    /// it.
    pub memo_mib: u32,
    /// HTTP endpoints for notifications, by the name that `notify` uses.
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

/// When the schema of an older database is migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// By the next command that writes to the database.
    #[default]
    Auto,
    /// Only by `semantik migrate up`.
    Manual,
}

/// Location of the metadata store.
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

/// Location of the vector store.
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

/// The value `embedded`.
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
    /// API key of the server.
    #[serde(default)]
    pub api_key: Option<Secret>,
}

/// A node of the graph.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Name of the node in `from`, metrics and messages.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_-]*$"))]
    pub id: String,
    /// Type of the node.
    pub uses: String,
    /// Input node or nodes; a source has none.
    #[serde(default)]
    pub from: Inputs,
    /// Options of the node type.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Number of batches to process concurrently.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub workers: usize,
    /// Conditions on columns; the node takes the rows that meet all of them. Default: all rows.
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
pub enum Inputs {
    /// No input, for a source.
    #[default]
    #[serde(skip)]
    None,
    /// One node.
    One(String),
    /// Several nodes, which must have the same output columns.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl Inputs {
    /// The ids, each with its JSON pointer relative to the node.
    pub fn ids(&self) -> Vec<(&str, String)> {
        match self {
            Self::None => Vec::new(),
            Self::One(id) => vec![(id, "/from".to_owned())],
            Self::Many(ids) => {
                ids.iter().enumerate().map(|(i, id)| (id.as_str(), format!("/from/{i}"))).collect()
            }
        }
    }
}

/// Limits on deletions, retention periods, and checks of new generations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSpec {
    /// Largest share of the documents of a source that one run may delete. If more are missing, and
    /// at least 20 documents, the run deletes nothing and requires `--allow-deletes`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_delete_ratio: f64,
    /// Number of retired generations to keep for a rollback.
    #[schemars(range(min = 0, max = 100))]
    pub retain_generations: usize,
    /// Days for which the ids of deleted documents are kept.
    #[schemars(range(min = 0, max = 36_500))]
    pub retention_days: u32,
    /// Queries that a new generation must answer before it becomes live.
    pub golden: Vec<GoldenSpec>,
    /// File with judged queries in JSON Lines, which evaluate a new generation before it becomes
    /// live.
    pub judgements: Option<PathBuf>,
    /// Minimum means of the metrics over the judged queries.
    pub min: MinScoresSpec,
}

impl Default for LifecycleSpec {
    fn default() -> Self {
        Self {
            max_delete_ratio: 0.3,
            retain_generations: 1,
            retention_days: 30,
            golden: Vec::new(),
            judgements: None,
            min: MinScoresSpec::default(),
        }
    }
}

/// Minimum value of each metric, from 0 to 1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinScoresSpec {
    /// Normalised discounted cumulative gain of the first 10 hits.
    #[serde(rename = "ndcg@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ndcg_10: Option<f64>,
    /// Share of the relevant documents among the first 10 hits.
    #[serde(rename = "recall@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_10: Option<f64>,
    /// Share of the relevant documents among the first 100 hits.
    #[serde(rename = "recall@100")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub recall_100: Option<f64>,
    /// Reciprocal rank of the first relevant hit among the first 10.
    #[serde(rename = "mrr@10")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mrr_10: Option<f64>,
}

impl MinScoresSpec {
    /// The metrics that have a minimum, by name.
    ///
    /// ```
    /// use pipeline::MinScoresSpec;
    ///
    /// let min = MinScoresSpec { ndcg_10: Some(0.4), ..MinScoresSpec::default() };
    /// assert_eq!(min.thresholds(), [("ndcg@10", 0.4)]);
    /// ```
    pub fn thresholds(&self) -> Vec<(&'static str, f64)> {
        let all = [
            ("ndcg@10", self.ndcg_10),
            ("recall@10", self.recall_10),
            ("recall@100", self.recall_100),
            ("mrr@10", self.mrr_10),
        ];
        all.into_iter().filter_map(|(name, least)| Some((name, least?))).collect()
    }
}

/// A query with a document that must be among its first hits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldenSpec {
    /// The query.
    #[schemars(length(min = 1))]
    pub query: String,
    /// Suffix of the path or URL of the document.
    #[schemars(length(min = 1))]
    pub expect: String,
    /// Number of chunks to check.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub k: usize,
}

fn ten() -> usize {
    10
}

impl PipelineSpec {
    /// Parses the text of a pipeline file. `file` is its name in findings; `env` returns the value
    /// of an environment variable.
    ///
    /// Errors of form (unknown keys, types, ranges, unset variables) are kept for
    /// [`crate::Plan::compile`], which reports them together with all others.
    ///
    /// # Errors
    /// If the text is not YAML, or too different from a pipeline file to build a spec.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use pipeline::PipelineSpec;
    ///
    /// let file = Path::new("/etc/semantik/handbook.yaml");
    /// let yaml = "
    /// version: 1
    /// name: handbook
    /// collection: handbook
    /// stores: { postgres: 'postgres://semantik:${PGPASSWORD}@db/semantik' }
    /// nodes:
    ///   - { id: scan, uses: scan, with: { paths: [./corpus] } }
    ///   - { id: hash, uses: hash, from: scan }
    /// ";
    /// let env = |name: &str| (name == "PGPASSWORD").then(|| "hunter2".to_owned());
    /// let spec = PipelineSpec::from_yaml(file, yaml, &env)?;
    /// assert_eq!(spec.file.nodes[1].id, "hash");
    /// assert_eq!(spec.base, Path::new("/etc/semantik"));
    /// assert_eq!(spec.data_folder(), Path::new("/etc/semantik/.semantik"));
    ///
    /// let findings = PipelineSpec::from_yaml(file, "nodes: [", &env).err().unwrap();
    /// assert_eq!(findings.findings.len(), 1);
    /// # Ok::<_, pipeline::Findings>(())
    /// ```
    pub fn from_yaml(
        file: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Findings> {
        let name = file.display().to_string();
        let parsed = YamlDocument::parse(text);
        let mut document = parsed
            .map_err(|finding| Findings::new(&name, &redact_unparsed(text), vec![finding]))?;
        let shown = redact(text, &document);
        let refuse = |findings| Findings::new(&name, &shown, findings);
        // The form is checked before variables are replaced, so no message can contain their
        // values.
        let faults = validate(&document, "", &schemars::schema_for!(PipelineFile).into());
        let mut findings = expand_variables(&mut document, env);
        let sound = remove_invalid(document.value.clone(), &faults);
        findings.extend(faults.into_iter().map(|fault| fault.into_finding(&document)));
        let mut says: PipelineFile = match serde_json::from_value(sound) {
            Ok(says) => says,
            Err(_) if !findings.is_empty() => return Err(refuse(findings)),
            Err(error) => return Err(refuse(vec![Finding::new(0..0, error.to_string())])),
        };
        if let PostgresSpec::Url(url) = &says.stores.postgres {
            match url.reveal().split_once("://") {
                Some(("postgres" | "postgresql", _)) => {}
                None if url.reveal() == "embedded" => says.stores.postgres = PostgresSpec::Embedded,
                _ => findings.extend(check_url(&document, "/stores/postgres", &findings)),
            }
        }
        if let VectorsSpec::Server(server) = &says.stores.vectors
            && !matches!(server.qdrant.reveal().split_once("://"), Some(("http" | "https", _)))
        {
            findings.extend(check_url(&document, "/stores/vectors/qdrant", &findings));
        }
        if matches!(says.stores.vectors, VectorsSpec::Word(Embedded::Embedded)) {
            says.stores.vectors = VectorsSpec::Embedded;
        }
        if says.lifecycle.judgements.is_none() && !says.lifecycle.min.thresholds().is_empty() {
            let at = document.span_of("/lifecycle/min");
            let message = "`min` needs judged queries: set `judgements` to a file".to_owned();
            findings.push(Finding::new(at, message));
        }
        let base = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let base = std::path::absolute(&base).unwrap_or(base);
        Ok(Self { file: says, base, name, text: shown, document, parse_findings: findings })
    }

    /// Path of the file as given by the caller.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Folder of the embedded stores: `stores.data`, else `.semantik` next to the file.
    pub fn data_folder(&self) -> PathBuf {
        match &self.file.stores.data {
            Some(folder) => self.base.join(folder),
            None => self.base.join(".semantik"),
        }
    }

    /// Findings about this file, with its masked text.
    pub fn to_findings(&self, findings: Vec<Finding>) -> Findings {
        Findings::new(&self.name, &self.text, findings)
    }

    pub(crate) fn span_of(&self, pointer: &str) -> Range<usize> {
        self.document.span_of(pointer)
    }
}

/// Removes invalid parts, so that the rest can be checked: an invalid value is removed, a node
/// keeps its index under an empty name, and missing keys of the file and its nodes are filled in.
fn remove_invalid(mut value: Value, faults: &[SchemaViolation]) -> Value {
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

/// Removes a value from its map. A required key keeps an empty text, and an invalid item removes
/// its whole list.
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

/// A finding for a URL that is invalid after substitution; `None` if this part already has a
/// finding.
fn check_url(document: &YamlDocument, pointer: &str, findings: &[Finding]) -> Option<Finding> {
    let at = document.span_of(pointer);
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let is_known = findings.iter().any(|finding| finding.span == at);
    (!is_known).then(|| {
        Finding::new(
            at,
            format!("`{name}` is not a URL of this store after its variables are replaced"),
        )
    })
}

/// Replaces environment variables in `stores`.
fn expand_variables(
    document: &mut YamlDocument,
    env: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
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
    document: &YamlDocument,
    env: &dyn Fn(&str) -> Option<String>,
    findings: &mut Vec<Finding>,
) {
    match value {
        Value::String(text) => match expand(text, env) {
            Ok(expanded) => *text = expanded,
            Err((message, help)) => {
                findings.push(Finding::new(document.span_of(pointer), message).with_help(help));
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

/// Replaces `${VAR}` and `${VAR:-default}`; as in a shell, the default applies to a variable that
/// is unset or empty.
fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, &'static str)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            return Err(("`${` is not closed".to_owned(), "write `${VAR}` or `${VAR:-default}`"));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || inside.contains("${") {
            return Err((
                format!("`${{{inside}}}` is not a valid variable"),
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
