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
    Architecture, Config, ConfigError, Encoder, Input, Places, Shape, expect, parsed, wanted,
};
use crate::attention::{Angles, Heads, Rotary, Sight, Span};
use crate::dense::Dense;
use crate::layers::{Activation, Gated, Linear, Numbers, RmsNorm, signed};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "qwen3",
    names: &["Qwen3ForCausalLM", "Qwen3Model"],
    read: |config| Ok(Box::new(read(config)?)),
};

#[derive(Deserialize)]
struct Qwen3 {
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

fn read(config: &Value) -> Result<Qwen3, ConfigError> {
    expect(config, "use_sliding_window", &[json!(false)])?;
    expect(config, "rope_scaling", &[])?;
    expect(&config["rope_parameters"], "rope_type", &[json!("default")])?;
    let mut read: Qwen3 = parsed(config)?;
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

impl Config for Qwen3 {
    fn shape(&self) -> Shape {
        Shape {
            width: self.hidden_size,
            positions: self.max_position_embeddings,
            vocabulary: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("model.");
        let words = format!("{prefix}embed_tokens.weight");
        let width = self.hidden_size;
        Ok(Box::new(Qwen3Encoder {
            words: Numbers(weights.get(&words, &[self.vocab_size, width])?),
            layers: (0..self.num_hidden_layers)
                .map(|layer| self.layer(weights, &format!("{prefix}layers.{layer}")))
                .collect::<Result<_, _>>()?,
            norm: RmsNorm::read(weights, &format!("{prefix}norm"), width, self.rms_norm_eps)?,
            rotary: Rotary { base: self.base, width: signed(self.head_dim) },
        }))
    }
}

impl Qwen3 {
    fn layer(&self, weights: &Weights, name: &str) -> Result<Layer, BoxError> {
        let (width, wide, head) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let queries = self.num_attention_heads * head;
        let keys = self.num_key_value_heads * head;
        let norm = |part: &str, width| {
            RmsNorm::read(weights, &format!("{name}.{part}"), width, self.rms_norm_eps)
        };
        let linear = |part: &str, inputs, outputs, bias| {
            Linear::with(weights, &format!("{name}.{part}"), inputs, outputs, bias)
        };
        let dense = |linear| Dense::new(linear, None, weights.products());
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
        Ok(Layer {
            attention_norm: norm("input_layernorm", width)?,
            qkv: dense(Linear::fused(&qkv)?)?,
            query_norm: norm("self_attn.q_norm", head)?,
            key_norm: norm("self_attn.k_norm", head)?,
            attended: dense(linear("self_attn.o_proj", queries, width, bias)?)?,
            norm: norm("post_attention_layernorm", width)?,
            gated: Gated::new(
                dense(Linear::fused(&halves)?)?,
                Activation::named(&self.hidden_act)?,
                dense(linear("mlp.down_proj", wide, width, false)?)?,
                wide,
            ),
            heads: Heads {
                count: signed(self.num_attention_heads),
                keys: signed(self.num_key_value_heads),
                width: signed(head),
            },
        })
    }
}

#[derive(Clone)]
struct Qwen3Encoder {
    words: Numbers,
    layers: Vec<Layer>,
    norm: RmsNorm,
    rotary: Rotary,
}

#[derive(Clone)]
struct Layer {
    attention_norm: RmsNorm,
    qkv: Dense,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    attended: Dense,
    norm: RmsNorm,
    gated: Gated,
    heads: Heads,
}

impl Encoder for Qwen3Encoder {
    fn share(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn places(&self) -> Places {
        Places::Counted
    }

    fn forward(&self, input: &Input) -> Result<Tensor, TchError> {
        let mut rows = self.words.0.f_index_select(0, &input.ids)?;
        let angles = self.rotary.angles(&input.places)?;
        let sight = Sight::back(&input.spans);
        for (layer, picked) in input.through(&self.layers) {
            rows = layer.forward(&rows, &angles, &input.spans, &sight, picked)?;
        }
        self.norm.apply(&rows)
    }
}

impl Layer {
    fn forward(
        &self,
        rows: &Tensor,
        angles: &Angles,
        spans: &[Span],
        sight: &Sight,
        picked: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let qkv = self.qkv.apply(&self.attention_norm.apply(rows)?)?;
        let [query, key, value] = self.heads.split(&qkv)?;
        let query = angles.turn(&self.query_norm.apply(&query)?)?;
        let key = angles.turn(&self.key_norm.apply(&key)?)?;
        let heads = wanted(&self.heads.attend(&[query, key, value], spans, sight)?, picked)?;
        let mut rows = wanted(rows, picked)?.f_add_(&self.attended.apply(&heads)?)?;
        let gated = self.gated.apply(&self.norm.apply(&rows)?)?;
        rows.f_add_(&gated)
    }
}
