//! Accents and special characters.

use unicode_normalization::UnicodeNormalization as _;

/// Commands that put an accent on the next letter, with its combining character.
const ACCENTS: &[(&str, char)] = &[
    ("\"", '\u{308}'),
    ("'", '\u{301}'),
    (".", '\u{307}'),
    ("=", '\u{304}'),
    ("H", '\u{30b}'),
    ("^", '\u{302}'),
    ("`", '\u{300}'),
    ("b", '\u{331}'),
    ("c", '\u{327}'),
    ("d", '\u{323}'),
    ("k", '\u{328}'),
    ("r", '\u{30a}'),
    ("u", '\u{306}'),
    ("v", '\u{30c}'),
    ("~", '\u{303}'),
];

/// Commands that are characters.
const SYMBOLS: &[(&str, &str)] = &[
    ("#", "#"),
    ("$", "$"),
    ("%", "%"),
    ("&", "&"),
    ("AA", "Å"),
    ("AE", "Æ"),
    ("L", "Ł"),
    ("LaTeX", "LaTeX"),
    ("LaTeXe", "LaTeX2e"),
    ("O", "Ø"),
    ("OE", "Œ"),
    ("P", "¶"),
    ("S", "§"),
    ("TeX", "TeX"),
    ("_", "_"),
    ("aa", "å"),
    ("ae", "æ"),
    ("copyright", "©"),
    ("dots", "…"),
    ("euro", "€"),
    ("i", "ı"),
    ("j", "ȷ"),
    ("l", "ł"),
    ("ldots", "…"),
    ("o", "ø"),
    ("oe", "œ"),
    ("pounds", "£"),
    ("ss", "ß"),
    ("textasciitilde", "~"),
    ("textbackslash", "\\"),
    ("textbar", "|"),
    ("textbullet", "•"),
    ("textdegree", "°"),
    ("textellipsis", "…"),
    ("textemdash", "—"),
    ("textendash", "–"),
    ("texteuro", "€"),
    ("textgreater", ">"),
    ("textless", "<"),
    ("textquotedblleft", "“"),
    ("textquotedblright", "”"),
    ("textregistered", "®"),
    ("texttrademark", "™"),
    ("{", "{"),
    ("}", "}"),
];

/// The combining character of an accent command.
pub(super) fn accent(command: &str) -> Option<char> {
    ACCENTS.iter().find(|(name, _)| *name == command).map(|(_, accent)| *accent)
}

/// The text of a command that is a character.
pub(super) fn symbol(command: &str) -> Option<&'static str> {
    SYMBOLS.iter().find(|(name, _)| *name == command).map(|(_, text)| *text)
}

/// A letter with an accent, as one character if there is one.
pub(super) fn accented(letter: char, accent: char) -> String {
    // A dot is not kept below an accent.
    let letter = match letter {
        'ı' => 'i',
        'ȷ' => 'j',
        other => other,
    };
    [letter, accent].into_iter().nfc().collect()
}
