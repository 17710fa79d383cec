//! Rules of spelling corrections: which words are corrected, and by what.

use std::ops::Range;

use pipeline::{QueryTerm, QueryTermKind};

use crate::vocabulary::word_list::SimilarWord;

/// Shortest word, in characters, that is corrected.
const MIN_CHARS: usize = 4;

/// Shortest word, in characters, with two errors.
const MIN_CHARS_OF_TWO_ERRORS: usize = 8;

/// Longest word, in characters, that is corrected; the vocabulary has no longer ones.
const MAX_CHARS: usize = 64;

/// Maximum number of similar words whose frequency is compared.
const MAX_CANDIDATES: usize = 48;

/// Maximum number of alternatives in an answer.
const MAX_ALTERNATIVES: usize = 3;

/// A word of the query that the collection does not have, and the word that was searched instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The word as typed.
    pub typed: String,
    /// The most similar word of the collection, which the sparse ranking used.
    pub used: String,
    /// Other similar words, the best first.
    pub alternatives: Vec<String>,
}

/// The errors that a word may have; 0 for a word that is not corrected.
pub(crate) fn max_errors(word: &str) -> usize {
    if word.chars().any(|letter| letter.is_numeric()) {
        return 0;
    }
    match word.chars().count() {
        MIN_CHARS..MIN_CHARS_OF_TWO_ERRORS => 1,
        MIN_CHARS_OF_TWO_ERRORS..=MAX_CHARS => 2,
        _ => 0,
    }
}

/// `true` for a term of a query that is corrected if the collection does not have it.
pub(crate) fn is_correctable(term: &QueryTerm) -> bool {
    let is_word = matches!(term.kind, QueryTermKind::Word | QueryTermKind::Identifier);
    is_word && !term.quoted && max_errors(&term.text) > 0
}

/// The places of terms in the text of their query, in order; a term that is not found is left out.
pub(crate) fn locate<'a>(
    text: &str,
    terms: impl Iterator<Item = &'a QueryTerm>,
) -> Vec<(&'a QueryTerm, Range<usize>)> {
    let mut from = 0;
    let mut found = Vec::new();
    for term in terms {
        let mut places = text[from..].match_indices(&*term.text).map(|(at, it)| {
            let at = from + at;
            at..at + it.len()
        });
        let is_whole = |place: &Range<usize>| {
            let joins = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
            !joins(text[..place.start].chars().next_back())
                && !joins(text[place.end..].chars().next())
        };
        if let Some(place) = places.find(is_whole) {
            from = place.end;
            found.push((term, place));
        }
    }
    found
}

/// The parts of a name that are indexed separately, with their places in it; empty for a plain
/// word.
pub(crate) fn parts(name: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut before: Option<char> = None;
    for (at, letter) in name.char_indices() {
        let is_joint = !letter.is_alphanumeric();
        let is_capital = letter.is_uppercase() && before.is_some_and(char::is_lowercase);
        let starts = before.is_none_or(|it| !it.is_alphanumeric()) || is_capital;
        let end = at + letter.len_utf8();
        match parts.last_mut() {
            Some(_) | None if is_joint => {}
            Some(last) if !starts => last.end = end,
            Some(_) | None => parts.push(at..end),
        }
        before = Some(letter);
    }
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// The similar words to consider, most similar first. Of words at the same distance, those with the
/// same first letter and a similar length are more likely.
pub(crate) fn candidates(typed: &str, mut similar: Vec<SimilarWord>) -> Vec<SimilarWord> {
    let (first, length) = (typed.chars().next(), typed.chars().count());
    similar.retain(|it| it.distance > 0);
    similar.sort_by_cached_key(|it| {
        let other_first = it.word.chars().next() != first;
        (it.distance, other_first, it.word.chars().count().abs_diff(length), it.word.clone())
    });
    similar.truncate(MAX_CANDIDATES);
    similar
}

/// A similar word that occurs in the collection.
pub(crate) struct Occurring {
    pub(crate) similar: SimilarWord,
    /// Its indices in sparse vectors.
    pub(crate) indices: Vec<u32>,
    /// Number of chunks with one of its forms.
    pub(crate) chunks: u64,
}

/// The correction of a word; `None` without occurring words. Of several forms of one word, the best
/// one is kept.
pub(crate) fn choose(typed: &str, mut found: Vec<Occurring>) -> Option<Correction> {
    found.sort_by(|a, b| {
        let by_distance = a.similar.distance.cmp(&b.similar.distance);
        let by_frequency = b.chunks.cmp(&a.chunks);
        by_distance.then(by_frequency).then_with(|| a.similar.word.cmp(&b.similar.word))
    });
    let mut words: Vec<Occurring> = Vec::new();
    for it in found {
        if !words.iter().any(|better| better.indices == it.indices) {
            words.push(it);
        }
    }
    let mut words = words.into_iter().map(|it| it.similar.word);
    Some(Correction {
        typed: typed.to_owned(),
        used: words.next()?,
        alternatives: words.take(MAX_ALTERNATIVES).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_divided_where_their_parts_are_indexed() {
        for (name, expected) in [
            ("pthread_mutex_lock", "pthread mutex lock"),
            ("no-verify", "no verify"),
            ("getUserName", "get User Name"),
            ("libfoo.so", "libfoo so"),
            ("connection", ""),
            ("", ""),
        ] {
            let found: Vec<&str> = parts(name).into_iter().map(|part| &name[part]).collect();
            assert_eq!(found.join(" "), expected, "{name}");
        }
    }

    #[test]
    fn short_words_and_names_with_digits_are_not_corrected() {
        for (word, errors) in [
            ("cat", 0),
            ("mutx", 1),
            ("mutexes", 1),
            ("conection", 2),
            ("größer", 1),
            ("sha256sum", 0),
            ("v1.2.3", 0),
        ] {
            assert_eq!(max_errors(word), errors, "{word}");
        }
        assert_eq!(max_errors(&"x".repeat(65)), 0);
    }
}
