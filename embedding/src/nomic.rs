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
    Architecture, Config, ConfigError, Encoder, Input, Places, Shape, expect, parsed, wanted,
};
use crate::attention::{Angles, Heads, Rotary, Sight, Span};
use crate::dense::Dense;
use crate::layers::{Activation, Gated, LayerNorm, Linear, Numbers, signed};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "nomic_bert",
    names: &["NomicBertModel", "NomicBertForPreTraining"],
    read: |config| Ok(Box::new(read(config)?)),
};

/// Default of the training length in tokens.
const USUALLY_TRAINED: usize = 2048;

#[derive(Deserialize)]
struct Nomic {
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

impl Nomic {
    fn base(&self) -> f64 {
        let newer = self.rope_parameters.as_ref().map(|rope| rope.rope_theta);
        self.rotary_emb_base.or(newer).unwrap_or(1000.0)
    }
}

fn read(config: &Value) -> Result<Nomic, ConfigError> {
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
        expect(config, key, supported)?;
    }
    expect(&config["rope_parameters"], "rope_type", &[json!("default")])?;
    let mut read: Nomic = parsed(config)?;
    // Scaling applies beyond the training length.
    if config["rotary_scaling_factor"].as_f64().is_some_and(|factor| factor != 0.0) {
        let trained =
            config["max_trained_positions"].as_u64().and_then(|most| most.try_into().ok());
        read.n_positions = read.n_positions.min(trained.unwrap_or(USUALLY_TRAINED));
    }
    Ok(read)
}

impl Config for Nomic {
    fn shape(&self) -> Shape {
        Shape { width: self.n_embd, positions: self.n_positions, vocabulary: self.vocab_size }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("bert.");
        let width = self.n_embd;
        let table =
            |name: &str, rows| weights.get(&format!("{prefix}embeddings.{name}"), &[rows, width]);
        let types = table("token_type_embeddings.weight", self.type_vocab_size)?;
        let words = table("word_embeddings.weight", self.vocab_size)?;
        let heads = Heads::sharing(width, self.n_head)?;
        let norm = |name: &str| LayerNorm::read(weights, name, width, self.layer_norm_epsilon);
        let layer = |layer: usize| -> Result<_, BoxError> {
            let named = |part: &str| format!("{prefix}encoder.layers.{layer}.{part}");
            let linear = |part: &str, inputs, outputs| {
                Linear::with(weights, &named(part), inputs, outputs, false)
            };
            let dense = |linear| Dense::new(linear, None, weights.products());
            let wide = self.n_inner;
            let halves = Linear::fused(&[
                linear("mlp.fc12", width, wide)?,
                linear("mlp.fc11", width, wide)?,
            ])?;
            Ok(Layer {
                qkv: dense(linear("attn.Wqkv", width, 3 * width)?)?,
                attended: dense(linear("attn.out_proj", width, width)?)?,
                attended_norm: norm(&named("norm1"))?,
                gated: Gated::new(
                    dense(halves)?,
                    Activation::Silu,
                    dense(linear("mlp.fc2", wide, width)?)?,
                    wide,
                ),
                norm: norm(&named("norm2"))?,
                heads,
            })
        };
        Ok(Box::new(NomicEncoder {
            words: Numbers(words),
            kind: Numbers(types.f_get(0)?),
            norm: norm(&format!("{prefix}emb_ln"))?,
            layers: (0..self.n_layer).map(layer).collect::<Result<_, _>>()?,
            rotary: Rotary { base: self.base(), width: signed(width / self.n_head) },
        }))
    }
}

#[derive(Clone)]
struct NomicEncoder {
    words: Numbers,
    /// Embedding of token type 0, the only type that embedding uses.
    kind: Numbers,
    norm: LayerNorm,
    layers: Vec<Layer>,
    rotary: Rotary,
}

#[derive(Clone)]
struct Layer {
    qkv: Dense,
    attended: Dense,
    attended_norm: LayerNorm,
    gated: Gated,
    norm: LayerNorm,
    heads: Heads,
}

impl Encoder for NomicEncoder {
    fn share(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn places(&self) -> Places {
        Places::Counted
    }

    fn forward(&self, input: &Input) -> Result<Tensor, TchError> {
        let words = self.words.0.f_index_select(0, &input.ids)?;
        let mut rows = self.norm.apply(&words.f_add(&self.kind.0)?)?;
        let angles = self.rotary.angles(&input.places)?;
        let sight = Sight::all(&input.spans);
        for (layer, picked) in input.through(&self.layers) {
            rows = layer.forward(&rows, &angles, &input.spans, &sight, picked)?;
        }
        Ok(rows)
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
        let [query, key, value] = self.heads.split(&self.qkv.apply(rows)?)?;
        let qkv = [angles.turn(&query)?, angles.turn(&key)?, value];
        let heads = wanted(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let rows = wanted(rows, picked)?;
        let rows = self.attended_norm.apply(&self.attended.apply(&heads)?.f_add_(&rows)?)?;
        self.norm.apply(&self.gated.apply(&rows)?.f_add_(&rows)?)
    }
}
