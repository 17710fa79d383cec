//! The layers that models are made of, over batches of concatenated sequences.
//!
//! A batch of `n` tokens is one matrix of `n` rows, whatever the sequences in it; see `batcher.rs`. Every
//! operation that may fail in libtorch is called in the form that returns its error.

use pipeline::BoxError;
use tch::{Kind, TchError, Tensor};

use crate::batcher::Group;
use crate::weights::Weights;

type Result<T = Tensor> = std::result::Result<T, TchError>;

/// `x · Wᵀ + b`
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Reads a layer from `inputs` to `outputs` columns.
    pub(crate) fn read(
        weights: &Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, BoxError> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: weights.get(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// Puts layers with the same input side by side, so that one product computes them all.
    pub(crate) fn fused(layers: &[Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self { weight: Tensor::f_cat(&weights, 0)?, bias: Tensor::f_cat(&biases, 0)? })
    }

    /// The same layer for another thread; the numbers are shared.
    pub(crate) fn share(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> Result {
        rows.f_linear(&self.weight, Some(&self.bias))
    }
}

/// Each row to mean zero and variance one, scaled and shifted.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn read(
        weights: &Weights,
        name: &str,
        width: usize,
        eps: f64,
    ) -> std::result::Result<Self, BoxError> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"), &[width])?,
            bias: weights.get(&format!("{name}.bias"), &[width])?,
            width: i64::try_from(width)?,
            eps,
        })
    }

    /// The same layer for another thread; the numbers are shared.
    pub(crate) fn share(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), ..*self }
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> Result {
        rows.f_layer_norm([self.width], Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// The function between the two halves of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// GELU, exact.
    Gelu,
    /// GELU by its approximation with `tanh`.
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    /// The activation by the name that `config.json` has for it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "gelu" | "gelu_python" => Some(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            _ => None,
        }
    }

    /// Applies it in place.
    pub(crate) fn apply(self, mut rows: Tensor) -> Result {
        match self {
            Self::Gelu => rows.f_gelu_("none"),
            Self::GeluTanh => rows.f_gelu_("tanh"),
            Self::Relu => rows.f_relu_(),
            Self::Silu => rows.f_silu_(),
        }
    }
}

/// A group of a batch, with where it stands.
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) count: i64,
    pub(crate) length: i64,
    /// `count × 1 × 1 × length`, true where there is a token; `None` where there is no padding.
    pub(crate) mask: Option<Tensor>,
}

impl Span {
    /// Finds the rows of each group. `lengths` are those of the members, without padding.
    pub(crate) fn of(groups: &[Group], lengths: &[i64], device: tch::Device) -> Result<Vec<Self>> {
        let (mut start, mut member) = (0, 0);
        let mut spans = Vec::with_capacity(groups.len());
        for group in groups {
            let members = &lengths[member..member + group.count];
            member += group.count;
            let (count, length) = (signed(group.count), signed(group.length));
            let mask = if group.padding == 0 {
                None
            } else {
                let ends =
                    Tensor::f_from_slice(members)?.f_to_device(device)?.f_view([count, 1, 1, 1])?;
                let positions = Tensor::f_arange(length, (Kind::Int64, device))?;
                Some(positions.f_lt_tensor(&ends)?)
            };
            spans.push(Self { start, count, length, mask });
            start += count * length;
        }
        Ok(spans)
    }

    pub(crate) fn rows(&self) -> i64 {
        self.count * self.length
    }
}

/// Scaled dot-product attention of every sequence with itself. `qkv` has, for each token, the query, key and
/// value of every head side by side; the result has the heads' values side by side.
pub(crate) fn attention(qkv: &Tensor, spans: &[Span], heads: i64, width: i64) -> Result {
    let attended = spans
        .iter()
        .map(|span| {
            // 3 × count × heads × length × width, without a copy.
            let parts = qkv
                .f_narrow(0, span.start, span.rows())?
                .f_view([span.count, span.length, 3, heads, width])?
                .f_permute([2, 0, 3, 1, 4])?;
            let (query, key, value) =
                (parts.f_select(0, 0)?, parts.f_select(0, 1)?, parts.f_select(0, 2)?);
            let mask = span.mask.as_ref();
            Tensor::f_scaled_dot_product_attention(
                &query, &key, &value, mask, 0.0, false, None, false,
            )?
            .f_transpose(1, 2)?
            .f_reshape([span.rows(), heads * width])
        })
        .collect::<Result<Vec<_>>>()?;
    joined(attended)
}

/// Puts the groups' results together.
pub(crate) fn joined(mut parts: Vec<Tensor>) -> Result {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    Tensor::f_cat(&parts, 0)
}

/// A size, as libtorch wants it.
pub(crate) fn signed(size: usize) -> i64 {
    i64::try_from(size).expect("sizes in memory are below 2^63")
}
