//! Escapes characters that a terminal would interpret.
//!
//! File names, titles, headings and messages of a database or server come from outside. A control
//! character in them could move the cursor, change the title of the window or overwrite lines
//! above; a bidirectional control displays text in a different order. All output passes through
//! this module, so callers need no check. In JSON these characters become JSON escapes, which parse
//! back to the same characters.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Printable text: lines and tabs stay, other control and bidirectional characters become `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, false, |out, letter| match letter {
        '\r' => out.push_str("\\r"),
        letter => out.extend(letter.escape_unicode()),
    })
}

/// As [`visible`], for text coloured by this program: sequences that only set colours stay.
pub(crate) fn visible_in_colour(text: &str) -> Cow<'_, str> {
    escaped(text, true, |out, letter| out.extend(letter.escape_unicode()))
}

/// Text on one line: line breaks and tabs are escaped, too.
pub(crate) fn visible_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\t', '\r']) {
        return visible(text);
    }
    let text = text.replace("\r\n", "\\n").replace('\n', "\\n").replace('\t', "\\t");
    Cow::Owned(visible(&text).into_owned())
}

/// Printable JSON. Outside strings, JSON has no such characters.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, false, |out, letter| {
        // All of them are in the basic multilingual plane.
        write!(out, "\\u{:04x}", u32::from(letter)).expect("writing to a String succeeds");
    })
}

/// `true` if a terminal could interpret a character, or reorder others because of it.
fn is_unsafe(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        letter => letter.is_control(),
    }
}

fn escaped(text: &str, keep_colour: bool, escape: fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_unsafe) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(length) = colour_sequence_length(rest).filter(|_| keep_colour) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let mut letters = rest.chars();
        if let Some(letter) = letters.next() {
            escape(&mut out, letter);
        }
        rest = letters.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length of the escape sequence at the beginning of a text, if it only sets colours.
fn colour_sequence_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    parameters[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

/// Writes log events to standard error, one call per event.
pub(crate) struct LogWriter {
    /// `true` if events are JSON.
    pub(crate) json: bool,
}

impl Write for LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = if self.json { visible_json(&text) } else { visible_in_colour(&text) };
        io::stderr().write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown() {
        let said = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}fdp.\u{2066}d\r\u{7f}\n\tü\u{61c}";
        insta::assert_snapshot!(
            visible(said),
            @r"
        a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}fdp.\u{2066}d\r\u{7f}
        	ü\u{61c}
        "
        );
        assert_eq!(visible_line("a\tb\nc"), "a\\tb\\nc");
        assert!(matches!(visible("plain – ü 漢 \u{202f}"), Cow::Borrowed(_)));
    }

    #[test]
    fn only_colours_stay_where_there_are_colours() {
        let said = "\u{1b}[1;31mred\u{1b}[0m \u{1b}[2J \u{1b}[";
        assert_eq!(visible_in_colour(said), "\u{1b}[1;31mred\u{1b}[0m \\u{1b}[2J \\u{1b}[");
    }

    proptest! {
        #[test]
        fn nothing_that_is_acted_on_is_left(text in "(\\PC|[\u{0}-\u{a0}]|[\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{61c}]){0,40}") {
            prop_assert!(!visible(&text).contains(is_unsafe));
            prop_assert!(!visible_line(&text).contains(['\n', '\t']));
            let json = serde_json::to_string(&text).unwrap();
            let shown = visible_json(&json);
            prop_assert!(!shown.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), Value::from(text));
        }
    }
}
