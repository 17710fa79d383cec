//! Mailboxes of one file (mbox): each message is a page, with its subject as a heading.
//!
//! A line that begins with `From ` separates messages only if it follows an empty line and a header
//! field follows it, so that such a line in a body needs no escape. A line with an escape
//! (`>From `) loses one `>`, as mboxrd requires, and mboxo for bodies without such quotations.

use std::borrow::Cow;

use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::mail::{Mail, eml};
use crate::extract::text::{decode, normalize_newlines};

pub(crate) const FORMAT: Format = Format {
    name: "mailbox",
    media_types: &["application/mbox"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes),
};

/// Most messages of a mailbox.
const MAX_MESSAGES: usize = 100_000;

const SEPARATOR: &[u8] = b"From ";

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    let starts = message_starts(bytes);
    if starts.len() > MAX_MESSAGES {
        return Err(ExtractErrorKind::LimitExceeded(format!("{MAX_MESSAGES} messages")));
    }
    if starts.is_empty() {
        return Err(ExtractErrorKind::Corrupt("it has no line `From ` before a header".to_owned()));
    }
    let mut builder = DocumentBuilder::default();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let message = without_escapes(after_line(&bytes[*start..end]));
        builder.begin_page();
        eml::read(&message).unwrap_or_else(|_| unread(&message)).write(1, &mut builder);
    }
    let mut document = builder.finish();
    document.add_metadata("messages", &starts.len().to_string());
    Ok(document)
}

/// A message that cannot be parsed, as text.
fn unread(message: &[u8]) -> Mail {
    let body = decode(message, None).unwrap_or_default();
    Mail { body: normalize_newlines(&body).into_owned(), ..Mail::default() }
}

/// The offsets of the separator lines.
fn message_starts(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at, mut after_empty) = (Vec::new(), 0, true);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        if after_empty && line.starts_with(SEPARATOR) && begins_with_field(&bytes[next..]) {
            starts.push(at);
        }
        after_empty = matches!(line, b"\n" | b"\r\n");
        at = next;
    }
    starts
}

/// `true` if a text begins with a header field.
fn begins_with_field(text: &[u8]) -> bool {
    let name = text.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b':');
    name.is_some_and(|end| end > 0 && text[end] == b':')
}

/// The text after its first line.
fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n');
    end.map_or(&[], |end| &text[end + 1..])
}

/// The message without the `>` before `From ` at the start of a line.
fn without_escapes(message: &[u8]) -> Cow<'_, [u8]> {
    let lines = || message.split_inclusive(|byte| *byte == b'\n');
    if !lines().any(is_escaped) {
        return Cow::Borrowed(message);
    }
    let lines = lines().flat_map(|line| if is_escaped(line) { &line[1..] } else { line });
    Cow::Owned(lines.copied().collect())
}

fn is_escaped(line: &[u8]) -> bool {
    let text = line.iter().position(|byte| *byte != b'>').unwrap_or(0);
    text > 0 && line[text..].starts_with(SEPARATOR)
}
