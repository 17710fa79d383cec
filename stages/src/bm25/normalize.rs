//! Normalises terms: case, accents, compatibility forms and inflection.
//!
//! The order is lower case, stem, accents: the stemmers depend on accents. A query without accents
//! matches terms with accents, except where an accent decides about the ending. Languages without a
//! stemmer keep their words unstemmed.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The languages with a stemmer, by ISO 639-1 code.
pub(super) const LANGUAGES: [(&str, Algorithm); 19] = [
    ("ar", Algorithm::Arabic),
    ("da", Algorithm::Danish),
    ("de", Algorithm::German),
    ("el", Algorithm::Greek),
    ("en", Algorithm::English),
    ("es", Algorithm::Spanish),
    ("fi", Algorithm::Finnish),
    ("fr", Algorithm::French),
    ("hu", Algorithm::Hungarian),
    ("it", Algorithm::Italian),
    ("nb", Algorithm::Norwegian),
    ("nl", Algorithm::Dutch),
    ("no", Algorithm::Norwegian),
    ("pt", Algorithm::Portuguese),
    ("ro", Algorithm::Romanian),
    ("ru", Algorithm::Russian),
    ("sv", Algorithm::Swedish),
    ("ta", Algorithm::Tamil),
    ("tr", Algorithm::Turkish),
];

/// `None` if the language has no stemmer.
pub(super) fn stemmer(language: &str) -> Option<Stemmer> {
    let (_, algorithm) = LANGUAGES.iter().find(|(code, _)| *code == language)?;
    Some(Stemmer::create(*algorithm))
}

/// The word in lower case and NFKC, without invisible characters, with `'` as apostrophe.
pub(super) fn lowercase(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(word.to_ascii_lowercase());
        }
        return Cow::Borrowed(word);
    }
    let visible = word.chars().filter(|it| !matches!(it, '\u{ad}' | '\u{200c}' | '\u{200d}'));
    let apostrophe = |letter| if letter == '\u{2019}' { '\'' } else { letter };
    // The Russian stemmer does not know ё, which is mostly written as е.
    let plain = |letter| if letter == 'ё' { 'е' } else { letter };
    Cow::Owned(visible.map(apostrophe).flat_map(char::to_lowercase).nfkc().map(plain).collect())
}

/// The stem of a word in lower case; without a stemmer, the word itself.
pub(super) fn stem<'a>(word: &'a str, stemmer: Option<&Stemmer>) -> Cow<'a, str> {
    stemmer.map_or(Cow::Borrowed(word), |stemmer| stemmer.stem(word))
}

/// Removes the diacritics of Latin, Greek, Cyrillic, Hebrew and Arabic letters. In other scripts a
/// mark makes a different letter.
pub(super) fn strip_diacritics(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        return Cow::Borrowed(word);
    }
    let is_accent = |letter: &char| {
        is_combining_mark(*letter)
            && matches!(letter, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{65f}')
    };
    let bare = word.nfd().filter(|letter| !is_accent(letter)).nfc();
    let mut plain = String::with_capacity(word.len());
    for letter in bare {
        match letter {
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'ø' => plain.push('o'),
            'ł' => plain.push('l'),
            'đ' => plain.push('d'),
            'ı' => plain.push('i'),
            _ => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_form(word: &str, language: &str) -> String {
        strip_diacritics(&stem(&lowercase(word), stemmer(language).as_ref())).into_owned()
    }

    #[test]
    fn forms_of_a_word_become_one() {
        for (language, words) in [
            ("en", ["Connection", "connections", "connected"]),
            ("de", ["Vögel", "Vogel", "VÖGEL"]),
            ("fr", ["résumé", "resume", "Résumés"]),
            ("ru", ["ещё", "еще", "ЕЩЁ"]),
            ("pl", ["Łódź", "łódź", "lodz"]),
            ("xx", ["ﬁle", "file", "ＦＩＬＥ"]),
            ("de", ["Ver\u{ad}waltung", "Verwaltung", "verwaltungen"]),
        ] {
            let forms = words.map(|word| index_form(word, language));
            assert!(forms.iter().all(|form| *form == forms[0]), "{words:?} become {forms:?}");
        }
        assert_ne!(index_form("が", "ja"), index_form("か", "ja"), "a mark makes another letter");
    }
}
