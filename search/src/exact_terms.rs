//! Finds the chunks with the exact terms of a query: its identifiers, numbers and quoted phrases,
//! and the words of a query of one or two words.
//!
//! A term counts only if it is rare, and a phrase always. Then all chunks with it are read and
//! checked: a phrase has to occur as written, another term as the sparse encoder reads it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;
use pipeline::{
    Payload, Point, QueryTerm, QueryTermKind, QueryVectors, RankedChunk, SparseEncoder,
    SparseVector, StoreError,
};
use uuid::Uuid;

use crate::blocking::run_blocking;
use crate::phrase::Phrase;
use crate::points::{PointReader, Points};
use crate::ranking::{ExactChunk, ExactTerm};
use crate::store_query::StoreQuery;
use crate::title::file_name;

/// Maximum number of exact terms of a query.
const MAX_TERMS: usize = 8;

/// Maximum number of content words of a query in which plain words are exact terms.
const MAX_PLAIN_WORDS: usize = 2;

/// A term in at most this many chunks is rare in every collection.
const ALWAYS_RARE: u64 = 10;

/// A term in more chunks than this is frequent in every collection.
const NEVER_RARE: u64 = 100;

/// A term is rare if at most one of this many chunks has it.
const RARE_SHARE: u64 = 200;

/// A term in at most this many chunks is rare, if they are at most one of [`SMALL_SHARE`]. With
/// fields, a number in the title of a document is in all its chunks
/// (`benches/runs/2026-12-01-retrieval.md`).
const RARE_IN_SMALL: u64 = 50;

/// See [`RARE_IN_SMALL`].
const SMALL_SHARE: u64 = 20;

/// Number of chunks with the words of a phrase that are searched for the phrase.
const PHRASE_CANDIDATES: usize = 200;

/// Maximum number of chunks that are checked on the thread of the request.
const INLINE_CHECKS: usize = 20;

/// The exact terms among the terms of a query.
pub(crate) fn exact_terms(terms: Vec<QueryTerm>) -> Vec<QueryTerm> {
    let is_short = terms.len() <= MAX_PLAIN_WORDS;
    let mut exact: Vec<QueryTerm> = Vec::new();
    for term in terms {
        let is_exact = term.quoted || is_short || term.kind != QueryTermKind::Word;
        let is_known =
            exact.iter().any(|it| it.indices == term.indices && it.quoted == term.quoted);
        if is_exact && !is_known && !term.indices.is_empty() {
            exact.push(term);
        }
    }
    exact.truncate(MAX_TERMS);
    exact
}

/// The number of chunks up to which a term is rare, in a collection of `chunks`.
fn most_of_rare(chunks: u64) -> usize {
    let least = (chunks / SMALL_SHARE).clamp(ALWAYS_RARE, RARE_IN_SMALL);
    let most = (chunks / RARE_SHARE).clamp(least, NEVER_RARE);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// A search for exact terms in one collection.
pub(crate) struct ExactSearch<'a> {
    pub(crate) query: &'a StoreQuery<'a>,
    pub(crate) points: &'a PointReader<'a>,
    /// Dense vector of the query.
    pub(crate) dense: Option<&'a [f32]>,
}

impl ExactSearch<'_> {
    /// The chunks with at least one of these terms, by id. A term that is not rare finds nothing.
    pub(crate) async fn find(&self, terms: Vec<QueryTerm>) -> Result<Vec<ExactChunk>, StoreError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let chunks = self.points.chunk_count().await?;
        let rankings = try_join_all(terms.iter().map(|term| self.rank(term, chunks))).await?;
        let ids = rankings.iter().flatten().map(|chunk| chunk.id);
        let points = self.points.fetch(ids).await?;
        let encoder = Arc::clone(&self.query.target.sparse_encoder);
        let count: usize = rankings.iter().map(Vec::len).sum();
        let check = move || check_chunks(terms, rankings, &points, encoder.as_ref());
        Ok(if count > INLINE_CHECKS { run_blocking(check).await } else { check() })
    }

    /// The chunks that may have a term; none if it is not rare.
    async fn rank(&self, term: &QueryTerm, chunks: u64) -> Result<Vec<RankedChunk>, StoreError> {
        let most = if term.quoted { PHRASE_CANDIDATES } else { most_of_rare(chunks) };
        let dense = self.dense.map(<[f32]>::to_vec);
        let vectors =
            QueryVectors::Sparse { sparse: SparseVector::of_terms(term.indices.clone()), dense };
        // One more shows that the term is not rare.
        let ranked = self.query.rank_up_to(vectors, most + 1).await?;
        let is_frequent = ranked.len() > most && !term.quoted;
        Ok(if is_frequent { Vec::new() } else { ranked })
    }
}

/// The chunks that have a term, by id, each with all of its terms.
fn check_chunks(
    terms: Vec<QueryTerm>,
    rankings: Vec<Vec<RankedChunk>>,
    points: &Points,
    encoder: &dyn SparseEncoder,
) -> Vec<ExactChunk> {
    let mut found: HashMap<Uuid, ExactChunk> = HashMap::new();
    for (term, ranking) in terms.into_iter().zip(rankings) {
        let check = TermCheck::new(&term, encoder);
        for chunk in ranking {
            let payload = points.get(&chunk.id).map(|point: &Arc<Point>| &point.payload);
            let Some(in_text) = payload.and_then(|payload| check.find(payload)) else { continue };
            let exact = ExactTerm { text: term.text.clone(), in_text };
            let known = found.entry(chunk.id).or_insert_with(|| ExactChunk {
                chunk: RankedChunk { score: 0.0, ..chunk },
                terms: Vec::new(),
            });
            known.chunk.score += chunk.score;
            known.terms.push(exact);
        }
    }
    let mut found: Vec<ExactChunk> = found.into_values().collect();
    found.sort_by_key(|it| it.chunk.id);
    found
}

/// Looks for one term in chunks.
struct TermCheck<'a> {
    encoder: &'a dyn SparseEncoder,
    vector: SparseVector,
    phrase: Option<Phrase>,
}

impl<'a> TermCheck<'a> {
    fn new(term: &QueryTerm, encoder: &'a dyn SparseEncoder) -> Self {
        let phrase = term.quoted.then(|| Phrase::new(&term.text));
        Self { encoder, vector: SparseVector::of_terms(term.indices.clone()), phrase }
    }

    /// `Some(true)` if the text has the term, `Some(false)` if only the title, the headings or the
    /// file name has it.
    fn find(&self, payload: &Payload) -> Option<bool> {
        let has = |text: &str| match &self.phrase {
            Some(phrase) => phrase.is_in(text),
            None => {
                let language = payload.language.as_deref();
                !self.encoder.match_ranges(text, language, &self.vector).is_empty()
            }
        };
        if has(&payload.content) {
            return Some(true);
        }
        let around = [payload.title.as_deref(), payload.headings.as_deref()];
        let is_around = around.into_iter().flatten().any(has) || has(&file_name(&payload.uri));
        is_around.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str, kind: QueryTermKind, quoted: bool) -> QueryTerm {
        let index = text.bytes().fold(0_u32, |sum, byte| sum * 31 % 9973 + u32::from(byte));
        QueryTerm { text: text.to_owned(), indices: vec![index], kind, quoted }
    }

    #[test]
    fn names_numbers_and_phrases_are_exact() {
        let terms = vec![
            term("server", QueryTermKind::Word, false),
            term("max_connections", QueryTermKind::Identifier, false),
            term("limit", QueryTermKind::Word, false),
            term("100", QueryTermKind::Number, false),
            term("too many clients", QueryTermKind::Word, true),
            term("100", QueryTermKind::Number, false),
        ];
        let exact = exact_terms(terms.clone());
        let texts: Vec<&str> = exact.iter().map(|it| &*it.text).collect();
        assert_eq!(texts, ["max_connections", "100", "too many clients"]);
        assert_eq!(exact_terms(terms[..1].to_vec()).len(), 1, "a query of one word");
        assert!(exact_terms(vec![terms[0].clone(), terms[2].clone(), terms[0].clone()]).is_empty());
    }

    #[test]
    fn a_term_is_rare_by_the_size_of_the_collection() {
        let sizes = [(0, 10), (200, 10), (400, 20), (5_000, 50), (14_000, 70), (10_000_000, 100)];
        for (chunks, most) in sizes {
            assert_eq!(most_of_rare(chunks), most);
        }
    }
}
