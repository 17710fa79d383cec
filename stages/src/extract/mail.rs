//! Mail, whatever its container: single messages ([`eml`]), mailboxes ([`mbox`]) and Outlook items
//! ([`outlook`]). Each reader makes a [`Mail`]; [`Mail::write`] gives all of them the same text.
//!
//! The text of a message is its subject as a heading, the fields From, To, Cc and Date, the body
//! with its quotations, and the list of its attachments. The content of an attachment is not part
//! of the text, except for attached messages, which follow as sections.

pub(super) mod eml;
pub(super) mod mbox;
pub(super) mod outlook;
pub(super) mod web_archive;

mod attachments;
mod body;

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::mail::attachments::Attachment;

/// The heading of a message without a subject.
const NO_SUBJECT: &str = "(no subject)";

/// The body of an encrypted message within another one.
const ENCRYPTED_BODY: &str = "(encrypted)";

/// Levels of attached messages that are read; deeper ones are listed as attachments.
const MAX_DEPTH: u8 = 8;

/// A message.
#[derive(Debug, Default)]
struct Mail {
    subject: String,
    /// Addresses in the form `Name <address>`.
    from: Vec<String>,
    to: Vec<String>,
    cc: Vec<String>,
    /// In the form of RFC 3339.
    date: Option<String>,
    /// Without angle brackets.
    message_id: Option<String>,
    in_reply_to: Vec<String>,
    body: String,
    is_encrypted: bool,
    attachments: Vec<Attachment>,
    /// The attached messages.
    attached: Vec<Mail>,
}

impl Mail {
    /// Writes the message, and the attached messages one level below.
    fn write(&self, level: u8, builder: &mut DocumentBuilder) {
        builder.begin_heading(level);
        let subject = collapse_whitespace(&self.subject);
        builder.push_text(if subject.is_empty() { NO_SUBJECT } else { &subject });
        builder.end_heading();
        self.write_fields(builder);
        builder.begin_block();
        builder.push_verbatim(if self.is_encrypted { ENCRYPTED_BODY } else { &self.body });
        if !self.attachments.is_empty() {
            builder.begin_block();
            builder.push_text("Attachments:");
            for attachment in &self.attachments {
                builder.begin_item("-");
                builder.push_text(&attachment.to_string());
            }
        }
        for mail in &self.attached {
            mail.write(level + 1, builder);
        }
        builder.begin_block();
    }

    fn write_fields(&self, builder: &mut DocumentBuilder) {
        let lists = [("From", &self.from), ("To", &self.to), ("Cc", &self.cc)];
        for (name, addresses) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            builder.push_text(&format!("{name}: {}", addresses.join(", ")));
            builder.begin_line();
        }
        if let Some(date) = &self.date {
            builder.push_text(&format!("Date: {date}"));
            builder.begin_line();
        }
    }

    /// The message as a document of its own.
    fn into_document(self) -> Document {
        let mut builder = DocumentBuilder::default();
        self.write(1, &mut builder);
        let mut document = builder.finish();
        let subject = collapse_whitespace(&self.subject);
        document.title = Some(subject).filter(|subject| !subject.is_empty());
        document.add_metadata("created", &self.date.unwrap_or_default());
        document.add_metadata("message_id", &self.message_id.unwrap_or_default());
        let attachments = self.attachments.iter().map(Attachment::to_string).collect();
        for (key, values) in [
            ("from", self.from),
            ("to", self.to),
            ("cc", self.cc),
            ("in_reply_to", self.in_reply_to),
            ("attachments", attachments),
        ] {
            values.iter().for_each(|value| document.append_metadata(key, value));
        }
        document
    }
}
