//! The text of a message: its plain text, or the text of its HTML if it has no plain text.

use std::borrow::Cow;

use mail_parser::{Encoding, Message, MessagePart, PartType};

use crate::extract::html;
use crate::extract::mail::attachments::media_type;
use crate::extract::text::{decode, normalize_newlines};

/// Object identifiers (DER) of encrypted content in PKCS #7: `envelopedData` and
/// `authEnvelopedData`.
const ENVELOPES: [&[u8]; 2] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17",
];

/// Bytes at the start of PKCS #7 content that contain its type.
const ENVELOPE_HEAD: usize = 64;

/// The text of the body. Parts without a text alternative are read as HTML.
pub(super) fn text(message: &Message<'_>) -> String {
    let plain = join(message, message.text_bodies());
    if plain.trim().is_empty() { join(message, message.html_bodies()) } else { plain }
}

/// The first page of a message; `None` if it has no HTML.
pub(super) fn page(message: &Message<'_>) -> Option<String> {
    message.parts.iter().find_map(|part| match &part.body {
        PartType::Html(page) => Some(
            undeclared_charset(message, part, page).unwrap_or_else(|| page.clone().into_owned()),
        ),
        PartType::Text(_)
        | PartType::Binary(_)
        | PartType::InlineBinary(_)
        | PartType::Message(_)
        | PartType::Multipart(_) => None,
    })
}

fn join<'a>(message: &Message<'_>, parts: impl Iterator<Item = &'a MessagePart<'a>>) -> String {
    let mut text = String::new();
    for part in parts {
        let part = part_text(message, part);
        if !part.trim().is_empty() {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(normalize_newlines(&part).trim_end());
        }
    }
    text
}

fn part_text<'a>(message: &Message<'_>, part: &'a MessagePart<'a>) -> Cow<'a, str> {
    match &part.body {
        PartType::Text(text) => {
            undeclared_charset(message, part, text).map_or(Cow::Borrowed(text), Cow::Owned)
        }
        PartType::Html(page) => {
            let page =
                undeclared_charset(message, part, page).map_or(Cow::Borrowed(&**page), Cow::Owned);
            Cow::Owned(html::from_text(&page).text)
        }
        PartType::Binary(_)
        | PartType::InlineBinary(_)
        | PartType::Message(_)
        | PartType::Multipart(_) => Cow::Borrowed(""),
    }
}

/// The text of a part that was taken for UTF-8 because it declares no encoding; `None` if it was
/// decoded correctly.
fn undeclared_charset(
    message: &Message<'_>,
    part: &MessagePart<'_>,
    decoded: &str,
) -> Option<String> {
    if part.encoding != Encoding::None || !decoded.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let start = usize::try_from(part.raw_body_offset()).ok()?;
    let end = usize::try_from(part.raw_end_offset()).ok()?;
    decode(message.raw_message.get(start..end)?, None).map(Cow::into_owned)
}

/// `true` if the body of the message can be read only with a key.
pub(super) fn is_encrypted(message: &Message<'_>, body: &str) -> bool {
    let Some(root) = message.parts.first() else { return false };
    match media_type(root).as_str() {
        "multipart/encrypted" => true,
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => is_envelope(root.contents()),
        _ => body.trim_start().starts_with("-----BEGIN PGP MESSAGE-----"),
    }
}

/// `true` if PKCS #7 content is encrypted.
pub(super) fn is_envelope(content: &[u8]) -> bool {
    let head = &content[..content.len().min(ENVELOPE_HEAD)];
    ENVELOPES.iter().any(|id| head.windows(id.len()).any(|window| window == *id))
}
