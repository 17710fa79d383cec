//! Changes values in the text of a YAML file and leaves everything else, comments included, as it
//! is written.
//!
//! The new text is parsed and compared with the intended content. A file whose form this module
//! does not handle gives an error, never a wrong text.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::ops::Range;

use serde_json::{Map, Value};

use crate::yaml::{YamlDocument, escape_pointer_segment};

/// A file whose text cannot be changed automatically.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot change `{key}` in the text of the file: {reason}")]
pub struct YamlEditError {
    /// JSON pointer of the value.
    pub key: String,
    /// The obstacle.
    pub reason: String,
}

/// The text of a YAML file with the value at a JSON pointer replaced or added. Missing mappings
/// above it are added, too. A replaced value is written in one line.
///
/// ```
/// use pipeline::set_in_yaml;
/// use serde_json::json;
///
/// let text = "name: a # kept\nwith: { model: m }\n";
/// let text = set_in_yaml(text, "/with/sparse", &json!({ "k1": 0.9 }))?;
/// let text = set_in_yaml(&text, "/search/fusion", &json!({ "method": "convex" }))?;
/// assert_eq!(
///     text,
///     "name: a # kept\nwith: { model: m, sparse: { k1: 0.9 } }\n\
///      search:\n  fusion: { method: convex }\n"
/// );
/// # Ok::<_, pipeline::YamlEditError>(())
/// ```
///
/// # Errors
/// If the text is not YAML, a part of the path is no mapping, or the form of the file is not
/// handled, such as anchors around the value.
pub fn set_in_yaml(text: &str, pointer: &str, value: &Value) -> Result<String, YamlEditError> {
    let refuse =
        |reason: &str| YamlEditError { key: pointer.to_owned(), reason: reason.to_owned() };
    let document = YamlDocument::parse(text).map_err(|finding| refuse(&finding.message))?;
    let mut expected = document.value.clone();
    set(&mut expected, pointer, value).ok_or_else(|| refuse("a key above it is no mapping"))?;
    let edited = edit(&document, text, pointer, value).ok_or_else(|| {
        refuse("its place is written in a form that is not handled; edit the file by hand")
    })?;
    match YamlDocument::parse(&edited) {
        Ok(now) if now.value == expected => Ok(edited),
        Ok(_) | Err(_) => Err(refuse("the form of the file is not handled; edit it by hand")),
    }
}

/// The value at a JSON pointer of a YAML text; `None` if the text is not YAML or has no such value.
pub fn value_in_yaml(text: &str, pointer: &str) -> Option<Value> {
    YamlDocument::parse(text).ok()?.value.pointer(pointer).cloned()
}

/// Sets the value in the content; `None` if a part of the path is no mapping.
fn set(content: &mut Value, pointer: &str, value: &Value) -> Option<()> {
    let mut place = content;
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        place = match place {
            Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?)?,
            other => {
                if other.is_null() {
                    *other = Value::Object(Map::new());
                }
                other.as_object_mut()?.entry(key).or_insert(Value::Null)
            }
        };
    }
    *place = value.clone();
    Some(())
}

fn edit(document: &YamlDocument, text: &str, pointer: &str, value: &Value) -> Option<String> {
    if let Some(old) = document.value.pointer(pointer) {
        let range = extent(document, text, pointer, old)?;
        return Some(replaced(text, range, &flow(value)));
    }
    let (parent, key) = pointer.rsplit_once('/')?;
    let Some(Value::Object(map)) = document.value.pointer(parent) else {
        // The mapping above is missing as well.
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = Value::Object(Map::from_iter([(key, value.clone())]));
        return edit(document, text, parent, &value);
    };
    let start = document.whole_span(parent)?.start;
    if text[start..].starts_with('{') {
        return insert_in_flow(text, start, key, value);
    }
    if parent.is_empty() {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{gap}{}", block(key, value)));
    }
    // After the last key if its value is in the same line, else before the first key.
    let (first, last) = (map.keys().next()?, map.keys().next_back()?);
    let span = |key: &str| document.key_only(&format!("{parent}/{}", escape_pointer_segment(key)));
    let (first, last) = (span(first)?, span(last)?);
    let indent = " ".repeat(column(text, first.start));
    let line_end = text[last.start..].find('\n').map_or(text.len(), |at| last.start + at + 1);
    let next = text[line_end..].lines().find(|line| !line.trim().is_empty());
    let is_last = next.is_none_or(|next| next.len() - next.trim_start().len() < indent.len());
    if is_last && text[..line_end].ends_with('\n') {
        let line = format!("{indent}{key}: {}\n", flow(value));
        return Some(replaced(text, line_end..line_end, &line));
    }
    let line = format!("{key}: {}\n{indent}", flow(value));
    Some(replaced(text, first.start..first.start, &line))
}

fn insert_in_flow(text: &str, start: usize, key: &str, value: &Value) -> Option<String> {
    let end = flow_end(text, start)? - 1;
    let inner = text[start + 1..end].trim_end();
    let at = start + 1 + inner.len();
    let comma = if inner.is_empty() || inner.ends_with(',') { "" } else { "," };
    let is_padded = text[at..end].ends_with(char::is_whitespace) || inner.is_empty();
    let close = if is_padded && at == end { " " } else { "" };
    Some(replaced(text, at..at, &format!("{comma} {key}: {}{close}", flow(value))))
}

/// Byte range of a value: from its first to its last character. The range of a mapping or sequence
/// in block form begins after the colon of its key.
fn extent(document: &YamlDocument, text: &str, pointer: &str, old: &Value) -> Option<Range<usize>> {
    let span = document.whole_span(pointer)?;
    match old {
        Value::Object(_) | Value::Array(_) => {
            if text[span.start..].starts_with(['{', '[']) {
                return Some(span.start..flow_end(text, span.start)?);
            }
            let key = document.key_only(pointer)?;
            let colon = key.end + text[key.end..].find(':')? + 1;
            let indent = column(text, key.start);
            let mut end = text[colon..].find('\n').map_or(text.len(), |at| colon + at);
            for line in text[end..].split_inclusive('\n').skip(1) {
                let depth = line.len() - line.trim_start().len();
                let is_item = depth == indent && line.trim_start().starts_with("- ");
                if !line.trim().is_empty() && depth <= indent && !is_item {
                    break;
                }
                end += line.len();
            }
            let end = colon + text[colon..end].trim_end().len();
            Some(colon..end)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let is_line = !text[span.clone()].contains('\n') && !span.is_empty();
            is_line.then_some(span)
        }
    }
}

/// End of a flow mapping or sequence that begins at `start`.
fn flow_end(text: &str, start: usize) -> Option<usize> {
    let (mut depth, mut quote, mut in_comment) = (0_usize, None, false);
    let mut before = ' ';
    for (at, letter) in text[start..].char_indices() {
        match (letter, quote) {
            ('\n', _) if in_comment => in_comment = false,
            _ if in_comment => {}
            (it, Some(open)) => {
                if it == open && !(open == '"' && before == '\\') {
                    quote = None;
                }
            }
            ('"' | '\'', None) if !before.is_alphanumeric() => quote = Some(letter),
            ('#', None) if before.is_whitespace() => in_comment = true,
            ('{' | '[', None) => depth += 1,
            ('}' | ']', None) => {
                depth -= 1;
                if depth == 0 {
                    return Some(start + at + 1);
                }
            }
            (_, None) => {}
        }
        before = letter;
    }
    None
}

fn replaced(text: &str, range: Range<usize>, new: &str) -> String {
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let gap = if before.ends_with(':') { " " } else { "" };
    format!("{before}{gap}{new}{after}")
}

/// Number of characters before a position in its line.
fn column(text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
    text[line..at].chars().count()
}

/// A key with its value in block form, whose members are in flow form.
fn block(key: &str, value: &Value) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let members = map.iter().map(|(key, value)| format!("  {key}: {}\n", flow(value)));
            format!("{key}:\n{}", members.collect::<String>())
        }
        other => format!("{key}: {}\n", flow(other)),
    }
}

/// A value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `true` for a text that needs no quotation marks.
fn is_plain(text: &str) -> bool {
    let is_word = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '/' | '.');
    let is_keyword =
        ["true", "false", "null", "yes", "no", "on", "off"].contains(&&*text.to_lowercase());
    text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.chars().all(is_word)
        && !is_keyword
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FILE: &str = "\
# A pipeline.
version: 1
nodes:
  - id: embed
    uses: embed
    with:
      model: ./model   # the model
      device: cpu
  - { id: other, uses: embed, with: {model: './a, b {c}'} } # kept
  - id: third
    with:
      sparse:
        k1: 1.2  # usual
        b: 0.75
      model: x
tests:
- name: a
";

    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    fn edited(pointer: &str, value: Value) -> String {
        set_in_yaml(FILE, pointer, &value).unwrap()
    }

    #[test]
    fn values_are_added_in_the_form_of_their_mapping() {
        let block = edited("/nodes/0/with/sparse", json!({ "k1": 0.9 }));
        assert!(block.contains("      device: cpu\n      sparse: { k1: 0.9 }\n  - {"), "{block}");
        let flow = edited("/nodes/1/with/sparse", json!("bm25"));
        assert!(flow.contains("with: {model: './a, b {c}', sparse: bm25} } # kept"), "{flow}");
        let root = edited("/search/fusion/dense", json!(0.8));
        assert!(root.ends_with("- name: a\nsearch:\n  fusion: { dense: 0.8 }\n"), "{root}");
        let mixed = edited("/nodes/2/with/dim", json!(8));
        assert!(mixed.contains("      model: x\n      dim: 8\ntests:"), "{mixed}");
    }

    #[test]
    fn values_are_replaced_with_everything_below_them() {
        let scalar = edited("/nodes/2/with/sparse/b", json!(0.4));
        assert!(scalar.contains("k1: 1.2  # usual\n        b: 0.4\n"), "{scalar}");
        let block = edited("/nodes/2/with/sparse", json!({ "b": 0.4 }));
        assert!(block.contains("      sparse: { b: 0.4 }\n      model: x\n"), "{block}");
        let flow = edited("/nodes/1/with", json!({ "model": "m" }));
        assert!(flow.contains("with: { model: m } } # kept"), "{flow}");
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        let error = set_in_yaml(FILE, "/version/a", &json!(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot change `/version/a` in the text of the file: a key above it is no mapping"
        );
        let anchored = "a: &x { b: 1 }\nc: *x\n";
        assert!(set_in_yaml(anchored, "/c/b", &json!(2)).is_err());
    }

    proptest! {
        #[test]
        fn an_edit_changes_one_value_or_fails(
            pointer in prop::sample::select(vec![
                "/version", "/nodes/0/with/model", "/nodes/0/with/new", "/nodes/1/id",
                "/nodes/1/with/model", "/nodes/2/with/sparse/k1", "/search/a", "/tests/0/name",
                "/nodes/2/with/sparse", "/nodes/1/with/x", "/nodes/0/id", "/tests/0/deep/er",
            ]),
            number in 0.0..100.0_f64,
            text in "[a-z:#{}' ]{0,8}",
        ) {
            for value in [json!(number), json!(text), json!({ "k": [text, number] })] {
                if let Ok(edited) = set_in_yaml(FILE, pointer, &value) {
                    let now = YamlDocument::parse(&edited).unwrap().value;
                    prop_assert_eq!(now.pointer(pointer), Some(&value));
                    prop_assert!(edited.contains("# A pipeline."));
                }
            }
        }
    }
}
