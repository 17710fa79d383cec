//! YAML text as a JSON value with the position of each of its parts.
//!
//! Schemas are checked against the value, and options are parsed from it; findings refer to the
//! positions. No other module uses the YAML parser.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

use crate::finding::Finding;

pub(crate) struct YamlDocument {
    pub value: Value,
    /// Position of each part, by JSON pointer.
    spans: HashMap<String, YamlSpans>,
    text: String,
}

/// Byte ranges of one part of a file.
#[derive(Clone, Default)]
struct YamlSpans {
    /// The key, if the part is the value of one.
    key: Option<Range<usize>>,
    /// The part.
    value: Range<usize>,
}

impl YamlDocument {
    /// Parses a file. A syntax error is one finding, because the content after it is unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, Finding> {
        // `no` is a text (and the language code of Norwegian), not a truth value.
        let options = serde_saphyr::options! { strict_booleans: true };
        let tree = serde_saphyr::from_str_with_options(text, options);
        let tree: Spanned<YamlTree> = tree.map_err(|error| {
            let at = error.location().map_or(0..0, |location| byte_range(&location, text));
            Finding::new(first_line(at, text), parser_message(&error.without_snippet().to_string()))
        })?;
        let mut places = HashMap::new();
        let value = flatten(tree, None, String::new(), text, &mut places);
        Ok(Self { value, spans: places, text: text.to_owned() })
    }

    /// Position of the value at a JSON pointer, within its first line; of the nearest part around
    /// it if it is missing.
    pub(crate) fn span_of(&self, pointer: &str) -> Range<usize> {
        self.nearest_spans(pointer)
            .map_or(0..0, |place| first_line(place.value.clone(), &self.text))
    }

    /// All scalar values below a JSON pointer: pointer, byte range and text.
    pub(crate) fn strings_below(
        &self,
        pointer: &str,
    ) -> impl Iterator<Item = (&str, Range<usize>, String)> {
        let below = format!("{pointer}/");
        self.spans.iter().filter(move |(place, _)| place.starts_with(&below)).filter_map(
            |(pointer, place)| {
                let text = match self.value.pointer(pointer)? {
                    Value::String(text) => text.clone(),
                    other @ (Value::Number(_) | Value::Bool(_)) => other.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => return None,
                };
                Some((pointer.as_str(), place.value.clone(), text))
            },
        )
    }

    /// Position of the key of the value at a JSON pointer.
    pub(crate) fn key_span(&self, pointer: &str) -> Range<usize> {
        self.nearest_spans(pointer)
            .map_or(0..0, |place| place.key.clone().unwrap_or_else(|| place.value.clone()))
    }

    /// Position of the whole value at a JSON pointer, as the parser reports it; `None` if it is
    /// missing.
    pub(crate) fn whole_span(&self, pointer: &str) -> Option<Range<usize>> {
        self.spans.get(pointer).map(|place| place.value.clone())
    }

    /// Position of the key of the value at a JSON pointer; `None` if it has none.
    pub(crate) fn key_only(&self, pointer: &str) -> Option<Range<usize>> {
        self.spans.get(pointer)?.key.clone()
    }

    fn nearest_spans(&self, pointer: &str) -> Option<&YamlSpans> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.spans.get(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// Message of the parser without the position, which the finding shows; messages that mention
/// options of the parser are replaced.
fn parser_message(message: &str) -> String {
    let message = message.split_once(" at line ").map_or(message, |(words, _)| words);
    if message.contains("multiple YAML documents") {
        return "the file contains more than one YAML document".to_owned();
    }
    let twice =
        message.strip_prefix("duplicate mapping key: ").and_then(|rest| rest.split(',').next());
    twice.map_or_else(|| message.to_owned(), |key| format!("duplicate key `{key}`"))
}

/// Escapes one step of a JSON pointer (RFC 6901).
pub(crate) fn escape_pointer_segment(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn flatten(
    tree: Spanned<YamlTree>,
    key: Option<Range<usize>>,
    pointer: String,
    text: &str,
    places: &mut HashMap<String, YamlSpans>,
) -> Value {
    let place = YamlSpans { key, value: byte_range(&tree.referenced, text) };
    let value = match tree.value {
        YamlTree::Scalar(value) => value,
        YamlTree::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| flatten(item, None, format!("{pointer}/{index}"), text, places))
            .collect(),
        YamlTree::Map(entries) => {
            let mut map = Map::new();
            for (key, item) in entries {
                let at = byte_range(&key.referenced, text);
                let pointer = format!("{pointer}/{}", escape_pointer_segment(&key.value));
                map.insert(key.value, flatten(item, Some(at), pointer, text, places));
            }
            Value::Object(map)
        }
    };
    places.insert(pointer, place);
    value
}

/// Byte range of a location.
fn byte_range(location: &Location, text: &str) -> Range<usize> {
    let span = location.span();
    let byte = |index: u64| usize::try_from(index).unwrap_or(usize::MAX).min(text.len());
    // A syntax error has no byte offset, only a line and a column, both from 1.
    let start = span.byte_offset().map_or_else(|| offset(location, text), byte);
    let end = start.saturating_add(span.byte_len().map_or(0, byte)).min(text.len());
    start..end
}

/// The part of a range on its first line.
fn first_line(range: Range<usize>, text: &str) -> Range<usize> {
    let line_end = text[range.start..].find('\n').map_or(text.len(), |at| range.start + at);
    range.start..range.end.min(line_end)
}

fn offset(location: &Location, text: &str) -> usize {
    let index = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).saturating_sub(1);
    let line = text.split_inclusive('\n').take(index(location.line())).map(str::len).sum::<usize>();
    let column = text[line..].char_indices().nth(index(location.column())).map(|(at, _)| at);
    column.map_or(text.len(), |column| line + column)
}

enum YamlTree {
    Scalar(Value),
    List(Vec<Spanned<YamlTree>>),
    Map(Vec<(Spanned<String>, Spanned<YamlTree>)>),
}

impl<'de> Deserialize<'de> for YamlTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = YamlTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<YamlTree, E> {
        Ok(YamlTree::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<YamlTree, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlTree, D::Error> {
        YamlTree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<YamlTree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(YamlTree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlTree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(YamlTree::Map(entries))
    }
}
