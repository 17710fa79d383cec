//! Supported architectures, one file each, and the traits through which the rest of the crate uses
//! them.
//!
//! A configuration is parsed without weights; it yields the model's shape and loads the model.
//! Options of `config.json` that deviate from the architecture's paper and are not implemented are
//! errors that name the option.

use std::path::Path;

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::Value;
use tch::{TchError, Tensor};

use crate::attention::GroupSpan;
use crate::folder_files::{FolderError, unsupported};
use crate::weights::Weights;
use crate::{bert, cross_encoder, modernbert, mpnet, nomic, qwen3, roberta};

/// Models that are not in this table are rejected.
static ARCHITECTURES: &[Architecture] = &[
    bert::ARCHITECTURE,
    roberta::ARCHITECTURE,
    mpnet::ARCHITECTURE,
    nomic::ARCHITECTURE,
    modernbert::ARCHITECTURE,
    qwen3::ARCHITECTURE,
];

/// Entry of the table of architectures.
pub(crate) struct Architecture {
    /// `model_type` of `config.json`.
    pub(crate) model_type: &'static str,
    /// Accepted values of `architectures`: the plain model, and the model with a training head,
    /// which embedding ignores.
    pub(crate) names: &'static [&'static str],
    pub(crate) read: fn(&Value) -> Result<Box<dyn Config>, ConfigError>,
}

/// Errors of [`parse`].
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// An architecture that is not in the table.
    Unknown(String),
    Malformed(serde_json::Error),
    /// An option that is not implemented, for the error message.
    Unsupported(String),
}

/// The architecture that a configuration names; its model type if it names none.
pub(crate) fn named(config: &Value) -> Option<&str> {
    config["architectures"][0].as_str().or_else(|| config["model_type"].as_str())
}

/// A parsed `config.json`.
pub(crate) trait Config {
    fn shape(&self) -> ModelShape;

    /// Loads the weights.
    ///
    /// # Errors
    /// If a tensor is missing or its shape does not match the configuration.
    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError>;
}

/// Dimensions and limits of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelShape {
    /// Dimension of token vectors.
    pub(crate) hidden_size: usize,
    /// Largest number of tokens with position embeddings.
    pub(crate) max_positions: usize,
    /// Size of the vocabulary; every token id is smaller.
    pub(crate) vocab_size: usize,
}

impl ModelShape {
    /// The shape of a model whose position ids start after the padding id (RoBERTa): the position
    /// embeddings up to that id are unused.
    pub(crate) fn with_positions_after(self, padding: u32) -> Self {
        Self { max_positions: self.max_positions.saturating_sub(padding as usize + 1), ..self }
    }
}

/// The layers of a model, with weights.
pub(crate) trait Encoder: Send {
    /// The same model for another thread; the weights are shared.
    fn clone_shared(&self) -> Box<dyn Encoder>;

    /// The model's position id scheme.
    fn position_ids(&self) -> PositionIds;

    /// Output of the last layer, one row per token, or one per index in
    /// [`pooled_rows`](EncoderInput::pooled_rows).
    ///
    /// # Errors
    /// Errors of libtorch, mostly out of memory.
    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError>;
}

/// Input of a forward pass.
pub(crate) struct EncoderInput {
    /// Token ids of all sequences, concatenated.
    pub(crate) ids: Tensor,
    /// Position ids, one per token.
    pub(crate) position_ids: Tensor,
    pub(crate) spans: Vec<GroupSpan>,
    /// Rows that the last layer must compute; `None` means all. CLS and last-token pooling read one
    /// row per sequence, so the other rows only serve as keys and values.
    pub(crate) pooled_rows: Option<Tensor>,
}

impl EncoderInput {
    /// The layers in order, each with the rows it must compute: `picked` for the last layer, else
    /// all.
    pub(crate) fn layers_with_rows<'a, L>(
        &'a self,
        layers: &'a [L],
    ) -> impl Iterator<Item = (&'a L, Option<&'a Tensor>)> {
        let last = layers.len().saturating_sub(1);
        let picked = move |nth| self.pooled_rows.as_ref().filter(|_| nth == last);
        layers.iter().enumerate().map(move |(nth, layer)| (layer, picked(nth)))
    }
}

/// Selects the picked rows; with `None`, all rows.
pub(crate) fn select_rows(rows: &Tensor, picked: Option<&Tensor>) -> Result<Tensor, TchError> {
    picked.map_or_else(|| Ok(rows.shallow_clone()), |at| rows.f_index_select(0, at))
}

/// Position ids of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionIds {
    /// Consecutive from 0.
    FromZero,
    /// Consecutive from the padding id + 1, as in RoBERTa; padding tokens keep the padding id.
    AfterPadding(u32),
    /// Consecutive from 0, plus `second` for the tokens after the first `separator`: BERT's token
    /// type 1, whose rows follow those of type 0 in the table of position embeddings.
    Pair { separator: u32, second: i64 },
}

impl PositionIds {
    /// Appends the position ids of a sequence.
    pub(crate) fn extend(self, sequence: &[u32], to: &mut Vec<i64>) {
        match self {
            Self::FromZero => to.extend((0_i64..).take(sequence.len())),
            Self::AfterPadding(padding) => {
                let mut last = i64::from(padding);
                to.extend(sequence.iter().map(|&id| {
                    if id == padding {
                        return i64::from(padding);
                    }
                    last += 1;
                    last
                }));
            }
            Self::Pair { separator, second } => {
                let mut offset = 0;
                to.extend((0_i64..).zip(sequence).map(|(position, &id)| {
                    let position = position + offset;
                    if id == separator {
                        offset = second;
                    }
                    position
                }));
            }
        }
    }
}

/// Parses the configuration with the architecture that it names.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn parse(config: &Value) -> Result<Box<dyn Config>, ConfigError> {
    // Look up the architecture first: the other keys depend on it.
    let named = config["architectures"][0].as_str();
    let model_type = config["model_type"].as_str();
    let known = ARCHITECTURES.iter().find(|known| match named {
        Some(name) => known.names.contains(&name),
        None => model_type == Some(known.model_type),
    });
    let Some(known) = known else {
        let named = named.or(model_type).unwrap_or("(none named)");
        return Err(ConfigError::Unknown(named.to_owned()));
    };
    (known.read)(config)
}

/// The error of a model folder for the error of its configuration.
pub(crate) fn folder_error(path: &Path, error: ConfigError) -> FolderError {
    match error {
        ConfigError::Unknown(named) if cross_encoder::is_cross_encoder(&named) => {
            FolderError::CrossEncoder { folder: path.to_owned(), named }
        }
        ConfigError::Unknown(named) => FolderError::Architecture { named },
        ConfigError::Unsupported(what) => unsupported(path, what),
        ConfigError::Malformed(source) => {
            FolderError::Malformed { file: path.join("config.json"), source }
        }
    }
}

/// `true` if [`parse`] knows an architecture of this name.
pub(crate) fn is_known(name: &str) -> bool {
    ARCHITECTURES.iter().any(|known| known.names.contains(&name) || known.model_type == name)
}

/// Names of all supported architectures, for error messages.
pub(crate) fn supported_names() -> String {
    let names: Vec<_> = ARCHITECTURES.iter().map(|known| known.names[0]).collect();
    names.join(", ")
}

pub(crate) fn deserialize_part<T: for<'de> Deserialize<'de>>(
    config: &Value,
) -> Result<T, ConfigError> {
    T::deserialize(config).map_err(ConfigError::Malformed)
}

/// Rejects a configuration whose `key` is present with a value outside `supported`.
pub(crate) fn require_one_of(
    config: &Value,
    key: &str,
    supported: &[Value],
) -> Result<(), ConfigError> {
    let found = &config[key];
    if found.is_null() || supported.contains(found) {
        return Ok(());
    }
    Err(ConfigError::Unsupported(format!("`{key}: {found}`")))
}
