//! ModernBERT (Warner et al. 2024, <https://arxiv.org/abs/2412.13663>): gte-modernbert and others.
//!
//! Rotary embeddings, GeGLU, pre-normalisation, and full attention in every third layer with
//! sliding-window attention in the others. The configuration distinguishes the layers by
//! `global_attn_every_n_layers` and two rotary bases, or since transformers 5 by `layer_types` and
//! `rope_parameters`.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{TchError, Tensor};

use crate::architecture::{
    Architecture, Config, ConfigError, Encoder, EncoderInput, ModelShape, PositionIds,
    deserialize_part, require_one_of, select_rows,
};
use crate::attention::{AttentionMask, GroupSpan, HeadLayout, RotaryEmbedding, RotaryParams};
use crate::cross_encoder::{
    ClassifierHead, ClassifierLayer, CrossEncoderArchitecture, HeadActivation,
};
use crate::dense::Dense;
use crate::layers::{GatedMlp, LayerNorm, to_i64};
use crate::linear::{Activation, Linear, SharedTensor};
use crate::modules::Pooling;
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "modernbert",
    names: &["ModernBertModel", "ModernBertForMaskedLM"],
    read: |config| Ok(Box::new(read(config)?)),
};

pub(crate) const CROSS_ENCODER: CrossEncoderArchitecture = CrossEncoderArchitecture {
    name: "ModernBertForSequenceClassification",
    has_token_types: false,
    encoder: |config, _| Ok(Box::new(read(config)?)),
    head: |config| {
        let pooling = match config["classifier_pooling"].as_str().unwrap_or("cls") {
            "cls" => Pooling::Cls,
            "mean" => Pooling::Mean,
            other => return Err(ConfigError::Unsupported(format!("pooling by `{other}`"))),
        };
        let read: HeadConfig = deserialize_part(config)?;
        let named = &read.classifier_activation;
        let activation = Activation::from_name(named)
            .map_err(|_| ConfigError::Unsupported(format!("`classifier_activation: {named}`")))?;
        Ok(ClassifierHead {
            pooling,
            layers: vec![
                ClassifierLayer::Dense {
                    name: "head.dense",
                    outputs: None,
                    bias: read.classifier_bias,
                    activation: Some(HeadActivation::Other(activation)),
                },
                ClassifierLayer::Norm {
                    name: "head.norm",
                    eps: read.norm_eps,
                    bias: read.norm_bias,
                },
                ClassifierLayer::dense("classifier", Some(1), None),
            ],
        })
    },
};

/// The keys of `config.json` that define the classification head.
#[derive(Deserialize)]
struct HeadConfig {
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    classifier_bias: bool,
    #[serde(default = "usual_activation")]
    classifier_activation: String,
}

fn usual_activation() -> String {
    "gelu".to_owned()
}

#[derive(Deserialize)]
struct ModernBertConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_activation: String,
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Window size of sliding-window layers in tokens, half of it on each side.
    local_attention: usize,
    /// Per layer: `true` for full attention.
    #[serde(skip)]
    global_layers: Vec<bool>,
    #[serde(skip)]
    global_rope_theta: f64,
    #[serde(skip)]
    local_rope_theta: f64,
}

fn read(config: &Value) -> Result<ModernBertConfig, ConfigError> {
    let kinds = ["full_attention", "sliding_attention"];
    for kind in kinds {
        require_one_of(&config["rope_parameters"][kind], "rope_type", &[json!("default")])?;
    }
    require_one_of(config, "rope_scaling", &[])?;
    let mut read: ModernBertConfig = deserialize_part(config)?;
    let base = |kind: &str, key: &str| {
        config["rope_parameters"][kind]["rope_theta"].as_f64().or_else(|| config[key].as_f64())
    };
    read.global_rope_theta = base(kinds[0], "global_rope_theta").unwrap_or(160_000.0);
    // An explicit `null` means the base of the full-attention layers.
    let as_far = config["local_rope_theta"].is_null() && config.get("local_rope_theta").is_some();
    let usual = if as_far { read.global_rope_theta } else { 10_000.0 };
    read.local_rope_theta = base(kinds[1], "local_rope_theta").unwrap_or(usual);
    let every = config["global_attn_every_n_layers"].as_u64().unwrap_or(3).max(1);
    read.global_layers = (0..read.num_hidden_layers)
        .map(|layer| match config["layer_types"][layer].as_str() {
            Some(kind) if kinds.contains(&kind) => Ok(kind == kinds[0]),
            Some(kind) => Err(ConfigError::Unsupported(format!("layers of type `{kind}`"))),
            None => Ok((layer as u64).is_multiple_of(every)),
        })
        .collect::<Result<_, _>>()?;
    Ok(read)
}

impl Config for ModernBertConfig {
    fn shape(&self) -> ModelShape {
        ModelShape {
            hidden_size: self.hidden_size,
            max_positions: self.max_position_embeddings,
            vocab_size: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("model.");
        let width = self.hidden_size;
        let words = format!("{prefix}embeddings.tok_embeddings.weight");
        let norm = |name: &str| {
            LayerNorm::read_with_bias(
                weights,
                &format!("{prefix}{name}"),
                width,
                self.norm_eps,
                self.norm_bias,
            )
        };
        let rotary = |base| RotaryParams {
            theta: base,
            head_dim: to_i64(width / self.num_attention_heads.max(1)),
        };
        Ok(Box::new(ModernBertEncoder {
            word_embeddings: SharedTensor(weights.tensor(&words, &[self.vocab_size, width])?),
            norm: norm("embeddings.norm")?,
            layers: self
                .global_layers
                .iter()
                .enumerate()
                .map(|(layer, &sees_all)| self.layer(weights, &prefix, layer, sees_all))
                .collect::<Result<_, _>>()?,
            final_norm: norm("final_norm")?,
            global_rotary: rotary(self.global_rope_theta),
            local_rotary: rotary(self.local_rope_theta),
            local_radius: to_i64(self.local_attention / 2),
        }))
    }
}

impl ModernBertConfig {
    fn layer(
        &self,
        weights: &Weights,
        prefix: &str,
        layer: usize,
        sees_all: bool,
    ) -> Result<ModernBertLayer, BoxError> {
        let (width, wide) = (self.hidden_size, self.intermediate_size);
        let named = |part: &str| format!("{prefix}layers.{layer}.{part}");
        let norm = |part: &str| {
            LayerNorm::read_with_bias(weights, &named(part), width, self.norm_eps, self.norm_bias)
        };
        let linear = |part: &str, inputs, outputs, bias| {
            Linear::read_with_bias(weights, &named(part), inputs, outputs, bias)
        };
        let dense = |linear| Dense::new(linear, None, weights.matmul_backend());
        Ok(ModernBertLayer {
            is_global: sees_all,
            // The embeddings are already normalised.
            attention_norm: if layer == 0 { None } else { Some(norm("attn_norm")?) },
            qkv: dense(linear("attn.Wqkv", width, 3 * width, self.attention_bias)?)?,
            attention_output: dense(linear("attn.Wo", width, width, self.attention_bias)?)?,
            mlp_norm: norm("mlp_norm")?,
            mlp: GatedMlp::new(
                dense(linear("mlp.Wi", width, 2 * wide, self.mlp_bias)?)?,
                Activation::from_name(&self.hidden_activation)?,
                dense(linear("mlp.Wo", wide, width, self.mlp_bias)?)?,
                wide,
            ),
            heads: HeadLayout::new(width, self.num_attention_heads)?,
        })
    }
}

#[derive(Clone)]
struct ModernBertEncoder {
    word_embeddings: SharedTensor,
    norm: LayerNorm,
    layers: Vec<ModernBertLayer>,
    final_norm: LayerNorm,
    global_rotary: RotaryParams,
    local_rotary: RotaryParams,
    /// Tokens that sliding-window attention reaches on each side.
    local_radius: i64,
}

#[derive(Clone)]
struct ModernBertLayer {
    is_global: bool,
    attention_norm: Option<LayerNorm>,
    qkv: Dense,
    attention_output: Dense,
    mlp_norm: LayerNorm,
    mlp: GatedMlp,
    heads: HeadLayout,
}

impl Encoder for ModernBertEncoder {
    fn clone_shared(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn position_ids(&self) -> PositionIds {
        PositionIds::FromZero
    }

    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError> {
        let EncoderInput { ids, position_ids: places, spans, .. } = input;
        let mut rows = self.norm.apply(&self.word_embeddings.0.f_index_select(0, ids)?)?;
        let far = (self.global_rotary.embedding_for(places)?, AttentionMask::full(spans));
        let near = AttentionMask::sliding_window(spans, self.local_radius, rows.device())?;
        let near = (self.local_rotary.embedding_for(places)?, near);
        for (layer, picked) in input.layers_with_rows(&self.layers) {
            let (angles, sight) = if layer.is_global { &far } else { &near };
            rows = layer.forward(&rows, angles, spans, sight, picked)?;
        }
        self.final_norm.apply(&rows)
    }
}

impl ModernBertLayer {
    fn forward(
        &self,
        rows: &Tensor,
        angles: &RotaryEmbedding,
        spans: &[GroupSpan],
        sight: &AttentionMask,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let qkv = match &self.attention_norm {
            Some(norm) => self.qkv.apply(&norm.apply(rows)?)?,
            None => self.qkv.apply(rows)?,
        };
        let [query, key, value] = self.heads.split(&qkv)?;
        let qkv = [angles.apply(&query)?, angles.apply(&key)?, value];
        let heads = select_rows(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let mut rows = select_rows(rows, picked)?.f_add_(&self.attention_output.apply(&heads)?)?;
        let gated = self.mlp.apply(&self.mlp_norm.apply(&rows)?)?;
        rows.f_add_(&gated)
    }
}
