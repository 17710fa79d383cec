//! The architectures that can be run, one file each, and what the rest of the crate sees of them.
//!
//! A configuration is read without weights, says what shape the model has, and loads it. All that an architecture does
//! not do as its paper has it by default, but its `config.json` may ask for, is refused by name.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::Value;
use tch::{TchError, Tensor};

use crate::attention::Span;
use crate::weights::Weights;
use crate::{bert, modernbert, mpnet, nomic, qwen3, roberta};

/// The table. What is not here is refused.
static ARCHITECTURES: &[Architecture] = &[
    bert::ARCHITECTURE,
    roberta::ARCHITECTURE,
    mpnet::ARCHITECTURE,
    nomic::ARCHITECTURE,
    modernbert::ARCHITECTURE,
    qwen3::ARCHITECTURE,
];

/// A kind of model.
pub(crate) struct Architecture {
    /// What `config.json` has as `model_type`.
    pub(crate) model_type: &'static str,
    /// What it may have in `architectures`: the model, and the same with a head for its training on top, which
    /// an embedding does not use.
    pub(crate) names: &'static [&'static str],
    pub(crate) read: fn(&Value) -> Result<Box<dyn Config>, ConfigError>,
}

/// Why a configuration is none that can be run.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// An architecture that is not in the table.
    Unknown(String),
    Malformed(serde_json::Error),
    /// What it asks for, in words.
    Unsupported(String),
}

/// A model's configuration.
pub(crate) trait Config {
    fn shape(&self) -> Shape;

    /// Reads the weights.
    ///
    /// # Errors
    /// If they do not fit the configuration.
    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError>;
}

/// What others need to know of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Numbers of a token's vector.
    pub(crate) width: usize,
    /// The most tokens that have positions.
    pub(crate) positions: usize,
    /// Ids are below this one.
    pub(crate) vocabulary: usize,
}

impl Shape {
    /// The same with the positions that are left where they begin behind the id of padding.
    pub(crate) fn behind(self, padding: u32) -> Self {
        Self { positions: self.positions.saturating_sub(padding as usize + 1), ..self }
    }
}

/// A model's layers, with their weights.
pub(crate) trait Encoder: Send {
    /// The same model for another thread; the numbers are shared.
    fn share(&self) -> Box<dyn Encoder>;

    /// How positions are counted.
    fn places(&self) -> Places;

    /// The last layer's vectors, one row for each token; only the [picked](Input::picked) ones, where that is said.
    ///
    /// # Errors
    /// Those of libtorch: no memory, above all.
    fn forward(&self, input: &Input) -> Result<Tensor, TchError>;
}

/// A batch, as layers see it.
pub(crate) struct Input {
    /// The ids of all sequences, one after another.
    pub(crate) ids: Tensor,
    /// The position of each.
    pub(crate) places: Tensor,
    pub(crate) spans: Vec<Span>,
    /// The rows that are wanted of the last layer, all unless they are said: where pooling takes one of each sequence, the
    /// last layer has nothing to do for the others once it has looked at them.
    pub(crate) picked: Option<Tensor>,
}

impl Input {
    /// The layers in order, each with the rows that are wanted of it.
    pub(crate) fn through<'a, L>(
        &'a self,
        layers: &'a [L],
    ) -> impl Iterator<Item = (&'a L, Option<&'a Tensor>)> {
        let last = layers.len().saturating_sub(1);
        let picked = move |nth| self.picked.as_ref().filter(|_| nth == last);
        layers.iter().enumerate().map(move |(nth, layer)| (layer, picked(nth)))
    }
}

/// These rows, or those that are wanted of them.
pub(crate) fn wanted(rows: &Tensor, picked: Option<&Tensor>) -> Result<Tensor, TchError> {
    picked.map_or_else(|| Ok(rows.shallow_clone()), |at| rows.f_index_select(0, at))
}

/// How the positions of a sequence are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// From 0 on.
    Counted,
    /// From behind this id on, which is that of padding; tokens with this id have it as their position.
    Behind(u32),
}

impl Places {
    /// Adds those of a sequence.
    pub(crate) fn of(self, sequence: &[u32], to: &mut Vec<i64>) {
        match self {
            Self::Counted => to.extend((0_i64..).take(sequence.len())),
            Self::Behind(padding) => {
                let mut last = i64::from(padding);
                to.extend(sequence.iter().map(|&id| {
                    if id == padding {
                        return i64::from(padding);
                    }
                    last += 1;
                    last
                }));
            }
        }
    }
}

/// Reads a configuration of whatever architecture it names.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn read(config: &Value) -> Result<Box<dyn Config>, ConfigError> {
    // The name of the architecture comes first: the rest of the file means something only then.
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

/// The names of all of them, for a message.
pub(crate) fn supported() -> String {
    let names: Vec<_> = ARCHITECTURES.iter().map(|known| known.names[0]).collect();
    names.join(", ")
}

/// A part of a configuration.
pub(crate) fn parsed<T: for<'de> Deserialize<'de>>(config: &Value) -> Result<T, ConfigError> {
    T::deserialize(config).map_err(ConfigError::Malformed)
}

/// Refuses a configuration that has another value than one of these for a key, if it has the key.
pub(crate) fn expect(config: &Value, key: &str, supported: &[Value]) -> Result<(), ConfigError> {
    let found = &config[key];
    if found.is_null() || supported.contains(found) {
        return Ok(());
    }
    Err(ConfigError::Unsupported(format!("`{key}: {found}`")))
}
