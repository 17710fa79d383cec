//! Layers that models are built from, over batches of concatenated sequences. Attention is in
//! `attention.rs`.
//!
//! A batch of `n` tokens is one matrix of `n` rows, regardless of sequence boundaries; see
//! `batcher.rs`. Fallible libtorch operations are called through their `f_` variants, which return
//! errors. Clones of a layer share its weights, for use on other threads.

use pipeline::BoxError;
use tch::{TchError, Tensor};

use crate::dense::Dense;
use crate::linear::{Activation, SharedTensor};
use crate::weights::Weights;

type TchResult<T = Tensor> = Result<T, TchError>;
type LoadResult<T> = Result<T, BoxError>;

/// Normalises each row to mean 0 and variance 1, then scales and shifts it.
#[derive(Clone)]
pub(crate) struct LayerNorm {
    weight: SharedTensor,
    bias: Option<SharedTensor>,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn read(weights: &Weights, name: &str, width: usize, eps: f64) -> LoadResult<Self> {
        Self::read_with_bias(weights, name, width, eps, true)
    }

    /// Loads a norm with or without a bias.
    pub(crate) fn read_with_bias(
        weights: &Weights,
        name: &str,
        width: usize,
        eps: f64,
        bias: bool,
    ) -> LoadResult<Self> {
        // Models converted from TensorFlow keep its names.
        let named = |part: &str, old: &str| {
            let (name, old) = (format!("{name}.{part}"), format!("{name}.{old}"));
            if weights.contains(&old) { old } else { name }
        };
        let weight = weights.tensor(&named("weight", "gamma"), &[width])?;
        let bias = bias.then(|| weights.tensor(&named("bias", "beta"), &[width])).transpose()?;
        Ok(Self {
            weight: SharedTensor(weight),
            bias: bias.map(SharedTensor),
            width: to_i64(width),
            eps,
        })
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> TchResult {
        let bias = self.bias.as_ref().map(|bias| &bias.0);
        rows.f_layer_norm([self.width], Some(&self.weight.0), bias, self.eps, true)
    }
}

/// Normalises each row to a mean square of 1, then scales it (Zhang, Sennrich 2019,
/// <https://arxiv.org/abs/1910.07467>).
#[derive(Clone)]
pub(crate) struct RmsNorm {
    weight: SharedTensor,
    width: i64,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn read(weights: &Weights, name: &str, width: usize, eps: f64) -> LoadResult<Self> {
        let weight = SharedTensor(weights.tensor(&format!("{name}.weight"), &[width])?);
        Ok(Self { weight, width: to_i64(width), eps })
    }

    /// Normalises along the last dimension; accepts any number of dimensions.
    pub(crate) fn apply(&self, rows: &Tensor) -> TchResult {
        rows.f_rms_norm([self.width], Some(&self.weight.0), self.eps)
    }
}

/// A gated feed-forward block (GeGLU, SwiGLU): the activated half is multiplied with the other half
/// (Shazeer 2020, <https://arxiv.org/abs/2002.05202>).
#[derive(Clone)]
pub(crate) struct GatedMlp {
    /// The activated half, then the other one.
    gate_and_up: Dense,
    activation: Activation,
    output: Dense,
    intermediate_size: i64,
}

impl GatedMlp {
    /// `halves` outputs `2 × wide` columns; the first `wide` are activated.
    pub(crate) fn new(halves: Dense, activation: Activation, narrow: Dense, wide: usize) -> Self {
        Self { gate_and_up: halves, activation, output: narrow, intermediate_size: to_i64(wide) }
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> TchResult {
        let halves = self.gate_and_up.apply(rows)?;
        let mut activated =
            self.activation.apply(halves.f_narrow(1, 0, self.intermediate_size)?)?;
        self.output.apply(&activated.f_mul_(&halves.f_narrow(
            1,
            self.intermediate_size,
            self.intermediate_size,
        )?)?)
    }
}

/// Concatenates the results of the groups.
pub(crate) fn concat(mut parts: Vec<Tensor>) -> TchResult {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    Tensor::f_cat(&parts, 0)
}

/// Converts a size to libtorch's type.
pub(crate) fn to_i64(size: usize) -> i64 {
    i64::try_from(size).expect("sizes in memory are below 2^63")
}
