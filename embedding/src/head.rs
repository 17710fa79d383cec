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

    /// The vectors of all sequences, one row each.
    pub(crate) fn apply(&self, rows: &Tensor, spans: &[Span]) -> Result<Tensor, TchError> {
        let pooled = spans.iter().map(|span| self.pool(rows, span)).collect::<Result<_, _>>()?;
        let mut vectors: Tensor = joined(pooled)?;
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

    fn pool(&self, rows: &Tensor, span: &Span) -> Result<Tensor, TchError> {
        let width = rows.size()[1];
        let rows = rows.f_narrow(0, span.start, span.rows())?;
        let tokens = rows.f_view([span.count, span.length, width])?;
        match (self.pooling, &span.mask, &span.last) {
            (Pooling::Cls, _, _) => tokens.f_select(1, 0)?.f_to_kind(Kind::Float),
            (Pooling::Last, _, None) => tokens.f_select(1, span.length - 1)?.f_to_kind(Kind::Float),
            (Pooling::Last, _, Some(last)) => {
                let starts = Tensor::f_arange(span.count, (Kind::Int64, rows.device()))?;
                let at = starts.f_mul_scalar(span.length)?.f_add(last)?;
                rows.f_index_select(0, &at)?.f_to_kind(Kind::Float)
            }
            (Pooling::Mean, None, _) => tokens.f_mean_dim([1_i64].as_slice(), false, Kind::Float),
            (Pooling::Mean, Some(mask), _) => {
                let mask = mask.f_view([span.count, span.length, 1])?.f_to_kind(Kind::Float)?;
                let sum = tokens.f_to_kind(Kind::Float)?.f_mul(&mask)?;
                let sum = sum.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
                sum.f_div(&mask.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?)
            }
        }
    }
}

/// As torch.nn.functional.normalize has it: no vector is divided by less than 1e-12.
fn normalized(mut vectors: Tensor) -> Result<Tensor, TchError> {
    let norms = vectors.f_norm_scalaropt_dim(2, [1_i64].as_slice(), true)?.f_clamp_min(1e-12)?;
    vectors.f_div_(&norms)
}
