//! Checks of the models: each node that runs a model, or prepares text for one, receives its
//! description.

use std::collections::HashMap;
use std::path::PathBuf;

use super::NodeDraft;
use crate::finding::Finding;
use crate::plan::NodeIndex;
use crate::{ModelInfo, ModelProvider, ModelUse, NodeKind, PipelineSpec, Plan, Registry};

impl Plan {
    /// The models that the nodes of a file name, before they are read: folders, or names on the
    /// hub. Nodes with errors, which [`Plan::compile`] reports, are left out.
    pub fn named_models(spec: &PipelineSpec, registry: &Registry) -> Vec<PathBuf> {
        let drafts = super::read_nodes(spec, registry, &mut Vec::new());
        let model = |draft: &NodeDraft| match &draft.kind {
            Some(NodeKind::Stage(stage)) => match stage.model() {
                ModelUse::Runs { model, .. } => Some(model.to_owned()),
                ModelUse::None | ModelUse::FollowsDownstream | ModelUse::RequiresDownstream => None,
            },
            Some(NodeKind::Source(_) | NodeKind::Sink(_)) | None => None,
        };
        drafts.iter().filter_map(model).collect()
    }
}

/// Binds every node that runs a model, or prepares text for one, to that model.
pub(super) fn bind(
    spec: &PipelineSpec,
    drafts: &mut [NodeDraft],
    models: &dyn ModelProvider,
    findings: &mut Vec<Finding>,
) {
    let mut named: HashMap<NodeIndex, Option<ModelInfo>> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let Some(NodeKind::Stage(stage)) = &draft.kind else { continue };
        let ModelUse::Runs { model: path, options } = stage.model() else { continue };
        let info = models.describe(path).map_err(|error| {
            let at = spec.span_of(&format!("{}/with/model", draft.pointer));
            findings.push(Finding::new(at, crate::error_chain(error.as_ref())));
        });
        named.insert(index, info.ok().map(|info| info.with_truncated_dim(options.dim)));
    }
    for index in 0..drafts.len() {
        let Some(NodeKind::Stage(stage)) = &drafts[index].kind else { continue };
        let model = match stage.model() {
            ModelUse::None => continue,
            ModelUse::Runs { .. } => named[&index].clone(),
            needs @ (ModelUse::FollowsDownstream | ModelUse::RequiresDownstream) => {
                let found = match downstream_model(index, drafts, &named) {
                    DownstreamModel::One(model) => Ok(Some(model)),
                    DownstreamModel::Invalid => Ok(None),
                    DownstreamModel::None if needs == ModelUse::FollowsDownstream => Ok(None),
                    DownstreamModel::None => {
                        Err("counts tokens, but no node after it runs a model".to_owned())
                    }
                    DownstreamModel::Conflicting(first, second) => Err(format!(
                        "feeds two models, {} and {}: use one node per model",
                        first.path.display(),
                        second.path.display()
                    )),
                };
                found.unwrap_or_else(|message| {
                    let id = &spec.file.nodes[index].id;
                    let at = spec.span_of(&format!("{}/id", drafts[index].pointer));
                    findings.push(Finding::new(at, format!("`{id}` {message}")));
                    None
                })
            }
        };
        bind_node(spec, &mut drafts[index], model, findings);
    }
}

fn bind_node(
    spec: &PipelineSpec,
    draft: &mut NodeDraft,
    model: Option<ModelInfo>,
    findings: &mut Vec<Finding>,
) {
    let Some(NodeKind::Stage(stage)) = &mut draft.kind else { return };
    let names_it = matches!(stage.model(), ModelUse::Runs { .. });
    let Some(model) = model else {
        // The error of the model has been reported; the output of this node is unknown.
        draft.has_invalid_input |= names_it;
        return;
    };
    match stage.bind_model(&model) {
        Ok(()) => draft.model = names_it.then_some(model),
        Err(misfit) => {
            let at = spec.span_of(&format!("{}/with/{}", draft.pointer, misfit.option));
            findings.push(Finding::new(at, misfit.message));
            draft.kind = None;
        }
    }
}

/// Models of the nodes after a node.
enum DownstreamModel {
    None,
    One(ModelInfo),
    Conflicting(ModelInfo, ModelInfo),
    /// A model without description, because of an error.
    Invalid,
}

fn downstream_model(
    start: NodeIndex,
    drafts: &[NodeDraft],
    named: &HashMap<NodeIndex, Option<ModelInfo>>,
) -> DownstreamModel {
    let mut is_behind = vec![false; drafts.len()];
    is_behind[start] = true;
    // Repeated until nothing is added, because nodes may be in any order.
    while let Some(next) = (0..drafts.len())
        .find(|&node| !is_behind[node] && drafts[node].inputs.iter().any(|&input| is_behind[input]))
    {
        is_behind[next] = true;
    }
    let mut found = DownstreamModel::None;
    for model in
        (0..drafts.len()).filter(|&node| is_behind[node]).filter_map(|node| named.get(&node))
    {
        found = match (found, model) {
            (DownstreamModel::One(first), Some(model))
                if first.fingerprint != model.fingerprint =>
            {
                return DownstreamModel::Conflicting(first, model.clone());
            }
            (_, Some(model)) => DownstreamModel::One(model.clone()),
            (DownstreamModel::None, None) => DownstreamModel::Invalid,
            (found, None) => found,
        };
    }
    found
}
