//! Cleans client text for the log and the audit log: short, on one line, without terminal control
//! characters.

/// Length limit of an unknown path, in characters.
pub(super) const MAX_PATH: usize = 200;
/// Length limit of a method, which may be any word.
pub(super) const MAX_METHOD: usize = 32;
/// Length limit of a user agent.
pub(super) const MAX_USER_AGENT: usize = 256;
/// Length limit of an error cause, which may quote client input.
pub(super) const MAX_CAUSE: usize = 2000;

/// The text cut to `most` characters. Control characters and characters that change the text
/// direction (Unicode Standard Annex 9) become U+FFFD.
pub(super) fn sanitized(text: &str, most: usize) -> String {
    let visible = |character: char| if is_unsafe(character) { '\u{fffd}' } else { character };
    let mut cleaned: String = text.chars().take(most).map(visible).collect();
    if text.chars().nth(most).is_some() {
        cleaned.push('…');
    }
    cleaned
}

fn is_unsafe(character: char) -> bool {
    let is_bidi = matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_bidi || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_acts_and_nothing_is_long(text in any::<String>(), most in 0_usize..50) {
            let cleaned = sanitized(&text, most);
            prop_assert!(cleaned.chars().count() <= most + 1);
            prop_assert!(!cleaned.chars().any(is_unsafe));
            if text.chars().count() <= most && !text.chars().any(is_unsafe) {
                prop_assert_eq!(cleaned, text);
            }
        }
    }
}
