//! The terms of a passage by field, and their weights ([`Bm25fParameters`]).

use std::collections::BTreeMap;

use pipeline::{Bm25fParameters, FieldParameters, PassageField, SparseVector, TermFrequencies};

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

    pub(super) fn into_frequencies(self) -> TermFrequencies {
        TermFrequencies { terms: self.terms.into_iter().collect(), lengths: self.lengths }
    }
}

/// Weight and length normalisation of each field. A text is not normalised by the length of its
/// title, and repeated words in a title do not outweigh the text.
pub(super) struct FieldWeights(Bm25fParameters);

impl FieldWeights {
    pub(super) fn of(options: &Bm25Options) -> Self {
        let of_field = |field| {
            let (weight, b, average_length) = options.field(field);
            FieldParameters { weight, b, average_length }
        };
        Self(Bm25fParameters { k1: options.k1, fields: PassageField::ALL.map(of_field) })
    }

    pub(super) fn parameters(&self) -> Bm25fParameters {
        self.0
    }

    pub(super) fn reads(&self, field: PassageField) -> bool {
        self.0.fields[field as usize].weight > 0.0
    }

    /// The vector of a passage with these counts.
    pub(super) fn vector(&self, counts: &FieldCounts) -> SparseVector {
        let values = counts.terms.values().map(|of_term| self.0.weight(of_term, &counts.lengths));
        SparseVector { indices: counts.terms.keys().copied().collect(), values: values.collect() }
    }

    /// The part of the weight of a term that is due to a field.
    pub(super) fn share(&self, counts: &FieldCounts, field: PassageField, index: u32) -> f32 {
        let of_term = counts.terms.get(&index);
        of_term.map_or(0.0, |of_term| self.0.share(of_term, &counts.lengths, field))
    }
}
