//! Tests of the engine's public interface, with the real model of `.cache/models` and small ones
//! from `tests/reference/make.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cached_embedder;
mod chunk_context;
mod configurations;
mod model_folders;
mod reference;
mod rerankers;
mod split_points;
mod stand_in;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use embedding::EmbeddingEngine;
use pipeline::{EmbedderOptions, ModelProvider, Tokenizer};
use serde_json::Value;

/// The real model, which `make test` downloads.
fn minilm() -> PathBuf {
    let folder = std::env::var_os("SEMANTIK_MODEL").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.cache/models/all-MiniLM-L6-v2"),
        PathBuf::from,
    );
    assert!(
        folder.join("model.safetensors").is_file(),
        "no model in {}: run `.ci/setup model`",
        folder.display()
    );
    folder
}

fn reference() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn options() -> EmbedderOptions {
    EmbedderOptions {
        device: "cpu".into(),
        dtype: "float32".into(),
        tokens_per_batch: None,
        dim: None,
    }
}

fn tokenizer(folder: &Path) -> Arc<dyn Tokenizer> {
    EmbeddingEngine::new().tokenizer(folder).expect("a model's folder")
}

/// Changes a JSON file of a folder.
fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs_err::write(path, value.to_string()).unwrap();
}

/// A copy of a reference model for a test to modify.
fn copy(name: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs_err::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs_err::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            } else {
                fs_err::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&reference().join(name), folder.path());
    folder
}
