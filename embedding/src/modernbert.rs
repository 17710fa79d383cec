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
    Architecture, Config, ConfigError, Encoder, Input, Places, Shape, expect, parsed, wanted,
};
use crate::attention::{Angles, Heads, Rotary, Sight, Span};
use crate::dense::Dense;
use crate::layers::{Activation, Gated, LayerNorm, Linear, Numbers, signed};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "modernbert",
    names: &["ModernBertModel", "ModernBertForMaskedLM"],
    read: |config| Ok(Box::new(read(config)?)),
};

#[derive(Deserialize)]
struct ModernBert {
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
    sees_all: Vec<bool>,
    #[serde(skip)]
    far_base: f64,
    #[serde(skip)]
    near_base: f64,
}

fn read(config: &Value) -> Result<ModernBert, ConfigError> {
    let kinds = ["full_attention", "sliding_attention"];
    for kind in kinds {
        expect(&config["rope_parameters"][kind], "rope_type", &[json!("default")])?;
    }
    expect(config, "rope_scaling", &[])?;
    let mut read: ModernBert = parsed(config)?;
    let base = |kind: &str, key: &str| {
        config["rope_parameters"][kind]["rope_theta"].as_f64().or_else(|| config[key].as_f64())
    };
    read.far_base = base(kinds[0], "global_rope_theta").unwrap_or(160_000.0);
    // An explicit `null` means the base of the full-attention layers.
    let as_far = config["local_rope_theta"].is_null() && config.get("local_rope_theta").is_some();
    let usual = if as_far { read.far_base } else { 10_000.0 };
    read.near_base = base(kinds[1], "local_rope_theta").unwrap_or(usual);
    let every = config["global_attn_every_n_layers"].as_u64().unwrap_or(3).max(1);
    read.sees_all = (0..read.num_hidden_layers)
        .map(|layer| match config["layer_types"][layer].as_str() {
            Some(kind) if kinds.contains(&kind) => Ok(kind == kinds[0]),
            Some(kind) => Err(ConfigError::Unsupported(format!("layers of type `{kind}`"))),
            None => Ok((layer as u64).is_multiple_of(every)),
        })
        .collect::<Result<_, _>>()?;
    Ok(read)
}

impl Config for ModernBert {
    fn shape(&self) -> Shape {
        Shape {
            width: self.hidden_size,
            positions: self.max_position_embeddings,
            vocabulary: self.vocab_size,
        }
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let prefix = weights.prefix("model.");
        let width = self.hidden_size;
        let words = format!("{prefix}embeddings.tok_embeddings.weight");
        let norm = |name: &str| {
            LayerNorm::with(
                weights,
                &format!("{prefix}{name}"),
                width,
                self.norm_eps,
                self.norm_bias,
            )
        };
        let rotary = |base| Rotary { base, width: signed(width / self.num_attention_heads.max(1)) };
        Ok(Box::new(ModernBertEncoder {
            words: Numbers(weights.get(&words, &[self.vocab_size, width])?),
            norm: norm("embeddings.norm")?,
            layers: self
                .sees_all
                .iter()
                .enumerate()
                .map(|(layer, &sees_all)| self.layer(weights, &prefix, layer, sees_all))
                .collect::<Result<_, _>>()?,
            last_norm: norm("final_norm")?,
            far: rotary(self.far_base),
            near: rotary(self.near_base),
            reach: signed(self.local_attention / 2),
        }))
    }
}

impl ModernBert {
    fn layer(
        &self,
        weights: &Weights,
        prefix: &str,
        layer: usize,
        sees_all: bool,
    ) -> Result<Layer, BoxError> {
        let (width, wide) = (self.hidden_size, self.intermediate_size);
        let named = |part: &str| format!("{prefix}layers.{layer}.{part}");
        let norm = |part: &str| {
            LayerNorm::with(weights, &named(part), width, self.norm_eps, self.norm_bias)
        };
        let linear = |part: &str, inputs, outputs, bias| {
            Linear::with(weights, &named(part), inputs, outputs, bias)
        };
        let dense = |linear| Dense::new(linear, None, weights.products());
        Ok(Layer {
            sees_all,
            // The embeddings are already normalised.
            attention_norm: if layer == 0 { None } else { Some(norm("attn_norm")?) },
            qkv: dense(linear("attn.Wqkv", width, 3 * width, self.attention_bias)?)?,
            attended: dense(linear("attn.Wo", width, width, self.attention_bias)?)?,
            norm: norm("mlp_norm")?,
            gated: Gated::new(
                dense(linear("mlp.Wi", width, 2 * wide, self.mlp_bias)?)?,
                Activation::named(&self.hidden_activation)?,
                dense(linear("mlp.Wo", wide, width, self.mlp_bias)?)?,
                wide,
            ),
            heads: Heads::sharing(width, self.num_attention_heads)?,
        })
    }
}

#[derive(Clone)]
struct ModernBertEncoder {
    words: Numbers,
    norm: LayerNorm,
    layers: Vec<Layer>,
    last_norm: LayerNorm,
    far: Rotary,
    near: Rotary,
    /// Tokens that sliding-window attention reaches on each side.
    reach: i64,
}

#[derive(Clone)]
struct Layer {
    sees_all: bool,
    attention_norm: Option<LayerNorm>,
    qkv: Dense,
    attended: Dense,
    norm: LayerNorm,
    gated: Gated,
    heads: Heads,
}

impl Encoder for ModernBertEncoder {
    fn share(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn places(&self) -> Places {
        Places::Counted
    }

    fn forward(&self, input: &Input) -> Result<Tensor, TchError> {
        let Input { ids, places, spans, .. } = input;
        let mut rows = self.norm.apply(&self.words.0.f_index_select(0, ids)?)?;
        let far = (self.far.angles(places)?, Sight::all(spans));
        let near = Sight::near(spans, self.reach, rows.device())?;
        let near = (self.near.angles(places)?, near);
        for (layer, picked) in input.through(&self.layers) {
            let (angles, sight) = if layer.sees_all { &far } else { &near };
            rows = layer.forward(&rows, angles, spans, sight, picked)?;
        }
        self.last_norm.apply(&rows)
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
        let qkv = match &self.attention_norm {
            Some(norm) => self.qkv.apply(&norm.apply(rows)?)?,
            None => self.qkv.apply(rows)?,
        };
        let [query, key, value] = self.heads.split(&qkv)?;
        let qkv = [angles.turn(&query)?, angles.turn(&key)?, value];
        let heads = wanted(&self.heads.attend(&qkv, spans, sight)?, picked)?;
        let mut rows = wanted(rows, picked)?.f_add_(&self.attended.apply(&heads)?)?;
        let gated = self.gated.apply(&self.norm.apply(&rows)?)?;
        rows.f_add_(&gated)
    }
}
