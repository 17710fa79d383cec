//! Reduces token vectors to one vector per sequence: pooling, then the steps of the folder's
//! modules, or the classification head of a cross-encoder.
//!
//! Computes in float32: a mean of thousands of values in bfloat16 would lose more than the model
//! does.

use std::path::Path;

use pipeline::BoxError;
use tch::{Device, Kind, TchError, Tensor};

use crate::attention::GroupSpan;
use crate::cross_encoder::{ClassifierHead, ClassifierLayer, HeadActivation};
use crate::layers::{LayerNorm, concat};
use crate::linear::Linear;
use crate::matmul_backend::MatmulBackend;
use crate::modules::{ModuleStep, Modules, Pooling};
use crate::weights::Weights;

/// Pooling and the steps after it. Clones share the weights, for use on other threads.
#[derive(Clone)]
pub(crate) struct PoolingHead {
    pooling: Pooling,
    steps: Vec<HeadStep>,
}

#[derive(Clone)]
enum HeadStep {
    Dense(Linear, Option<HeadActivation>),
    Norm(LayerNorm),
    Normalize,
}

impl PoolingHead {
    /// Loads the weights of the dense steps.
    ///
    /// # Errors
    /// If a weight cannot be read, or its shape does not match.
    pub(crate) fn load(folder: &Path, modules: &Modules, device: Device) -> Result<Self, BoxError> {
        let load = |step: &ModuleStep| -> Result<_, BoxError> {
            let ModuleStep::Dense(dense) = step else { return Ok(HeadStep::Normalize) };
            let weights = Weights::open(
                &folder.join(&dense.folder),
                device,
                Kind::Float,
                MatmulBackend::Libtorch,
            )?;
            let linear = Linear::read_with_bias(
                &weights,
                "linear",
                dense.inputs,
                dense.outputs,
                dense.bias,
            )?;
            Ok(HeadStep::Dense(linear, dense.tanh.then_some(HeadActivation::Tanh)))
        };
        let steps = modules.steps.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { pooling: modules.pooling, steps })
    }

    /// Loads the classification head of a cross-encoder with this hidden size; with `sigmoid`, its
    /// output is between 0 and 1.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn load_classifier(
        folder: &Path,
        head: &ClassifierHead,
        width: usize,
        sigmoid: bool,
        device: Device,
    ) -> Result<Self, BoxError> {
        let weights = Weights::open(folder, device, Kind::Float, MatmulBackend::Libtorch)?;
        let load = |layer: &ClassifierLayer| -> Result<_, BoxError> {
            match *layer {
                ClassifierLayer::Dense { name, outputs, bias, activation } => {
                    let outputs = outputs.unwrap_or(width);
                    let linear = Linear::read_with_bias(&weights, name, width, outputs, bias)?;
                    Ok(HeadStep::Dense(linear, activation))
                }
                ClassifierLayer::Norm { name, eps, bias } => {
                    LayerNorm::read_with_bias(&weights, name, width, eps, bias).map(HeadStep::Norm)
                }
            }
        };
        let mut steps = head.layers.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        if sigmoid && let Some(HeadStep::Dense(_, activation)) = steps.last_mut() {
            *activation = Some(HeadActivation::Sigmoid);
        }
        Ok(Self { pooling: head.pooling, steps })
    }

    /// Index of the token that pooling takes from a sequence of this length; `None` for mean
    /// pooling.
    pub(crate) fn pooled_token(&self, length: i64) -> Option<i64> {
        match self.pooling {
            Pooling::Mean => None,
            Pooling::Cls => Some(0),
            Pooling::Last => Some(length - 1),
        }
    }

    /// One row per sequence. `rows` are those of all tokens for mean pooling, else only those that
    /// [`pooled_token`](Self::pooled_token) selects.
    pub(crate) fn apply(&self, rows: &Tensor, spans: &[GroupSpan]) -> Result<Tensor, TchError> {
        let mut vectors: Tensor = match self.pooling {
            Pooling::Mean => {
                concat(spans.iter().map(|span| mean_pool(rows, span)).collect::<Result<_, _>>()?)?
            }
            Pooling::Cls | Pooling::Last => rows.f_to_kind(Kind::Float)?,
        };
        for step in &self.steps {
            vectors = match step {
                HeadStep::Dense(linear, activation) => {
                    let vectors = linear.apply(&vectors)?;
                    match activation {
                        None => vectors,
                        Some(HeadActivation::Tanh) => vectors.f_tanh()?,
                        Some(HeadActivation::Sigmoid) => vectors.f_sigmoid()?,
                        Some(HeadActivation::Other(activation)) => activation.apply(vectors)?,
                    }
                }
                HeadStep::Norm(norm) => norm.apply(&vectors)?,
                HeadStep::Normalize => l2_normalize(vectors)?,
            };
        }
        Ok(vectors)
    }
}

/// Mean over the tokens of each sequence, without padding.
fn mean_pool(rows: &Tensor, span: &GroupSpan) -> Result<Tensor, TchError> {
    let width = rows.size()[1];
    let rows = rows.f_narrow(0, span.start, span.rows())?;
    let tokens = rows.f_view([span.count, span.length, width])?;
    let Some(mask) = &span.mask else {
        return tokens.f_mean_dim([1_i64].as_slice(), false, Kind::Float);
    };
    let mask = mask.f_view([span.count, span.length, 1])?.f_to_kind(Kind::Float)?;
    let sum = tokens.f_to_kind(Kind::Float)?.f_mul(&mask)?;
    let sum = sum.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
    sum.f_div(&mask.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?)
}

/// As in `torch.nn.functional.normalize`, the norm is clamped to at least 1e-12.
fn l2_normalize(mut vectors: Tensor) -> Result<Tensor, TchError> {
    let norms = vectors.f_norm_scalaropt_dim(2, [1_i64].as_slice(), true)?.f_clamp_min(1e-12)?;
    vectors.f_div_(&norms)
}
