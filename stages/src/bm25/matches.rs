//! The terms of a query in a passage: their ranges in its text, and their weights by field.

use std::collections::BTreeMap;
use std::ops::Range;

use pipeline::{Passage, SparseVector, TermMatch, TermPosition};

use crate::bm25::Bm25Encoder;
use crate::bm25::fields::FieldTexts;
use crate::bm25::lexer::lex;
use crate::bm25::term_index::{cached_index, word_index};
use crate::bm25::weights::FieldCounts;

impl Bm25Encoder {
    /// [`pipeline::SparseEncoder::match_ranges`].
    pub(super) fn ranges_of(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<Range<usize>> {
        let rule = self.language_stemmer(language);
        let stemmer = rule.map(|(_, stemmer)| stemmer);
        // On contention, stem again: it is cheaper than waiting for the lock.
        let mut all_known = self.index_cache.try_lock().ok();
        let mut known =
            all_known.as_mut().map(|all| all.entry(rule.map(|(code, _)| code)).or_default());
        let mut found: Vec<Range<usize>> = Vec::new();
        lex(text, &mut |kind, word, range| {
            let index = match &mut known {
                Some(known) => cached_index(known, kind, word, stemmer),
                None => word_index(kind, word, stemmer),
            };
            if question.indices.binary_search(&index).is_ok() {
                found.push(range);
            }
        });
        found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        // Ranges overlap: a name contains its parts, and neighbouring character pairs share a
        // character.
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                Some(_) | None => apart.push(range),
            }
        }
        apart
    }

    /// [`pipeline::SparseEncoder::term_positions`].
    pub(super) fn positions_of(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<TermPosition> {
        let rule = self.language_stemmer(language);
        let stemmer = rule.map(|(_, stemmer)| stemmer);
        let mut all_known = self.index_cache.try_lock().ok();
        let mut known =
            all_known.as_mut().map(|all| all.entry(rule.map(|(code, _)| code)).or_default());
        // Start and index of each term; the lexer yields a name before its parts.
        let mut terms: Vec<(usize, u32)> = Vec::new();
        lex(text, &mut |kind, word, range| {
            let index = match &mut known {
                Some(known) => cached_index(known, kind, word, stemmer),
                None => word_index(kind, word, stemmer),
            };
            terms.push((range.start, index));
        });
        terms.sort_unstable();
        terms.dedup();
        let words = (0..).zip(terms.chunk_by(|a, b| a.0 == b.0));
        let all = words.flat_map(|(position, word)| {
            word.iter().map(move |(_, index)| TermPosition { position, index: *index })
        });
        all.filter(|it| question.indices.binary_search(&it.index).is_ok()).collect()
    }

    /// [`pipeline::SparseEncoder::explain`].
    pub(super) fn matches_of(
        &self,
        passage: &Passage<'_>,
        question: &SparseVector,
    ) -> Vec<TermMatch> {
        let stemmer = self.stemmer(passage.language);
        let mut counts = FieldCounts::default();
        let mut found = BTreeMap::new();
        for (field, text) in FieldTexts::of(passage, &self.weights).iter() {
            lex(text, &mut |kind, word, range| {
                let index = word_index(kind, word, stemmer);
                counts.add(field, index);
                if question.indices.binary_search(&index).is_ok() {
                    let (_, frequency) =
                        found.entry((index, field)).or_insert_with(|| (text[range].to_owned(), 0));
                    *frequency += 1;
                }
            });
        }
        let mut matches: Vec<TermMatch> = found
            .into_iter()
            .map(|((index, field), (term, frequency))| {
                let weight = self.weights.share(&counts, field, index);
                TermMatch { term, index, field, frequency, weight }
            })
            .collect();
        matches.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        matches
    }
}
