//! A pipeline that was checked: names resolved, no cycle, an Arrow schema on every edge.
//!
//! Checking goes in passes, each of which reports all that it finds: the form of each node's options, the
//! graph, the models, the schemas. A node that is wrong is remembered as such, so that its readers are not
//! blamed for it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use schemars::SchemaGenerator;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::finding::{Finding, Findings, suggest};
use crate::validate::validate;
use crate::when::When;
use crate::{
    Fingerprint, ModelInfo, ModelUse, Models, NodeDef, NodeKind, Parallel, PipelineSpec, Registry,
    SchemaError,
};

/// An index into [`Plan::nodes`]; a node's inputs always have smaller indices than it has.
pub(crate) type NodeIdx = usize;

pub(crate) struct Node {
    pub id: Arc<str>,
    pub uses: &'static str,
    pub kind: NodeKind,
    pub inputs: Vec<NodeIdx>,
    pub when: Option<When>,
    pub workers: usize,
    /// `None` for a sink.
    pub output: Option<SchemaRef>,
    /// The model that it runs.
    model: Option<ModelInfo>,
    /// What its output depends on, hashed.
    fingerprint: [u8; 32],
}

/// A pipeline that was checked, and can be run.
pub struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edge_bytes: u32,
    name: String,
}

impl Plan {
    /// Checks a whole file against the nodes that there are, and reports everything that is wrong with it.
    ///
    /// # Errors
    /// All findings, each with its place in the file.
    pub fn compile(
        spec: &PipelineSpec,
        registry: &Registry,
        models: &dyn Models,
    ) -> Result<Self, Findings> {
        let mut findings = spec.faults.clone();
        let mut drafts = read_nodes(spec, registry, &mut findings);
        resolve(spec, &mut drafts, &mut findings);
        let order = sort(spec, &drafts, &mut findings);
        bind_models(spec, &mut drafts, models, &mut findings);
        let nodes = derive_schemas(spec, drafts, &order, &mut findings);
        if !findings.is_empty() {
            return Err(spec.refuse(findings));
        }
        Ok(Self {
            nodes: nodes.into_iter().flatten().collect(),
            edge_bytes: spec.file.edge_bytes,
            name: spec.file.name.clone(),
        })
    }

    /// Name of the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Identifies everything on which the rows that reach the sinks depend, besides the documents: the
    /// nodes before the sinks, their versions, the options that matter, the model.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut sinks: Vec<&[u8; 32]> = self
            .nodes
            .iter()
            .filter(|node| matches!(node.kind, NodeKind::Sink(_)))
            .map(|node| &node.fingerprint)
            .collect();
        sinks.sort_unstable();
        let mut hash = Sha256::new();
        sinks.into_iter().for_each(|print| hash.update(print));
        Fingerprint(hash.finalize().into())
    }

    /// The models that the pipeline's nodes run, in order of the nodes.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        self.nodes.iter().filter_map(|node| node.model.as_ref())
    }

    /// The options on which the output of the first stage of this kind depends, with their defaults.
    pub fn options_of(&self, uses: &str) -> Option<Value> {
        self.nodes.iter().filter(|node| node.uses == uses).find_map(|node| match &node.kind {
            NodeKind::Stage(stage) => Some(stage.identity()),
            NodeKind::Source(_) | NodeKind::Sink(_) => None,
        })
    }

    /// The schema on the edges that leave a node.
    pub fn schema_of(&self, id: &str) -> Option<&SchemaRef> {
        self.nodes.iter().find(|node| &*node.id == id)?.output.as_ref()
    }

    /// Every node: its id, what it uses, and the ids that it reads; inputs before readers.
    pub fn graph(&self) -> impl Iterator<Item = (&str, &'static str, Vec<&str>)> {
        self.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|&input| &*self.nodes[input].id).collect();
            (&*node.id, node.uses, inputs)
        })
    }
}

/// Prints the graph, a node a line, with the columns that each gives.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let inputs: Vec<&str> = node.inputs.iter().map(|&input| &*self.nodes[input].id).collect();
            write!(f, "{} ({})", node.id, node.uses)?;
            if !inputs.is_empty() {
                write!(f, " ← {}", inputs.join(", "))?;
            }
            writeln!(f)?;
            if let Some(output) = &node.output {
                let columns: Vec<&str> =
                    output.fields().iter().map(|field| field.name().as_str()).collect();
                writeln!(f, "    {}", columns.join(" "))?;
            }
        }
        Ok(())
    }
}

/// A node on its way through the checks.
struct Draft {
    pointer: String,
    def: Option<&'static NodeDef>,
    /// `None` once something is wrong with it.
    kind: Option<NodeKind>,
    inputs: Vec<NodeIdx>,
    /// Whether an input is missing or wrong, so that its schema cannot be known.
    blocked: bool,
    model: Option<ModelInfo>,
}

fn read_nodes(spec: &PipelineSpec, registry: &Registry, findings: &mut Vec<Finding>) -> Vec<Draft> {
    let nodes = spec.file.nodes.iter().enumerate();
    nodes
        .map(|(index, node)| {
            let pointer = format!("/nodes/{index}");
            let def = registry.get(&node.uses);
            let kind = match def {
                // Its name is missing or no text, which has been reported.
                None if node.uses.is_empty() => None,
                Some(def) => read_options(spec, &pointer, def, findings),
                None => {
                    let known: Vec<&str> = registry.iter().map(|def| def.name).collect();
                    let help = suggest(&node.uses, known.iter().copied())
                        .unwrap_or_else(|| format!("there are: {}", known.join(", ")));
                    let at = spec.at(&format!("{pointer}/uses"));
                    findings.push(Finding::new(at, format!("unknown stage `{}`", node.uses)).help(help));
                    None
                }
            };
            if let Some(def) = def
                && def.parallel == Parallel::Single
                && node.workers != 1
            {
                let message = format!("`{}` cannot have {} workers", node.uses, node.workers);
                let finding = Finding::new(spec.at(&format!("{pointer}/workers")), message);
                findings.push(finding.help("it keeps state from one batch to the next, so it has one"));
            }
            Draft { pointer, def, kind, inputs: Vec::new(), blocked: false, model: None }
        })
        .collect()
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
    let faults = if spec.document.value.pointer(&with).is_some_and(Value::is_object) {
        let faults = validate(&spec.document, &with, &schema).into_iter();
        faults.map(|fault| fault.finding(&spec.document)).collect()
    } else {
        missing_options(spec, pointer, &schema)
    };
    if !faults.is_empty() {
        findings.extend(faults);
        return None;
    }
    match (def.parse)(options.clone(), &spec.base) {
        Ok(kind) => Some(kind),
        Err(error) => {
            findings.push(Finding::new(spec.at(&with), error.to_string()));
            None
        }
    }
}

/// What a node without `with` lacks.
fn missing_options(spec: &PipelineSpec, pointer: &str, schema: &Value) -> Vec<Finding> {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    let schema = reference.and_then(|path| schema.pointer(path)).unwrap_or(schema);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    required
        .filter_map(Value::as_str)
        .map(|key| {
            let at = spec.at(&format!("{pointer}/uses"));
            Finding::new(at, format!("the option `{key}` is missing"))
                .help(format!("give it as `with: {{ {key}: … }}`"))
        })
        .collect()
}

/// Turns the names in `from` into indices.
fn resolve(spec: &PipelineSpec, drafts: &mut [Draft], findings: &mut Vec<Finding>) {
    let mut by_id: HashMap<&str, NodeIdx> = HashMap::new();
    for (index, node) in spec.file.nodes.iter().enumerate() {
        if by_id.insert(&node.id, index).is_some() && !node.id.is_empty() {
            let at = spec.at(&format!("/nodes/{index}/id"));
            findings.push(Finding::new(at, format!("a node `{}` stands above already", node.id)));
        }
    }
    for (node, draft) in spec.file.nodes.iter().zip(drafts.iter_mut()) {
        for (from, pointer) in node.from.ids() {
            let at = spec.at(&format!("{}{pointer}", draft.pointer));
            match by_id.get(from) {
                Some(&input) if draft.inputs.contains(&input) => {
                    findings.push(Finding::new(at, format!("`{from}` is read twice")));
                }
                Some(&input) => draft.inputs.push(input),
                None => {
                    draft.blocked = true;
                    let finding = Finding::new(at, format!("there is no node `{from}`"));
                    let help = suggest(from, spec.file.nodes.iter().map(|node| node.id.as_str()));
                    findings.push(Finding { help, ..finding });
                }
            }
        }
    }
    check_ends(spec, drafts, findings);
}

/// Sources read nothing, stages and sinks read something, and somebody reads what each gives.
fn check_ends(spec: &PipelineSpec, drafts: &mut [Draft], findings: &mut Vec<Finding>) {
    let mut is_read = vec![false; drafts.len()];
    for draft in drafts.iter() {
        draft.inputs.iter().for_each(|&input| is_read[input] = true);
    }
    // A name that could not be resolved may be the one that would have read a node.
    let is_sure = drafts.iter().all(|draft| draft.def.is_some() && !draft.blocked);
    for index in 0..drafts.len() {
        let id = &spec.file.nodes[index].id;
        let reads_sink = drafts[index]
            .inputs
            .iter()
            .any(|&input| matches!(drafts[input].kind, Some(NodeKind::Sink(_))));
        let from = format!("{}/from", drafts[index].pointer);
        let has_from = spec.document.value.pointer(&from).is_some();
        let draft = &mut drafts[index];
        let at = |key: &str| spec.at(&format!("{}/{key}", draft.pointer));
        let mut wrong = |key, message: String, help: &str| {
            findings.push(Finding::new(at(key), message).help(help));
        };
        match &draft.kind {
            Some(NodeKind::Source(_)) if has_from => {
                wrong("from", format!("`{id}` is a source, so it reads from no node"), "remove `from`");
            }
            Some(NodeKind::Stage(_) | NodeKind::Sink(_)) if !has_from => {
                wrong("id", format!("`{id}` reads from no node"), "name one with `from`");
            }
            _ => {}
        }
        if !has_from && !matches!(draft.kind, Some(NodeKind::Source(_))) {
            draft.blocked = true;
        }
        if reads_sink {
            let help = "read from the node that the sink reads from";
            wrong("from", format!("`{id}` reads from a sink, which gives nothing"), help);
            draft.blocked = true;
        }
        let gives = matches!(draft.kind, Some(NodeKind::Source(_) | NodeKind::Stage(_)));
        if gives && is_sure && !is_read[index] {
            wrong("id", format!("nobody reads what `{id}` gives"), "let a sink read it, or remove it");
        }
    }
}

/// Indices such that inputs come before their readers; a node in or behind a cycle is left out.
fn sort(spec: &PipelineSpec, drafts: &[Draft], findings: &mut Vec<Finding>) -> Vec<NodeIdx> {
    let mut order = Vec::new();
    let mut placed = vec![false; drafts.len()];
    loop {
        let ready = (0..drafts.len())
            .find(|&i| !placed[i] && drafts[i].inputs.iter().all(|&input| placed[input]));
        let Some(index) = ready else { break };
        placed[index] = true;
        order.push(index);
    }
    let mut told = placed.clone();
    for start in 0..drafts.len() {
        if told[start] {
            continue;
        }
        // Going from input to input among the nodes left over must come back to one of them.
        let mut path = vec![start];
        let cycle = loop {
            let last = *path.last().expect("it begins with one");
            let next = drafts[last].inputs.iter().copied().find(|&input| !placed[input]);
            let next = next.expect("a node that was not placed has an input that was not");
            if let Some(first) = path.iter().position(|&node| node == next) {
                break path.split_off(first);
            }
            path.push(next);
        };
        if cycle.iter().all(|&node| !told[node]) {
            let mut ids: Vec<&str> =
                cycle.iter().rev().map(|&node| spec.file.nodes[node].id.as_str()).collect();
            ids.push(ids[0]);
            let at = spec.at(&format!("{}/from", drafts[cycle[0]].pointer));
            findings.push(Finding::new(at, format!("the nodes form a cycle: {}", ids.join(" → "))));
        }
        cycle.into_iter().chain(path).for_each(|node| told[node] = true);
    }
    order
}

/// Tells every node that runs a model, or prepares text for one, which model that is.
fn bind_models(
    spec: &PipelineSpec,
    drafts: &mut [Draft],
    models: &dyn Models,
    findings: &mut Vec<Finding>,
) {
    let mut named: HashMap<NodeIdx, Option<ModelInfo>> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let Some(NodeKind::Stage(stage)) = &draft.kind else { continue };
        let ModelUse::Names(path) = stage.model() else { continue };
        let info = models.describe(path).map_err(|error| {
            let at = spec.at(&format!("{}/with/model", draft.pointer));
            findings.push(Finding::new(at, chain(error.as_ref())));
        });
        named.insert(index, info.ok());
    }
    for index in 0..drafts.len() {
        let Some(NodeKind::Stage(stage)) = &drafts[index].kind else { continue };
        let model = match stage.model() {
            ModelUse::None => continue,
            ModelUse::Names(_) => named[&index].clone(),
            ModelUse::Follows => {
                match followed(index, drafts, &named) {
                    Ok(model) => model,
                    Err(message) => {
                        findings.push(Finding::new(spec.at(&format!("{}/id", drafts[index].pointer)), message));
                        continue;
                    }
                }
            }
        };
        let draft = &mut drafts[index];
        let Some(NodeKind::Stage(stage)) = &mut draft.kind else { continue };
        let bound = match &model {
            Some(model) => stage.bind(model),
            // A model that could not be described has been reported.
            None if matches!(stage.model(), ModelUse::Names(_)) => {
                draft.blocked = true;
                continue;
            }
            None => continue,
        };
        if let Err(message) = bound {
            findings.push(Finding::new(spec.at(&format!("{}/with", draft.pointer)), message));
            draft.kind = None;
        }
        if matches!(spec_use(draft), Some(ModelUse::Names(_))) {
            draft.model = model;
        }
    }
}

fn spec_use(draft: &Draft) -> Option<ModelUse<'_>> {
    match &draft.kind {
        Some(NodeKind::Stage(stage)) => Some(stage.model()),
        Some(NodeKind::Source(_) | NodeKind::Sink(_)) | None => None,
    }
}

/// The one model that is run behind a node, if there is one.
fn followed(
    start: NodeIdx,
    drafts: &[Draft],
    named: &HashMap<NodeIdx, Option<ModelInfo>>,
) -> Result<Option<ModelInfo>, String> {
    let mut behind = vec![false; drafts.len()];
    behind[start] = true;
    // Repeated until nothing is added: the nodes may stand in any order.
    while let Some(next) = (0..drafts.len())
        .find(|&node| !behind[node] && drafts[node].inputs.iter().any(|&input| behind[input]))
    {
        behind[next] = true;
    }
    let mut found: Option<&ModelInfo> = None;
    for model in (0..drafts.len()).filter(|&node| behind[node]).filter_map(|node| named.get(&node)) {
        match (found, model) {
            (Some(first), Some(model)) if first.fingerprint != model.fingerprint => {
                return Err(format!(
                    "two models read what this node gives, {} and {}; give each a node of its own",
                    first.path.display(),
                    model.path.display()
                ));
            }
            (_, Some(model)) => found = Some(model),
            (_, None) => {}
        }
    }
    Ok(found.cloned())
}

/// Derives the schema on every edge, inputs before readers.
fn derive_schemas(
    spec: &PipelineSpec,
    mut drafts: Vec<Draft>,
    order: &[NodeIdx],
    findings: &mut Vec<Finding>,
) -> Vec<Option<Node>> {
    let mut nodes: Vec<Option<Node>> = Vec::new();
    let mut place: HashMap<NodeIdx, usize> = HashMap::new();
    for &index in order {
        place.insert(index, nodes.len());
        let draft = &mut drafts[index];
        let file = &spec.file.nodes[index];
        let inputs: Vec<usize> = draft.inputs.iter().map(|input| place[input]).collect();
        let known: Option<Vec<&Node>> =
            inputs.iter().map(|&input| nodes[input].as_ref()).collect();
        let (Some(kind), Some(def), Some(known), false) =
            (draft.kind.take(), draft.def, known, draft.blocked)
        else {
            nodes.push(None);
            continue;
        };
        let mut wrong = |pointer: &str, message: String, help: Option<String>| {
            let at = spec.at(&format!("{}{pointer}", draft.pointer));
            findings.push(Finding { help, ..Finding::new(at, message) });
        };
        let mut when = None;
        let output = match (&kind, joint_input(&known)) {
            (NodeKind::Source(source), _) => Ok(Some(source.schema())),
            (_, Err(error)) => Err(error),
            (NodeKind::Stage(_) | NodeKind::Sink(_), Ok(None)) => {
                nodes.push(None);
                continue;
            }
            (NodeKind::Stage(_) | NodeKind::Sink(_), Ok(Some(input))) => {
                match file.when.as_ref().map(|conditions| When::compile(conditions, input)) {
                    Some(Err(faults)) => {
                        for fault in faults {
                            let pointer = format!("/when/{}", crate::yaml::step(&fault.column));
                            wrong(&pointer, fault.message, fault.help);
                        }
                    }
                    Some(Ok(compiled)) => when = Some(compiled),
                    None => {}
                }
                match &kind {
                    NodeKind::Stage(stage) => stage.output_schema(input).map(Some),
                    NodeKind::Sink(sink) => sink.accepts(input).map(|()| None),
                    NodeKind::Source(_) => unreachable!("matched above"),
                }
            }
        };
        match output {
            Ok(output) => {
                let before = known.iter().map(|node| &node.fingerprint);
                let fingerprint = fingerprint(def, &kind, file.when.as_ref(), before);
                let node = Node {
                    id: file.id.as_str().into(),
                    uses: def.name,
                    kind,
                    inputs,
                    when,
                    workers: file.workers,
                    output,
                    model: draft.model.take(),
                    fingerprint,
                };
                nodes.push(Some(node));
            }
            Err(error) => {
                wrong("/id", format!("`{}` {error}", file.id), None);
                nodes.push(None);
            }
        }
    }
    nodes
}

fn joint_input<'a>(inputs: &[&'a Node]) -> Result<Option<&'a Schema>, SchemaError> {
    let Some((first, rest)) = inputs.split_first() else { return Ok(None) };
    let Some(schema) = first.output.as_ref() else { return Ok(None) };
    for other in rest {
        let Some(other_schema) = other.output.as_ref() else { continue };
        if other_schema != schema {
            let only = |a: &Schema, b: &Schema| {
                a.fields()
                    .iter()
                    .filter(|field| b.field_with_name(field.name()).ok() != Some(field))
                    .map(|field| format!("`{}`", field.name()))
                    .collect::<Vec<_>>()
            };
            let mut differing = only(schema, other_schema);
            differing.extend(only(other_schema, schema));
            differing.dedup();
            return Err(SchemaError::Union {
                left: first.id.to_string(),
                right: other.id.to_string(),
                difference: differing.join(", "),
            });
        }
    }
    Ok(Some(schema))
}

/// Hashes what a node's output depends on. Where documents come from is no part of it: a document is its
/// content.
fn fingerprint<'a>(
    def: &NodeDef,
    kind: &NodeKind,
    when: Option<&serde_json::Map<String, Value>>,
    inputs: impl Iterator<Item = &'a [u8; 32]>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    match kind {
        NodeKind::Source(_) => hash.update("source"),
        NodeKind::Stage(stage) => {
            let what = json!([def.name, def.version, stage.identity(), when]);
            hash.update(what.to_string());
        }
        NodeKind::Sink(_) => hash.update(json!([when]).to_string()),
    }
    // The order in which a node names its inputs does not matter.
    let mut inputs: Vec<_> = inputs.collect();
    inputs.sort_unstable();
    inputs.into_iter().for_each(|input| hash.update(input));
    hash.finalize().into()
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !out.ends_with(&cause_text) {
            out.push_str(": ");
            out.push_str(&cause_text);
        }
        source = cause.source();
    }
    out
}

/// JSON Schema of a pipeline file with the options of every node, for editors (`configs/schema.json`).
pub fn file_schema(registry: &Registry) -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut options = Vec::new();
    for def in registry.iter() {
        let schema: Value = (def.schema)(&mut generator).into();
        options.push(json!({
            "if": { "properties": { "uses": { "const": def.name } } },
            "then": { "properties": { "with": schema } },
        }));
    }
    let names: Vec<Value> = registry
        .iter()
        .map(|def| json!({ "const": def.name, "description": def.summary }))
        .collect();
    let mut schema: Value = generator.into_root_schema_for::<crate::PipelineFile>().into();
    let node = &mut schema["$defs"]["NodeSpec"];
    node["properties"]["uses"]["oneOf"] = Value::Array(names);
    node["allOf"] = Value::Array(options);
    schema
}

/// The folder of a path option: absolute as it is, else below the pipeline file's folder.
pub fn resolve_path(base: &Path, path: &Path) -> std::path::PathBuf {
    let joined = base.join(path);
    // `./a/../b` and the like stay as they are; only `.` steps go.
    joined.components().collect()
}
