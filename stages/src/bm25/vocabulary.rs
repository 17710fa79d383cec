//! The words of a passage for the vocabulary of a collection (docs/adr/0045-vocabulary.md).
//!
//! These are the terms of the lexer that a user could misspell or abbreviate by a prefix. Left out
//! are numbers, pairs of characters of scripts without spaces, and very short words.

use pipeline::Passage;

use crate::bm25::lexer::{is_unspaced, lex};
use crate::bm25::normalize;
use crate::context::path_words;

/// Shortest word of a vocabulary in characters.
const MIN_CHARS: usize = 3;

/// Calls `each` with the words and names in all fields of a passage, in lower case, in the form in
/// which they are displayed. Repetitions are not removed.
///
/// ```
/// use pipeline::Passage;
///
/// let text = "Call pthread_mutex_lock(3) in 2024.";
/// let passage = Passage { title: Some("Locks"), ..Passage::of_text(text, Some("en")) };
/// let mut words = Vec::new();
/// stages::vocabulary_words(&passage, &mut |word| words.push(word.to_owned()));
/// assert_eq!(words, ["call", "pthread_mutex_lock", "pthread", "mutex", "lock", "locks"]);
/// ```
pub fn vocabulary_words(passage: &Passage<'_>, each: &mut dyn FnMut(&str)) {
    let path = path_words(passage.path.unwrap_or_default());
    let fields = [passage.headings, passage.title, Some(&*path)];
    for text in [passage.text].into_iter().chain(fields.into_iter().flatten()) {
        words_of(text, each);
    }
}

fn words_of(text: &str, each: &mut dyn FnMut(&str)) {
    lex(text, &mut |_, word, _| {
        let is_word = word.chars().any(char::is_alphabetic)
            && word.chars().nth(MIN_CHARS - 1).is_some()
            && (word.is_ascii() || !word.chars().any(is_unspaced));
        if is_word {
            each(&normalize::lowercase(word));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_lower_case_and_numbers_are_left_out() {
        for (text, expected) in [
            // "in" is too short.
            ("Opens a FILE in 2024, v1.2.3", "opens file v1.2.3"),
            ("getUserName", "getusername get user name"),
            ("Größe der Datei", "größe der datei"),
            ("日本語 tower", "tower"),
            ("sha256sum", "sha256sum"),
            ("3.14 1e5", "1e5"),
        ] {
            let mut found = Vec::new();
            let passage = Passage::of_text(text, None);
            vocabulary_words(&passage, &mut |word| found.push(word.to_owned()));
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }
}
