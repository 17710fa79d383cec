//! Phrases: adjacent words, whatever their case and the white space and punctuation between them.

/// A phrase to look for in texts.
///
/// A phrase is found as whole words. Words of scripts without spaces may be part of a longer run of
/// letters.
pub(crate) struct Phrase(String);

impl Phrase {
    pub(crate) fn new(text: &str) -> Self {
        Self(normalize(text))
    }

    /// `true` if a text contains the phrase.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let words = self.0.trim();
        if words.is_empty() {
            return false;
        }
        let text = normalize(text);
        let starts_word = !words.starts_with(is_without_spaces);
        let ends_word = !words.ends_with(is_without_spaces);
        text.match_indices(words).any(|(at, _)| {
            (!starts_word || text[..at].ends_with(' '))
                && (!ends_word || text[at + words.len()..].starts_with(' '))
        })
    }
}

/// The words of a text in lower case, each with a space before and after it.
fn normalize(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    for letter in text.chars() {
        if letter.is_alphanumeric() {
            words.extend(letter.to_lowercase());
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// `true` for letters of scripts that put no spaces between words.
fn is_without_spaces(letter: char) -> bool {
    matches!(
        letter,
        '\u{e00}'..='\u{eff}' // Thai, Lao
            | '\u{1000}'..='\u{109f}' // Myanmar
            | '\u{1780}'..='\u{17ff}' // Khmer
            | '\u{3040}'..='\u{30ff}' // Hiragana, Katakana
            | '\u{3400}'..='\u{9fff}' // Han
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_adjacent_words() {
        let is_in = |phrase: &str, text: &str| Phrase::new(phrase).is_in(text);
        for (phrase, text) in [
            ("too many clients", "FATAL: sorry, too many clients already"),
            ("Too Many\nClients", "too  many - clients"),
            ("pthread_mutex_lock", "pthread_mutex_lock(3)"),
            ("end", "the end"),
            ("große", "GROSSE, Große"),
            ("東京", "新東京駅"),
            ("3.14", "about 3.14 or so"),
        ] {
            assert!(is_in(phrase, text), "{phrase} in {text}");
        }
        for (phrase, text) in [
            ("too many clients", "too many of our clients"),
            ("clients many", "many clients"),
            ("lock", "locks unlock clocks"),
            ("", "anything"),
            ("?!", "what?!"),
        ] {
            assert!(!is_in(phrase, text), "{phrase} in {text}");
        }
    }
}
