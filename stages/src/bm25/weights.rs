//! BM25F: the weight of a term from its frequency in each field.
//!
//! The frequencies in the fields, each normalised by the length of its field, are added with the
//! weights of the fields before they are saturated (Robertson, Zaragoza and Taylor, 2004):
//! tf = Σ w · count / (1 − b + b · length / average), weight = tf (k1 + 1) / (k1 + tf). With the
//! text alone this is BM25. A text is not normalised by the length of its title, and repeated words
//! in a title do not outweigh the text.

use std::collections::BTreeMap;

use pipeline::{PassageField, SparseVector};

use crate::bm25::options::Bm25Options;

/// Number of fields of a passage.
const FIELDS: usize = PassageField::ALL.len();

/// The occurrences of each term in each field, and the lengths of the fields in terms.
#[derive(Default)]
pub(super) struct FieldCounts {
    terms: BTreeMap<u32, [u32; FIELDS]>,
    lengths: [u32; FIELDS],
}

impl FieldCounts {
    pub(super) fn add(&mut self, field: PassageField, index: u32) {
        self.terms.entry(index).or_default()[field as usize] += 1;
        self.lengths[field as usize] += 1;
    }
}

/// Weight and length normalisation of each field.
pub(super) struct FieldWeights {
    k1: f64,
    fields: [FieldWeight; FIELDS],
}

#[derive(Clone, Copy)]
struct FieldWeight {
    weight: f64,
    b: f64,
    average_length: f64,
}

impl FieldWeight {
    /// The factor by which the length of the field divides a frequency.
    fn normal(self, length: u32) -> f64 {
        // A field without terms has no frequency to divide.
        1.0 - self.b + self.b * f64::from(length.max(1)) / self.average_length
    }
}

impl FieldWeights {
    pub(super) fn of(options: &Bm25Options) -> Self {
        let of_field = |field| {
            let (weight, b, average_length) = options.field(field);
            FieldWeight { weight, b, average_length }
        };
        Self { k1: options.k1, fields: PassageField::ALL.map(of_field) }
    }

    pub(super) fn reads(&self, field: PassageField) -> bool {
        self.fields[field as usize].weight > 0.0
    }

    /// The vector of a passage with these counts.
    pub(super) fn vector(&self, counts: &FieldCounts) -> SparseVector {
        let normals = self.normals(counts);
        let values = counts.terms.values().map(|of_term| {
            let tf: f64 = self.parts(of_term, &normals).iter().sum();
            to_f32(self.saturated(tf, normals[0]))
        });
        SparseVector { indices: counts.terms.keys().copied().collect(), values: values.collect() }
    }

    /// The part of the weight of a term that is due to a field.
    pub(super) fn share(&self, counts: &FieldCounts, field: PassageField, index: u32) -> f32 {
        let normals = self.normals(counts);
        let Some(of_term) = counts.terms.get(&index) else { return 0.0 };
        let parts = self.parts(of_term, &normals);
        let tf: f64 = parts.iter().sum();
        to_f32(self.saturated(tf, normals[0]) * parts[field as usize] / tf)
    }

    fn normals(&self, counts: &FieldCounts) -> [f64; FIELDS] {
        std::array::from_fn(|at| self.fields[at].normal(counts.lengths[at]))
    }

    /// The weighted frequencies, each times the normal of the text: without other fields, the
    /// weight is then computed as in BM25, to the last bit.
    fn parts(&self, of_term: &[u32; FIELDS], normals: &[f64; FIELDS]) -> [f64; FIELDS] {
        std::array::from_fn(|at| {
            if of_term[at] == 0 {
                return 0.0;
            }
            let scale = if at == 0 { 1.0 } else { normals[0] / normals[at] };
            self.fields[at].weight * f64::from(of_term[at]) * scale
        })
    }

    fn saturated(&self, tf: f64, normal: f64) -> f64 {
        tf * (self.k1 + 1.0) / (tf + self.k1 * normal)
    }
}

fn to_f32(weight: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a weight is a small number")]
    let weight = weight as f32;
    weight
}
