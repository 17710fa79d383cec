//! Detects the language of a text.

use whatlang::Lang;

/// Bytes of a text that are examined; more do not improve the result.
const SAMPLE_BYTES: usize = 4096;

/// Minimum length in bytes; shorter texts are not reliable.
const MIN_LETTERS: usize = 40;

/// ISO 639-1 code of the language of a text; `None` if the detection is not reliable.
pub(crate) fn detect(text: &str) -> Option<String> {
    let mut end = text.len().min(SAMPLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    if text.len() < MIN_LETTERS {
        return None;
    }
    let found = whatlang::detect(text).filter(whatlang::Info::is_reliable)?;
    to_iso_639_1(found.lang()).map(str::to_owned)
}

/// The ISO 639-1 code in a language tag such as `de-AT` or `pt_BR.UTF-8`.
pub(crate) fn iso_code(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_', '.']).next()?.to_ascii_lowercase();
    if primary.len() == 2 && primary.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Some(primary);
    }
    Lang::from_code(primary).and_then(to_iso_639_1).map(str::to_owned)
}

fn to_iso_639_1(lang: Lang) -> Option<&'static str> {
    ISO_639_1.iter().find(|(three, _)| *three == lang.code()).map(|(_, two)| *two)
}

/// ISO 639-3 to ISO 639-1, for the languages that `whatlang` detects.
const ISO_639_1: [(&str, &str); 70] = [
    ("afr", "af"),
    ("aka", "ak"),
    ("amh", "am"),
    ("ara", "ar"),
    ("aze", "az"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces", "cs"),
    ("cmn", "zh"),
    ("cym", "cy"),
    ("dan", "da"),
    ("deu", "de"),
    ("ell", "el"),
    ("eng", "en"),
    ("epo", "eo"),
    ("est", "et"),
    ("fin", "fi"),
    ("fra", "fr"),
    ("guj", "gu"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye", "hy"),
    ("ind", "id"),
    ("ita", "it"),
    ("jav", "jv"),
    ("jpn", "ja"),
    ("kan", "kn"),
    ("kat", "ka"),
    ("khm", "km"),
    ("kor", "ko"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mal", "ml"),
    ("mar", "mr"),
    ("mkd", "mk"),
    ("mya", "my"),
    ("nep", "ne"),
    ("nld", "nl"),
    ("nob", "nb"),
    ("ori", "or"),
    ("pan", "pa"),
    ("pes", "fa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rus", "ru"),
    ("sin", "si"),
    ("slk", "sk"),
    ("slv", "sl"),
    ("sna", "sn"),
    ("spa", "es"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tel", "te"),
    ("tgl", "tl"),
    ("tha", "th"),
    ("tuk", "tk"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("uzb", "uz"),
    ("vie", "vi"),
    ("yid", "yi"),
    ("zul", "zu"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_code() {
        for lang in Lang::all() {
            assert!(to_iso_639_1(*lang).is_some(), "{lang}");
        }
    }

    #[test]
    fn clear_texts_are_told_apart_and_short_ones_are_not() {
        let english =
            "The quick brown fox jumps over the lazy dog, and nobody knows why it does that.";
        let german = "Im Frühling blühen die Bäume, und niemand weiß genau, warum das so ist.";
        assert_eq!(detect(english).as_deref(), Some("en"));
        assert_eq!(detect(german).as_deref(), Some("de"));
        assert_eq!(detect("x = 1"), None);
    }

    #[test]
    fn tags_are_cut_to_their_language() {
        assert_eq!(iso_code("de-AT").as_deref(), Some("de"));
        assert_eq!(iso_code("pt_BR.UTF-8").as_deref(), Some("pt"));
        assert_eq!(iso_code("deu").as_deref(), Some("de"));
        assert_eq!(iso_code("x-default"), None);
    }
}
