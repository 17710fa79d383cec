//! Dense layers with the fastest matrix product of the device.
//!
//! On a CPU, either the weights are packed once for oneDNN's kernels, with bias and activation
//! fused into the product, or weights and rows are quantised to int8. Both are libtorch operators
//! without a `tch` binding, so a small TorchScript module calls them (`dense/make.py` generates
//! it). On other devices a layer is that of `linear.rs`.
//!
//! In int8, weights have one scale per output and rows one dynamic scale each. So the vector of a
//! text does not depend on the rest of its batch, and a token with large values costs the others no
//! precision: with one scale per batch, as in libtorch's `linear_dynamic`, all-MiniLM-L6-v2 loses
//! three times as much (see `docs/adr/0012-precision-and-batch-size.md`).

use pipeline::BoxError;
use tch::{Kind, TchError, Tensor};

use crate::linear::{Activation, Linear, SharedTensor};
use crate::matmul_backend::{MatmulBackend, OneDnnKernels};

/// Largest quantised weight. Processors without VNNI add two products of a row (0 to 255) and
/// weights in 16 bits with saturation, so the weights have 7 bits there: 2 · 255 · 64 < 2¹⁵.
fn max_int8_weight() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni") {
        return 64.0;
    }
    127.0
}

/// A dense layer with an optional activation.
#[derive(Clone)]
pub(crate) struct Dense {
    weights: PreparedWeights,
    activation: Option<Activation>,
}

#[derive(Clone)]
enum PreparedWeights {
    Libtorch(Linear),
    OneDnn {
        kernels: OneDnnKernels,
        weight: SharedTensor,
        bias: SharedTensor,
    },
    OneDnnInt8 {
        kernels: OneDnnKernels,
        weight: SharedTensor,
        scale: SharedTensor,
        zero: SharedTensor,
        bias: SharedTensor,
    },
}

impl Dense {
    /// Packs or quantises the weights for the backend.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn new(
        linear: Linear,
        activation: Option<Activation>,
        products: &MatmulBackend,
    ) -> Result<Self, BoxError> {
        let product = match products {
            MatmulBackend::Libtorch => PreparedWeights::Libtorch(linear),
            MatmulBackend::OneDnn(kernels) => PreparedWeights::packed(&linear, kernels)?,
            MatmulBackend::OneDnnInt8(kernels) => PreparedWeights::int8(&linear, kernels)?,
        };
        Ok(Self { weights: product, activation })
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let result = match &self.weights {
            PreparedWeights::Libtorch(linear) => linear.apply(rows)?,
            PreparedWeights::OneDnn { kernels, weight, bias } => {
                let method = self.activation.map_or("plain", fused_op);
                return kernels.call(method, [rows, &weight.0, &bias.0]);
            }
            PreparedWeights::OneDnnInt8 { kernels, weight, scale, zero, bias } => {
                kernels.call("int8", [rows, &weight.0, &scale.0, &zero.0, &bias.0])?
            }
        };
        match self.activation {
            Some(activation) => activation.apply(result),
            None => Ok(result),
        }
    }
}

impl PreparedWeights {
    fn packed(linear: &Linear, kernels: &OneDnnKernels) -> Result<Self, TchError> {
        Ok(Self::OneDnn {
            kernels: kernels.clone(),
            weight: SharedTensor(kernels.call("pack", [linear.weight()])?),
            bias: SharedTensor(linear.bias_or_zeros()?),
        })
    }

    /// Symmetric quantisation with one scale per output (Krishnamoorthi 2018,
    /// <https://arxiv.org/abs/1806.08342>).
    fn int8(linear: &Linear, kernels: &OneDnnKernels) -> Result<Self, TchError> {
        let (weight, largest) = (linear.weight(), max_int8_weight());
        let scale = weight.f_abs()?.f_amax([1_i64].as_slice(), true)?.f_div_scalar(largest)?;
        let scale = scale.f_clamp_min(1e-12)?;
        let small = weight.f_div(&scale)?.f_round()?.f_to_kind(Kind::Int8)?;
        let scale = scale.f_view([-1])?;
        Ok(Self::OneDnnInt8 {
            kernels: kernels.clone(),
            weight: SharedTensor(kernels.call("pack_int8", [&small])?),
            // Rows are quantised in steps of their largest value / 127.
            scale: SharedTensor(scale.f_div_scalar(127)?),
            zero: SharedTensor(scale.f_zeros_like()?.f_to_kind(Kind::Int)?),
            bias: SharedTensor(linear.bias_or_zeros()?),
        })
    }
}

/// The method of the TorchScript module with this activation fused.
fn fused_op(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn numbers(rows: i64, columns: i64, seed: f64) -> Tensor {
        let count = Tensor::arange(rows * columns, (Kind::Float, Device::Cpu));
        ((count * seed).sin() * 1.5).view([rows, columns])
    }

    fn layer(bias: bool) -> Linear {
        Linear::new(numbers(48, 32, 0.37), bias.then(|| numbers(1, 48, 0.9).view([-1])))
    }

    fn largest_difference(one: &Tensor, other: &Tensor) -> f64 {
        (one - other).abs().max().double_value(&[])
    }

    #[test]
    fn packed_products_are_the_ordinary_ones() {
        let kernels = OneDnnKernels::load().unwrap();
        let activations =
            [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu];
        let activations = activations.into_iter().map(Some).chain([None]);
        for (activation, bias) in activations.flat_map(|one| [(one, true), (one, false)]) {
            let ordinary = Dense::new(layer(bias), activation, &MatmulBackend::Libtorch).unwrap();
            let packed =
                Dense::new(layer(bias), activation, &MatmulBackend::OneDnn(kernels.clone()))
                    .unwrap();
            for count in [1, 7, 64] {
                let rows = numbers(count, 32, 0.11);
                let (one, other) = (ordinary.apply(&rows).unwrap(), packed.apply(&rows).unwrap());
                let difference = largest_difference(&one, &other);
                assert!(difference < 1e-4, "{activation:?}: off by {difference}");
            }
        }
    }

    #[test]
    fn in_8_bits_a_row_does_not_depend_on_its_neighbours() {
        let dense = |products| Dense::new(layer(true), Some(Activation::Gelu), &products).unwrap();
        let small = dense(MatmulBackend::OneDnnInt8(OneDnnKernels::load().unwrap()));
        let rows = numbers(9, 32, 0.11);
        // A row of zeros, and one with much larger values than the others.
        drop(rows.get(4).fill_(0.0));
        drop(rows.get(5).f_mul_scalar_(1000.0).unwrap());
        let all = small.apply(&rows).unwrap();
        for row in 0..9 {
            let alone = small.apply(&rows.narrow(0, row, 1)).unwrap();
            assert_eq!(largest_difference(&alone, &all.narrow(0, row, 1)), 0.0);
        }
        let exact = dense(MatmulBackend::Libtorch).apply(&rows).unwrap();
        for row in (0..9).filter(|&row| row != 5) {
            let difference = largest_difference(&exact.get(row), &all.get(row));
            assert!(difference < 0.2, "row {row} is off by {difference}");
        }
    }
}
