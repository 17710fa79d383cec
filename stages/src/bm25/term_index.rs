//! The index of a term in sparse vectors, and a cache of indices.

use std::borrow::Cow;
use std::collections::HashMap;

use rust_stemmers::Stemmer;

use crate::bm25::lexer::TokenKind;
use crate::bm25::{murmur, normalize};

/// Term indices by language, then by kind: words, names.
pub(super) type IndexCache = HashMap<Option<&'static str>, [HashMap<String, u32>; 2]>;

/// Maximum number of cached terms per kind and language; a full cache is cleared.
const MAX_CACHED_WORDS: usize = 50_000;

/// The index of a term, from the cache if it is there, else computed and cached.
pub(super) fn cached_index(
    known: &mut [HashMap<String, u32>; 2],
    kind: TokenKind,
    word: &str,
    stemmer: Option<&Stemmer>,
) -> u32 {
    let known = match kind {
        TokenKind::Word => &mut known[0],
        TokenKind::Identifier => &mut known[1],
    };
    if let Some(index) = known.get(word) {
        return *index;
    }
    if known.len() >= MAX_CACHED_WORDS {
        known.clear();
    }
    let index = word_index(kind, word, stemmer);
    known.insert(word.to_owned(), index);
    index
}

/// The index of a term: a hash of its stem in lower case without accents. Names are not stemmed.
pub(super) fn word_index(kind: TokenKind, word: &str, stemmer: Option<&Stemmer>) -> u32 {
    let lower = normalize::lowercase(word);
    let stem = match kind {
        TokenKind::Word => normalize::stem(&lower, stemmer),
        TokenKind::Identifier => Cow::Borrowed(&*lower),
    };
    murmur::token_index(&normalize::strip_diacritics(&stem))
}
