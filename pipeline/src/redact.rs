//! Masks possible passwords and keys in a pipeline file with `*`.
//!
//! Findings show lines of the file. A mask has as many bytes as the text that it hides, so byte
//! ranges stay valid.

use std::ops::Range;

use crate::yaml::YamlDocument;

/// Hides every value below `stores` that is not known to be harmless.
pub(crate) fn redact(text: &str, document: &YamlDocument) -> String {
    let mut shown = text.to_owned();
    for (pointer, at, value) in document.strings_below("/stores") {
        if !is_safe_to_show(pointer, &value) {
            redact_range(&mut shown, at);
        }
    }
    // The loop does not find values below a misspelt `stores`.
    redact_credentials(&shown)
}

/// Hides possible secrets in a file that cannot be parsed: all of `stores`, and text that looks
/// like a password in other places.
pub(crate) fn redact_unparsed(text: &str) -> String {
    let mut shown = text.to_owned();
    if let Some(at) = text.find("stores") {
        let start = at + "stores".len();
        let mut end = start;
        for line in text[start..].split_inclusive('\n') {
            if end > start && line.starts_with(|first: char| first.is_alphanumeric()) {
                break;
            }
            end += line.len();
        }
        redact_range(&mut shown, start..end);
    }
    redact_credentials(&shown)
}

fn is_safe_to_show(pointer: &str, value: &str) -> bool {
    // The URL of a webhook is often sufficient to write to it.
    if pointer.starts_with("/stores/webhooks") {
        return false;
    }
    let is_plain_url = value.contains("://") && !value.contains(['@', '?', '$']);
    value == "embedded" || pointer == "/stores/data" || is_plain_url
}

/// Hides the user and password of every URL, and the text after a word such as `password` or
/// `api_key`.
fn redact_credentials(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let end = start + text[start..].find(char::is_whitespace).unwrap_or(text.len() - start);
        if let Some(user) = text[start..end].rfind('@') {
            redact_range(&mut shown, start..start + user);
        }
        from = start;
    }
    let lower = text.to_ascii_lowercase();
    for word in ["password", "passwd", "secret", "apikey", "api_key", "api-key", "token"] {
        for (at, _) in lower.match_indices(word) {
            let behind = at + word.len();
            let value = text[behind..].trim_start_matches(['"', '\'', ' ']);
            if value.starts_with([':', '=']) {
                let start = text.len() - value.len() + 1;
                let end = start + text[start..].find('\n').unwrap_or(text.len() - start);
                redact_range(&mut shown, start..end);
            }
        }
    }
    shown
}

/// Replaces all text with `*`, except white space, the punctuation of YAML and names of variables.
fn redact_range(text: &mut String, range: Range<usize>) {
    let mut hidden = String::with_capacity(range.len());
    let mut rest = &text[range.clone()];
    while let Some(c) = rest.chars().next() {
        let taken = variable_len(rest).unwrap_or(c.len_utf8());
        let keep = taken > 1 && c == '$';
        if keep || c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | '"' | '\'') {
            hidden.push_str(&rest[..taken]);
        } else {
            hidden.push_str(&"*".repeat(taken));
        }
        rest = &rest[taken..];
    }
    text.replace_range(range, &hidden);
}

/// Length of a `${NAME}` at the start of a text.
fn variable_len(text: &str) -> Option<usize> {
    let (name, _) = text.strip_prefix("${")?.split_once('}')?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name.len() + 3)
}
