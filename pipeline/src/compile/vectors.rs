//! Checks of the vectors: all sinks that write into the collection must write vectors of one model,
//! made with one set of options.
//!
//! A search embeds a query once and compares it with every vector of the collection, so vectors of
//! two models in one collection would give wrong distances without any error. Sinks that do not
//! write into the collection, such as exports, may use another model.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::NodeDraft;
use crate::finding::Finding;
use crate::plan::NodeIndex;
use crate::{NodeKind, PipelineSpec};

/// Rejects graphs that would mix vectors, and nodes that embed the output of another embedding
/// node.
pub(super) fn check(spec: &PipelineSpec, drafts: &mut [NodeDraft], findings: &mut Vec<Finding>) {
    let id = |index: NodeIndex| spec.file.nodes[index].id.as_str();
    for index in 0..drafts.len() {
        if drafts[index].model.is_none() {
            continue;
        }
        if let Some(&before) = nearest_upstream_models(index, drafts).first() {
            let (first, second) = (id(before), id(index));
            let at = spec.span_of(&format!("{}/uses", drafts[index].pointer));
            let finding =
                Finding::new(at, format!("`{second}` embeds the output of `{first}` again"))
                    .with_related(
                        spec.span_of(&format!("{}/uses", drafts[before].pointer)),
                        format!("`{first}` embeds here"),
                    )
                    .with_help(format!("remove `{second}`, or give it the input of `{first}`"));
            findings.push(finding);
            drafts[index].has_invalid_input = true;
        }
    }

    let sinks: Vec<(NodeIndex, Value)> = drafts
        .iter()
        .enumerate()
        .filter_map(|(index, draft)| match &draft.kind {
            Some(NodeKind::Sink(sink)) => {
                let layout = sink.facts().collection?;
                let layout = serde_json::to_value(layout).expect("a layout is plain data");
                Some((index, layout))
            }
            Some(NodeKind::Source(_) | NodeKind::Stage(_)) | None => None,
        })
        .collect();
    let collection = &spec.file.collection;
    if let Some(((first, settings), others)) = sinks.split_first() {
        for (other, others_settings) in others {
            for key in differing_keys(settings, others_settings) {
                let message = format!(
                    "`{}` and `{}` give collection `{collection}` different values of `{key}`",
                    id(*first),
                    id(*other),
                );
                findings.push(
                    conflict_finding(spec, drafts, (*first, *other), &key, message).with_help(
                        "a collection has one value per option: set the same value in both nodes",
                    ),
                );
            }
        }
    }

    let mut models = BTreeSet::new();
    for &(sink, _) in &sinks {
        models.extend(nearest_upstream_models(sink, drafts));
    }
    let mut models = models.into_iter();
    let Some(first) = models.next() else { return };
    let mut mixes = false;
    for other in models {
        let keys = differing_keys(&stage_identity(&drafts[first]), &stage_identity(&drafts[other]));
        let Some((key, what)) = first_difference(&drafts[first], &drafts[other], &keys) else {
            continue;
        };
        let (a, b) = (id(first), id(other));
        let message =
            format!("`{a}` and `{b}` write vectors {what} into collection `{collection}`");
        findings
            .push(conflict_finding(spec, drafts, (first, other), key, message).with_help(format!(
            "set one `{key}` in both nodes, or move one branch to a file with another collection"
        )));
        mixes = true;
    }
    if mixes {
        // Schemas may differ, too, which would report the same error again.
        sinks.iter().for_each(|&(sink, _)| drafts[sink].has_invalid_input = true);
    }
}

/// A finding at an option of the second node that also points to the option of the first node.
fn conflict_finding(
    spec: &PipelineSpec,
    drafts: &[NodeDraft],
    (first, second): (NodeIndex, NodeIndex),
    key: &str,
    message: String,
) -> Finding {
    let option = |node: NodeIndex| {
        let pointer = format!("/with/{key}");
        let pointer = format!("{}{pointer}", drafts[node].pointer);
        let is_given = spec.document.value.pointer(&pointer).is_some();
        let uses = format!("{}/uses", drafts[node].pointer);
        (spec.span_of(if is_given { &pointer } else { &uses }), is_given)
    };
    let (at, _) = option(second);
    let (beside, is_given) = option(first);
    let id = &spec.file.nodes[first].id;
    let label = match is_given {
        true => format!("`{key}` of `{id}`"),
        false => format!("`{id}` has the default `{key}`"),
    };
    Finding::new(at, message).with_related(beside, label)
}

/// The option that makes the vectors of two nodes different, with a description of the difference;
/// `None` if their vectors are compatible.
fn first_difference(
    first: &NodeDraft,
    second: &NodeDraft,
    keys: &[String],
) -> Option<(&'static str, String)> {
    let has = |key: &str| keys.iter().any(|it| it == key);
    let (one, other) = (first.model.as_ref()?, second.model.as_ref()?);
    if has("model") && one.path != other.path {
        return Some(("model", "of different models".to_owned()));
    }
    if one.dim != other.dim {
        return Some(("dim", format!("of different lengths ({} and {})", one.dim, other.dim)));
    }
    if has("sparse") {
        return Some(("sparse", "with different `sparse` settings".to_owned()));
    }
    if has("dtype") {
        return Some(("dtype", "with different `dtype` settings".to_owned()));
    }
    // A model that was replaced between two reads, or an option that is missing above.
    (!keys.is_empty()).then(|| ("model", format!("that differ in {}", keys.join(", "))))
}

/// Options that affect the output of a stage.
fn stage_identity(draft: &NodeDraft) -> Value {
    match &draft.kind {
        Some(NodeKind::Stage(stage)) => stage.identity(),
        Some(NodeKind::Source(_) | NodeKind::Sink(_)) | None => Value::Null,
    }
}

/// Keys of two objects with different values, sorted.
fn differing_keys(one: &Value, other: &Value) -> Vec<String> {
    let keys = [one, other].into_iter().filter_map(Value::as_object).flat_map(|it| it.keys());
    let keys: BTreeSet<&String> = keys.collect();
    keys.into_iter().filter(|&key| one.get(key) != other.get(key)).cloned().collect()
}

/// Nodes that run a model and whose output reaches this node without passing another model, in file
/// order.
fn nearest_upstream_models(start: NodeIndex, drafts: &[NodeDraft]) -> Vec<NodeIndex> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([start]);
    let mut left: VecDeque<NodeIndex> = drafts[start].inputs.iter().copied().collect();
    while let Some(index) = left.pop_front() {
        if !seen.insert(index) {
            continue;
        }
        if drafts[index].model.is_some() {
            found.insert(index);
        } else {
            left.extend(&drafts[index].inputs);
        }
    }
    found.into_iter().collect()
}
