//! Queries: their sparse vector, and their terms as written.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use pipeline::{QueryTerm, QueryTermKind, SparseVector};
use rust_stemmers::Stemmer;

use crate::bm25::lexer::{TokenKind, lex};
use crate::bm25::stop_words::STOP_WORDS;
use crate::bm25::term_index::word_index;
use crate::bm25::{Bm25Encoder, DEFAULT_LANGUAGE, normalize};

/// Opening quotation marks with their closing ones.
const QUOTATION_MARKS: [(char, &[char]); 4] =
    [('"', &['"']), ('“', &['”', '“']), ('„', &['“', '”', '"']), ('«', &['»'])];

impl Bm25Encoder {
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

    /// [`pipeline::SparseEncoder::encode_query`].
    pub(super) fn query_vector(&self, text: &str, languages: &[String]) -> SparseVector {
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
        SparseVector::of_terms(indices.into_iter().collect())
    }

    /// [`pipeline::SparseEncoder::query_terms`].
    pub(super) fn terms_of_query(&self, text: &str, languages: &[String]) -> Vec<QueryTerm> {
        let tokens = query_tokens(text);
        let lower: Vec<Cow<'_, str>> =
            tokens.iter().map(|token| normalize::lowercase(&token.word)).collect();
        let stop_words = self.stop_words(&lower, languages);
        let is_stop_word = |at: usize| {
            tokens[at].kind == TokenKind::Word
                && !tokens[at].has_parts
                && stop_words.is_some_and(|list| list.contains(&*lower[at]))
        };
        let has_others = (0..tokens.len()).any(|at| !is_stop_word(at));
        let rules = self.query_stemmers(languages);
        let indices_of = |token: &QueryToken| {
            rules.iter().map(|stemmer| word_index(token.kind, &token.word, *stemmer)).collect()
        };
        let mut quotes = quoted_ranges(text).into_iter().peekable();
        let mut terms: Vec<QueryTerm> = Vec::new();
        let mut phrase: Option<Phrase> = None;
        for (at, token) in tokens.iter().enumerate() {
            while quotes.next_if(|quote| quote.end <= token.range.start).is_some() {
                terms.extend(phrase.take().map(|it| it.term(text)));
            }
            let indices: BTreeSet<u32> = indices_of(token);
            if quotes.peek().is_some_and(|quote| quote.start <= token.range.start) {
                match &mut phrase {
                    Some(phrase) => phrase.extend(token, indices),
                    None => phrase = Some(Phrase::new(text, token, indices)),
                }
            } else if !has_others || !is_stop_word(at) {
                terms.push(QueryTerm {
                    text: text[token.range.clone()].to_owned(),
                    indices: indices.into_iter().collect(),
                    kind: kind_of(text, token),
                    quoted: false,
                });
            }
        }
        terms.extend(phrase.map(|it| it.term(text)));
        terms
    }
}

/// A term of the lexer that is in no longer one.
struct QueryToken {
    kind: TokenKind,
    word: String,
    range: Range<usize>,
    /// `true` if the lexer divides it.
    has_parts: bool,
}

fn query_tokens(text: &str) -> Vec<QueryToken> {
    let mut tokens: Vec<QueryToken> = Vec::new();
    lex(text, &mut |kind, word, range| {
        tokens.push(QueryToken { kind, word: word.to_owned(), range, has_parts: false });
    });
    tokens.sort_by_key(|token| (token.range.start, std::cmp::Reverse(token.range.end)));
    let mut whole: Vec<QueryToken> = Vec::new();
    for token in tokens {
        match whole.last_mut() {
            Some(last) if token.range.end <= last.range.end => last.has_parts = true,
            Some(_) | None => whole.push(token),
        }
    }
    whole
}

fn kind_of(text: &str, token: &QueryToken) -> QueryTermKind {
    let word = &text[token.range.clone()];
    if word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')) {
        return QueryTermKind::Number;
    }
    let is_compound = word.chars().all(|it| it == '-' || it.is_alphabetic() && !it.is_uppercase());
    let is_option = text[..token.range.start].ends_with('-');
    let is_name = match token.kind {
        // `getUserName`, but not `don't`.
        TokenKind::Word => token.has_parts,
        // A word with a hyphen is a word; characters of scripts without spaces are, too.
        TokenKind::Identifier => {
            let is_abbreviation = *word != *token.word;
            is_option || !is_compound && !is_abbreviation
        }
    };
    if is_name { QueryTermKind::Identifier } else { QueryTermKind::Word }
}

/// The tokens between two quotation marks.
struct Phrase {
    range: Range<usize>,
    indices: BTreeSet<u32>,
    kind: QueryTermKind,
}

impl Phrase {
    fn new(text: &str, token: &QueryToken, indices: BTreeSet<u32>) -> Self {
        Self { range: token.range.clone(), indices, kind: kind_of(text, token) }
    }

    fn extend(&mut self, token: &QueryToken, indices: BTreeSet<u32>) {
        self.range.end = self.range.end.max(token.range.end);
        self.indices.extend(indices);
        self.kind = QueryTermKind::Word;
    }

    fn term(self, text: &str) -> QueryTerm {
        QueryTerm {
            text: text[self.range].to_owned(),
            indices: self.indices.into_iter().collect(),
            kind: self.kind,
            quoted: true,
        }
    }
}

/// The ranges between quotation marks, in order. A mark that is not closed quotes nothing.
fn quoted_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some((start, mark)) = text[at..].char_indices().next() {
        let inside = at + start + mark.len_utf8();
        at = inside;
        let closing = QUOTATION_MARKS.iter().find(|(open, _)| *open == mark);
        if let Some((_, closing)) = closing
            && let Some(length) = text[inside..].find(*closing)
        {
            ranges.push(inside..inside + length);
            at = inside + length + text[inside + length..].chars().next().map_or(0, char::len_utf8);
        }
    }
    ranges
}
