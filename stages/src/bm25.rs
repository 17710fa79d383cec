//! BM25F: the term weights of a passage as a sparse vector (docs/adr/0014-sparse-vectors.md,
//! docs/adr/0040-context-in-vectors.md).
//!
//! The weight of a term is its saturated frequency in text, headings, title and path; the store
//! multiplies it by the inverse document frequency at query time. Lengths are normalised against
//! fixed averages, so a weight depends on the passage alone, not on documents indexed before. With
//! the text alone, weights and indices equal those of Qdrant's own BM25 for the same terms.
//!
//! A passage is stemmed in the language of its document, a query in every language of the
//! collection, because queries are too short for language detection. Stop words stay in passages;
//! they are removed from queries that have other terms.

mod fields;
mod lexer;
mod matches;
mod murmur;
mod normalize;
mod options;
mod query;
mod stop_words;
mod term_index;
mod vocabulary;
mod weights;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use pipeline::{
    Bm25fParameters, BoxError, FieldEncoder, Passage, PassageField, QueryTerm, SparseEncoder,
    SparseVector, TermFrequencies, TermMatch, TermPosition,
};
use rust_stemmers::Stemmer;
use serde_json::Value;

use self::fields::FieldTexts;
use self::lexer::{TokenKind, lex};
pub(crate) use self::options::Bm25Options;
use self::options::SavedOptions;
use self::term_index::{IndexCache, cached_index, word_index};
pub use self::vocabulary::vocabulary_words;
use self::weights::{FieldCounts, FieldWeights};

/// The language of documents without a detected language. Most are short, or code and tables, which
/// contain English more often than any other language.
const DEFAULT_LANGUAGE: &str = "en";

/// The sparse encoder for options stored with a collection (`Bm25Options::settings`).
///
/// # Errors
/// If the options are invalid, or were stored by a version with other indices or weights.
///
/// ```
/// use pipeline::Passage;
/// use serde_json::json;
///
/// let encoder = stages::sparse_encoder(&json!({ "version": 2, "language": "de" }))?;
/// let passage = encoder.encode_document(&Passage::of_text("Die Vögel", None));
/// let query = encoder.encode_query("Vogel", &[]);
/// assert!(query.dot(&passage) > 0.0, "both have the same stem");
///
/// let error = stages::sparse_encoder(&json!({ "version": 0 })).err().unwrap();
/// assert!(error.to_string().contains("semantik reindex FILE"));
/// # Ok::<_, pipeline::BoxError>(())
/// ```
pub fn sparse_encoder(settings: &Value) -> Result<Arc<dyn SparseEncoder>, BoxError> {
    let saved: SavedOptions = serde_json::from_value(settings.clone())?;
    Ok(Arc::new(Bm25Encoder::new(saved.options()?)))
}

/// The sparse encoder with default options, to highlight query terms in collections without sparse
/// vectors.
///
/// ```
/// use pipeline::Passage;
///
/// let encoder = stages::default_sparse_encoder();
/// let passage = Passage::of_text("The server closes idle connections.", Some("en"));
/// let passage = encoder.encode_document(&Passage { title: Some("Servers"), ..passage });
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
    weights: FieldWeights,
    stemmers: BTreeMap<&'static str, Stemmer>,
    /// Term indices computed by [`SparseEncoder::match_ranges`]; most occurrences are of the same
    /// few terms.
    index_cache: Mutex<IndexCache>,
}

impl Bm25Encoder {
    pub(crate) fn new(options: Bm25Options) -> Self {
        let languages = normalize::LANGUAGES.iter().map(|(code, _)| *code);
        let stemmers = languages.filter_map(|code| Some((code, normalize::stemmer(code)?)));
        let weights = FieldWeights::of(&options);
        Self { stemmers: stemmers.collect(), weights, options, index_cache: Mutex::default() }
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

    /// The vector of a passage; `index_of` gives the index of a term.
    fn encode_with(
        &self,
        passage: &Passage<'_>,
        stemmer: Option<&Stemmer>,
        mut index_of: impl FnMut(TokenKind, &str, Option<&Stemmer>) -> u32,
    ) -> SparseVector {
        let texts = FieldTexts::of(passage, &self.weights);
        self.weights.vector(&count_terms(&texts, |kind, word| index_of(kind, word, stemmer)))
    }

    /// The vectors of the passages of one batch, in order. Each distinct term is stemmed once.
    pub(crate) fn encode_batch<'a>(
        &self,
        passages: impl Iterator<Item = Passage<'a>>,
    ) -> Vec<SparseVector> {
        let mut known = IndexCache::new();
        let vectors = passages.map(|passage| {
            let rule = self.language_stemmer(passage.language);
            let known = known.entry(rule.map(|(code, _)| code)).or_default();
            self.encode_with(&passage, rule.map(|(_, stemmer)| stemmer), |kind, word, stemmer| {
                cached_index(known, kind, word, stemmer)
            })
        });
        vectors.collect()
    }
}

/// The occurrences of terms in the texts of fields.
fn count_terms(
    texts: &FieldTexts<'_>,
    mut index_of: impl FnMut(TokenKind, &str) -> u32,
) -> FieldCounts {
    let mut counts = FieldCounts::default();
    for (field, text) in texts.iter() {
        lex(text, &mut |kind, word, _| counts.add(field, index_of(kind, word)));
    }
    counts
}

impl FieldEncoder for Bm25Encoder {
    fn parameters(&self) -> Bm25fParameters {
        self.weights.parameters()
    }

    fn term_frequencies(&self, passage: &Passage<'_>) -> TermFrequencies {
        let stemmer = self.stemmer(passage.language);
        let texts = FieldTexts::all(passage, &self.weights);
        count_terms(&texts, |kind, word| word_index(kind, word, stemmer)).into_frequencies()
    }
}

impl SparseEncoder for Bm25Encoder {
    fn encode_document(&self, passage: &Passage<'_>) -> SparseVector {
        self.encode_with(passage, self.stemmer(passage.language), word_index)
    }

    fn encode_query(&self, text: &str, languages: &[String]) -> SparseVector {
        self.query_vector(text, languages)
    }

    fn query_terms(&self, text: &str, languages: &[String]) -> Vec<QueryTerm> {
        self.terms_of_query(text, languages)
    }

    fn match_ranges(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<Range<usize>> {
        self.ranges_of(text, language, question)
    }

    fn explain(&self, passage: &Passage<'_>, question: &SparseVector) -> Vec<TermMatch> {
        self.matches_of(passage, question)
    }

    fn reads(&self, field: PassageField) -> bool {
        self.weights.reads(field)
    }

    fn as_field_encoder(&self) -> Option<&dyn FieldEncoder> {
        Some(self)
    }

    fn term_positions(
        &self,
        text: &str,
        language: Option<&str>,
        question: &SparseVector,
    ) -> Vec<TermPosition> {
        self.positions_of(text, language, question)
    }
}
