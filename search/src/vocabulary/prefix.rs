//! Prefixes in a query: `pthread_mutex*`.

use std::ops::Range;

/// Shortest prefix in characters; an asterisk after a shorter one has no effect.
const MIN_PREFIX_CHARS: usize = 2;

/// A word of a query that ends with an asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrefixTerm {
    /// The word before the asterisk in lower case.
    pub(crate) prefix: String,
    /// Its place in the query, with the asterisk.
    pub(crate) range: Range<usize>,
}

/// The prefixes of a query, outside of quotation marks.
pub(crate) fn prefix_terms(query: &str) -> Vec<PrefixTerm> {
    let mut found = Vec::new();
    let mut is_quoted = false;
    for (at, letter) in query.char_indices() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '*' if !is_quoted => found.extend(prefix_before(query, at)),
            _ => {}
        }
    }
    found
}

/// The prefix that ends before the asterisk at byte `at`.
fn prefix_before(query: &str, at: usize) -> Option<PrefixTerm> {
    let mut rest = query[at + 1..].chars().skip_while(|it| matches!(it, '.' | '-' | '\''));
    if rest.next().is_some_and(|next| next.is_alphanumeric() || matches!(next, '_' | '*' | '/')) {
        return None;
    }
    let before = query[..at].trim_end_matches(is_word_char);
    let word = query[before.len()..at].trim_start_matches(|it: char| !it.is_alphanumeric());
    let follows_pattern = query[..at - word.len()].ends_with(['*', '/']);
    let is_long = word.chars().nth(MIN_PREFIX_CHARS - 1).is_some();
    (is_long && !follows_pattern && word.chars().any(char::is_alphabetic))
        .then(|| PrefixTerm { prefix: word.to_lowercase(), range: at - word.len()..at + 1 })
}

/// `true` for the characters of words and names.
fn is_word_char(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '\'' | '\u{2019}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_an_asterisk_is_a_prefix() {
        for (query, expected) in [
            ("pthread_mutex*", "pthread_mutex"),
            ("lock a Mutex* (or sem*)", "mutex sem"),
            ("--no-ver* größ*, v1.2*.", "no-ver größ v1.2"),
            ("a* 12* * ** *.c", ""),
            ("**bold** a*b ab*cd dir/* src/ab* ab*.c", ""),
            ("\"exact mut*\" mut*", "mut"),
            ("connect", ""),
        ] {
            let found = prefix_terms(query);
            for term in &found {
                let typed = query[term.range.clone()].to_lowercase();
                assert_eq!(typed, format!("{}*", term.prefix), "{query}");
            }
            let found: Vec<String> = found.into_iter().map(|term| term.prefix).collect();
            assert_eq!(found.join(" "), expected, "{query}");
        }
    }
}
