//! The protocol between parent and child.
//!
//! The child begins with a ready line that also lists missing restrictions. Each request and each
//! answer is a frame: the lengths of head and body (`u32`, `u64`, little endian), the head in
//! MessagePack, and the body, which is the content of the document or its text, unencoded. Requests
//! are sent without waiting; the child answers them in order, each before it reads the next.
//!
//! A document may have taken control of the child, so its output is not trusted: lengths are
//! bounded, and offsets and characters are checked here before any other use.

use std::borrow::Cow;
use std::io::{self, Read};

use pipeline::BoxError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::formats::by_media_type;
use crate::extract::read::{ExtractRequest, ExtractResult};
use crate::extract::table::TableSpan;

/// Hash of the sources of this crate. Parent and child must be of the same build.
pub const EXTRACT_BUILD: &str = env!("EXTRACT_BUILD");

/// The first word of the ready line.
pub(super) const READY_PREFIX: &str = "ready";

/// Maximum length of the ready line in bytes.
pub(super) const MAX_LINE: usize = 1024;

/// Maximum length of a parser message in characters; longer ones are truncated.
const MAX_MESSAGE_CHARS: usize = 500;

const LENGTH_PREFIX_BYTES: usize = 12;

#[derive(Serialize, Deserialize)]
struct RequestHead<'a> {
    mime_type: Cow<'a, str>,
    extension: Cow<'a, str>,
}

/// The lengths of a frame, followed by its head.
fn encode_prefix(head: &[u8], body: usize) -> Result<Vec<u8>, BoxError> {
    let mut out = Vec::with_capacity(LENGTH_PREFIX_BYTES + head.len());
    out.extend_from_slice(&u32::try_from(head.len())?.to_le_bytes());
    out.extend_from_slice(&(body as u64).to_le_bytes());
    out.extend_from_slice(head);
    Ok(out)
}

/// The frame of a request without its body, the content of the document.
pub(super) fn encode_request(request: &ExtractRequest<'_>) -> Result<Vec<u8>, BoxError> {
    let head = RequestHead {
        mime_type: Cow::Borrowed(&request.mime_type),
        extension: Cow::Borrowed(&request.extension),
    };
    encode_prefix(&rmp_serde::to_vec(&head)?, request.bytes.len())
}

/// The next request; `None` at the end of the input.
pub(super) fn read_request(input: &mut impl Read) -> io::Result<Option<ExtractRequest<'static>>> {
    let mut lengths = [0; LENGTH_PREFIX_BYTES];
    match input.read_exact(&mut lengths) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (head, body) = decode_lengths(&lengths);
    let head = read_exact(input, head)?;
    let head: RequestHead<'_> = rmp_serde::from_slice(&head).map_err(io::Error::other)?;
    Ok(Some(ExtractRequest {
        mime_type: Cow::Owned(head.mime_type.into_owned()),
        extension: Cow::Owned(head.extension.into_owned()),
        bytes: Cow::Owned(read_exact(input, body)?),
    }))
}

fn decode_lengths(lengths: &[u8; LENGTH_PREFIX_BYTES]) -> (u64, u64) {
    let (head, body) = lengths.split_at(4);
    let head = head.try_into().map_or(0, u32::from_le_bytes);
    (head.into(), body.try_into().map_or(0, u64::from_le_bytes))
}

fn read_exact(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    input.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The frame of an answer: lengths and head, and the body (the text).
pub(super) fn encode_answer(mut answer: ExtractResult) -> Result<(Vec<u8>, String), BoxError> {
    let text = match &mut answer {
        Ok((_, document)) => std::mem::take(&mut document.text),
        Err(_) => String::new(),
    };
    Ok((encode_prefix(&rmp_serde::to_vec(&answer)?, text.len())?, text))
}

/// Invalid output of a child.
#[derive(Debug, PartialEq)]
pub(super) struct ProtocolError;

/// The first answer in `received` with the length of its frame; `None` while it is incomplete.
/// `most` is the maximum of head and body in bytes.
pub(super) fn decode_answer(
    received: &[u8],
    most: u64,
) -> Result<Option<(ExtractResult, usize)>, ProtocolError> {
    let Some(lengths) = received.first_chunk() else { return Ok(None) };
    let (head, body) = decode_lengths(lengths);
    if head.saturating_add(body) > most {
        return Err(ProtocolError);
    }
    let of = |length: u64| usize::try_from(length).map_err(|_| ProtocolError);
    let (head, body) = (of(head)?, of(body)?);
    let Some(frame) = received[LENGTH_PREFIX_BYTES..].get(..head + body) else { return Ok(None) };
    let (head_bytes, text) = frame.split_at(head);
    let answer: ExtractResult = rmp_serde::from_slice(head_bytes).map_err(|_| ProtocolError)?;
    Ok(Some((validate_answer(answer, text)?, LENGTH_PREFIX_BYTES + head + body)))
}

/// The answer with its text, checked so that later code can rely on it.
fn validate_answer(answer: ExtractResult, text: &[u8]) -> Result<ExtractResult, ProtocolError> {
    let (mime_type, mut document) = match answer {
        Ok(read) => read,
        Err(mut refused) => {
            match &mut refused.kind {
                ExtractErrorKind::Unsupported(said)
                | ExtractErrorKind::Corrupt(said)
                | ExtractErrorKind::LimitExceeded(said) => {
                    *said = crate::extract::document::collapse_whitespace(said)
                        .chars()
                        .take(MAX_MESSAGE_CHARS)
                        .collect();
                }
                ExtractErrorKind::ImagesOnly(..)
                | ExtractErrorKind::Empty
                | ExtractErrorKind::NotText
                | ExtractErrorKind::Encrypted => {}
            }
            return Ok(Err(refused));
        }
    };
    let text = std::str::from_utf8(text).map_err(|_| ProtocolError)?;
    if by_media_type(&mime_type).is_none() || mime_type.len() > 128 || !is_valid(text, &document) {
        return Err(ProtocolError);
    }
    text.clone_into(&mut document.text);
    Ok(Ok((mime_type, document)))
}

/// `true` if all offsets are character boundaries of the text in ascending order, and no string
/// contains NUL, which PostgreSQL rejects.
fn is_valid(text: &str, document: &Document) -> bool {
    let is_place = |at: u64| usize::try_from(at).is_ok_and(|at| text.is_char_boundary(at));
    let Document { title, language, metadata, pages, outline, tables, .. } = document;
    let words = [title.as_deref(), language.as_deref(), Some(text)].into_iter().flatten();
    words.chain(outline.iter().map(|heading| heading.title.as_str())).all(|it| !it.contains('\0'))
        && metadata.iter().all(|(key, value)| !key.contains('\0') && has_no_nul(value))
        && pages.is_sorted()
        && pages.iter().all(|at| is_place(*at))
        && outline.is_sorted_by_key(|heading| heading.at)
        && outline.iter().all(|heading| is_place(heading.at))
        && tables.iter().flat_map(table_offsets).is_sorted()
        && tables.iter().flat_map(table_offsets).all(is_place)
}

fn table_offsets(table: &TableSpan) -> [u64; 3] {
    [table.start, table.body_start, table.end]
}

/// Extractors produce only strings and lists of strings; anything else is invalid.
fn has_no_nul(value: &Value) -> bool {
    match value {
        Value::String(word) => !word.contains('\0'),
        Value::Array(items) => {
            items.iter().all(|item| item.as_str().is_some_and(|word| !word.contains('\0')))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::document::Heading;

    fn document() -> Document {
        let mut document = Document {
            text: "Über uns\n\nzwei".to_owned(),
            title: Some("Über uns".to_owned()),
            pages: vec![0, 11],
            outline: vec![Heading { at: 0, level: 1, title: "Über uns".to_owned() }],
            tables: vec![TableSpan { start: 0, body_start: 5, end: 9 }],
            ..Document::default()
        };
        document.add_metadata("author", "A. Author");
        document
    }

    fn sent(answer: ExtractResult) -> Vec<u8> {
        let (mut bytes, text) = encode_answer(answer).unwrap();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn what_is_sent_arrives_once_it_is_whole() {
        for answer in [
            Ok(("text/html".to_owned(), document())),
            Err(ExtractErrorKind::Corrupt("no trailer".to_owned()).with_format(Some("PDF"))),
            Err(ExtractErrorKind::ImagesOnly(2, 3).with_format(Some("PDF"))),
        ] {
            let bytes = sent(answer.clone());
            for cut in 0..bytes.len() {
                assert_eq!(decode_answer(&bytes[..cut], 1 << 20), Ok(None));
            }
            let more = [bytes.as_slice(), b"the next"].concat();
            assert_eq!(decode_answer(&more, 1 << 20), Ok(Some((answer, bytes.len()))));
        }
        let sent = ExtractRequest {
            mime_type: "text/html".into(),
            extension: "html".into(),
            bytes: Cow::Borrowed(b"<p>text"),
        };
        let bytes = [encode_request(&sent).unwrap().as_slice(), &sent.bytes].concat();
        let mut input = bytes.as_slice();
        let received = read_request(&mut input).unwrap().unwrap();
        assert_eq!((&*received.mime_type, &*received.extension), ("text/html", "html"));
        assert_eq!(&*received.bytes, b"<p>text");
        assert!(read_request(&mut input).unwrap().is_none());
        assert!(read_request(&mut &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn nonsense_is_told_from_an_answer() {
        let said = |mime_type: &str, change: &dyn Fn(&mut Document)| {
            let mut document = document();
            change(&mut document);
            decode_answer(&sent(Ok((mime_type.to_owned(), document))), 1 << 20)
        };
        assert!(said("text/html", &|_| {}).is_ok());
        let changes: [&dyn Fn(&mut Document); 12] = [
            &|document| document.pages = vec![11, 0],
            &|document| document.pages = vec![1],
            &|document| document.pages = vec![u64::MAX],
            &|document| document.outline[0].at = 1,
            &|document| document.outline[0].at = 1_000,
            &|document| document.outline[0].title.push('\0'),
            &|document| document.tables[0].body_start = 1,
            &|document| document.tables[0].end = 4,
            &|document| document.tables[0].end = 1_000,
            &|document| document.text.push('\0'),
            &|document| document.title = Some("\0".to_owned()),
            &|document| drop(document.metadata.insert("x".to_owned(), Value::from("\0"))),
        ];
        for change in changes {
            assert_eq!(said("text/html", change), Err(ProtocolError));
        }
        assert_eq!(said("image/png", &|_| {}), Err(ProtocolError));
        let mut bytes = sent(Ok(("text/html".to_owned(), document())));
        assert_eq!(decode_answer(&bytes, 8), Err(ProtocolError));
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(decode_answer(&bytes, 1 << 20), Err(ProtocolError));
        assert_eq!(decode_answer(&[0xff; 64], 1 << 20), Err(ProtocolError));
        assert_eq!(decode_answer(&[0; 64], 1 << 20), Err(ProtocolError));
    }
}
