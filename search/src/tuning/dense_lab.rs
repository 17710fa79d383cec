//! Exact similarities of all questions to all chunks in memory.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::tuning::corpus::Corpus;
use crate::tuning::question::Question;
use crate::tuning::sparse_lab::{Ranking, best, index_of};

/// Chunks per block of the matrix product: their vectors stay in the cache of a core while all
/// questions of the block are compared with them.
const BLOCK: usize = 256;

/// Cosine similarities, one row per question.
pub(crate) struct DenseLab {
    rows: Vec<Vec<f32>>,
}

/// Vectors of the chunks that a question masks, by index of the chunk; `None` if the chunk takes no
/// part.
pub(crate) type MaskedVectors = HashMap<u32, Option<Vec<f32>>>;

impl DenseLab {
    /// Compares the vectors of questions, which have length 1, with all chunks.
    pub(crate) fn new(corpus: &Corpus, vectors: &[Vec<f32>], masked: &[MaskedVectors]) -> Self {
        let mut rows: Vec<Vec<f32>> = vec![vec![0.0; corpus.chunks.len()]; vectors.len()];
        rows.par_chunks_mut(16).zip(vectors.par_chunks(16)).for_each(|(rows, vectors)| {
            for (block, chunks) in corpus.chunks.chunks(BLOCK).enumerate() {
                for (row, vector) in rows.iter_mut().zip(vectors) {
                    let row = &mut row[block * BLOCK..];
                    for (similarity, chunk) in row.iter_mut().zip(chunks) {
                        *similarity = dot(vector, &chunk.vector);
                    }
                }
            }
        });
        for ((row, vector), masked) in rows.iter_mut().zip(vectors).zip(masked) {
            for (chunk, changed) in masked {
                let similarity = changed.as_ref().map(|changed| dot(vector, changed));
                row[*chunk as usize] = similarity.unwrap_or(f32::NAN);
            }
        }
        Self { rows }
    }

    /// Similarity of a chunk to a question; `None` if the chunk takes no part.
    pub(crate) fn similarity(&self, question: usize, chunk: u32) -> Option<f32> {
        Some(self.rows[question][chunk as usize]).filter(|it| !it.is_nan())
    }

    /// The best `depth` chunks for a question.
    pub(crate) fn rank(&self, question: usize, depth: usize) -> Ranking {
        let row = self.rows[question].iter().enumerate();
        let scores = row.filter(|(_, it)| !it.is_nan()).map(|(at, it)| (index_of(at), *it));
        best(scores.collect(), depth)
    }
}

/// The vectors of the masked chunks of all questions: `embed` gives those of some chunks, each with
/// its changed payload.
pub(crate) fn masked_vectors(
    questions: &[Question],
    mut vectors: impl Iterator<Item = Vec<f32>>,
) -> Vec<MaskedVectors> {
    let of = |question: &Question| {
        let masked = question.masked.iter().map(|masked| {
            let vector = masked.payload.as_ref().and_then(|_| vectors.next());
            (index_of(masked.chunk), vector)
        });
        masked.collect()
    };
    questions.iter().map(of).collect()
}

/// Dot product with eight sums, which the compiler computes side by side.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
