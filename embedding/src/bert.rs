//! BERT's encoder (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>): MiniLM, BGE, E5, GTE.

use pipeline::BoxError;
use tch::{TchError, Tensor};

use crate::folder::Config;
use crate::layers::{Activation, LayerNorm, Linear, Span, attention, signed};
use crate::weights::Weights;

/// A model's layers.
pub(crate) struct Bert {
    words: Tensor,
    /// The vector of each position with that of token type 0 added, the only type an embedding has.
    positions: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    wide: Linear,
    activation: Activation,
    narrow: Linear,
    norm: LayerNorm,
    heads: i64,
    head_width: i64,
}

impl Bert {
    /// Reads the weights.
    ///
    /// # Errors
    /// If they do not fit the configuration.
    pub(crate) fn read(weights: &Weights, config: &Config) -> Result<Self, BoxError> {
        let prefix = weights.prefix("bert.");
        let width = config.hidden_size;
        let named = |name: &str| format!("{prefix}embeddings.{name}");
        let types = weights
            .get(&named("token_type_embeddings.weight"), &[config.type_vocab_size, width])?;
        let positions = weights
            .get(&named("position_embeddings.weight"), &[config.max_position_embeddings, width])?;
        Ok(Self {
            words: weights.get(&named("word_embeddings.weight"), &[config.vocab_size, width])?,
            positions: positions.f_add(&types.f_get(0)?)?,
            norm: LayerNorm::read(weights, &named("LayerNorm"), width, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| {
                    Layer::read(weights, &format!("{prefix}encoder.layer.{layer}"), config)
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// The same model for another thread; the numbers are shared.
    pub(crate) fn share(&self) -> Self {
        Self {
            words: self.words.shallow_clone(),
            positions: self.positions.shallow_clone(),
            norm: self.norm.share(),
            layers: self.layers.iter().map(Layer::share).collect(),
        }
    }

    /// The last layer's vectors, one row for each token.
    pub(crate) fn forward(
        &self,
        ids: &Tensor,
        places: &Tensor,
        spans: &[Span],
    ) -> Result<Tensor, TchError> {
        let words = self.words.f_index_select(0, ids)?;
        let mut rows =
            self.norm.apply(&words.f_add(&self.positions.f_index_select(0, places)?)?)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, spans)?;
        }
        Ok(rows)
    }
}

impl Layer {
    fn read(weights: &Weights, name: &str, config: &Config) -> Result<Self, BoxError> {
        let (width, wide, eps) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let heads = config.num_attention_heads;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(
                format!("{width} columns cannot be shared by {heads} attention heads").into()
            );
        }
        let activation = Activation::named(&config.hidden_act)
            .ok_or_else(|| format!("activation `{}` is not supported", config.hidden_act))?;
        let linear = |part: &str, inputs, outputs| {
            Linear::read(weights, &format!("{name}.{part}"), inputs, outputs)
        };
        let qkv = ["query", "key", "value"]
            .map(|part| linear(&format!("attention.self.{part}"), width, width));
        let [query, key, value] = qkv;
        Ok(Self {
            qkv: Linear::fused(&[query?, key?, value?])?,
            attended: linear("attention.output.dense", width, width)?,
            attended_norm: LayerNorm::read(
                weights,
                &format!("{name}.attention.output.LayerNorm"),
                width,
                eps,
            )?,
            wide: linear("intermediate.dense", width, wide)?,
            activation,
            narrow: linear("output.dense", wide, width)?,
            norm: LayerNorm::read(weights, &format!("{name}.output.LayerNorm"), width, eps)?,
            heads: signed(heads),
            head_width: signed(width / heads),
        })
    }

    fn share(&self) -> Self {
        Self {
            qkv: self.qkv.share(),
            attended: self.attended.share(),
            attended_norm: self.attended_norm.share(),
            wide: self.wide.share(),
            narrow: self.narrow.share(),
            norm: self.norm.share(),
            ..*self
        }
    }

    fn forward(&self, rows: &Tensor, spans: &[Span]) -> Result<Tensor, TchError> {
        let heads = attention(&self.qkv.apply(rows)?, spans, self.heads, self.head_width)?;
        let rows = self.attended_norm.apply(&self.attended.apply(&heads)?.f_add_(rows)?)?;
        let wide = self.activation.apply(self.wide.apply(&rows)?)?;
        self.norm.apply(&self.narrow.apply(&wide)?.f_add_(&rows)?)
    }
}
