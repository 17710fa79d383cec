//! The attachments of a message, by name and media type.
//!
//! [`list`] is the only place that decides which parts of a message are attachments.

use std::fmt;

use mail_parser::{Message, MessagePart, MimeHeaders as _, PartType};

use crate::extract::mail::eml;

/// The name of an attachment without one.
const UNNAMED: &str = "(unnamed)";

/// The media type of content without one.
const BINARY: &str = "application/octet-stream";

/// Signatures: parts of the transport, without content of their own.
const SIGNATURES: [&str; 3] =
    ["application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"];

/// An attachment; its `Display` form `NAME (MEDIA TYPE)` stands in texts and metadata.
#[derive(Debug)]
pub(super) struct Attachment {
    name: String,
    media_type: String,
}

impl Attachment {
    /// An empty name or media type is replaced.
    pub(super) fn new(name: &str, media_type: &str) -> Self {
        let or = |value: &str, default: &str| {
            let value = value.trim();
            if value.is_empty() { default.to_owned() } else { value.to_owned() }
        };
        Self { name: or(name, UNNAMED), media_type: or(media_type, BINARY).to_lowercase() }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.media_type)
    }
}

/// The attachments of a message in their order, without signatures. Attached messages are included
/// if `with_messages` is set, that is if they are not read as sections.
pub(super) fn list(message: &Message<'_>, with_messages: bool) -> Vec<Attachment> {
    message
        .attachments()
        .filter(|part| with_messages || !matches!(part.body, PartType::Message(_)))
        .map(|part| Attachment::new(part.attachment_name().unwrap_or_default(), &media_type(part)))
        .filter(|attachment| !SIGNATURES.contains(&attachment.media_type.as_str()))
        .collect()
}

/// The declared media type of a part.
pub(super) fn media_type(part: &MessagePart<'_>) -> String {
    let Some(declared) = part.content_type() else {
        // Only messages of a digest have no declared type.
        return if part.is_message() {
            eml::FORMAT.media_types[0].to_owned()
        } else {
            String::new()
        };
    };
    let subtype = declared.subtype().map(|subtype| format!("/{subtype}")).unwrap_or_default();
    format!("{}{subtype}", declared.ctype()).to_lowercase()
}
