//! Single messages of Internet mail (RFC 5322, MIME).

use mail_parser::{Addr, Address, HeaderValue, Message, MessageParser, MimeHeaders as _, PartType};

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::mail::{MAX_DEPTH, Mail, attachments, body};

pub(crate) const FORMAT: Format = Format {
    name: "mail",
    media_types: &["message/rfc822"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes),
};

/// Most declarations of nested messages in a file. The parser nests its result as deeply as the
/// messages are nested, and is not called for more.
const MAX_NESTED: usize = 1000;

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    let mail = read(bytes)?;
    if mail.is_encrypted {
        return Err(ExtractErrorKind::Encrypted);
    }
    Ok(mail.into_document())
}

/// Reads a message.
///
/// # Errors
/// If the bytes do not begin with the header of a message, or nest too many messages.
pub(super) fn read(bytes: &[u8]) -> Result<Mail, ExtractErrorKind> {
    if nested_declarations(bytes) > MAX_NESTED {
        return Err(ExtractErrorKind::LimitExceeded(format!("{MAX_NESTED} nested messages")));
    }
    let message = MessageParser::default().parse(bytes).filter(has_fields);
    let message =
        message.ok_or_else(|| ExtractErrorKind::Corrupt("it has no message header".to_owned()))?;
    Ok(mail_of(&message, MAX_DEPTH))
}

/// Number of media types in the bytes that may begin a nested message.
fn nested_declarations(bytes: &[u8]) -> usize {
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let is_nested = |at: usize| {
        let follows =
            |word: &str| bytes[at + 1..].get(..word.len()).is_some_and(|it| is_word(it, word));
        let precedes = |word: &str| {
            at.checked_sub(word.len()).is_some_and(|start| is_word(&bytes[start..at], word))
        };
        precedes("message") && (follows("rfc822") || follows("global"))
            || precedes("multipart") && follows("digest")
    };
    slashes.filter(|(at, _)| is_nested(*at)).count()
}

fn is_word(bytes: &[u8], word: &str) -> bool {
    bytes.eq_ignore_ascii_case(word.as_bytes())
}

/// `true` if the message declares its type, or is addressed: other text is no message.
fn has_fields(message: &Message<'_>) -> bool {
    let root = message.parts.first();
    message.from().is_some()
        || message.to().is_some()
        || message.subject().is_some()
        || message.date().is_some()
        || root.is_some_and(|root| root.content_type().is_some())
}

/// The message, with attached messages down to this depth.
fn mail_of(message: &Message<'_>, depth: u8) -> Mail {
    let text = body::text(message);
    let nested = message.attachments().filter_map(|part| {
        let PartType::Message(nested) = &part.body else { return None };
        (depth > 0).then(|| mail_of(nested, depth - 1))
    });
    let subject = message.subject().unwrap_or_default().to_owned();
    let date = message.date().filter(|date| date.is_valid());
    Mail {
        subject,
        from: addresses(message.from()),
        to: addresses(message.to()),
        cc: addresses(message.cc()),
        date: date.map(mail_parser::DateTime::to_rfc3339),
        message_id: message.message_id().map(str::to_owned),
        in_reply_to: ids(message.in_reply_to()),
        is_encrypted: body::is_encrypted(message, &text),
        body: text,
        attachments: attachments::list(message, depth == 0),
        attached: nested.collect(),
    }
}

fn addresses(field: Option<&Address<'_>>) -> Vec<String> {
    field.into_iter().flat_map(Address::iter).filter_map(address).collect()
}

/// `Name <address>`, or the one of both that is present.
fn address(address: &Addr<'_>) -> Option<String> {
    match (address.name(), address.address()) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

fn ids(field: &HeaderValue<'_>) -> Vec<String> {
    match field {
        HeaderValue::Text(id) => vec![id.clone().into_owned()],
        HeaderValue::TextList(ids) => ids.iter().map(|id| id.clone().into_owned()).collect(),
        HeaderValue::Address(_)
        | HeaderValue::DateTime(_)
        | HeaderValue::ContentType(_)
        | HeaderValue::Received(_)
        | HeaderValue::Empty => Vec::new(),
    }
}
