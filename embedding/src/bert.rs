//! BERT's encoder (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>): MiniLM, BGE, E5, GTE.
//! `roberta.rs` and `mpnet.rs` reuse its layers.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::Value;
use tch::TchError;
use tch::Tensor;

use crate::architecture::{
    Architecture, Config, ConfigError, Encoder, EncoderInput, ModelShape, PositionIds,
    deserialize_part, select_rows,
};
use crate::attention::{AttentionMask, GroupSpan, HeadLayout};
use crate::cross_encoder::{
    ClassifierHead, ClassifierLayer, CrossEncoderArchitecture, HeadActivation,
};
use crate::dense::Dense;
use crate::layers::{LayerNorm, to_i64};
use crate::linear::{Activation, Linear, SharedTensor};
use crate::modules::Pooling;
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "bert",
    names: &["BertModel", "BertForMaskedLM", "BertForPreTraining"],
    read: |config| Ok(Box::new(read(config)?)),
};

pub(crate) const CROSS_ENCODER: CrossEncoderArchitecture = CrossEncoderArchitecture {
    name: "BertForSequenceClassification",
    has_token_types: true,
    encoder: |config, separator| {
        let mut config = read(config)?;
        if separator.is_some() && config.type_vocab_size < 2 {
            return Err(ConfigError::Unsupported("pairs without token types".to_owned()));
        }
        config.pair_separator = separator;
        Ok(Box::new(config))
    },
    head: |_| {
        let dense = ClassifierLayer::dense;
        Ok(ClassifierHead {
            pooling: Pooling::Cls,
            layers: vec![
                dense("bert.pooler.dense", None, Some(HeadActivation::Tanh)),
                dense("classifier", Some(1), None),
            ],
        })
    },
};

/// The keys of `config.json` that define BERT's shape.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BertConfig {
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
    /// The token after which a pair continues with token type 1; `None` if all tokens have type 0.
    #[serde(skip)]
    pub(crate) pair_separator: Option<u32>,
}

fn usual_types() -> usize {
    2
}

fn usual_eps() -> f64 {
    1e-12
}

/// Parses a configuration in BERT's format.
pub(crate) fn read(config: &Value) -> Result<BertConfig, ConfigError> {
    let config: BertConfig = deserialize_part(config)?;
    match config.position_embedding_type.as_deref() {
        None | Some("absolute") => Ok(config),
        Some(kind) => {
            Err(ConfigError::Unsupported(format!("position embeddings of type `{kind}`")))
        }
    }
}

impl Config for BertConfig {
    fn shape(&self) -> ModelShape {
        ModelShape {
            hidden_size: self.hidden_size,
            max_positions: self.max_position_embeddings,
            vocab_size: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let places = match self.pair_separator {
            Some(separator) => {
                PositionIds::Pair { separator, second: to_i64(self.max_position_embeddings) }
            }
            None => PositionIds::FromZero,
        };
        Ok(Box::new(BertEncoder::read(self, weights, "bert.", places)?))
    }
}

/// The model's embeddings and layers.
#[derive(Clone)]
pub(crate) struct BertEncoder {
    word_embeddings: SharedTensor,
    /// Position embeddings plus the embedding of token type 0; for pairs, followed by the same with
    /// type 1.
    position_embeddings: SharedTensor,
    norm: LayerNorm,
    layers: Vec<BertLayer>,
    position_ids: PositionIds,
}

impl BertEncoder {
    /// Loads the weights; `prefix` is the optional prefix of their names.
    ///
    /// # Errors
    /// If a tensor is missing or its shape does not match the configuration.
    pub(crate) fn read(
        config: &BertConfig,
        weights: &Weights,
        prefix: &str,
        places: PositionIds,
    ) -> Result<Self, BoxError> {
        let prefix = weights.prefix(prefix);
        let width = config.hidden_size;
        let named = |name: &str| format!("{prefix}embeddings.{name}");
        let types = weights
            .tensor(&named("token_type_embeddings.weight"), &[config.type_vocab_size, width])?;
        let positions = weights.tensor(
            &named("position_embeddings.weight"),
            &[config.max_position_embeddings, width],
        )?;
        let words =
            weights.tensor(&named("word_embeddings.weight"), &[config.vocab_size, width])?;
        let mut typed = positions.f_add(&types.f_get(0)?)?;
        if matches!(places, PositionIds::Pair { .. }) {
            typed = Tensor::f_cat(&[typed, positions.f_add(&types.f_get(1)?)?], 0)?;
        }
        Ok(Self {
            word_embeddings: SharedTensor(words),
            position_embeddings: SharedTensor(typed),
            norm: LayerNorm::read(weights, &named("LayerNorm"), width, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| {
                    BertLayer::read(
                        weights,
                        &format!("{prefix}encoder.layer.{layer}"),
                        config,
                        &LAYER_NAMES,
                    )
                })
                .collect::<Result<_, _>>()?,
            position_ids: places,
        })
    }
}

impl Encoder for BertEncoder {
    fn clone_shared(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn position_ids(&self) -> PositionIds {
        self.position_ids
    }

    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError> {
        let words = self.word_embeddings.0.f_index_select(0, &input.ids)?;
        let positions = self.position_embeddings.0.f_index_select(0, &input.position_ids)?;
        let mut rows = self.norm.apply(&words.f_add(&positions)?)?;
        let sight = AttentionMask::full(&input.spans);
        for (layer, picked) in input.layers_with_rows(&self.layers) {
            rows = layer.forward(&rows, &input.spans, &sight, picked)?;
        }
        Ok(rows)
    }
}

/// Names of the tensors of a layer.
pub(crate) struct LayerNames {
    pub(crate) qkv: [&'static str; 3],
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
}

const LAYER_NAMES: LayerNames = LayerNames {
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
};

/// A layer: attention and a feed-forward block, each with a residual connection and
/// post-normalisation.
#[derive(Clone)]
pub(crate) struct BertLayer {
    qkv: Dense,
    attention_output: Dense,
    attention_norm: LayerNorm,
    intermediate: Dense,
    output: Dense,
    output_norm: LayerNorm,
    heads: HeadLayout,
}

impl BertLayer {
    pub(crate) fn read(
        weights: &Weights,
        name: &str,
        config: &BertConfig,
        names: &LayerNames,
    ) -> Result<Self, BoxError> {
        let (width, wide, eps) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let heads = HeadLayout::new(width, config.num_attention_heads)?;
        let activation = Activation::from_name(&config.hidden_act)?;
        let named = |part: &str| format!("{name}.{part}");
        let linear =
            |part: &str, inputs, outputs| Linear::read(weights, &named(part), inputs, outputs);
        let dense = |linear, activation| Dense::new(linear, activation, weights.matmul_backend());
        let [query, key, value] = names.qkv.map(|part| linear(part, width, width));
        Ok(Self {
            qkv: dense(Linear::concat_outputs(&[query?, key?, value?])?, None)?,
            attention_output: dense(linear(names.attention_output, width, width)?, None)?,
            attention_norm: LayerNorm::read(weights, &named(names.attention_norm), width, eps)?,
            intermediate: dense(linear("intermediate.dense", width, wide)?, Some(activation))?,
            output: dense(linear("output.dense", wide, width)?, None)?,
            output_norm: LayerNorm::read(weights, &named("output.LayerNorm"), width, eps)?,
            heads,
        })
    }

    pub(crate) fn forward(
        &self,
        rows: &Tensor,
        spans: &[GroupSpan],
        sight: &AttentionMask,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let qkv = self.heads.split(&self.qkv.apply(rows)?)?;
        let heads = select_rows(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let rows = select_rows(rows, picked)?;
        let rows =
            self.attention_norm.apply(&self.attention_output.apply(&heads)?.f_add_(&rows)?)?;
        let wide = self.intermediate.apply(&rows)?;
        self.output_norm.apply(&self.output.apply(&wide)?.f_add_(&rows)?)
    }
}
