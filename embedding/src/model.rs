//! A loaded model: token ids in, vectors out.
//!
//! A libtorch tensor handle can move to another thread but not be used by two, so each thread of
//! `worker.rs` has its own model; the weights are shared.

use std::path::Path;

use pipeline::BoxError;
use tch::{Device, TchError};

use crate::architecture::{Config, Encoder, EncoderInput};
use crate::attention::GroupSpan;
use crate::batcher::Batch;
use crate::cross_encoder::CrossEncoderFolder;
use crate::device::{CPU_TOKEN_MULTIPLE, Precision, upload};
use crate::folder::ModelFolder;
use crate::head::PoolingHead;
use crate::layers::to_i64;
use crate::matmul_backend::{MatmulBackend, OneDnnKernels};
use crate::weights::Weights;

/// A model on one device.
pub(crate) struct Model {
    encoder: Box<dyn Encoder>,
    head: PoolingHead,
    device: Device,
    dim: usize,
}

impl Model {
    /// Loads the weights onto the device.
    ///
    /// # Errors
    /// If the weights cannot be read, do not match the configuration or do not fit on the device;
    /// if this libtorch does not support the precision.
    pub(crate) fn load(
        folder: &ModelFolder,
        device: Device,
        precision: Precision,
    ) -> Result<Self, BoxError> {
        let _guard = tch::no_grad_guard();
        let path = &folder.path;
        let weights = open_weights(path, device, precision)?;
        Ok(Self {
            encoder: folder.config.load(&weights)?,
            head: PoolingHead::load(path, &folder.modules, device)?,
            device,
            dim: folder.info.dim,
        })
    }

    /// Loads a cross-encoder, whose vectors have one dimension, the score. `encoder` is its
    /// configuration for pairs.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn load_cross_encoder(
        folder: &CrossEncoderFolder,
        encoder: &dyn Config,
        device: Device,
        precision: Precision,
    ) -> Result<Self, BoxError> {
        let _guard = tch::no_grad_guard();
        let path = &folder.path;
        let weights = open_weights(path, device, precision)?;
        let width = encoder.shape().hidden_size;
        let head = PoolingHead::load_classifier(path, &folder.head, width, folder.sigmoid, device)?;
        Ok(Self { encoder: encoder.load(&weights)?, head, device, dim: 1 })
    }

    /// The same model for another thread; the weights are shared.
    pub(crate) fn clone_shared(&self) -> Self {
        Self { encoder: self.encoder.clone_shared(), head: self.head.clone(), ..*self }
    }

    /// Vectors of the batch's members in their order, row-major `members × dim`. `batch.members`
    /// are indices into `sequences`.
    pub(crate) fn forward(
        &self,
        batch: &Batch,
        sequences: &[&[u32]],
    ) -> Result<Vec<f32>, TchError> {
        let _guard = tch::no_grad_guard();
        let input = self.input(batch, sequences)?;
        let rows = self.encoder.forward(&input)?;
        let vectors = self.head.apply(&rows, &input.spans)?;
        // Drop the row of the filler tokens, which follows those of the members.
        let vectors = vectors.f_narrow(0, 0, to_i64(batch.members.len()))?;
        let vectors = vectors.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut numbers = vec![0.0; batch.members.len() * self.dim];
        let count = numbers.len();
        vectors.f_copy_data(&mut numbers, count)?;
        Ok(numbers)
    }

    fn input(&self, batch: &Batch, sequences: &[&[u32]]) -> Result<EncoderInput, TchError> {
        let (mut ids, mut positions) =
            (Vec::with_capacity(batch.tokens()), Vec::with_capacity(batch.tokens()));
        let mut lengths = Vec::with_capacity(batch.members.len());
        let mut members = batch.members.iter();
        let places = self.encoder.position_ids();
        for group in &batch.groups {
            for &member in members.by_ref().take(group.count) {
                let sequence = sequences[member];
                ids.extend(sequence.iter().map(|&id| i64::from(id)));
                places.extend(sequence, &mut positions);
                // Padding is masked, so its ids and positions have no effect.
                ids.resize(ids.len() + group.length - sequence.len(), 0);
                positions.resize(ids.len(), 0);
                lengths.push(to_i64(sequence.len()));
            }
        }
        let picked = self.pooled_rows(batch, &lengths);
        let mut spans = GroupSpan::from_groups(&batch.groups, &lengths, self.device)?;
        if batch.filler_tokens > 0 {
            spans.push(GroupSpan::filler(to_i64(ids.len()), to_i64(batch.filler_tokens)));
            ids.resize(ids.len() + batch.filler_tokens, 0);
            positions.resize(ids.len(), 0);
        }
        Ok(EncoderInput {
            ids: upload(&ids, self.device)?,
            position_ids: upload(&positions, self.device)?,
            spans,
            pooled_rows: picked.map(|rows| upload(&rows, self.device)).transpose()?,
        })
    }

    /// The rows that the head reads; `None` for all. On a CPU, oneDNN compiles kernels per number
    /// of rows, so the list is padded to a multiple of [`CPU_TOKEN_MULTIPLE`] with copies of the
    /// first row.
    fn pooled_rows(&self, batch: &Batch, lengths: &[i64]) -> Option<Vec<i64>> {
        let (mut start, mut members) = (0, lengths.iter());
        let mut rows = Vec::with_capacity(lengths.len());
        for group in &batch.groups {
            for &length in members.by_ref().take(group.count) {
                rows.push(start + self.head.pooled_token(length)?);
                start += to_i64(group.length);
            }
        }
        let count = rows.len();
        let all = count.next_multiple_of(CPU_TOKEN_MULTIPLE).min(batch.tokens());
        rows.resize(all, rows.first().copied().unwrap_or_default());
        Some(rows)
    }
}

/// Opens the weights of a model for its device and precision.
fn open_weights(folder: &Path, device: Device, precision: Precision) -> Result<Weights, BoxError> {
    Weights::open(folder, device, precision.kind(), matmul_backend(device, precision)?)
}

/// Chooses the backend for matrix products.
fn matmul_backend(device: Device, precision: Precision) -> Result<MatmulBackend, BoxError> {
    if device != Device::Cpu {
        return Ok(MatmulBackend::Libtorch);
    }
    match (precision, OneDnnKernels::load()) {
        (Precision::Int8, Ok(kernels)) => Ok(MatmulBackend::OneDnnInt8(kernels)),
        (Precision::Int8, Err(error)) => {
            tracing::debug!(%error, "int8 kernels are not available");
            Err("dtype `int8` is not available: this libtorch was built without oneDNN".into())
        }
        (Precision::Float32, Ok(kernels)) => Ok(MatmulBackend::OneDnn(kernels)),
        (Precision::BFloat16, Ok(kernels)) if packs_bfloat16() => {
            Ok(MatmulBackend::OneDnn(kernels))
        }
        _ => Ok(MatmulBackend::Libtorch),
    }
}

/// `true` if oneDNN packs weights in bfloat16 on this processor: the condition of
/// `mkldnn_bf16_device_check` in libtorch. Elsewhere libtorch's own product computes in bfloat16.
fn packs_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avxneconvert")
            || (is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::batcher::{BatchLimits, plan_batches};

    fn path(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
    }

    /// Padded batches, as on a GPU, must give the vectors of unpadded ones.
    #[test]
    fn padding_does_not_show() {
        for name in [
            "tiny-e5",
            "tiny-bert-cls",
            "tiny-mpnet",
            "tiny-xlm-roberta",
            "tiny-nomic",
            "tiny-modernbert",
            "tiny-qwen3",
        ] {
            let folder = ModelFolder::read(&path(name)).unwrap();
            let model = Model::load(&folder, Device::Cpu, Precision::Float32).unwrap();
            check_padding(name, &model);
        }
        let rerankers = [
            ("tiny-bert-reranker", Some(40)),
            ("tiny-xlm-roberta-reranker", None),
            ("tiny-modernbert-reranker", None),
        ];
        for (name, separator) in rerankers {
            let folder = CrossEncoderFolder::read(&path(name)).unwrap();
            let encoder = folder.encoder(separator).unwrap();
            let (device, precision) = (Device::Cpu, Precision::Float32);
            let model = Model::load_cross_encoder(&folder, &*encoder, device, precision).unwrap();
            check_padding(name, &model);
        }
    }

    fn check_padding(name: &str, model: &Model) {
        let limits = BatchLimits { max_tokens: 200, max_padding_percent: 0, token_multiple: 1 };
        let dim = model.dim;
        let sequences: Vec<Vec<u32>> = (0..40)
            .map(|nth| (0..1 + nth * 7 % 30).map(|id| 5 + (id * 31 + nth) % 400).collect())
            .collect();
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let embed = |slack, fill| {
            let mut vectors = vec![Vec::new(); sequences.len()];
            let mut padding = 0;
            for batch in plan_batches(
                &lengths,
                BatchLimits { max_padding_percent: slack, token_multiple: fill, ..limits },
            ) {
                let numbers = model.forward(&batch, &sequences).unwrap();
                padding += batch.padding();
                for (&member, vector) in batch.members.iter().zip(numbers.chunks_exact(dim)) {
                    vectors[member] = vector.to_vec();
                }
            }
            (vectors.concat(), padding)
        };
        let ((alone, none), (padded, some)) = (embed(0, 1), embed(40, 64));
        assert!(none == 0 && some > 0);
        assert_eq!(alone.len(), sequences.len() * dim);
        for (alone, padded) in alone.iter().zip(&padded) {
            assert!((alone - padded).abs() < 2e-5, "{name}: {alone}, padded {padded}");
        }
    }
}
