//! Compiles a spec to a plan and reports every error.
//!
//! Checks run in passes, and each reports everything that it finds: options of the nodes, graph,
//! models, vectors, schemas. Invalid nodes are marked, so that they cause no further findings in
//! the nodes that read them.

mod graph;
mod models;
mod schemas;
mod vectors;

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::finding::{Finding, Findings, suggest};
use crate::plan::NodeIndex;
use crate::validate::validate;
use crate::{
    ModelInfo, ModelProvider, NodeDef, NodeKind, Parallelism, PipelineSpec, Plan, Registry,
};

impl Plan {
    /// Checks a file against the node types of the registry and reports every error in it.
    ///
    /// # Errors
    /// All findings, with their positions in the file.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use pipeline::{PipelineSpec, Plan, Registry};
    /// # use pipeline::test_util::no_resources;
    ///
    /// let yaml = "
    /// version: 1
    /// name: handbook
    /// collection: handbook
    /// nodes:
    ///   - { id: scan, uses: scan, with: { paths: [./corpus] } }
    ///   - { id: hash, uses: hash, from: scam }
    /// ";
    /// let spec = PipelineSpec::from_yaml(Path::new("handbook.yaml"), yaml, &|_| None)?;
    /// // No node type is registered, and `from` names no node: both are reported.
    /// # let models = no_resources().models;
    /// let findings = Plan::compile(&spec, &Registry::new(&[]), &*models).err().unwrap();
    /// let messages: Vec<&str> = findings.findings.iter().map(|it| &*it.message).collect();
    /// assert_eq!(
    ///     messages,
    ///     ["unknown node type `scan`", "unknown node type `hash`", "unknown node `scam`"]
    /// );
    /// assert_eq!(findings.findings[2].help.as_deref(), Some("did you mean `scan`?"));
    /// assert_eq!(findings.position(&findings.findings[2]), (7, 35));
    /// # Ok::<_, pipeline::Findings>(())
    /// ```
    pub fn compile(
        spec: &PipelineSpec,
        registry: &Registry,
        models: &dyn ModelProvider,
    ) -> Result<Self, Findings> {
        let mut findings = spec.parse_findings.clone();
        let mut drafts = read_nodes(spec, registry, &mut findings);
        graph::resolve(spec, &mut drafts, &mut findings);
        let order = graph::topological_order(spec, &drafts, &mut findings);
        models::bind(spec, &mut drafts, models, &mut findings);
        check_collection_name(spec, &drafts, &mut findings);
        vectors::check(spec, &mut drafts, &mut findings);
        crate::spec::search::rerank::check(spec, models, &mut findings);
        crate::schedule::check(spec, &mut findings);
        crate::spec::samples::check(spec, &mut findings);
        let nodes = schemas::derive(spec, drafts, &order, &mut findings);
        if !findings.is_empty() {
            return Err(spec.to_findings(findings));
        }
        let nodes = nodes.into_iter().collect::<Option<_>>();
        Ok(Self::new(nodes.expect("a node without a plan has a finding"), spec))
    }
}

/// A node during the checks.
struct NodeDraft {
    pointer: String,
    def: Option<&'static NodeDef>,
    /// `None` once an error was found in it.
    kind: Option<NodeKind>,
    inputs: Vec<NodeIndex>,
    /// `true` if an input is missing or invalid, so that the schema of the node is unknown.
    has_invalid_input: bool,
    model: Option<ModelInfo>,
}

fn read_nodes(
    spec: &PipelineSpec,
    registry: &Registry,
    findings: &mut Vec<Finding>,
) -> Vec<NodeDraft> {
    let nodes = spec.file.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| {
            let pointer = format!("/nodes/{index}");
            let def = registry.get(&node.uses);
            let kind = match def {
                // A missing or invalid `uses` has been reported.
                None if node.uses.is_empty() => None,
                Some(def) => read_options(spec, &pointer, def, findings),
                None => {
                    let known: Vec<&str> = registry.iter().map(|def| def.name).collect();
                    let help = suggest(&node.uses, known.iter().copied())
                        .unwrap_or_else(|| format!("known node types: {}", known.join(", ")));
                    let at = spec.span_of(&format!("{pointer}/uses"));
                    findings.push(
                        Finding::new(at, format!("unknown node type `{}`", node.uses))
                            .with_help(help),
                    );
                    None
                }
            };
            if let Some(def) = def
                && def.parallelism == Parallelism::Single
                && node.workers != 1
            {
                let message = format!("`{}` cannot have {} workers", node.uses, node.workers);
                let finding = Finding::new(spec.span_of(&format!("{pointer}/workers")), message);
                findings.push(
                    finding.with_help("it keeps state between batches, so it has one worker"),
                );
            }
            NodeDraft {
                pointer,
                def,
                kind,
                inputs: Vec::new(),
                has_invalid_input: false,
                model: None,
            }
        })
        .collect()
}

/// A sink that writes into the collection needs its name.
fn check_collection_name(spec: &PipelineSpec, drafts: &[NodeDraft], findings: &mut Vec<Finding>) {
    if spec.document.value.get("collection").is_some() {
        return;
    }
    let writes = |draft: &NodeDraft| match &draft.kind {
        Some(NodeKind::Sink(sink)) => sink.facts().collection.is_some(),
        Some(NodeKind::Source(_) | NodeKind::Stage(_)) | None => false,
    };
    if let Some(index) = drafts.iter().position(writes) {
        let id = &spec.file.nodes[index].id;
        findings.push(
            Finding::new(spec.document.key_span(""), "missing key `collection`".to_owned())
                .with_help(format!("name the collection that `{id}` writes")),
        );
    }
}

fn read_options(
    spec: &PipelineSpec,
    pointer: &str,
    def: &NodeDef,
    findings: &mut Vec<Finding>,
) -> Option<NodeKind> {
    let mut generator = SchemaGenerator::default();
    let schema = (def.schema)(&mut generator);
    let mut schema: Value = schema.into();
    schema["$defs"] = Value::Object(generator.take_definitions(true));
    let with = format!("{pointer}/with");
    let empty = json!({});
    let options = spec.document.value.pointer(&with).unwrap_or(&empty);
    let given = spec.document.value.pointer(&with);
    if given.is_some_and(|given| !given.is_object()) {
        // Reported by the check of the form.
        return None;
    }
    let faults = if given.is_some() {
        let faults = validate(&spec.document, &with, &schema).into_iter();
        faults.map(|fault| fault.into_finding(&spec.document)).collect()
    } else {
        missing_option_findings(spec, pointer, &schema)
    };
    if !faults.is_empty() {
        findings.extend(faults);
        return None;
    }
    match (def.parse)(options.clone(), &spec.base) {
        Ok(kind) => Some(kind),
        Err(error) => {
            findings.push(Finding::new(spec.span_of(&with), error.to_string()));
            None
        }
    }
}

/// Findings for the required options of a node without `with`.
fn missing_option_findings(spec: &PipelineSpec, pointer: &str, schema: &Value) -> Vec<Finding> {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    let schema = reference.and_then(|path| schema.pointer(path)).unwrap_or(schema);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    required
        .filter_map(Value::as_str)
        .map(|key| {
            let at = spec.span_of(&format!("{pointer}/uses"));
            Finding::new(at, format!("missing option `{key}`"))
                .with_help(format!("add `with: {{ {key}: … }}`"))
        })
        .collect()
}
