//! Checks of the models: each node that runs a model, or prepares text for one, receives its
//! description.

use std::collections::HashMap;

use super::Draft;
use crate::finding::Finding;
use crate::plan::NodeIdx;
use crate::{ModelInfo, ModelUse, Models, NodeKind, PipelineSpec};

/// Binds every node that runs a model, or prepares text for one, to that model.
pub(super) fn bind(
    spec: &PipelineSpec,
    drafts: &mut [Draft],
    models: &dyn Models,
    findings: &mut Vec<Finding>,
) {
    let mut named: HashMap<NodeIdx, Option<ModelInfo>> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let Some(NodeKind::Stage(stage)) = &draft.kind else { continue };
        let ModelUse::Names { model: path, dim } = stage.model() else { continue };
        let info = models.describe(path).map_err(|error| {
            let at = spec.at(&format!("{}/with/model", draft.pointer));
            findings.push(Finding::new(at, crate::chain(error.as_ref())));
        });
        named.insert(index, info.ok().map(|info| info.shortened(dim)));
    }
    for index in 0..drafts.len() {
        let Some(NodeKind::Stage(stage)) = &drafts[index].kind else { continue };
        let model = match stage.model() {
            ModelUse::None => continue,
            ModelUse::Names { .. } => named[&index].clone(),
            needs @ (ModelUse::Follows | ModelUse::Needs) => {
                let found = match behind(index, drafts, &named) {
                    Behind::One(model) => Ok(Some(model)),
                    Behind::Faulty => Ok(None),
                    Behind::None if needs == ModelUse::Follows => Ok(None),
                    Behind::None => {
                        Err("counts tokens, but no node after it runs a model".to_owned())
                    }
                    Behind::Two(first, second) => Err(format!(
                        "feeds two models, {} and {}: use one node per model",
                        first.path.display(),
                        second.path.display()
                    )),
                };
                found.unwrap_or_else(|message| {
                    let id = &spec.file.nodes[index].id;
                    let at = spec.at(&format!("{}/id", drafts[index].pointer));
                    findings.push(Finding::new(at, format!("`{id}` {message}")));
                    None
                })
            }
        };
        bind_one(spec, &mut drafts[index], model, findings);
    }
}

fn bind_one(
    spec: &PipelineSpec,
    draft: &mut Draft,
    model: Option<ModelInfo>,
    findings: &mut Vec<Finding>,
) {
    let Some(NodeKind::Stage(stage)) = &mut draft.kind else { return };
    let names_it = matches!(stage.model(), ModelUse::Names { .. });
    let Some(model) = model else {
        // The error of the model has been reported; the output of this node is unknown.
        draft.blocked |= names_it;
        return;
    };
    match stage.bind(&model) {
        Ok(()) => draft.model = names_it.then_some(model),
        Err(misfit) => {
            let at = spec.at(&format!("{}/with/{}", draft.pointer, misfit.option));
            findings.push(Finding::new(at, misfit.message));
            draft.kind = None;
        }
    }
}

/// Models of the nodes after a node.
enum Behind {
    None,
    One(ModelInfo),
    Two(ModelInfo, ModelInfo),
    /// A model without description, because of an error.
    Faulty,
}

fn behind(start: NodeIdx, drafts: &[Draft], named: &HashMap<NodeIdx, Option<ModelInfo>>) -> Behind {
    let mut is_behind = vec![false; drafts.len()];
    is_behind[start] = true;
    // Repeated until nothing is added, because nodes may be in any order.
    while let Some(next) = (0..drafts.len())
        .find(|&node| !is_behind[node] && drafts[node].inputs.iter().any(|&input| is_behind[input]))
    {
        is_behind[next] = true;
    }
    let mut found = Behind::None;
    for model in
        (0..drafts.len()).filter(|&node| is_behind[node]).filter_map(|node| named.get(&node))
    {
        found = match (found, model) {
            (Behind::One(first), Some(model)) if first.fingerprint != model.fingerprint => {
                return Behind::Two(first, model.clone());
            }
            (_, Some(model)) => Behind::One(model.clone()),
            (Behind::None, None) => Behind::Faulty,
            (found, None) => found,
        };
    }
    found
}
