//! Expands escape sequences of roff, and splits the arguments of a request.

use std::collections::HashMap;

/// Special characters that manual pages use, by their names in groff_char(7).
const CHARACTERS: &[(&str, &str)] = &[
    ("!=", "≠"),
    ("'", "´"),
    ("'e", "é"),
    ("'a", "á"),
    ("'i", "í"),
    ("'o", "ó"),
    ("'u", "ú"),
    ("*(", "("),
    ("**", "*"),
    ("+-", "±"),
    (",c", "ç"),
    ("->", "→"),
    ("/o", "ø"),
    ("/O", "Ø"),
    (":a", "ä"),
    (":o", "ö"),
    (":u", "ü"),
    (":A", "Ä"),
    (":O", "Ö"),
    (":U", "Ü"),
    ("<-", "←"),
    ("<=", "≤"),
    (">=", "≥"),
    ("Cs", "¤"),
    ("Do", "$"),
    ("Eu", "€"),
    ("Fc", "»"),
    ("Fo", "«"),
    ("OE", "Œ"),
    ("Po", "£"),
    ("S1", "¹"),
    ("S2", "²"),
    ("S3", "³"),
    ("Ye", "¥"),
    ("^a", "â"),
    ("^e", "ê"),
    ("^o", "ô"),
    ("`a", "à"),
    ("`e", "è"),
    ("aa", "´"),
    ("aq", "'"),
    ("at", "@"),
    ("ba", "|"),
    ("bq", "‚"),
    ("br", "|"),
    ("bu", "•"),
    ("bv", "|"),
    ("ci", "○"),
    ("co", "©"),
    ("cq", "’"),
    ("ct", "¢"),
    ("dA", "⇓"),
    ("da", "↓"),
    ("de", "°"),
    ("dg", "†"),
    ("di", "÷"),
    ("dq", "\""),
    ("em", "—"),
    ("en", "–"),
    ("eu", "€"),
    ("fm", "′"),
    ("ga", "`"),
    ("ha", "^"),
    ("hy", "‐"),
    ("if", "∞"),
    ("lB", "["),
    ("lC", "{"),
    ("lh", "☜"),
    ("lq", "“"),
    ("lb", "{"),
    ("md", "⋅"),
    ("mi", "−"),
    ("mu", "×"),
    ("no", "¬"),
    ("oA", "Å"),
    ("oa", "å"),
    ("oq", "‘"),
    ("or", "|"),
    ("pc", "·"),
    ("pl", "+"),
    ("pp", "⊥"),
    ("ps", "¶"),
    ("rB", "]"),
    ("rC", "}"),
    ("rg", "®"),
    ("rh", "☞"),
    ("rn", "‾"),
    ("rq", "”"),
    ("rs", "\\"),
    ("ru", "_"),
    ("sc", "§"),
    ("sh", "#"),
    ("sl", "/"),
    ("sq", "□"),
    ("ss", "ß"),
    ("tm", "™"),
    ("ti", "~"),
    ("ts", "ς"),
    ("ua", "↑"),
    ("ul", "_"),
    ("vA", "⇕"),
    ("~n", "ñ"),
    ("~=", "≈"),
    ("~~", "≈"),
    ("12", "½"),
    ("14", "¼"),
    ("34", "¾"),
    ("*m", "μ"),
    ("*a", "α"),
    ("*b", "β"),
    ("*p", "π"),
];

/// Limit of the text that the strings of a page add: this multiple of its size, plus a constant for
/// small pages. Strings of real pages are names, quotes and signs, and add less than the size of
/// the page.
const GROWTH: usize = 4;
const GROWTH_OF_ANY: usize = 64 << 10;

/// The predefined strings and those that a page defines.
///
/// Every insertion of a string, into text or into another string, is subtracted from one allowance,
/// so neither a page nor a string exceeds it. Once it is spent, a string is shown as its reference
/// in the source, so the text of the page is kept.
pub(super) struct Strings {
    known: HashMap<String, String>,
    /// Bytes that may still be inserted.
    left: usize,
}

impl Default for Strings {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Strings {
    /// `source` is the size of the source of the page in bytes.
    pub(super) fn of(source: usize) -> Self {
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
            known: known
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            left: source.saturating_mul(GROWTH).saturating_add(GROWTH_OF_ANY),
        }
    }

    /// `.ds NAME VALUE`
    pub(super) fn define(&mut self, rest: &str, append: bool) {
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let value = value.trim_start().trim_start_matches('"');
        let value = self.expand(value);
        let known = self.known.entry(name.to_owned()).or_default();
        if append {
            known.push_str(&value);
        } else {
            *known = value;
        }
    }

    /// Subtracts bytes from the allowance; `false` if it is too small, and then it is unchanged.
    pub(super) fn pay(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Inserts a string; `false` if the allowance is too small.
    fn put(&mut self, name: &str, out: &mut String) -> bool {
        let length = self.known.get(name).map_or(0, String::len);
        if !self.pay(length) {
            return false;
        }
        out.push_str(self.known.get(name).map_or("", String::as_str));
        true
    }

    /// Replaces the escape sequences of a text by the characters that they show.
    pub(super) fn expand(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            rest = self.escape(&rest[at + 1..], &mut out);
        }
        out.push_str(rest);
        out
    }

    /// Expands the escape sequence at the start of `rest`, and returns the text after it.
    fn escape<'a>(&mut self, rest: &'a str, out: &mut String) -> &'a str {
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
                    '(' => cut(rest, 2),
                    '[' => rest.split_once(']').unwrap_or((rest, "")),
                    _ => quoted(rest),
                };
                out.push_str(&character(name));
                return rest;
            }
            '*' => {
                let (name, behind) = name(rest);
                if !self.put(name, out) {
                    out.push_str("\\*");
                    out.push_str(&rest[..rest.len() - behind.len()]);
                }
                return behind;
            }
            'f' | 'F' | 'm' | 'M' | 'n' | 'g' | 'k' | 'V' | 'Y' => {
                let rest = rest.strip_prefix(['+', '-']).filter(|_| kind == 'n').unwrap_or(rest);
                return name(rest).1;
            }
            's' => return size(rest),
            'h' | 'v' | 'w' | 'b' | 'D' | 'H' | 'l' | 'L' | 'N' | 'R' | 'S' | 'x' | 'X' | 'Z'
            | 'A' | 'B' => {
                return quoted(rest).1;
            }
            'o' => {
                let (inside, rest) = quoted(rest);
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
fn name(rest: &str) -> (&str, &str) {
    if let Some(rest) = rest.strip_prefix('(') {
        return cut(rest, 2);
    }
    if let Some(rest) = rest.strip_prefix('[') {
        return rest.split_once(']').unwrap_or((rest, ""));
    }
    cut(rest, 1)
}

/// The text after the argument of `\s`: a sign and a number, in one of four notations.
fn size(rest: &str) -> &str {
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.starts_with(['(', '[']) {
        return name(rest).1;
    }
    if rest.starts_with('\'') {
        return quoted(rest).1;
    }
    cut(rest, 1).1
}

/// The text between two equal delimiters, and the text after them.
fn quoted(rest: &str) -> (&str, &str) {
    let (quote, inside) = cut(rest, 1);
    if quote.is_empty() {
        return ("", "");
    }
    inside.split_once(quote).unwrap_or((inside, ""))
}

/// The first `count` characters, and the others.
fn cut(text: &str, count: usize) -> (&str, &str) {
    let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

fn character(name: &str) -> String {
    if let Some((_, shown)) = CHARACTERS.iter().find(|(known, _)| *known == name) {
        return (*shown).to_owned();
    }
    let code = name.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex, 16).ok());
    code.and_then(char::from_u32).map(String::from).unwrap_or_default()
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
