//! The implementations of matrix products.

use std::sync::Arc;

use tch::{CModule, TchError, Tensor};

/// Backend for the matrix products of a model.
#[derive(Clone)]
pub(crate) enum MatmulBackend {
    /// libtorch's default product.
    Libtorch,
    /// oneDNN with packed weights.
    OneDnn(OneDnnKernels),
    /// oneDNN in int8; values between layers are float32.
    OneDnnInt8(OneDnnKernels),
}

/// oneDNN's products. Clones share the module, for use on other threads.
#[derive(Clone)]
pub(crate) struct OneDnnKernels(Arc<CModule>);

impl OneDnnKernels {
    /// Loads the TorchScript module.
    ///
    /// # Errors
    /// If this libtorch was built without oneDNN.
    pub(crate) fn load() -> Result<Self, TchError> {
        CModule::load_data(&mut &include_bytes!("dense/products.pt")[..])
            .map(|module| Self(Arc::new(module)))
    }

    /// Calls a method of the module.
    pub(crate) fn call<const N: usize>(
        &self,
        method: &str,
        of: [&Tensor; N],
    ) -> Result<Tensor, TchError> {
        self.0.method_ts(method, &of)
    }
}
