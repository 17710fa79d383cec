//! An inverted index in memory with the frequencies of terms by field. It ranks chunks with any
//! parameters of BM25F without reading a text again.

use std::collections::{BTreeSet, HashMap};

use pipeline::{Bm25fParameters, FieldEncoder, Passage, TermFrequencies, term_rarity};
use rayon::prelude::*;

use crate::tuning::corpus::Corpus;
use crate::tuning::lab::AskedVectors;
use crate::tuning::question::Question;

type Counts = [u32; 4];

/// The index of the terms of all questions.
pub(crate) struct SparseLab {
    /// By term: chunks with the frequencies of the term, ascending by chunk.
    postings: HashMap<u32, Vec<(u32, Counts)>>,
    /// Field lengths of each chunk.
    lengths: Vec<Counts>,
    /// By question: its terms, and what differs from the index while it is asked.
    asked: Vec<AskedTerms>,
}

struct AskedTerms {
    terms: Vec<u32>,
    /// By chunk; `None` if the chunk takes no part.
    masked: HashMap<u32, Option<TermFrequencies>>,
}

/// Chunks with their scores, best first, equal scores by index.
pub(crate) type Ranking = Vec<(u32, f32)>;

impl SparseLab {
    /// Reads the corpus once.
    pub(crate) fn new(
        corpus: &Corpus,
        questions: &[Question],
        asked: &AskedVectors,
        encoder: &dyn FieldEncoder,
    ) -> Self {
        let all = asked.terms.iter().chain(&asked.more_terms);
        let wanted: BTreeSet<u32> = all.flatten().copied().collect();
        let counted: Vec<TermFrequencies> = corpus
            .chunks
            .par_iter()
            .map(|chunk| {
                let mut found = encoder.term_frequencies(&Passage::of_payload(&chunk.payload));
                found.terms.retain(|(index, _)| wanted.contains(index));
                found
            })
            .collect();
        let mut postings: HashMap<u32, Vec<(u32, Counts)>> = HashMap::new();
        let mut lengths = Vec::with_capacity(counted.len());
        for (chunk, found) in (0..).zip(counted) {
            lengths.push(found.lengths);
            for (index, counts) in found.terms {
                postings.entry(index).or_default().push((chunk, counts));
            }
        }
        let asked = questions.par_iter().zip(&asked.terms).map(|(question, terms)| {
            let masked = question.masked.iter().map(|masked| {
                let found = masked.payload.as_ref().map(|payload| {
                    let mut found = encoder.term_frequencies(&Passage::of_payload(payload));
                    found.terms.retain(|(index, _)| wanted.contains(index));
                    found
                });
                (index_of(masked.chunk), found)
            });
            AskedTerms { terms: terms.clone(), masked: masked.collect() }
        });
        Self { asked: asked.collect(), postings, lengths }
    }

    /// Inverse document frequencies as Qdrant computes them: of the chunks with a stored value for
    /// the term, among all with a sparse vector.
    pub(crate) fn rarities(&self, parameters: &Bm25fParameters) -> Rarities {
        let has_weight = |counts: &Counts| has_weight(counts, parameters);
        let all = self.lengths.iter().filter(|lengths| has_weight(lengths)).count();
        let frequencies = self.postings.iter().map(|(index, postings)| {
            let with = postings.iter().filter(|(_, counts)| has_weight(counts)).count();
            (*index, idf(all, with))
        });
        Rarities { values: frequencies.collect(), unknown: idf(all, 0) }
    }

    /// The best `depth` chunks for a question.
    pub(crate) fn rank(
        &self,
        question: usize,
        parameters: &Bm25fParameters,
        rarities: &Rarities,
        depth: usize,
    ) -> Ranking {
        self.rank_terms(question, &self.asked[question].terms, parameters, rarities, depth)
    }

    /// The best `depth` chunks for some terms while a question is asked. The terms must be among
    /// those of the questions.
    pub(crate) fn rank_terms(
        &self,
        question: usize,
        terms: &[u32],
        parameters: &Bm25fParameters,
        rarities: &Rarities,
        depth: usize,
    ) -> Ranking {
        let masked = &self.asked[question].masked;
        // A row of all chunks is faster than a map of those with a term.
        let mut scores = vec![0.0_f32; self.lengths.len()];
        for term in terms {
            let rarity = rarities.of(*term);
            let mut add = |chunk: u32, counts: &Counts, lengths: &Counts| {
                scores[chunk as usize] += parameters.weight(counts, lengths) * rarity;
            };
            for (chunk, counts) in self.postings.get(term).into_iter().flatten() {
                if !masked.contains_key(chunk) {
                    add(*chunk, counts, &self.lengths[*chunk as usize]);
                }
            }
            for (chunk, found) in masked {
                let Some(TermFrequencies { terms, lengths }) = found else { continue };
                if let Ok(at) = terms.binary_search_by_key(term, |(index, _)| *index) {
                    add(*chunk, &terms[at].1, lengths);
                }
            }
        }
        let found = (0..).zip(scores).filter(|(_, score)| *score > 0.0);
        best(found.collect(), depth)
    }

    /// Number of chunks with a stored value for a term.
    pub(crate) fn chunks_with(&self, term: u32, parameters: &Bm25fParameters) -> u64 {
        let postings = self.postings.get(&term).into_iter().flatten();
        postings.filter(|(_, counts)| has_weight(counts, parameters)).count() as u64
    }
}

/// `true` if a term with these frequencies, or a passage with these lengths, has a stored value.
fn has_weight(counts: &Counts, parameters: &Bm25fParameters) -> bool {
    (0..counts.len()).any(|at| counts[at] > 0 && parameters.fields[at].weight > 0.0)
}

/// Inverse document frequencies of terms.
#[derive(Default)]
pub(crate) struct Rarities {
    values: HashMap<u32, f32>,
    unknown: f32,
}

impl Rarities {
    pub(crate) fn of(&self, term: u32) -> f32 {
        self.values.get(&term).copied().unwrap_or(self.unknown)
    }
}

/// The inverse document frequency of a term, as the stores compute it.
fn idf(all: usize, with: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a small number")]
    let idf = term_rarity(all as u64, with as u64) as f32;
    idf
}

/// The best of some chunks, best first, equal scores by index.
pub(crate) fn best(mut scores: Vec<(u32, f32)>, depth: usize) -> Ranking {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    if depth == 0 {
        return Vec::new();
    }
    if scores.len() > depth {
        scores.select_nth_unstable_by(depth - 1, order);
        scores.truncate(depth);
    }
    scores.sort_unstable_by(order);
    scores
}

/// The index of a chunk in rankings.
pub(crate) fn index_of(chunk: usize) -> u32 {
    u32::try_from(chunk).expect("the number of chunks in memory is limited")
}
