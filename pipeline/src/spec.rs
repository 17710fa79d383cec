//! The content of a pipeline file: its keys and their types, without their meaning.
//!
//! Environment variables are replaced here, in `stores` only.

pub(crate) mod automation;
mod invalid_parts;
mod lifecycle;
pub(crate) mod samples;
pub(crate) mod search;
mod stores;
mod variables;

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::invalid_parts::remove_invalid;
use self::stores::Embedded;
use self::variables::expand_variables;
use crate::finding::{Finding, Findings};
use crate::redact::{redact, redact_unparsed};
use crate::validate::validate;
use crate::yaml::YamlDocument;

pub use automation::{
    HumanDuration, MissedRunPolicy, NotifyEvent, NotifySpec, Overlap, RetrySpec, ScheduleSpec,
    ScheduledOperation, WebhookSpec, Webhooks,
};
pub use lifecycle::{GoldenSpec, LifecycleSpec, MinScoresSpec};
pub use samples::{ChunkSpec, ChunksSpec, ExpectSpec, InputSpec, RouteSpec, SampleSpec, TextSpec};
pub use search::{
    DocumentsSpec, FreshnessField, FreshnessSpec, FusionSpec, ProximitySpec, RerankSpec, SearchSpec,
};
pub use stores::{Migrate, PostgresSpec, QdrantSpec, StoresSpec, VectorsSpec};

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
    /// Name of the collection that the pipeline fills; required if a sink writes into it.
    #[serde(default)]
    #[schemars(length(min = 1), skip_serializing_if = "String::is_empty")]
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
    /// The engine that runs the pipeline.
    #[serde(default)]
    pub engine: EngineSpec,
    /// Limits on deletions, retention periods, and checks of new generations.
    #[serde(default)]
    pub lifecycle: LifecycleSpec,
    /// How the collection is searched. A change takes effect at once and builds no new generation.
    #[serde(default)]
    pub search: SearchSpec,
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

/// The engine that runs a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineSpec {
    /// Tasks and threads of this process.
    #[default]
    Local,
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

    /// Text of the file with masked secrets, line by line that of the file.
    pub fn redacted_text(&self) -> &str {
        &self.text
    }

    /// Findings about this file, with its masked text.
    pub fn to_findings(&self, findings: Vec<Finding>) -> Findings {
        Findings::new(&self.name, &self.text, findings)
    }

    pub(crate) fn span_of(&self, pointer: &str) -> Range<usize> {
        self.document.span_of(pointer)
    }

    /// `true` if the file has a value at this JSON pointer.
    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.document.value.pointer(pointer).is_some()
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
