//! The payload of a point in its stored form: JSON with the field names of the specification. All
//! stores convert in both directions through this module.

use chrono::{DateTime, SecondsFormat};
use pipeline::{
    BoxError, DocumentLocation, KeywordField, NumericField, Payload, PointKey, SparseVector,
    TextField,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::shape::{CHUNK_INDEX_FIELD, DOCUMENT_FIELD};

/// The payload object of a point.
#[derive(Serialize, Deserialize)]
struct StoredPayload {
    document_id: Uuid,
    collection_id: Uuid,
    chunk_index: u32,
    content: String,
    metadata: StoredMetadata,
}

/// The object under `metadata`. A field without value is omitted, which a filter treats as "is
/// empty".
#[derive(Serialize, Deserialize)]
struct StoredMetadata {
    source_path: String,
    source: String,
    mime_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headings: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    start: u64,
    end: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<String>,
}

/// The stored form of a payload.
pub(crate) fn to_json(payload: Payload) -> Map<String, Value> {
    let stored = StoredPayload {
        document_id: payload.document,
        collection_id: payload.collection,
        chunk_index: payload.chunk_index,
        content: payload.content,
        metadata: StoredMetadata {
            source_path: payload.uri,
            source: payload.source,
            mime_type: payload.mime_type,
            title: payload.title,
            language: payload.language,
            headings: payload.headings,
            page: payload.page,
            start: payload.start,
            end: payload.end,
            modified_at: payload.modified_at.and_then(format_micros),
            facts: payload.facts,
        },
    };
    let json = serde_json::to_value(stored).expect("has string keys and plain values only");
    let Value::Object(map) = json else {
        unreachable!("a struct serialises to an object, not {json}")
    };
    map
}

/// Parses a stored payload.
///
/// # Errors
/// If another program wrote to the collection.
pub(crate) fn from_json(map: Map<String, Value>) -> Result<Payload, serde_json::Error> {
    let stored: StoredPayload = serde_json::from_value(Value::Object(map))?;
    let metadata = stored.metadata;
    Ok(Payload {
        collection: stored.collection_id,
        document: stored.document_id,
        chunk_index: stored.chunk_index,
        content: stored.content,
        uri: metadata.source_path,
        source: metadata.source,
        mime_type: metadata.mime_type,
        title: metadata.title,
        language: metadata.language,
        headings: metadata.headings,
        page: metadata.page,
        start: metadata.start,
        end: metadata.end,
        modified_at: metadata.modified_at.as_deref().and_then(parse_micros),
        facts: metadata.facts,
    })
}

/// Field with the checksum of a point.
const CHECKSUM_FIELD: &str = "checksum";

/// Adds the checksum of payload and sparse vector.
pub(crate) fn add_checksum(payload: &mut Map<String, Value>, sparse: Option<&SparseVector>) {
    let sum = checksum(payload, sparse);
    payload.insert(CHECKSUM_FIELD.to_owned(), sum.into());
}

/// Returns false if a point does not match its checksum. A point of an earlier version has none and
/// passes.
pub(crate) fn checksum_matches(
    payload: &Map<String, Value>,
    sparse: Option<&SparseVector>,
) -> bool {
    match payload.get(CHECKSUM_FIELD) {
        Some(sum) => sum.as_u64() == Some(checksum(payload, sparse).into()),
        None => true,
    }
}

/// CRC-32 of payload and sparse vector, without the fields that a relocation changes
/// ([`location_to_json`]) and without the dense vector, which the store rounds.
fn checksum(payload: &Map<String, Value>, sparse: Option<&SparseVector>) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    let mut add = |name: &str, value: Option<&Value>| {
        let value = value.map(Value::to_string).unwrap_or_default();
        hash.update(format!("{name}:{}:{value};", value.len()).as_bytes());
    };
    for name in [DOCUMENT_FIELD, "collection_id", CHUNK_INDEX_FIELD, "content"] {
        add(name, payload.get(name));
    }
    let metadata = payload.get(METADATA_FIELD);
    for name in ["mime_type", "language", "headings", "page", "start", "end", "facts"] {
        add(name, metadata.and_then(|it| it.get(name)));
    }
    let words = sparse.map(|it| it.indices.iter().zip(&it.values)).into_iter().flatten();
    let mut words: Vec<_> = words.collect();
    words.sort_unstable_by_key(|(index, _)| **index);
    for (index, value) in words {
        hash.update(&index.to_le_bytes());
        hash.update(&value.to_le_bytes());
    }
    hash.finalize()
}

/// Path of a field that is compared as a whole.
pub(crate) fn keyword_path(field: KeywordField) -> &'static str {
    match field {
        KeywordField::Document => DOCUMENT_FIELD,
        KeywordField::Uri => "metadata.source_path",
        KeywordField::Source => "metadata.source",
        KeywordField::MimeType => "metadata.mime_type",
        KeywordField::Language => "metadata.language",
        KeywordField::Fact => "metadata.facts",
    }
}

/// Path of a numeric field.
pub(crate) fn number_path(field: NumericField) -> &'static str {
    match field {
        NumericField::Page => "metadata.page",
        NumericField::ChunkIndex => CHUNK_INDEX_FIELD,
        NumericField::ModifiedAt => "metadata.modified_at",
    }
}

/// Path of a full-text field.
pub(crate) fn text_path(field: TextField) -> &'static str {
    match field {
        TextField::Title => "metadata.title",
        TextField::Headings => "metadata.headings",
    }
}

/// Key of the object that [`location_to_json`] updates.
pub(crate) const METADATA_FIELD: &str = "metadata";

/// Fields of a new location, relative to `metadata`. Fields without value are omitted and stay
/// unchanged.
pub(crate) fn location_to_json(place: &DocumentLocation) -> Map<String, Value> {
    let fields = [
        ("source_path", Some(place.uri.clone())),
        ("source", Some(place.source.clone())),
        ("title", place.title.clone()),
        ("modified_at", place.modified_at.and_then(format_micros)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect()
}

/// RFC 3339 of a time in microseconds since 1970; `None` if it is out of the range of chrono.
pub(crate) fn format_micros(micros: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(micros)?;
    Some(instant.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn parse_micros(instant: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(instant).ok().map(|instant| instant.timestamp_micros())
}

/// Document and chunk index of a point, from its payload fields.
pub(crate) fn point_key(id: Uuid, payload: &Map<String, Value>) -> Result<PointKey, BoxError> {
    let document =
        payload.get(DOCUMENT_FIELD).and_then(Value::as_str).and_then(|it| it.parse().ok());
    let chunk_index = payload.get(CHUNK_INDEX_FIELD).and_then(Value::as_u64);
    match (document, chunk_index.map(u32::try_from)) {
        (Some(document), Some(Ok(chunk_index))) => Ok(PointKey { id, document, chunk_index }),
        (_, _) => Err(format!("point {id} was not written by semantik").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_those_of_the_specification() {
        let payload = Payload {
            collection: Uuid::from_u128(1),
            document: Uuid::from_u128(2),
            chunk_index: 3,
            content: "words".into(),
            uri: "file:///a.txt".into(),
            source: "/corpus".into(),
            mime_type: "text/plain".into(),
            title: None,
            language: Some("en".into()),
            headings: None,
            page: None,
            start: 10,
            end: 15,
            modified_at: Some(1_700_000_000_123_456),
            facts: vec!["author=Jane Doe".into()],
        };
        let json = to_json(payload.clone());
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
        {
          "document_id": "00000000-0000-0000-0000-000000000002",
          "collection_id": "00000000-0000-0000-0000-000000000001",
          "chunk_index": 3,
          "content": "words",
          "metadata": {
            "source_path": "file:///a.txt",
            "source": "/corpus",
            "mime_type": "text/plain",
            "language": "en",
            "start": 10,
            "end": 15,
            "modified_at": "2023-11-14T22:13:20.123456Z",
            "facts": [
              "author=Jane Doe"
            ]
          }
        }
        "#);
        assert_eq!(from_json(json).unwrap(), payload);
    }

    /// The checksum covers every field of a point except those of the location.
    #[test]
    fn a_checksum_is_of_everything_but_the_place() {
        let words = SparseVector { indices: vec![3, 9], values: vec![1.0, 0.5] };
        let mut whole = to_json(crate::contract::point(1, 2, 3).payload);
        add_checksum(&mut whole, Some(&words));
        assert!(checksum_matches(&whole, Some(&words)));
        let moved = DocumentLocation {
            uri: "file:///elsewhere".to_owned(),
            source: "/".to_owned(),
            title: Some("Another".to_owned()),
            modified_at: Some(1),
        };
        let mut elsewhere = whole.clone();
        let metadata = elsewhere[METADATA_FIELD].as_object_mut().unwrap();
        metadata.extend(location_to_json(&moved));
        let (places, others): (Vec<_>, Vec<_>) = whole[METADATA_FIELD]
            .as_object()
            .unwrap()
            .keys()
            .partition(|key| location_to_json(&moved).contains_key(*key));
        assert_eq!(places.len(), 4);
        assert!(checksum_matches(&elsewhere, Some(&words)));
        let changed = |value: &Value| match value {
            Value::String(text) => Value::from(text.replacen(|_: char| true, "\u{1}", 1)),
            Value::Number(number) => Value::from(number.as_u64().unwrap() ^ 4),
            Value::Array(values) => Value::from(values[1..].to_vec()),
            Value::Null | Value::Bool(_) | Value::Object(_) => panic!("{value} is in no payload"),
        };
        for key in others {
            let mut damaged = whole.clone();
            let value = damaged[METADATA_FIELD].get_mut(key).unwrap();
            *value = changed(value);
            assert!(!checksum_matches(&damaged, Some(&words)), "{key}");
            damaged[METADATA_FIELD].as_object_mut().unwrap().remove(key);
            assert!(!checksum_matches(&damaged, Some(&words)), "{key}");
        }
        for key in whole.keys().filter(|key| *key != METADATA_FIELD) {
            let mut damaged = whole.clone();
            damaged[key] = changed(&damaged[key]);
            assert!(!checksum_matches(&damaged, Some(&words)), "{key}");
        }
        for (indices, values) in [(vec![3, 8], vec![1.0, 0.5]), (vec![3, 9], vec![1.0, 0.25])] {
            assert!(!checksum_matches(&whole, Some(&SparseVector { indices, values })));
        }
        assert!(!checksum_matches(&whole, None));
        assert!(checksum_matches(&to_json(crate::contract::point(1, 2, 3).payload), None));
    }
}
