//! MPNet (Song et al. 2020, <https://arxiv.org/abs/2004.09297>): all-mpnet-base and related models.
//!
//! BERT's layers without token types, plus an attention bias by the distance of two tokens, shared
//! by all layers. Distances are bucketed as in T5 (Raffel et al. 2019,
//! <https://arxiv.org/abs/1910.10683>).

use pipeline::BoxError;
use serde::Deserialize;
use tch::{Kind, TchError, Tensor};

use crate::architecture::{Architecture, Config, Encoder, Input, Places, Shape, parsed};
use crate::attention::Sight;
use crate::bert::{self, Bert, Block, Names};
use crate::layers::{LayerNorm, Numbers};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "mpnet",
    names: &["MPNetModel", "MPNetForMaskedLM"],
    read: |config| {
        let Buckets { relative_attention_num_buckets: buckets } = parsed(config)?;
        Ok(Box::new(Mpnet { bert: bert::read(config)?, buckets }))
    },
};

/// Position ids start after this id; MPNet ignores the padding id of the configuration.
const PADDING: u32 = 1;

/// All distances from this one on share one bucket.
const FAR: f64 = 128.0;

#[derive(Deserialize)]
struct Buckets {
    #[serde(default = "usual_buckets")]
    relative_attention_num_buckets: usize,
}

fn usual_buckets() -> usize {
    32
}

struct Mpnet {
    bert: Bert,
    buckets: usize,
}

const NAMES: Names = Names {
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    attended: "attention.attn.o",
    attended_norm: "attention.LayerNorm",
};

impl Config for Mpnet {
    fn shape(&self) -> Shape {
        self.bert.shape().behind(PADDING)
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let config = &self.bert;
        let prefix = weights.prefix("mpnet.");
        let width = config.hidden_size;
        let named = |name: &str| format!("{prefix}{name}");
        let table = |name: &str, rows| weights.get(&named(name), &[rows, width]).map(Numbers);
        Ok(Box::new(MpnetEncoder {
            words: table("embeddings.word_embeddings.weight", config.vocab_size)?,
            positions: table(
                "embeddings.position_embeddings.weight",
                config.max_position_embeddings,
            )?,
            norm: LayerNorm::read(
                weights,
                &named("embeddings.LayerNorm"),
                width,
                config.layer_norm_eps,
            )?,
            bias: Numbers(weights.get(
                &named("encoder.relative_attention_bias.weight"),
                &[self.buckets, config.num_attention_heads],
            )?),
            buckets: i64::try_from(self.buckets)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| {
                    Block::read(weights, &named(&format!("encoder.layer.{layer}")), config, &NAMES)
                })
                .collect::<Result<_, _>>()?,
        }))
    }
}

#[derive(Clone)]
struct MpnetEncoder {
    words: Numbers,
    positions: Numbers,
    norm: LayerNorm,
    /// `buckets × heads`
    bias: Numbers,
    buckets: i64,
    layers: Vec<Block>,
}

impl MpnetEncoder {
    /// Attention bias, `heads × length × length`, by token distance: half of the buckets are for
    /// tokens before, half for tokens after. In each half, the first half of the buckets holds one
    /// distance each, the rest logarithmic ranges.
    fn bias(&self, distances: &Tensor) -> Result<Tensor, TchError> {
        let side = self.buckets / 2;
        let exact = side / 2;
        // The order of operations matters: another order rounds some distances into the next
        // bucket.
        let behind = distances.f_gt(0)?.f_to_kind(Kind::Int64)?.f_mul_scalar(side)?;
        let far = distances.f_abs()?;
        let wide = far
            .f_to_kind(Kind::Float)?
            .f_div_scalar(exact)?
            .f_log()?
            .f_div_scalar((FAR / exact as f64).ln())?
            .f_mul_scalar(side - exact)?
            .f_clamp_min(0)?
            .f_to_kind(Kind::Int64)?
            .f_add_scalar(exact)?
            .f_clamp_max(side - 1)?;
        let bucket = far.f_where_self(&far.f_lt(exact)?, &wide)?.f_add(&behind)?;
        let length = distances.size()[0];
        self.bias
            .0
            .f_index_select(0, &bucket.f_view([-1])?)?
            .f_view([length, length, -1])?
            .f_permute([2, 0, 1])
    }
}

impl Encoder for MpnetEncoder {
    fn share(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn places(&self) -> Places {
        Places::Behind(PADDING)
    }

    fn forward(&self, input: &Input) -> Result<Tensor, TchError> {
        let words = self.words.0.f_index_select(0, &input.ids)?;
        let positions = self.positions.0.f_index_select(0, &input.places)?;
        let mut rows = self.norm.apply(&words.f_add(&positions)?)?;
        let sight = Sight::biased(&input.spans, rows.device(), |distances| self.bias(distances))?;
        for (layer, picked) in input.through(&self.layers) {
            rows = layer.forward(&rows, &input.spans, &sight, picked)?;
        }
        Ok(rows)
    }
}
