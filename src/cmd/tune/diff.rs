//! The proposal as a diff of the pipeline file.

use std::path::Path;

use pipeline::{BoxError, PipelineSpec, set_in_yaml, value_in_yaml};
use search::tuning::TuningProposal;
use serde_json::{Map, Value};
use similar::TextDiff;

use crate::composition;

/// The changed file, as a unified diff.
pub(super) struct ProposedFile {
    pub(super) diff: String,
}

/// The changes of the file. The new text is compiled before it is shown, so that it passes
/// `semantik check`.
///
/// # Errors
/// If the form of the file is not handled, or the new text is invalid.
pub(super) fn propose(file: &Path, proposal: &TuningProposal) -> Result<ProposedFile, BoxError> {
    let (spec, plan) = composition::load(file)?;
    let old = fs_err::read_to_string(file)?;
    let mut new = old.clone();
    for change in &proposal.search {
        new = set_in_yaml(&new, &format!("/search{}", change.key), &change.to)?;
    }
    if !proposal.sparse.is_empty() {
        for node in plan.sparse_nodes() {
            let at = spec.file.nodes.iter().position(|it| it.id == node);
            let at = at.ok_or_else(|| format!("no node `{node}` in the file"))?;
            new = with_sparse_options(&new, &format!("/nodes/{at}/with/sparse"), proposal)?;
        }
    }
    composition::check_text(file, &new)?;
    Ok(ProposedFile { diff: unified(file, &old, &new, &spec) })
}

/// The text with changed options of sparse vectors: those of a mapping one by one, a name such as
/// `bm25` replaced by a mapping.
fn with_sparse_options(
    text: &str,
    pointer: &str,
    proposal: &TuningProposal,
) -> Result<String, BoxError> {
    let mut text = text.to_owned();
    if matches!(value_in_yaml(&text, pointer), Some(Value::Object(_))) {
        for change in &proposal.sparse {
            text = set_in_yaml(&text, &format!("{pointer}{}", change.key), &change.to)?;
        }
        return Ok(text);
    }
    let mut options = Value::Object(Map::new());
    for change in &proposal.sparse {
        let mut place = &mut options;
        for key in change.key.split('/').skip(1) {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
        *place = change.to.clone();
    }
    Ok(set_in_yaml(&text, pointer, &options)?)
}

/// The unified diff of a file, for `patch`. Unchanged lines that may contain a secret are not
/// shown.
fn unified(file: &Path, old: &str, new: &str, spec: &PipelineSpec) -> String {
    let name = file.display().to_string();
    let diff = TextDiff::from_lines(old, new);
    let with_context = |lines| {
        let mut unified = diff.unified_diff();
        unified.context_radius(lines).header(&name, &name).to_string()
    };
    let shown = with_context(3);
    let hides = |(line, redacted): (&str, &str)| {
        line != redacted && shown.lines().any(|it| it.get(1..) == Some(line))
    };
    let is_secret = old.lines().zip(spec.redacted_text().lines()).any(hides);
    if is_secret { with_context(0) } else { shown }
}
