//! Finds the sentence in which a passage says what its subject is.

use std::ops::Range;

use pipeline::Payload;

use crate::tuning::clicks::fold;

/// Number of words of a question.
const WORDS: std::ops::RangeInclusive<usize> = 4..=20;

/// Verbs that begin a definition after its subject, in English, German, French and Spanish. What
/// follows them describes the subject.
const COPULAS: [&str; 25] = [
    " is a ",
    " is an ",
    " is the ",
    " is used to ",
    " provides ",
    " describes ",
    " returns ",
    " allows ",
    " defines ",
    " ist ein ",
    " ist eine ",
    " ist der ",
    " ist die ",
    " ist das ",
    " beschreibt ",
    " est un ",
    " est une ",
    " est le ",
    " est la ",
    " décrit ",
    " es un ",
    " es una ",
    " es el ",
    " es la ",
    " describe ",
];

/// Separators between a name and its description, as in the NAME section of a manual page.
const DASHES: [&str; 4] = [" - ", " – ", " — ", " \\- "];

/// A question from the sentence in which a passage says what it is about, and the byte range of the
/// sentence in its content: the description in a line `name - description` at its start, what
/// follows the verb of a definition (`An oak is a tree that …`), or its first sentence.
pub(crate) fn definition_of(payload: &Payload) -> Option<(String, Range<usize>)> {
    let text = &payload.content;
    described_name(text).or_else(|| {
        let sentences: Vec<Range<usize>> = sentences(text).take(6).collect();
        let defined = sentences.iter().find_map(|range| {
            let sentence = collapse(&text[range.clone()]);
            let description = predicate(&sentence, payload)?;
            is_asked(description).then(|| (description.to_owned(), range.clone()))
        });
        let first = || {
            let range = sentences.first()?;
            let sentence = collapse(&text[range.clone()]);
            let sentence = trimmed(&sentence);
            is_asked(sentence).then(|| (sentence.to_owned(), range.clone()))
        };
        defined.or_else(first)
    })
}

/// The description in one of the first three lines with text.
fn described_name(text: &str) -> Option<(String, Range<usize>)> {
    let mut start = 0;
    let mut seen = 0;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        seen += 1;
        if seen > 3 {
            break;
        }
        let dash = DASHES.iter().filter_map(|dash| Some((line.find(dash)?, dash.len()))).min();
        let Some((dash, width)) = dash else { continue };
        let name = line[..dash].trim();
        // A name, or several separated by commas; not a sentence with a dash.
        let is_name =
            !name.is_empty() && name.split(',').all(|it| it.split_whitespace().count() <= 1);
        let description = trimmed(line[dash + width..].trim());
        if is_name && is_asked(description) {
            let end = at + line.trim_end().len();
            return Some((description.to_owned(), at + dash + width..end));
        }
    }
    None
}

/// What a sentence says about its subject, which must share a word with the title or a heading.
fn predicate<'a>(sentence: &'a str, payload: &Payload) -> Option<&'a str> {
    let verb = COPULAS.iter().filter_map(|verb| Some((sentence.find(verb)?, verb.len()))).min()?;
    let (subject, rest) = (&sentence[..verb.0], &sentence[verb.0 + verb.1..]);
    if subject.split_whitespace().count() > 6 {
        return None;
    }
    let context = [payload.title.as_deref(), payload.headings.as_deref()];
    let context = fold(&context.map(Option::unwrap_or_default).join(" "));
    let subject = fold(subject);
    let is_named =
        long_words(&subject).any(|word| long_words(&context).any(|it| is_form(word, it)));
    // The first clause is enough for a question.
    let clause = rest.split(';').next().unwrap_or(rest);
    is_named.then(|| trimmed(clause))
}

fn long_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_alphanumeric()).filter(|word| word.chars().count() > 2)
}

/// `true` if two words are the same, or one continues the other, as a plural does.
fn is_form(a: &str, b: &str) -> bool {
    a == b || (a.len().abs_diff(b.len()) <= 2 && (a.starts_with(b) || b.starts_with(a)))
}

/// `true` for prose of a fitting length: no code, table or list of options.
fn is_asked(text: &str) -> bool {
    let words: Vec<&str> =
        text.split_whitespace().filter(|it| it.chars().any(char::is_alphabetic)).collect();
    let letters = text.chars().filter(|it| it.is_alphabetic()).count();
    if !text.is_ascii() && words.len() < 4 {
        // Words of Chinese, Japanese and Thai have no space between them.
        return (8..=60).contains(&letters);
    }
    let is_plain = !text.contains(['[', ']', '{', '}', '|', '<', '>', '=', '\\', '_', '\u{2014}'])
        && text.starts_with(char::is_alphanumeric)
        && !text.ends_with([',', '&', '(', '-']);
    let starts_lower = |word: &&&str| word.starts_with(char::is_lowercase);
    let is_prose = 2 * words.iter().filter(starts_lower).count() >= words.len();
    WORDS.contains(&words.len()) && is_plain && is_prose && 10 * letters >= 7 * text.len()
}

/// Byte ranges of sentences: they end with a full stop, or a question or exclamation mark, before
/// white space. Lines of a heading, a table or code rarely do.
fn sentences(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let end = at + letter.len_utf8();
        let next = letters.peek().map(|(_, next)| *next);
        let ends = match letter {
            '.' | '!' | '?' => next.is_none_or(char::is_whitespace),
            '。' | '！' | '？' => true,
            _ => false,
        };
        if ends {
            let start_of_text = start + heading_lines(&text[start..end]);
            let lead = text[start_of_text..end].len() - text[start_of_text..end].trim_start().len();
            found.push(start_of_text + lead..end);
            start = end;
        } else if letter == '\n' && next.is_none_or(|next| next == '\n') {
            // A paragraph without a full stop is no sentence.
            start = end;
        }
    }
    found.into_iter()
}

/// Length of the short lines before a sentence that begins on a line of its own: headings of which
/// no empty line follows.
fn heading_lines(text: &str) -> usize {
    let mut length = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let Some(next) = lines.peek() else { break };
        let is_short = line.split_whitespace().count() <= 6;
        let is_open = !line.trim_end().ends_with([',', ';', ':']);
        let is_capital = line.chars().all(|it| !it.is_lowercase());
        let starts = next.trim_start().starts_with(char::is_uppercase);
        if is_short && is_open && (starts || is_capital) {
            length += line.len();
        } else if !line.trim().is_empty() {
            break;
        } else {
            length += line.len();
        }
    }
    length
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn trimmed(text: &str) -> &str {
    text.trim().trim_end_matches(['.', '!', '?', ':', '。', '！', '？']).trim_end()
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;

    use super::*;

    #[test]
    fn a_passage_says_what_it_is_about() {
        let found = |title: &str, text: &str| {
            let payload = Payload { title: Some(title.to_owned()), ..payload("x", text) };
            definition_of(&payload)
                .map(|(question, range)| format!("{question} | {}", &text[range]))
        };
        let name = "NAME\n\nopen, openat - open and possibly create a file\n";
        let same = "open and possibly create a file | open and possibly create a file";
        assert_eq!(found("open(2)", name).unwrap(), same);
        let text = "Oaks\n\nThe forest is large. An oak is a tree that can\nlive for ages. More.";
        let oak = "tree that can live for ages | An oak is a tree that can\nlive for ages.";
        assert_eq!(found("Oaks", text).unwrap(), oak);
        let text = "Setup\n\nBefore you begin, read the whole page. Then start.";
        let first =
            "Before you begin, read the whole page | Before you begin, read the whole page.";
        assert_eq!(found("Setup", text).unwrap(), first);
        assert_eq!(found("Table", "a b c\n1 2 3\n"), None);
        let first = "樫は長生きする大きな木の一種です | 樫は長生きする大きな木の一種です。";
        assert_eq!(found("樹", "樫は長生きする大きな木の一種です。次。").unwrap(), first);
    }
}
