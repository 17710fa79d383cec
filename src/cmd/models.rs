//! `semantik models`: shows a model, and downloads models of the hub in advance.

use std::path::Path;

use pipeline::{BoxError, ModelInfo, ModelProvider as _, RerankerInfo};
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

/// A model that embeds, or a reranker.
enum Description {
    Embeds(ModelInfo),
    Reranks(RerankerInfo),
}

fn describe(model: &Path) -> Result<Description, BoxError> {
    let engine = embedding::EmbeddingEngine::new();
    engine.describe(model).map(Description::Embeds).or_else(|error| {
        // For what is neither, the error about embedding is the more general one.
        engine.describe_reranker(model).map(Description::Reranks).map_err(|_| error)
    })
}

fn as_json(model: &Path) -> Result<Value, BoxError> {
    let described = describe(model)?;
    let folder = embedding::model_folder(model)?.display().to_string();
    Ok(match described {
        Description::Embeds(info) => json!({
            "model": info.path.display().to_string(),
            "folder": folder,
            "short_name": info.short_name,
            "dim": info.dim,
            "max_tokens": info.max_tokens,
            "fingerprint": info.fingerprint,
        }),
        Description::Reranks(info) => json!({
            "model": info.path.display().to_string(),
            "folder": folder,
            "short_name": info.short_name,
            "reranker": true,
            "max_tokens": info.max_tokens,
            "fingerprint": info.fingerprint,
        }),
    })
}

fn show(model: &Path) -> Result<(), BoxError> {
    let described = describe(model)?;
    let folder = embedding::model_folder(model)?.display().to_string();
    let (path, name, use_of_it, max_tokens, fingerprint) = match described {
        Description::Embeds(info) => {
            let dim = ("dimensions", info.dim.to_string());
            (info.path, info.short_name, dim, info.max_tokens, info.fingerprint)
        }
        Description::Reranks(info) => {
            let output = ("output", "a score per pair (reranker)".to_owned());
            (info.path, info.short_name, output, info.max_tokens, info.fingerprint)
        }
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("model", path.display().to_string()),
        row("folder", folder),
        row("short name", name),
        row(use_of_it.0, use_of_it.1),
        row("input limit", render::count_of(max_tokens, "token")),
        row("fingerprint", fingerprint),
    ];
    render::print(&render::table(&[], rows))
}
