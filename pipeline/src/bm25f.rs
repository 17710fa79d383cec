//! BM25F: the weight of a term of a passage from its frequency in each field.
//!
//! The frequencies, each normalised by the length of its field, are added with the weights of the
//! fields before they are saturated (Robertson, Zaragoza and Taylor, CIKM 2004): tf = Σ w · count /
//! (1 − b + b · length / average), weight = tf (k1 + 1) / (k1 + tf). With the text alone this is
//! BM25. The formula is here because both the encoder and the tuning of its parameters compute it.

use crate::{Passage, PassageField};

/// Number of fields of a passage.
const FIELDS: usize = PassageField::ALL.len();

/// The parameters of BM25F.
///
/// ```
/// use pipeline::{Bm25fParameters, FieldParameters, PassageField};
///
/// let field = FieldParameters { weight: 0.0, b: 0.75, average_length: 180.0 };
/// let mut bm25 = Bm25fParameters { k1: 1.2, fields: [field; 4] };
/// bm25.fields[PassageField::Text as usize].weight = 1.0;
/// // Twice in a text of average length, and once in a title that does not count.
/// let weight = bm25.weight(&[2, 0, 1, 0], &[180, 0, 5, 0]);
/// assert!((weight - 2.0 * 2.2 / (2.0 + 1.2)).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25fParameters {
    /// Saturation of term frequency.
    pub k1: f64,
    /// By [`PassageField`], in the order of [`PassageField::ALL`].
    pub fields: [FieldParameters; FIELDS],
}

/// Weight and length normalisation of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldParameters {
    /// Factor of the frequencies in this field; 0 ignores the field.
    pub weight: f64,
    /// Length normalisation: 0 ignores the length of the field, 1 normalises by it fully.
    pub b: f64,
    /// The length, in terms, at which length normalisation has no effect.
    pub average_length: f64,
}

impl FieldParameters {
    /// The factor by which the length of the field divides a frequency.
    fn normal(self, length: u32) -> f64 {
        // A field without terms has no frequency to divide.
        1.0 - self.b + self.b * f64::from(length.max(1)) / self.average_length
    }
}

impl Bm25fParameters {
    /// The weight of a term with these frequencies in a passage whose fields have these lengths in
    /// terms, both in the order of [`PassageField::ALL`]. 0 if no field with a weight has the term.
    pub fn weight(&self, counts: &[u32; FIELDS], lengths: &[u32; FIELDS]) -> f32 {
        let normals = self.normals(lengths);
        let frequency: f64 = self.parts(counts, &normals).iter().sum();
        to_f32(self.saturated(frequency, normals[0]))
    }

    /// The part of the weight of a term that is due to a field.
    pub fn share(
        &self,
        counts: &[u32; FIELDS],
        lengths: &[u32; FIELDS],
        field: PassageField,
    ) -> f32 {
        let normals = self.normals(lengths);
        let parts = self.parts(counts, &normals);
        let frequency: f64 = parts.iter().sum();
        if frequency <= 0.0 {
            return 0.0;
        }
        to_f32(self.saturated(frequency, normals[0]) * parts[field as usize] / frequency)
    }

    fn normals(&self, lengths: &[u32; FIELDS]) -> [f64; FIELDS] {
        std::array::from_fn(|at| self.fields[at].normal(lengths[at]))
    }

    /// The weighted frequencies, each times the normal of the text: without other fields, the
    /// weight is then computed as in BM25, to the last bit.
    fn parts(&self, counts: &[u32; FIELDS], normals: &[f64; FIELDS]) -> [f64; FIELDS] {
        std::array::from_fn(|at| {
            if counts[at] == 0 {
                return 0.0;
            }
            let scale = if at == 0 { 1.0 } else { normals[0] / normals[at] };
            self.fields[at].weight * f64::from(counts[at]) * scale
        })
    }

    fn saturated(&self, frequency: f64, normal: f64) -> f64 {
        if frequency <= 0.0 {
            return 0.0;
        }
        frequency * (self.k1 + 1.0) / (frequency + self.k1 * normal)
    }
}

/// The occurrences of the terms of a passage by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermFrequencies {
    /// Index of a term with its number of occurrences in each field, ascending by index.
    pub terms: Vec<(u32, [u32; FIELDS])>,
    /// Number of terms in each field.
    pub lengths: [u32; FIELDS],
}

/// A sparse encoder with BM25F weights, whose parameters can be varied without reading a passage
/// again.
pub trait FieldEncoder: Send + Sync {
    /// The parameters with which it encodes passages.
    fn parameters(&self) -> Bm25fParameters;

    /// The occurrences of the terms of a passage in all fields, those with weight 0 included.
    /// [`Bm25fParameters::weight`] of them are the values of the sparse vector.
    fn term_frequencies(&self, passage: &Passage<'_>) -> TermFrequencies;
}

fn to_f32(weight: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a weight is a small number")]
    let weight = weight as f32;
    weight
}
