//! Qwen3 (Yang et al. 2025, <https://arxiv.org/abs/2505.09388>): Qwen3-Embedding.
//!
//! A decoder with causal attention, so the last token has attended to the whole text. Grouped-query
//! attention; per-head RMS norms on queries and keys before the rotary embedding;
//! pre-normalisation; SwiGLU.

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
use crate::layers::{GatedMlp, RmsNorm, to_i64};
use crate::linear::{Activation, Linear, SharedTensor};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "qwen3",
    names: &["Qwen3ForCausalLM", "Qwen3Model"],
    read: |config| Ok(Box::new(read(config)?)),
};

#[derive(Deserialize)]
struct Qwen3Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
    #[serde(skip)]
    base: f64,
}

fn read(config: &Value) -> Result<Qwen3Config, ConfigError> {
    require_one_of(config, "use_sliding_window", &[json!(false)])?;
    require_one_of(config, "rope_scaling", &[])?;
    require_one_of(&config["rope_parameters"], "rope_type", &[json!("default")])?;
    let mut read: Qwen3Config = deserialize_part(config)?;
    // `rope_parameters` is the location since transformers 5.
    let base = config["rope_theta"].as_f64();
    read.base =
        base.or_else(|| config["rope_parameters"]["rope_theta"].as_f64()).unwrap_or(10_000.0);
    let (queries, keys) = (read.num_attention_heads, read.num_key_value_heads);
    if keys == 0 || !queries.is_multiple_of(keys) {
        let what = format!("{queries} attention heads with {keys} key heads");
        return Err(ConfigError::Unsupported(what));
    }
    Ok(read)
}

impl Config for Qwen3Config {
    fn shape(&self) -> ModelShape {
        ModelShape {
            hidden_size: self.hidden_size,
            max_positions: self.max_position_embeddings,
            vocab_size: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("model.");
        let words = format!("{prefix}embed_tokens.weight");
        let width = self.hidden_size;
        Ok(Box::new(Qwen3Encoder {
            word_embeddings: SharedTensor(weights.tensor(&words, &[self.vocab_size, width])?),
            layers: (0..self.num_hidden_layers)
                .map(|layer| self.layer(weights, &format!("{prefix}layers.{layer}")))
                .collect::<Result<_, _>>()?,
            norm: RmsNorm::read(weights, &format!("{prefix}norm"), width, self.rms_norm_eps)?,
            rotary: RotaryParams { theta: self.base, head_dim: to_i64(self.head_dim) },
        }))
    }
}

impl Qwen3Config {
    fn layer(&self, weights: &Weights, name: &str) -> Result<Qwen3Layer, BoxError> {
        let (width, wide, head) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let queries = self.num_attention_heads * head;
        let keys = self.num_key_value_heads * head;
        let norm = |part: &str, width| {
            RmsNorm::read(weights, &format!("{name}.{part}"), width, self.rms_norm_eps)
        };
        let linear = |part: &str, inputs, outputs, bias| {
            Linear::read_with_bias(weights, &format!("{name}.{part}"), inputs, outputs, bias)
        };
        let dense = |linear| Dense::new(linear, None, weights.matmul_backend());
        let bias = self.attention_bias;
        let qkv = [
            linear("self_attn.q_proj", width, queries, bias)?,
            linear("self_attn.k_proj", width, keys, bias)?,
            linear("self_attn.v_proj", width, keys, bias)?,
        ];
        let halves = [
            linear("mlp.gate_proj", width, wide, false)?,
            linear("mlp.up_proj", width, wide, false)?,
        ];
        Ok(Qwen3Layer {
            attention_norm: norm("input_layernorm", width)?,
            qkv: dense(Linear::concat_outputs(&qkv)?)?,
            query_norm: norm("self_attn.q_norm", head)?,
            key_norm: norm("self_attn.k_norm", head)?,
            attention_output: dense(linear("self_attn.o_proj", queries, width, bias)?)?,
            mlp_norm: norm("post_attention_layernorm", width)?,
            mlp: GatedMlp::new(
                dense(Linear::concat_outputs(&halves)?)?,
                Activation::from_name(&self.hidden_act)?,
                dense(linear("mlp.down_proj", wide, width, false)?)?,
                wide,
            ),
            heads: HeadLayout {
                query_heads: to_i64(self.num_attention_heads),
                kv_heads: to_i64(self.num_key_value_heads),
                head_dim: to_i64(head),
            },
        })
    }
}

#[derive(Clone)]
struct Qwen3Encoder {
    word_embeddings: SharedTensor,
    layers: Vec<Qwen3Layer>,
    norm: RmsNorm,
    rotary: RotaryParams,
}

#[derive(Clone)]
struct Qwen3Layer {
    attention_norm: RmsNorm,
    qkv: Dense,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    attention_output: Dense,
    mlp_norm: RmsNorm,
    mlp: GatedMlp,
    heads: HeadLayout,
}

impl Encoder for Qwen3Encoder {
    fn clone_shared(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn position_ids(&self) -> PositionIds {
        PositionIds::FromZero
    }

    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError> {
        let mut rows = self.word_embeddings.0.f_index_select(0, &input.ids)?;
        let angles = self.rotary.embedding_for(&input.position_ids)?;
        let sight = AttentionMask::causal(&input.spans);
        for (layer, picked) in input.layers_with_rows(&self.layers) {
            rows = layer.forward(&rows, &angles, &input.spans, &sight, picked)?;
        }
        self.norm.apply(&rows)
    }
}

impl Qwen3Layer {
    fn forward(
        &self,
        rows: &Tensor,
        angles: &RotaryEmbedding,
        spans: &[GroupSpan],
        sight: &AttentionMask,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let qkv = self.qkv.apply(&self.attention_norm.apply(rows)?)?;
        let [query, key, value] = self.heads.split(&qkv)?;
        let query = angles.apply(&self.query_norm.apply(&query)?)?;
        let key = angles.apply(&self.key_norm.apply(&key)?)?;
        let heads = select_rows(&self.heads.attend(&[query, key, value], spans, sight)?, picked)?;
        let mut rows = select_rows(rows, picked)?.f_add_(&self.attention_output.apply(&heads)?)?;
        let gated = self.mlp.apply(&self.mlp_norm.apply(&rows)?)?;
        rows.f_add_(&gated)
    }
}
