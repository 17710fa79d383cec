//! BERT's encoder (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>): MiniLM, BGE, E5, GTE.
//! `roberta.rs` and `mpnet.rs` reuse its layers.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::Value;
use tch::TchError;
use tch::Tensor;

use crate::architecture::{
    Architecture, Config, ConfigError, Encoder, Input, Places, Shape, parsed, wanted,
};
use crate::attention::{Heads, Sight, Span};
use crate::dense::Dense;
use crate::layers::{Activation, LayerNorm, Linear, Numbers};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "bert",
    names: &["BertModel", "BertForMaskedLM", "BertForPreTraining"],
    read: |config| Ok(Box::new(read(config)?)),
};

/// The keys of `config.json` that define BERT's shape.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Bert {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "usual_types")]
    pub(crate) type_vocab_size: usize,
    #[serde(default = "usual_eps")]
    pub(crate) layer_norm_eps: f64,
    pub(crate) hidden_act: String,
    #[serde(default)]
    pub(crate) position_embedding_type: Option<String>,
}

fn usual_types() -> usize {
    2
}

fn usual_eps() -> f64 {
    1e-12
}

/// Parses a configuration in BERT's format.
pub(crate) fn read(config: &Value) -> Result<Bert, ConfigError> {
    let config: Bert = parsed(config)?;
    match config.position_embedding_type.as_deref() {
        None | Some("absolute") => Ok(config),
        Some(kind) => {
            Err(ConfigError::Unsupported(format!("position embeddings of type `{kind}`")))
        }
    }
}

impl Config for Bert {
    fn shape(&self) -> Shape {
        Shape {
            width: self.hidden_size,
            positions: self.max_position_embeddings,
            vocabulary: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        Ok(Box::new(BertEncoder::read(self, weights, "bert.", Places::Counted)?))
    }
}

/// The model's embeddings and layers.
#[derive(Clone)]
pub(crate) struct BertEncoder {
    words: Numbers,
    /// Position embeddings plus the embedding of token type 0, the only type that embedding uses.
    positions: Numbers,
    norm: LayerNorm,
    layers: Vec<Block>,
    places: Places,
}

impl BertEncoder {
    /// Loads the weights; `prefix` is the optional prefix of their names.
    ///
    /// # Errors
    /// If a tensor is missing or its shape does not match the configuration.
    pub(crate) fn read(
        config: &Bert,
        weights: &Weights,
        prefix: &str,
        places: Places,
    ) -> Result<Self, BoxError> {
        let prefix = weights.prefix(prefix);
        let width = config.hidden_size;
        let named = |name: &str| format!("{prefix}embeddings.{name}");
        let types = weights
            .get(&named("token_type_embeddings.weight"), &[config.type_vocab_size, width])?;
        let positions = weights
            .get(&named("position_embeddings.weight"), &[config.max_position_embeddings, width])?;
        let words = weights.get(&named("word_embeddings.weight"), &[config.vocab_size, width])?;
        Ok(Self {
            words: Numbers(words),
            positions: Numbers(positions.f_add(&types.f_get(0)?)?),
            norm: LayerNorm::read(weights, &named("LayerNorm"), width, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| {
                    Block::read(weights, &format!("{prefix}encoder.layer.{layer}"), config, &NAMES)
                })
                .collect::<Result<_, _>>()?,
            places,
        })
    }
}

impl Encoder for BertEncoder {
    fn share(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn places(&self) -> Places {
        self.places
    }

    fn forward(&self, input: &Input) -> Result<Tensor, TchError> {
        let words = self.words.0.f_index_select(0, &input.ids)?;
        let positions = self.positions.0.f_index_select(0, &input.places)?;
        let mut rows = self.norm.apply(&words.f_add(&positions)?)?;
        let sight = Sight::all(&input.spans);
        for (layer, picked) in input.through(&self.layers) {
            rows = layer.forward(&rows, &input.spans, &sight, picked)?;
        }
        Ok(rows)
    }
}

/// Names of the tensors of a layer.
pub(crate) struct Names {
    pub(crate) qkv: [&'static str; 3],
    pub(crate) attended: &'static str,
    pub(crate) attended_norm: &'static str,
}

const NAMES: Names = Names {
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attended: "attention.output.dense",
    attended_norm: "attention.output.LayerNorm",
};

/// A layer: attention and a feed-forward block, each with a residual connection and
/// post-normalisation.
#[derive(Clone)]
pub(crate) struct Block {
    qkv: Dense,
    attended: Dense,
    attended_norm: LayerNorm,
    wide: Dense,
    narrow: Dense,
    norm: LayerNorm,
    heads: Heads,
}

impl Block {
    pub(crate) fn read(
        weights: &Weights,
        name: &str,
        config: &Bert,
        names: &Names,
    ) -> Result<Self, BoxError> {
        let (width, wide, eps) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let heads = Heads::sharing(width, config.num_attention_heads)?;
        let activation = Activation::named(&config.hidden_act)?;
        let named = |part: &str| format!("{name}.{part}");
        let linear =
            |part: &str, inputs, outputs| Linear::read(weights, &named(part), inputs, outputs);
        let dense = |linear, activation| Dense::new(linear, activation, weights.products());
        let [query, key, value] = names.qkv.map(|part| linear(part, width, width));
        Ok(Self {
            qkv: dense(Linear::fused(&[query?, key?, value?])?, None)?,
            attended: dense(linear(names.attended, width, width)?, None)?,
            attended_norm: LayerNorm::read(weights, &named(names.attended_norm), width, eps)?,
            wide: dense(linear("intermediate.dense", width, wide)?, Some(activation))?,
            narrow: dense(linear("output.dense", wide, width)?, None)?,
            norm: LayerNorm::read(weights, &named("output.LayerNorm"), width, eps)?,
            heads,
        })
    }

    pub(crate) fn forward(
        &self,
        rows: &Tensor,
        spans: &[Span],
        sight: &Sight,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let qkv = self.heads.split(&self.qkv.apply(rows)?)?;
        let heads = wanted(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let rows = wanted(rows, picked)?;
        let rows = self.attended_norm.apply(&self.attended.apply(&heads)?.f_add_(&rows)?)?;
        let wide = self.wide.apply(&rows)?;
        self.norm.apply(&self.narrow.apply(&wide)?.f_add_(&rows)?)
    }
}
