//! MPNet (Song et al. 2020, <https://arxiv.org/abs/2004.09297>): all-mpnet-base and related models.
//!
//! BERT's layers without token types, plus an attention bias by the distance of two tokens, shared
//! by all layers. Distances are bucketed as in T5 (Raffel et al. 2019,
//! <https://arxiv.org/abs/1910.10683>).

use pipeline::BoxError;
use serde::Deserialize;
use tch::{Kind, TchError, Tensor};

use crate::architecture::{
    Architecture, Config, Encoder, EncoderInput, ModelShape, PositionIds, deserialize_part,
};
use crate::attention::AttentionMask;
use crate::bert::{self, BertConfig, BertLayer, LayerNames};
use crate::layers::LayerNorm;
use crate::linear::SharedTensor;
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "mpnet",
    names: &["MPNetModel", "MPNetForMaskedLM"],
    read: |config| {
        let Buckets { relative_attention_num_buckets: buckets } = deserialize_part(config)?;
        Ok(Box::new(MpnetConfig { bert: bert::read(config)?, buckets }))
    },
};

/// Position ids start after this id; MPNet ignores the padding id of the configuration.
const PADDING_ID: u32 = 1;

/// All distances from this one on share one bucket.
const MAX_DISTANCE: f64 = 128.0;

#[derive(Deserialize)]
struct Buckets {
    #[serde(default = "usual_buckets")]
    relative_attention_num_buckets: usize,
}

fn usual_buckets() -> usize {
    32
}

struct MpnetConfig {
    bert: BertConfig,
    buckets: usize,
}

const LAYER_NAMES: LayerNames = LayerNames {
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
};

impl Config for MpnetConfig {
    fn shape(&self) -> ModelShape {
        self.bert.shape().with_positions_after(PADDING_ID)
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let config = &self.bert;
        let prefix = weights.prefix("mpnet.");
        let width = config.hidden_size;
        let named = |name: &str| format!("{prefix}{name}");
        let table =
            |name: &str, rows| weights.tensor(&named(name), &[rows, width]).map(SharedTensor);
        Ok(Box::new(MpnetEncoder {
            word_embeddings: table("embeddings.word_embeddings.weight", config.vocab_size)?,
            position_embeddings: table(
                "embeddings.position_embeddings.weight",
                config.max_position_embeddings,
            )?,
            norm: LayerNorm::read(
                weights,
                &named("embeddings.LayerNorm"),
                width,
                config.layer_norm_eps,
            )?,
            bias: SharedTensor(weights.tensor(
                &named("encoder.relative_attention_bias.weight"),
                &[self.buckets, config.num_attention_heads],
            )?),
            buckets: i64::try_from(self.buckets)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| {
                    BertLayer::read(
                        weights,
                        &named(&format!("encoder.layer.{layer}")),
                        config,
                        &LAYER_NAMES,
                    )
                })
                .collect::<Result<_, _>>()?,
        }))
    }
}

#[derive(Clone)]
struct MpnetEncoder {
    word_embeddings: SharedTensor,
    position_embeddings: SharedTensor,
    norm: LayerNorm,
    /// `buckets × heads`
    bias: SharedTensor,
    buckets: i64,
    layers: Vec<BertLayer>,
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
            .f_div_scalar((MAX_DISTANCE / exact as f64).ln())?
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
    fn clone_shared(&self) -> Box<dyn Encoder> {
        Box::new(self.clone())
    }

    fn position_ids(&self) -> PositionIds {
        PositionIds::AfterPadding(PADDING_ID)
    }

    fn forward(&self, input: &EncoderInput) -> Result<Tensor, TchError> {
        let words = self.word_embeddings.0.f_index_select(0, &input.ids)?;
        let positions = self.position_embeddings.0.f_index_select(0, &input.position_ids)?;
        let mut rows = self.norm.apply(&words.f_add(&positions)?)?;
        let sight = AttentionMask::with_bias(&input.spans, rows.device(), |distances| {
            self.bias(distances)
        })?;
        for (layer, picked) in input.layers_with_rows(&self.layers) {
            rows = layer.forward(&rows, &input.spans, &sight, picked)?;
        }
        Ok(rows)
    }
}
