//! `semantik models`: shows a model, and downloads models of the hub in advance.

use std::path::Path;

use pipeline::{BoxError, ModelProvider as _};
use serde_json::{Value, json};

use crate::cli::ModelsVerb;
use crate::{model_download, render};

pub(super) fn models(verb: &ModelsVerb) -> Result<(), BoxError> {
    match verb {
        ModelsVerb::Fetch { models, json } => {
            let mut fetched = Vec::new();
            for model in models {
                model_download::refetch(model)?;
                if *json {
                    fetched.push(as_json(model)?);
                } else {
                    show(model)?;
                }
            }
            if *json { render::print_json(&fetched.into()) } else { Ok(()) }
        }
        ModelsVerb::Show { model, json: true } => render::print_json(&as_json(model)?),
        ModelsVerb::Show { model, json: false } => show(model),
    }
}

fn as_json(model: &Path) -> Result<Value, BoxError> {
    let info = embedding::EmbeddingEngine::new().describe(model)?;
    let folder = embedding::model_folder(model)?;
    Ok(json!({
        "model": info.path.display().to_string(),
        "folder": folder.display().to_string(),
        "short_name": info.short_name,
        "dim": info.dim,
        "max_tokens": info.max_tokens,
        "fingerprint": info.fingerprint,
    }))
}

fn show(model: &Path) -> Result<(), BoxError> {
    let info = embedding::EmbeddingEngine::new().describe(model)?;
    let folder = embedding::model_folder(model)?;
    let (model, folder) = (info.path.display().to_string(), folder.display().to_string());
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("model", model),
        row("folder", folder),
        row("short name", info.short_name),
        row("dimensions", info.dim.to_string()),
        row("input limit", render::count_of(info.max_tokens, "token")),
        row("fingerprint", info.fingerprint),
    ];
    render::print(&render::table(&[], rows))
}
