//! A loaded model: token ids in, vectors out.
//!
//! A libtorch tensor handle can move to another thread but not be used by two, so each thread of
//! `worker.rs` has its own model; the weights are shared.

use pipeline::BoxError;
use tch::{Device, TchError};

use crate::architecture::{Encoder, Input};
use crate::attention::Span;
use crate::batcher::Batch;
use crate::dense::{Kernels, Products};
use crate::device::{CPU_FILL, Precision, uploaded};
use crate::folder::Folder;
use crate::head::Head;
use crate::layers::signed;
use crate::weights::Weights;

/// A model on one device.
pub(crate) struct Model {
    encoder: Box<dyn Encoder>,
    head: Head,
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
        folder: &Folder,
        device: Device,
        precision: Precision,
    ) -> Result<Self, BoxError> {
        let _guard = tch::no_grad_guard();
        let path = &folder.at;
        let weights = Weights::open(path, device, precision.kind(), products(device, precision)?)?;
        Ok(Self {
            encoder: folder.config.load(&weights)?,
            head: Head::load(path, &folder.modules, device)?,
            device,
            dim: folder.info.dim,
        })
    }

    /// The same model for another thread; the weights are shared.
    pub(crate) fn share(&self) -> Self {
        Self { encoder: self.encoder.share(), head: self.head.clone(), ..*self }
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
        let vectors = vectors.f_narrow(0, 0, signed(batch.members.len()))?;
        let vectors = vectors.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut numbers = vec![0.0; batch.members.len() * self.dim];
        let count = numbers.len();
        vectors.f_copy_data(&mut numbers, count)?;
        Ok(numbers)
    }

    fn input(&self, batch: &Batch, sequences: &[&[u32]]) -> Result<Input, TchError> {
        let (mut ids, mut positions) =
            (Vec::with_capacity(batch.tokens()), Vec::with_capacity(batch.tokens()));
        let mut lengths = Vec::with_capacity(batch.members.len());
        let mut members = batch.members.iter();
        let places = self.encoder.places();
        for group in &batch.groups {
            for &member in members.by_ref().take(group.count) {
                let sequence = sequences[member];
                ids.extend(sequence.iter().map(|&id| i64::from(id)));
                places.of(sequence, &mut positions);
                // Padding is masked, so its ids and positions have no effect.
                ids.resize(ids.len() + group.length - sequence.len(), 0);
                positions.resize(ids.len(), 0);
                lengths.push(signed(sequence.len()));
            }
        }
        let picked = self.picked(batch, &lengths);
        let mut spans = Span::of(&batch.groups, &lengths, self.device)?;
        if batch.filling > 0 {
            spans.push(Span::filling(signed(ids.len()), signed(batch.filling)));
            ids.resize(ids.len() + batch.filling, 0);
            positions.resize(ids.len(), 0);
        }
        Ok(Input {
            ids: uploaded(&ids, self.device)?,
            places: uploaded(&positions, self.device)?,
            spans,
            picked: picked.map(|rows| uploaded(&rows, self.device)).transpose()?,
        })
    }

    /// The rows that the head reads; `None` for all. On a CPU, oneDNN compiles kernels per number
    /// of rows, so the list is padded to a multiple of [`CPU_FILL`] with copies of the first row.
    fn picked(&self, batch: &Batch, lengths: &[i64]) -> Option<Vec<i64>> {
        let (mut start, mut members) = (0, lengths.iter());
        let mut rows = Vec::with_capacity(lengths.len());
        for group in &batch.groups {
            for &length in members.by_ref().take(group.count) {
                rows.push(start + self.head.picks(length)?);
                start += signed(group.length);
            }
        }
        let count = rows.len();
        let all = count.next_multiple_of(CPU_FILL).min(batch.tokens());
        rows.resize(all, rows.first().copied().unwrap_or_default());
        Some(rows)
    }
}

/// Chooses the backend for matrix products.
fn products(device: Device, precision: Precision) -> Result<Products, BoxError> {
    if device != Device::Cpu {
        return Ok(Products::Ordinary);
    }
    match (precision, Kernels::load()) {
        (Precision::Int8, Ok(kernels)) => Ok(Products::Int8(kernels)),
        (Precision::Int8, Err(error)) => {
            tracing::debug!(%error, "int8 kernels are not available");
            Err("dtype `int8` is not available: this libtorch was built without oneDNN".into())
        }
        (Precision::Float32 | Precision::BFloat16, Ok(kernels)) => Ok(Products::Packed(kernels)),
        _ => Ok(Products::Ordinary),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::batcher::{Limits, plan};

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
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
            let folder = Folder::read(&path).unwrap();
            let limits = Limits { tokens: 200, slack: 0, fill: 1 };
            let dim = folder.info.dim;
            let model = Model::load(&folder, Device::Cpu, Precision::Float32).unwrap();
            let sequences: Vec<Vec<u32>> = (0..40)
                .map(|nth| (0..1 + nth * 7 % 30).map(|id| 5 + (id * 31 + nth) % 400).collect())
                .collect();
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
            let embed = |slack, fill| {
                let mut vectors = vec![Vec::new(); sequences.len()];
                let mut padding = 0;
                for batch in plan(&lengths, Limits { slack, fill, ..limits }) {
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
                assert!((alone - padded).abs() < 1e-5, "{name}: {alone}, padded {padded}");
            }
        }
    }
}
