//! Expands escape sequences of roff, and splits the arguments of a request.

use std::collections::HashMap;

use crate::extract::roff::characters::special_character;

/// Limit of the text that the strings of a page add: this multiple of its size, plus a constant for
/// small pages. Strings of real pages are names, quotes and signs, and add less than the size of
/// the page.
const MAX_GROWTH_FACTOR: usize = 4;
const MIN_GROWTH_BYTES: usize = 64 << 10;

/// The predefined strings and those that a page defines.
///
/// Every insertion of a string, into text or into another string, is subtracted from one allowance,
/// so neither a page nor a string exceeds it. Once it is spent, a string is shown as its reference
/// in the source, so the text of the page is kept.
pub(super) struct StringRegisters {
    values: HashMap<String, String>,
    /// Bytes that may still be inserted.
    remaining_bytes: usize,
}

impl Default for StringRegisters {
    fn default() -> Self {
        Self::new(0)
    }
}

impl StringRegisters {
    /// `source` is the size of the source of the page in bytes.
    pub(super) fn new(source: usize) -> Self {
        let known = [
            ("lq", "“"),
            ("rq", "”"),
            ("R", "®"),
            ("Tm", "™"),
            ("L\"", "“"),
            ("R\"", "”"),
            ("C+", "C++"),
        ];
        Self {
            values: known
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            remaining_bytes: source
                .saturating_mul(MAX_GROWTH_FACTOR)
                .saturating_add(MIN_GROWTH_BYTES),
        }
    }

    /// `.ds NAME VALUE`
    pub(super) fn define(&mut self, rest: &str, append: bool) {
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let value = value.trim_start().trim_start_matches('"');
        let value = self.expand(value);
        let known = self.values.entry(name.to_owned()).or_default();
        if append {
            known.push_str(&value);
        } else {
            *known = value;
        }
    }

    /// Subtracts bytes from the allowance; `false` if it is too small, and then it is unchanged.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let left = self.remaining_bytes.checked_sub(bytes);
        self.remaining_bytes = left.unwrap_or(self.remaining_bytes);
        left.is_some()
    }

    /// Inserts a string; `false` if the allowance is too small.
    fn interpolate(&mut self, name: &str, out: &mut String) -> bool {
        let length = self.values.get(name).map_or(0, String::len);
        if !self.spend(length) {
            return false;
        }
        out.push_str(self.values.get(name).map_or("", String::as_str));
        true
    }

    /// Replaces the escape sequences of a text by the characters that they show.
    pub(super) fn expand(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            rest = self.expand_escape(&rest[at + 1..], &mut out);
        }
        out.push_str(rest);
        out
    }

    /// Expands the escape sequence at the start of `rest`, and returns the text after it.
    fn expand_escape<'a>(&mut self, rest: &'a str, out: &mut String) -> &'a str {
        let mut chars = rest.chars();
        let Some(kind) = chars.next() else { return "" };
        let rest = chars.as_str();
        match kind {
            '"' | '#' => return "",
            'e' | '\\' => out.push('\\'),
            '-' => out.push('-'),
            ' ' | '~' | '0' | 't' => out.push(' '),
            '\'' => out.push('\''),
            '`' => out.push('`'),
            '(' | '[' | 'C' => {
                let (name, rest) = match kind {
                    '(' => split_at_chars(rest, 2),
                    '[' => rest.split_once(']').unwrap_or((rest, "")),
                    _ => delimited(rest),
                };
                out.push_str(&special_character(name));
                return rest;
            }
            '*' => {
                let (name, behind) = register_name(rest);
                if !self.interpolate(name, out) {
                    out.push_str("\\*");
                    out.push_str(&rest[..rest.len() - behind.len()]);
                }
                return behind;
            }
            'f' | 'F' | 'm' | 'M' | 'n' | 'g' | 'k' | 'V' | 'Y' => {
                let rest = rest.strip_prefix(['+', '-']).filter(|_| kind == 'n').unwrap_or(rest);
                return register_name(rest).1;
            }
            's' => return size_argument(rest),
            'h' | 'v' | 'w' | 'b' | 'D' | 'H' | 'l' | 'L' | 'N' | 'R' | 'S' | 'x' | 'X' | 'Z'
            | 'A' | 'B' => {
                return delimited(rest).1;
            }
            'o' => {
                let (inside, rest) = delimited(rest);
                out.extend(inside.chars().next());
                return rest;
            }
            // Motions, break hints, and the braces of conditions.
            '&' | '|' | '^' | '%' | ':' | '/' | ',' | ')' | 'c' | 'd' | 'u' | 'r' | 'p' | 'z'
            | 'a' | '{' | '}' | '!' => {}
            other => out.push(other),
        }
        rest
    }
}

/// The name after `\f`, `\*` or the like, and the text after it: one character, two after `(`, or
/// any number in brackets.
fn register_name(rest: &str) -> (&str, &str) {
    if let Some(rest) = rest.strip_prefix('(') {
        return split_at_chars(rest, 2);
    }
    if let Some(rest) = rest.strip_prefix('[') {
        return rest.split_once(']').unwrap_or((rest, ""));
    }
    split_at_chars(rest, 1)
}

/// The text after the argument of `\s`: a sign and a number, in one of four notations.
fn size_argument(rest: &str) -> &str {
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.starts_with(['(', '[']) {
        return register_name(rest).1;
    }
    if rest.starts_with('\'') {
        return delimited(rest).1;
    }
    split_at_chars(rest, 1).1
}

/// The text between two equal delimiters, and the text after them.
fn delimited(rest: &str) -> (&str, &str) {
    let (quote, inside) = split_at_chars(rest, 1);
    if quote.is_empty() {
        return ("", "");
    }
    inside.split_once(quote).unwrap_or((inside, ""))
}

/// The first `count` characters, and the others.
fn split_at_chars(text: &str, count: usize) -> (&str, &str) {
    let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

/// The arguments of a request: words, or text in double quotes, up to a comment.
pub(super) fn arguments(rest: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut chars = rest.chars().peekable();
    loop {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { return arguments };
        let is_quoted = first == '"';
        if is_quoted {
            chars.next();
        }
        let mut argument = String::new();
        while let Some(char) = chars.next() {
            match char {
                '"' if is_quoted => {
                    // A doubled quote is an escaped quote.
                    if chars.next_if_eq(&'"').is_none() {
                        break;
                    }
                    argument.push('"');
                }
                '\\' if matches!(chars.peek(), Some('"' | '#')) => {
                    if !argument.is_empty() {
                        arguments.push(argument);
                    }
                    return arguments;
                }
                '\\' => {
                    argument.push(char);
                    argument.extend(chars.next());
                }
                char if char.is_whitespace() && !is_quoted => break,
                char => argument.push(char),
            }
        }
        arguments.push(argument);
    }
}
