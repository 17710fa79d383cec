//! `semantik models`: what a model is, and fetching one of the hub before it is needed.

use std::path::Path;

use pipeline::{BoxError, Models as _};
use serde_json::json;

use crate::cli::ModelsVerb;
use crate::{fetching, render};

pub(super) fn models(verb: &ModelsVerb) -> Result<(), BoxError> {
    match verb {
        ModelsVerb::Fetch { models } => {
            for model in models {
                fetching::again(model)?;
                show(model, false)?;
            }
            Ok(())
        }
        ModelsVerb::Show { model, json } => show(model, *json),
    }
}

fn show(model: &Path, as_json: bool) -> Result<(), BoxError> {
    let info = embedding::Engine::new().describe(model)?;
    let folder = embedding::folder_of(model)?;
    let (model, folder) = (info.path.display().to_string(), folder.display().to_string());
    if as_json {
        return render::json(&json!({
            "model": model,
            "folder": folder,
            "short_name": info.short_name,
            "dim": info.dim,
            "max_tokens": info.max_tokens,
            "fingerprint": info.fingerprint,
        }));
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("model", model),
        row("folder", folder),
        row("name in collections", info.short_name),
        row("dimensions", info.dim.to_string()),
        row("reads", render::several(info.max_tokens, "token")),
        row("fingerprint", info.fingerprint),
    ];
    render::out(&render::table(&[], rows))
}
