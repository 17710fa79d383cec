//! One vector of a sequence's vectors: pooled, and then what the folder's modules do with it.
//!
//! All of it in single precision: a mean of thousands in bfloat16 would lose more than the model did.

use std::path::Path;

use pipeline::BoxError;
use tch::{Device, Kind, TchError, Tensor};

use crate::attention::Span;
use crate::dense::Products;
use crate::layers::{Linear, joined};
use crate::modules::{Modules, Pooling, Step};
use crate::weights::Weights;

/// What stands behind a model's layers. A clone is the same for another thread.
#[derive(Clone)]
pub(crate) struct Head {
    pooling: Pooling,
    steps: Vec<Loaded>,
}

#[derive(Clone)]
enum Loaded {
    Dense(Linear, bool),
    Normalize,
}

impl Head {
    /// Reads what has weights.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit.
    pub(crate) fn load(folder: &Path, modules: &Modules, device: Device) -> Result<Self, BoxError> {
        let load = |step: &Step| -> Result<_, BoxError> {
            let Step::Dense(dense) = step else { return Ok(Loaded::Normalize) };
            let weights = Weights::open(
                &folder.join(&dense.folder),
                device,
                Kind::Float,
                Products::Ordinary,
            )?;
            let linear = Linear::with(&weights, "linear", dense.inputs, dense.outputs, dense.bias)?;
            Ok(Loaded::Dense(linear, dense.tanh))
        };
        let steps = modules.steps.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { pooling: modules.pooling, steps })
    }

    /// Which token of a sequence of this length its vector is, if it is one of them.
    pub(crate) fn picks(&self, length: i64) -> Option<i64> {
        match self.pooling {
            Pooling::Mean => None,
            Pooling::Cls => Some(0),
            Pooling::Last => Some(length - 1),
        }
    }

    /// The vectors of all sequences, one row each; from the rows of all tokens, or from those that it picks.
    pub(crate) fn apply(&self, rows: &Tensor, spans: &[Span]) -> Result<Tensor, TchError> {
        let mut vectors: Tensor = match self.pooling {
            Pooling::Mean => {
                joined(spans.iter().map(|span| mean(rows, span)).collect::<Result<_, _>>()?)?
            }
            Pooling::Cls | Pooling::Last => rows.f_to_kind(Kind::Float)?,
        };
        for step in &self.steps {
            vectors = match step {
                Loaded::Dense(linear, tanh) => {
                    let vectors = linear.apply(&vectors)?;
                    if *tanh { vectors.f_tanh()? } else { vectors }
                }
                Loaded::Normalize => normalized(vectors)?,
            };
        }
        Ok(vectors)
    }
}

/// The mean of the vectors of each sequence's tokens.
fn mean(rows: &Tensor, span: &Span) -> Result<Tensor, TchError> {
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

/// As torch.nn.functional.normalize has it: no vector is divided by less than 1e-12.
fn normalized(mut vectors: Tensor) -> Result<Tensor, TchError> {
    let norms = vectors.f_norm_scalaropt_dim(2, [1_i64].as_slice(), true)?.f_clamp_min(1e-12)?;
    vectors.f_div_(&norms)
}
