//! BM25: the term weights of a passage as a sparse vector (docs/adr/0014-sparse-vectors.md).
//!
//! The weight of a term is its saturated frequency; the store multiplies it by the inverse document
//! frequency at query time. Length is normalised against a fixed average, so a weight depends on
//! the passage alone, not on documents indexed before. Weights and indices equal those of Qdrant's
//! own BM25 for the same terms.
//!
//! A passage is stemmed in the language of its document, a query in every language of the
//! collection, because queries are too short for language detection. Stop words stay in passages;
//! they are removed from queries that have other terms.

mod lexer;
mod murmur;
mod normalize;
mod options;
mod stop_words;
mod term_index;
mod vocabulary;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use pipeline::{BoxError, SparseEncoder, SparseVector};
use rust_stemmers::Stemmer;
use serde_json::Value;

use self::lexer::{TokenKind, lex};
pub(crate) use self::options::Bm25Options;
use self::options::{SavedOptions, VERSION};
use self::stop_words::STOP_WORDS;
use self::term_index::{IndexCache, cached_index, word_index};
pub use self::vocabulary::vocabulary_words;

/// The language of documents without a detected language. Most are short, or code and tables, which
/// contain English more often than any other language.
const DEFAULT_LANGUAGE: &str = "en";

/// The sparse encoder for options stored with a collection (`Bm25Options::settings`).
///
/// # Errors
/// If the options are invalid, or were stored by a version with other indices or weights.
///
/// ```
/// use serde_json::json;
///
/// let encoder = stages::sparse_encoder(&json!({ "version": 1, "language": "de" }))?;
/// let passage = encoder.encode_document("Die Vögel", None);
/// let query = encoder.encode_query("Vogel", &[]);
/// assert!(query.dot(&passage) > 0.0, "both have the same stem");
///
/// let error = stages::sparse_encoder(&json!({ "version": 0 })).err().unwrap();
/// assert!(error.to_string().contains("semantik reindex FILE"));
/// # Ok::<_, pipeline::BoxError>(())
/// ```
pub fn sparse_encoder(settings: &Value) -> Result<Arc<dyn SparseEncoder>, BoxError> {
    let noted: SavedOptions = serde_json::from_value(settings.clone())?;
    if noted.version != VERSION {
        let found = noted.version;
        return Err(format!(
            "sparse vectors have version {found}, but this semantik uses version {VERSION}; run \
             `semantik reindex FILE` to rebuild them"
        )
        .into());
    }
    Ok(Arc::new(Bm25Encoder::new(noted.options)))
}

/// The sparse encoder with default options, to highlight query terms in collections without sparse
/// vectors.
///
/// ```
/// let encoder = stages::default_sparse_encoder();
/// let passage = encoder.encode_document("The server closes idle connections.", Some("en"));
/// let query = encoder.encode_query("closing a connection", &["en".to_owned()]);
/// assert_eq!(query.indices.len(), 2, "stop words have no term in a query");
/// assert!(query.dot(&passage) > 0.0);
/// assert_eq!(encoder.match_ranges("idle connections", Some("en"), &query), [5..16]);
/// ```
pub fn default_sparse_encoder() -> Arc<dyn SparseEncoder> {
    Arc::new(Bm25Encoder::new(Bm25Options::default()))
}

pub(crate) struct Bm25Encoder {
    options: Bm25Options,
    stemmers: BTreeMap<&'static str, Stemmer>,
    /// Term indices computed by [`SparseEncoder::match_ranges`]; most occurrences are of the same
    /// few terms.
    index_cache: Mutex<IndexCache>,
}

impl Bm25Encoder {
    pub(crate) fn new(options: Bm25Options) -> Self {
        let languages = normalize::LANGUAGES.iter().map(|(code, _)| *code);
        let stemmers = languages.filter_map(|code| Some((code, normalize::stemmer(code)?)));
        Self { stemmers: stemmers.collect(), options, index_cache: Mutex::default() }
    }

    /// The stemmer for a passage; `None` if stemming is disabled or the language has no stemmer.
    fn stemmer(&self, language: Option<&str>) -> Option<&Stemmer> {
        self.language_stemmer(language).map(|(_, stemmer)| stemmer)
    }

    /// The same, with the code of its language.
    fn language_stemmer(&self, language: Option<&str>) -> Option<(&'static str, &Stemmer)> {
        let language = match self.options.language.as_str() {
            "auto" => language.unwrap_or(DEFAULT_LANGUAGE),
            fixed => fixed,
        };
        self.stemmers.get_key_value(language).map(|(code, stemmer)| (*code, stemmer))
    }

    /// The stemmers for a query, one per language. `None` leaves terms unstemmed.
    fn query_stemmers(&self, languages: &[String]) -> Vec<Option<&Stemmer>> {
        if self.options.language != "auto" {
            return vec![self.stemmer(None)];
        }
        let codes: BTreeSet<&str> =
            languages.iter().map(String::as_str).chain([DEFAULT_LANGUAGE]).collect();
        codes.into_iter().map(|code| self.stemmers.get(code)).collect()
    }

    /// The stop words of the probable language of a query: the language of the collection whose
    /// list contains most of its terms.
    fn stop_words(
        &self,
        words: &[Cow<'_, str>],
        languages: &[String],
    ) -> Option<&'static HashSet<&'static str>> {
        let fixed = [self.options.language.clone()];
        let languages = if self.options.language == "auto" { languages } else { &fixed };
        let codes = languages.iter().map(String::as_str).chain([DEFAULT_LANGUAGE]);
        let lists: Vec<_> = codes.filter_map(|code| STOP_WORDS.get(code)).collect();
        let known = |list: &HashSet<&str>| words.iter().filter(|it| list.contains(&***it)).count();
        // On a tie the first list is used: that of the most frequent language. `max_by_key` returns
        // the last of equals, hence `rev`.
        lists.into_iter().rev().max_by_key(|list| known(list))
    }

    /// The vector of a passage; `index_of` gives the index of a term.
    fn encode_with(
        &self,
        text: &str,
        stemmer: Option<&Stemmer>,
        mut index_of: impl FnMut(TokenKind, &str, Option<&Stemmer>) -> u32,
    ) -> SparseVector {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        let mut length = 0_u32;
        lex(text, &mut |kind, word, _| {
            *counts.entry(index_of(kind, word, stemmer)).or_default() += 1;
            length += 1;
        });
        let Bm25Options { k1, b, average_length, .. } = self.options;
        let normal = k1 * (1.0 - b + b * f64::from(length) / average_length);
        let weight = |count: u32| {
            let count = f64::from(count);
            #[expect(clippy::cast_possible_truncation, reason = "a weight is a small number")]
            let weight = (count * (k1 + 1.0) / (count + normal)) as f32;
            weight
        };
        SparseVector {
            indices: counts.keys().copied().collect(),
            values: counts.values().map(|count| weight(*count)).collect(),
        }
    }

    /// The vectors of the passages of one batch, in order. Each distinct term is stemmed once.
    pub(crate) fn encode_batch<'a>(
        &self,
        passages: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Vec<SparseVector> {
        let mut known = IndexCache::new();
        let vectors = passages.map(|(text, language)| {
            let rule = self.language_stemmer(language);
            let known = known.entry(rule.map(|(code, _)| code)).or_default();
            self.encode_with(text, rule.map(|(_, stemmer)| stemmer), |kind, word, stemmer| {
                cached_index(known, kind, word, stemmer)
            })
        });
        vectors.collect()
    }
}

impl SparseEncoder for Bm25Encoder {
    fn encode_document(&self, text: &str, language: Option<&str>) -> SparseVector {
        self.encode_with(text, self.stemmer(language), word_index)
    }

    fn encode_query(&self, text: &str, languages: &[String]) -> SparseVector {
        let mut words: Vec<(TokenKind, Cow<'_, str>)> = Vec::new();
        lex(text, &mut |kind, word, _| words.push((kind, Cow::Owned(word.to_owned()))));
        let lower: Vec<Cow<'_, str>> =
            words.iter().map(|(_, word)| normalize::lowercase(word)).collect();
        let stop_words = self.stop_words(&lower, languages);
        let counts = |word: &&str| !stop_words.is_some_and(|list| list.contains(word));
        let has_others = lower.iter().any(|word| counts(&&**word));
        let rules = self.query_stemmers(languages);
        let mut indices = BTreeSet::new();
        for ((kind, word), lower) in words.iter().zip(&lower) {
            if has_others && *kind == TokenKind::Word && !counts(&&**lower) {
                continue;
            }
            indices.extend(rules.iter().map(|stemmer| word_index(*kind, word, *stemmer)));
        }
        SparseVector { values: vec![1.0; indices.len()], indices: indices.into_iter().collect() }
    }

    fn match_ranges(
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
}
