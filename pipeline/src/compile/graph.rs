//! Checks of the graph: names become indices, inputs come before the nodes that read them, and
//! everything leads from a source to a sink.

use std::collections::HashMap;

use super::NodeDraft;
use crate::finding::{Finding, suggest};
use crate::plan::NodeIndex;
use crate::{NodeKind, PipelineSpec};

/// Resolves the names in `from` to indices.
pub(super) fn resolve(spec: &PipelineSpec, drafts: &mut [NodeDraft], findings: &mut Vec<Finding>) {
    let mut by_id: HashMap<&str, NodeIndex> = HashMap::new();
    for (index, node) in spec.file.nodes.iter().enumerate() {
        if by_id.insert(&node.id, index).is_some() && !node.id.is_empty() {
            let at = spec.span_of(&format!("/nodes/{index}/id"));
            findings.push(Finding::new(at, format!("duplicate node id `{}`", node.id)));
        }
    }
    for (node, draft) in spec.file.nodes.iter().zip(drafts.iter_mut()) {
        for (from, pointer) in node.from.ids() {
            let at = spec.span_of(&format!("{}{pointer}", draft.pointer));
            match by_id.get(from) {
                Some(&input) if draft.inputs.contains(&input) => {
                    findings.push(Finding::new(at, format!("`{from}` is listed twice")));
                }
                Some(&input) => draft.inputs.push(input),
                None => {
                    draft.has_invalid_input = true;
                    let finding = Finding::new(at, format!("unknown node `{from}`"));
                    let help = suggest(from, spec.file.nodes.iter().map(|node| node.id.as_str()));
                    findings.push(Finding { help, ..finding });
                }
            }
        }
    }
    check_endpoints(spec, drafts, findings);
}

/// Sources have no input, stages and sinks have one, and every output is read.
fn check_endpoints(spec: &PipelineSpec, drafts: &mut [NodeDraft], findings: &mut Vec<Finding>) {
    let mut is_read = vec![false; drafts.len()];
    for draft in drafts.iter() {
        draft.inputs.iter().for_each(|&input| is_read[input] = true);
    }
    // An unresolved name may refer to a node that seems unread.
    let has_names = spec.file.nodes.iter().all(|node| !node.id.is_empty());
    let is_sure =
        has_names && drafts.iter().all(|draft| draft.def.is_some() && !draft.has_invalid_input);
    for index in 0..drafts.len() {
        let id = &spec.file.nodes[index].id;
        let reads_sink = drafts[index]
            .inputs
            .iter()
            .any(|&input| matches!(drafts[input].kind, Some(NodeKind::Sink(_))));
        let from = format!("{}/from", drafts[index].pointer);
        let has_from = spec.document.value.pointer(&from).is_some();
        let draft = &mut drafts[index];
        let at = |key: &str| spec.span_of(&format!("{}/{key}", draft.pointer));
        let mut wrong = |key, message: String, help: &str| {
            findings.push(Finding::new(at(key), message).with_help(help));
        };
        match &draft.kind {
            Some(NodeKind::Source(_)) if has_from => {
                wrong("from", format!("`{id}` is a source, so it has no input"), "remove `from`");
            }
            Some(NodeKind::Stage(_) | NodeKind::Sink(_)) if !has_from => {
                wrong("id", format!("`{id}` has no input"), "name its input with `from`");
            }
            _ => {}
        }
        let is_source = matches!(draft.kind, Some(NodeKind::Source(_)));
        if is_source && spec.file.nodes[index].when.is_some() {
            wrong("when", format!("`{id}` is a source, so `when` does not apply"), "remove `when`");
        }
        if draft.inputs.is_empty() && !is_source {
            draft.has_invalid_input = true;
        }
        if reads_sink {
            let help = "read from the node that the sink reads from";
            wrong("from", format!("`{id}` reads from a sink, which has no output"), help);
            draft.has_invalid_input = true;
        }
        let gives = matches!(draft.kind, Some(NodeKind::Source(_) | NodeKind::Stage(_)));
        if gives && is_sure && !is_read[index] {
            wrong(
                "id",
                format!("the output of `{id}` is not used"),
                "connect a sink to it, or remove it",
            );
        }
    }
}

/// Indices in topological order; a node in or after a cycle is left out.
pub(super) fn topological_order(
    spec: &PipelineSpec,
    drafts: &[NodeDraft],
    findings: &mut Vec<Finding>,
) -> Vec<NodeIndex> {
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
        // Each remaining node has a remaining input, so following the inputs leads to a cycle.
        let mut path = vec![start];
        let cycle = loop {
            let last = *path.last().expect("the path starts with a node");
            let next = drafts[last].inputs.iter().copied().find(|&input| !placed[input]);
            let next = next.expect("an unplaced node has an unplaced input");
            if let Some(first) = path.iter().position(|&node| node == next) {
                break path.split_off(first);
            }
            path.push(next);
        };
        if cycle.iter().all(|&node| !told[node]) {
            let mut ids: Vec<&str> =
                cycle.iter().rev().map(|&node| spec.file.nodes[node].id.as_str()).collect();
            ids.push(ids[0]);
            let at = spec.span_of(&format!("{}/from", drafts[cycle[0]].pointer));
            findings.push(Finding::new(at, format!("the nodes form a cycle: {}", ids.join(" → "))));
        }
        cycle.into_iter().chain(path).for_each(|node| told[node] = true);
    }
    order
}
