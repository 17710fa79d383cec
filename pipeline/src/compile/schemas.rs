//! Checks of the schemas: the columns on every edge, and the fingerprint of their rows.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::Schema;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::NodeDraft;
use crate::finding::Finding;
use crate::plan::{Node, NodeIndex};
use crate::when::When;
use crate::{NodeDef, NodeKind, PipelineSpec, SchemaError};

/// Derives the schema of every edge, inputs before the nodes that read them.
pub(super) fn derive(
    spec: &PipelineSpec,
    mut drafts: Vec<NodeDraft>,
    order: &[NodeIndex],
    findings: &mut Vec<Finding>,
) -> Vec<Option<Node>> {
    let mut nodes: Vec<Option<Node>> = Vec::new();
    let mut place: HashMap<NodeIndex, usize> = HashMap::new();
    for &index in order {
        place.insert(index, nodes.len());
        let draft = &mut drafts[index];
        let file = &spec.file.nodes[index];
        let inputs: Vec<usize> = draft.inputs.iter().map(|input| place[input]).collect();
        let known: Option<Vec<&Node>> = inputs.iter().map(|&input| nodes[input].as_ref()).collect();
        let (Some(kind), Some(def), Some(known), false) =
            (draft.kind.take(), draft.def, known, draft.has_invalid_input)
        else {
            nodes.push(None);
            continue;
        };
        let mut wrong = |pointer: &str, message: String, help: Option<String>| {
            let at = spec.span_of(&format!("{}{pointer}", draft.pointer));
            findings.push(Finding { help, ..Finding::new(at, message) });
        };
        let mut when = None;
        let output = match (&kind, union_schema(&known)) {
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
                            let pointer = format!(
                                "/when/{}",
                                crate::yaml::escape_pointer_segment(&fault.column)
                            );
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

fn union_schema<'a>(inputs: &[&'a Node]) -> Result<Option<&'a Schema>, SchemaError> {
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
            if differing.is_empty() {
                differing.push("same columns in another order".to_owned());
            }
            return Err(SchemaError::Union {
                left: first.id.to_string(),
                right: other.id.to_string(),
                difference: differing.join(", "),
            });
        }
    }
    Ok(Some(schema))
}

/// Hashes everything that the output of a node depends on. The origin of documents is not part of
/// it, because a document is its content.
fn fingerprint<'a>(
    def: &NodeDef,
    kind: &NodeKind,
    when: Option<&serde_json::Map<String, Value>>,
    inputs: impl Iterator<Item = &'a [u8; 32]>,
) -> [u8; 32] {
    // The order of conditions does not matter.
    let conditions: Option<BTreeMap<_, _>> = when.map(|when| when.iter().collect());
    let mut hash = Sha256::new();
    match kind {
        NodeKind::Source(_) => hash.update("source"),
        NodeKind::Stage(stage) => {
            let what = json!([def.name, def.version, stage.identity(), conditions]);
            hash.update(what.to_string());
        }
        NodeKind::Sink(_) => hash.update(json!([conditions]).to_string()),
    }
    // The order in which a node names its inputs does not matter.
    let mut inputs: Vec<_> = inputs.collect();
    inputs.sort_unstable();
    inputs.into_iter().for_each(|input| hash.update(input));
    hash.finalize().into()
}
