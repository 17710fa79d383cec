//! NomicBERT (Nussbaum et al. 2024, <https://arxiv.org/abs/2402.01613>): nomic-embed-text.
//!
//! BERT with rotary embeddings, SwiGLU and no biases except in norms. The configuration uses
//! GPT-2's key names, or since transformers 5 BERT's. Rotary scaling is not implemented: if the
//! configuration requires it beyond the training length, texts are limited to that length.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{TchError, Tensor};

use crate::architecture::{
    Architecture, Config, ConfigError, Encoder, EncoderInput, ModelShape, PositionIds,
    deserialize_part, require_one_of, select_rows,
};
use crate::attention::{AttentionMask, GroupSpan, HeadLayout, RotaryEmbedding, RotaryParams};
use crate::dense::Dense;
use crate::layers::{GatedMlp, LayerNorm, to_i64};
use crate::linear::{Activation, Linear, SharedTensor};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "nomic_bert",
    names: &["NomicBertModel", "NomicBertForPreTraining"],
    read: |config| Ok(Box::new(read(config)?)),
};

/// Default of the training length in tokens.
const DEFAULT_TRAINED_LENGTH: usize = 2048;

#[derive(Deserialize)]
struct NomicConfig {
    vocab_size: usize,
    #[serde(alias = "hidden_size")]
    n_embd: usize,
    #[serde(alias = "intermediate_size")]
    n_inner: usize,
    #[serde(alias = "num_hidden_layers")]
    n_layer: usize,
    #[serde(alias = "num_attention_heads")]
    n_head: usize,
    #[serde(alias = "max_position_embeddings")]
    n_positions: usize,
    type_vocab_size: usize,
    #[serde(alias = "layer_norm_eps")]
    layer_norm_epsilon: f64,
    #[serde(default)]
    rotary_emb_base: Option<f64>,
    #[serde(default)]
    rope_parameters: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: f64,
}

impl NomicConfig {
    fn rope_theta(&self) -> f64 {
        let newer = self.rope_parameters.as_ref().map(|rope| rope.rope_theta);
        self.rotary_emb_base.or(newer).unwrap_or(1000.0)
    }
}

fn read(config: &Value) -> Result<NomicConfig, ConfigError> {
    let no = &[json!(false)][..];
    for (key, supported) in [
        ("activation_function", &[json!("swiglu")][..]),
        ("causal", no),
        ("prenorm", no),
        ("use_rms_norm", no),
        ("qkv_proj_bias", no),
        ("mlp_fc1_bias", no),
        ("mlp_fc2_bias", no),
        ("rotary_emb_fraction", &[json!(1.0), json!(1)]),
        ("rotary_emb_interleaved", no),
        ("rotary_emb_scale_base", &[]),
        ("num_experts", &[json!(0)]),
    ] {
        require_one_of(config, key, supported)?;
    }
    require_one_of(&config["rope_parameters"], "rope_type", &[json!("default")])?;
    let mut read: NomicConfig = deserialize_part(config)?;
    // Scaling applies beyond the training length.
    if config["rotary_scaling_factor"].as_f64().is_some_and(|factor| factor != 0.0) {
        let trained =
            config["max_trained_positions"].as_u64().and_then(|most| most.try_into().ok());
        read.n_positions = read.n_positions.min(trained.unwrap_or(DEFAULT_TRAINED_LENGTH));
    }
    Ok(read)
}

impl Config for NomicConfig {
    fn shape(&self) -> ModelShape {
        ModelShape {
            hidden_size: self.n_embd,
            max_positions: self.n_positions,
            vocab_size: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("bert.");
        let width = self.n_embd;
        let table = |name: &str, rows| {
            weights.tensor(&format!("{prefix}embeddings.{name}"), &[rows, width])
        };
        let types = table("token_type_embeddings.weight", self.type_vocab_size)?;
        let words = table("word_embeddings.weight", self.vocab_size)?;
        let heads = HeadLayout::new(width, self.n_head)?;
        let norm = |name: &str| LayerNorm::read(weights, name, width, self.layer_norm_epsilon);
        let layer = |layer: usize| -> Result<_, BoxError> {
            let named = |part: &str| format!("{prefix}encoder.layers.{layer}.{part}");
            let linear = |part: &str, inputs, outputs| {
                Linear::read_with_bias(weights, &named(part), inputs, outputs, false)
            };
            let dense = |linear| Dense::new(linear, None, weights.matmul_backend());
            let wide = self.n_inner;
            let halves = Linear::concat_outputs(&[
                linear("mlp.fc12", width, wide)?,
                linear("mlp.fc11", width, wide)?,
            ])?;
            Ok(NomicLayer {
                qkv: dense(linear("attn.Wqkv", width, 3 * width)?)?,
                attention_output: dense(linear("attn.out_proj", width, width)?)?,
                attention_norm: norm(&named("norm1"))?,
                mlp: GatedMlp::new(
                    dense(halves)?,
                    Activation::Silu,
                    dense(linear("mlp.fc2", wide, width)?)?,
                    wide,
                ),
                output_norm: norm(&named("norm2"))?,
                heads,
            })
        };
        Ok(Box::new(NomicEncoder {
            word_embeddings: SharedTensor(words),
            token_type_embedding: SharedTensor(types.f_get(0)?),
            norm: norm(&format!("{prefix}emb_ln"))?,
            layers: (0..self.n_layer).map(layer).collect::<Result<_, _>>()?,
            rotary: RotaryParams {
                theta: self.rope_theta(),
                head_dim: to_i64(width / self.n_head),
            },
        }))
    }
}

#[derive(Clone)]
struct NomicEncoder {
    word_embeddings: SharedTensor,
    /// Embedding of token type 0, the only type that embedding uses.
    token_type_embedding: SharedTensor,
    norm: LayerNorm,
    layers: Vec<NomicLayer>,
    rotary: RotaryParams,
}

#[derive(Clone)]
struct NomicLayer {
    qkv: Dense,
    attention_output: Dense,
    attention_norm: LayerNorm,
    mlp: GatedMlp,
    output_norm: LayerNorm,
    heads: HeadLayout,
}

impl Encoder for NomicEncoder {
    fn clone_shared(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn position_ids(&self) -> PositionIds {
        PositionIds::FromZero
    }

    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError> {
        let words = self.word_embeddings.0.f_index_select(0, &input.ids)?;
        let mut rows = self.norm.apply(&words.f_add(&self.token_type_embedding.0)?)?;
        let angles = self.rotary.embedding_for(&input.position_ids)?;
        let sight = AttentionMask::full(&input.spans);
        for (layer, picked) in input.layers_with_rows(&self.layers) {
            rows = layer.forward(&rows, &angles, &input.spans, &sight, picked)?;
        }
        Ok(rows)
    }
}

impl NomicLayer {
    fn forward(
        &self,
        rows: &Tensor,
        angles: &RotaryEmbedding,
        spans: &[GroupSpan],
        sight: &AttentionMask,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let [query, key, value] = self.heads.split(&self.qkv.apply(rows)?)?;
        let qkv = [angles.apply(&query)?, angles.apply(&key)?, value];
        let heads = select_rows(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let rows = select_rows(rows, picked)?;
        let rows =
            self.attention_norm.apply(&self.attention_output.apply(&heads)?.f_add_(&rows)?)?;
        self.output_norm.apply(&self.mlp.apply(&rows)?.f_add_(&rows)?)
    }
}
