//! Splits a text into terms with their byte ranges.
//!
//! Terms are words, and names with inner punctuation or capitals: `pthread_mutex_lock`, `v1.2.3`,
//! `--no-verify`, `getUserName`, `libfoo.so`. A name yields itself and its parts, so that a query
//! for either matches, and one for the whole name ranks best. Scripts without spaces between words
//! yield overlapping pairs of characters.
//!
//! The lexer knows neither languages nor weights; `normalize.rs` normalises the terms.

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

/// Longest name in bytes that is a term; a longer one yields its parts only, since no query
/// contains it.
const MAX_IDENTIFIER_CHARS: usize = 64;

/// A sequence of more parts than this is not treated as a name.
const MAX_IDENTIFIER_PARTS: usize = 8;

/// Longest ending, in letters, that stays with its word after an apostrophe: `don't`, `we'll`, but
/// `l'homme` is split.
const MAX_CONTRACTION_SUFFIX: usize = 2;

/// The kind of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TokenKind {
    /// A word of a natural language, which may be inflected.
    Word,
    /// A name or number, which is never stemmed.
    Identifier,
}

/// Calls `each` with every term of the text and its byte range. Ranges may overlap.
pub(super) fn lex(text: &str, each: &mut impl FnMut(TokenKind, &str, Range<usize>)) {
    let mut letters = text.char_indices().peekable();
    while let Some((start, letter)) = letters.next() {
        if !is_letter(letter) {
            continue;
        }
        let mut end = start + letter.len_utf8();
        while let Some(&(at, letter)) = letters.peek() {
            if !is_letter(letter) && !joins_next_letter(text, at, letter) {
                break;
            }
            end = at + letter.len_utf8();
            letters.next();
        }
        lex_hyphenated(text, start..end, each);
        if let Some(end) = suffix_end(text, start..end) {
            each(TokenKind::Identifier, &text[start..end], start..end);
        }
    }
}

fn is_letter(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric();
    }
    // Soft hyphens and joiners occur within words and are invisible.
    letter.is_alphanumeric()
        || is_combining_mark(letter)
        || matches!(letter, '\u{ad}' | '\u{200c}' | '\u{200d}')
}

fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}')
}

/// `true` if a punctuation mark at byte `at` is followed by a letter, so that it continues a word
/// or name.
fn joins_next_letter(text: &str, at: usize, sign: char) -> bool {
    let mut behind = text[at..].chars();
    if sign == '_' {
        return behind.find(|&letter| letter != '_').is_some_and(is_letter);
    }
    (matches!(sign, '-' | '.') || is_apostrophe(sign)) && behind.nth(1).is_some_and(is_letter)
}

/// The end of a name together with the mark after it, as in `c++` and `c#`; `None` if there is no
/// such mark.
fn suffix_end(text: &str, name: Range<usize>) -> Option<usize> {
    let behind = &text[name.end..];
    let sign = ["++", "#"].into_iter().find(|sign| behind.starts_with(sign))?;
    let end = name.end + sign.len();
    let goes_on = text[end..].chars().next().is_some_and(is_letter);
    (name.len() <= 3 && !goes_on).then_some(end)
}

/// The ranges between punctuation marks, without empty ones.
fn split_parts(text: &str, whole: Range<usize>, sign: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = whole.start;
    for (at, found) in text[whole.clone()].match_indices(sign) {
        parts.push(start..whole.start + at);
        start = whole.start + at + found.len();
    }
    parts.push(start..whole.end);
    parts.retain(|part| !part.is_empty());
    parts
}

fn lex_identifier(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    if whole.len() <= MAX_IDENTIFIER_CHARS {
        each(TokenKind::Identifier, &text[whole.clone()], whole);
    }
}

fn lex_hyphenated(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    let parts = split_parts(text, whole.clone(), |sign| sign == '-');
    if (2..=MAX_IDENTIFIER_PARTS).contains(&parts.len()) {
        lex_identifier(text, whole, each);
    }
    parts.into_iter().for_each(|part| lex_dotted(text, part, each));
}

fn lex_dotted(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    let parts = split_parts(text, whole.clone(), |sign| sign == '.');
    if parts.len() < 2 {
        return lex_underscored(text, whole, each);
    }
    let is_number = |part: &Range<usize>| text[part.clone()].bytes().all(|it| it.is_ascii_digit());
    let letters = |part: &Range<usize>| text[part.clone()].chars().count();
    if parts.len() <= MAX_IDENTIFIER_PARTS {
        // `U.S.A` is one term; its letters are not terms.
        if parts.iter().all(|part| letters(part) == 1 && !is_number(part)) {
            let joined: String = parts.iter().map(|part| &text[part.clone()]).collect();
            return each(TokenKind::Identifier, &joined, whole);
        }
        lex_identifier(text, whole.clone(), each);
        if let Some(number) = version_number(&text[whole.clone()]) {
            lex_identifier(text, whole.end - number.len()..whole.end, each);
        }
    }
    let is_version = |part: &Range<usize>| version_number(&text[part.clone()]).is_some();
    let words = parts.into_iter().filter(|part| !is_number(part) && !is_version(part));
    words.for_each(|part| lex_underscored(text, part, each));
}

/// The number in a version: `1.2` in `v1.2`.
fn version_number(text: &str) -> Option<&str> {
    let number = text.strip_prefix(['v', 'V'])?;
    number.starts_with(|first: char| first.is_ascii_digit()).then_some(number)
}

fn lex_underscored(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    let parts = split_parts(text, whole.clone(), |sign| sign == '_');
    if (2..=MAX_IDENTIFIER_PARTS).contains(&parts.len()) {
        lex_identifier(text, whole, each);
    }
    parts.into_iter().for_each(|part| lex_apostrophes(text, part, each));
}

/// Splits at apostrophes, except before a short ending.
fn lex_apostrophes(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    let mut word: Option<Range<usize>> = None;
    for part in split_parts(text, whole, is_apostrophe) {
        let is_ending = text[part.clone()].chars().count() <= MAX_CONTRACTION_SUFFIX;
        word = match word {
            Some(before) if is_ending => Some(before.start..part.end),
            Some(before) => {
                lex_camel_case(text, before, each);
                Some(part)
            }
            None => Some(part),
        };
    }
    if let Some(last) = word {
        lex_camel_case(text, last, each);
    }
}

/// Splits `getUserName` before a capital that follows a small letter, and before the last of
/// several capitals that is followed by a small letter.
fn lex_camel_case(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    let word = &text[whole.clone()];
    if !word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase()) {
        return lex_scripts(text, whole, each);
    }
    lex_scripts(text, whole.clone(), each);
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let mut cuts = vec![whole.start];
    for (before, two) in letters.windows(2).enumerate() {
        let [(_, last), (at, here)] = [two[0], two[1]];
        let next = letters.get(before + 2).map(|(_, letter)| *letter);
        let ends_capitals = last.is_uppercase() && next.is_some_and(char::is_lowercase);
        if here.is_uppercase() && (last.is_lowercase() || ends_capitals) {
            cuts.push(whole.start + at);
        }
    }
    cuts.push(whole.end);
    if (3..=MAX_IDENTIFIER_PARTS + 1).contains(&cuts.len()) {
        for cut in cuts.windows(2).filter(|cut| cut[1] - cut[0] > 1) {
            each(TokenKind::Word, &text[cut[0]..cut[1]], cut[0]..cut[1]);
        }
    }
}

/// Splits at the borders of scripts without spaces.
fn lex_scripts(
    text: &str,
    whole: Range<usize>,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    if text[whole.clone()].is_ascii() {
        return lex_word(text, whole, each);
    }
    let mut start = whole.start;
    let mut unspaced = None;
    let letters = text[whole.clone()].char_indices().map(|(at, letter)| (whole.start + at, letter));
    for (at, letter) in letters {
        if is_combining_mark(letter) {
            continue;
        }
        let is_unspaced = is_unspaced(letter);
        if unspaced.is_some_and(|before| before != is_unspaced) {
            lex_segment(text, start..at, unspaced == Some(true), each);
            start = at;
        }
        unspaced = Some(is_unspaced);
    }
    lex_segment(text, start..whole.end, unspaced == Some(true), each);
}

fn lex_segment(
    text: &str,
    whole: Range<usize>,
    is_unspaced: bool,
    each: &mut impl FnMut(TokenKind, &str, Range<usize>),
) {
    if !is_unspaced {
        return lex_word(text, whole, each);
    }
    let starts: Vec<usize> =
        text[whole.clone()].char_indices().map(|(at, _)| whole.start + at).collect();
    if starts.len() < 3 {
        return each(TokenKind::Identifier, &text[whole.clone()], whole);
    }
    let ends = starts.iter().skip(2).copied().chain([whole.end]);
    for (start, end) in starts.iter().copied().zip(ends) {
        each(TokenKind::Identifier, &text[start..end], start..end);
    }
}

fn lex_word(text: &str, whole: Range<usize>, each: &mut impl FnMut(TokenKind, &str, Range<usize>)) {
    if whole.len() > MAX_IDENTIFIER_CHARS {
        return;
    }
    let kind = if text[whole.clone()].bytes().any(|byte| byte.is_ascii_digit()) {
        TokenKind::Identifier
    } else {
        TokenKind::Word
    };
    each(kind, &text[whole.clone()], whole);
}

/// `true` for Chinese, Japanese, Thai, Lao, Khmer and Burmese letters.
pub(super) fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        let mut found = Vec::new();
        lex(text, &mut |kind, word, range| {
            let is_there = &text[range.clone()] == word;
            found.push(match (kind, is_there) {
                (TokenKind::Word, _) => word.to_owned(),
                (TokenKind::Identifier, true) => format!("={word}"),
                (TokenKind::Identifier, false) => format!("={word}({})", &text[range]),
            });
        });
        found.join(" ")
    }

    #[test]
    fn names_are_found_whole_and_in_parts() {
        for (text, expected) in [
            ("Opens a file.", "Opens a file"),
            ("pthread_mutex_lock(3)", "=pthread_mutex_lock pthread mutex lock =3"),
            ("git commit --no-verify", "git commit =no-verify no verify"),
            ("since v1.2.3", "since =v1.2.3 =1.2.3"),
            ("3.14", "=3.14"),
            ("libfoo.so.1", "=libfoo.so.1 libfoo so"),
            ("gcc-12.3", "=gcc-12.3 gcc =12.3"),
            ("getUserName", "getUserName get User Name"),
            ("PostgreSQL HTMLParser", "PostgreSQL Postgre SQL HTMLParser HTML Parser"),
            ("C++ and C#", "C =C++ and C =C#"),
            ("the U.S.A.", "the =USA(U.S.A)"),
            ("don't, l'homme, O'Reilly's", "don't l homme O Reilly's"),
            ("__init__ -x a_", "init x a"),
            ("sha256sum utf-8", "=sha256sum =utf-8 utf =8"),
            ("std::vector a/b", "std vector a b"),
            ("日本語", "=日本 =本語"),
            ("東京tower", "=東京 tower"),
            ("Ärger straße", "Ärger straße"),
            ("", ""),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
