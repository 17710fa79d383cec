//! A loaded model: token ids in, vectors out.
//!
//! A handle to a libtorch tensor may be given to another thread but not used by two, so each thread of
//! `worker.rs` has a model of its own; the numbers behind them are the same ones.

use pipeline::BoxError;
use tch::{Device, Kind, TchError, Tensor};

use crate::batcher::Batch;
use crate::bert::Bert;
use crate::device::Setting;
use crate::folder::{Folder, Pooling};
use crate::layers::{Span, joined, signed};
use crate::weights::Weights;

/// The model of one folder on one device.
pub(crate) struct Model {
    encoder: Bert,
    pooling: Pooling,
    normalize: bool,
    device: Device,
    dim: usize,
}

impl Model {
    /// Reads the weights onto the device.
    ///
    /// # Errors
    /// If they cannot be read, do not fit the configuration, or do not fit into the device.
    pub(crate) fn load(folder: &Folder, setting: Setting) -> Result<Self, BoxError> {
        let _guard = tch::no_grad_guard();
        let weights = Weights::open(&folder.info.path, setting.device, setting.kind)?;
        Ok(Self {
            encoder: Bert::read(&weights, &folder.config)?,
            pooling: folder.pooling,
            normalize: folder.normalize,
            device: setting.device,
            dim: folder.info.dim,
        })
    }

    /// The same model for another thread; the numbers are shared.
    pub(crate) fn share(&self) -> Self {
        Self { encoder: self.encoder.share(), ..*self }
    }

    /// The vectors of a batch's members, in their order, `members × dim` numbers. `sequences` are the
    /// caller's, to which the batch's members point.
    pub(crate) fn forward(
        &self,
        batch: &Batch,
        sequences: &[&[u32]],
    ) -> Result<Vec<f32>, TchError> {
        let _guard = tch::no_grad_guard();
        let (mut ids, mut places) =
            (Vec::with_capacity(batch.tokens()), Vec::with_capacity(batch.tokens()));
        let mut lengths = Vec::with_capacity(batch.members.len());
        let mut members = batch.members.iter();
        for group in &batch.groups {
            for &member in members.by_ref().take(group.count) {
                let sequence = sequences[member];
                ids.extend(sequence.iter().map(|&id| i64::from(id)));
                // What stands in the padding is never looked at.
                ids.extend(std::iter::repeat_n(0, group.length - sequence.len()));
                places.extend(0..signed(group.length));
                lengths.push(signed(sequence.len()));
            }
        }
        let ids = Tensor::f_from_slice(&ids)?.f_to_device(self.device)?;
        let places = Tensor::f_from_slice(&places)?.f_to_device(self.device)?;
        let spans = Span::of(&batch.groups, &lengths, self.device)?;
        let rows = self.encoder.forward(&ids, &places, &spans)?;

        let mut vectors = self.pool(&rows, &spans)?;
        if self.normalize {
            // As torch.nn.functional.normalize has it: no vector is divided by less than 1e-12.
            let norms =
                vectors.f_norm_scalaropt_dim(2, [1_i64].as_slice(), true)?.f_clamp_min(1e-12)?;
            vectors = vectors.f_div_(&norms)?;
        }
        let vectors = vectors.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut numbers = vec![0.0; batch.members.len() * self.dim];
        let count = numbers.len();
        vectors.f_copy_data(&mut numbers, count)?;
        Ok(numbers)
    }

    /// One vector for each sequence, in single precision: a mean of thousands in bfloat16 would lose more
    /// than the model did.
    fn pool(&self, rows: &Tensor, spans: &[Span]) -> Result<Tensor, TchError> {
        let pooled = spans
            .iter()
            .map(|span| {
                let tokens = rows.f_narrow(0, span.start, span.rows())?.f_view([
                    span.count,
                    span.length,
                    signed(self.dim),
                ])?;
                match (self.pooling, &span.mask) {
                    (Pooling::Cls, _) => tokens.f_select(1, 0)?.f_to_kind(Kind::Float),
                    (Pooling::Mean, None) => {
                        tokens.f_mean_dim([1_i64].as_slice(), false, Kind::Float)
                    }
                    (Pooling::Mean, Some(mask)) => {
                        let mask =
                            mask.f_view([span.count, span.length, 1])?.f_to_kind(Kind::Float)?;
                        let sum = tokens.f_to_kind(Kind::Float)?.f_mul(&mask)?;
                        let sum = sum.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
                        sum.f_div(&mask.f_sum_dim_intlist(
                            [1_i64].as_slice(),
                            false,
                            Kind::Float,
                        )?)
                    }
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        joined(pooled)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::batcher::{Limits, plan};

    /// What a GPU does with sequences of different lengths gives the vectors that a CPU gives.
    #[test]
    fn padding_does_not_show() {
        for name in ["tiny-e5", "tiny-bert-cls"] {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
            let folder = Folder::read(&path).unwrap();
            let limits = Limits { tokens: 200, slack: 0 };
            let setting = Setting { device: Device::Cpu, kind: Kind::Float, limits, threads: 1 };
            let model = Model::load(&folder, setting).unwrap();
            let sequences: Vec<Vec<u32>> = (0..40)
                .map(|nth| (0..1 + nth * 7 % 30).map(|id| 5 + (id * 31 + nth) % 600).collect())
                .collect();
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
            let embed = |slack| {
                let mut vectors = vec![Vec::new(); sequences.len()];
                let mut padding = 0;
                for batch in plan(&lengths, Limits { slack, ..limits }) {
                    let numbers = model.forward(&batch, &sequences).unwrap();
                    padding += batch.padding();
                    for (&member, vector) in batch.members.iter().zip(numbers.chunks_exact(32)) {
                        vectors[member] = vector.to_vec();
                    }
                }
                (vectors.concat(), padding)
            };
            let ((alone, none), (padded, some)) = (embed(0), embed(12));
            assert!(none == 0 && some > 0);
            assert_eq!(alone.len(), sequences.len() * 32);
            for (alone, padded) in alone.iter().zip(&padded) {
                assert!((alone - padded).abs() < 1e-5, "{name}: {alone}, padded {padded}");
            }
        }
    }
}
