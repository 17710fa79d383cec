//! Linear layers and activations, which other layers are built from.

use pipeline::BoxError;
use tch::{TchError, Tensor};

use crate::weights::Weights;

type TchResult<T = Tensor> = Result<T, TchError>;
type LoadResult<T> = Result<T, BoxError>;

/// Weights of a model, shared by its threads.
#[derive(Debug)]
pub(crate) struct SharedTensor(pub(crate) Tensor);

impl Clone for SharedTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

/// `x · Wᵀ + b`
#[derive(Clone)]
pub(crate) struct Linear {
    weight: SharedTensor,
    bias: Option<SharedTensor>,
}

impl Linear {
    #[cfg(test)]
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight: SharedTensor(weight), bias: bias.map(SharedTensor) }
    }

    /// Loads a layer with a bias.
    pub(crate) fn read(
        weights: &Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> LoadResult<Self> {
        Self::read_with_bias(weights, name, inputs, outputs, true)
    }

    /// Loads a layer with or without a bias.
    pub(crate) fn read_with_bias(
        weights: &Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> LoadResult<Self> {
        let weight = weights.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = bias.then(|| weights.tensor(&format!("{name}.bias"), &[outputs])).transpose()?;
        Ok(Self { weight: SharedTensor(weight), bias: bias.map(SharedTensor) })
    }

    /// Concatenates layers with the same input, so that one product computes them. Either all of
    /// them have a bias, or none.
    pub(crate) fn concat_outputs(layers: &[Self]) -> TchResult<Self> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight.0).collect();
        let biases: Vec<&Tensor> =
            layers.iter().filter_map(|layer| layer.bias.as_ref()).map(|bias| &bias.0).collect();
        let bias =
            if biases.is_empty() { None } else { Some(SharedTensor(Tensor::f_cat(&biases, 0)?)) };
        Ok(Self { weight: SharedTensor(Tensor::f_cat(&weights, 0)?), bias })
    }

    /// `outputs × inputs`
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight.0
    }

    /// One value per output; zeros without a bias.
    pub(crate) fn bias_or_zeros(&self) -> TchResult {
        match &self.bias {
            Some(bias) => Ok(bias.0.shallow_clone()),
            None => self.weight.0.f_select(1, 0)?.f_zeros_like(),
        }
    }

    pub(crate) fn apply(&self, rows: &Tensor) -> TchResult {
        rows.f_linear(&self.weight.0, self.bias.as_ref().map(|bias| &bias.0))
    }
}

/// Activation function of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Exact GELU.
    Gelu,
    /// GELU in its `tanh` approximation.
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    /// Looks up the activation by its name in `config.json`.
    ///
    /// # Errors
    /// If the activation is not supported.
    pub(crate) fn from_name(name: &str) -> LoadResult<Self> {
        match name {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            _ => Err(format!("unsupported activation `{name}`").into()),
        }
    }

    /// Applies it in place.
    pub(crate) fn apply(self, mut rows: Tensor) -> TchResult {
        match self {
            Self::Gelu => rows.f_gelu_("none"),
            Self::GeluTanh => rows.f_gelu_("tanh"),
            Self::Relu => rows.f_relu_(),
            Self::Silu => rows.f_silu_(),
        }
    }
}
