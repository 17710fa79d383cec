//! Items of Outlook (`.msg`): messages in a compound file whose streams are MAPI properties
//! (MS-OXMSG).

mod properties;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use cfb::CompoundFile;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::html;
use crate::extract::mail::attachments::Attachment;
use crate::extract::mail::outlook::properties::{Properties, Streams};
use crate::extract::mail::{MAX_DEPTH, Mail, body, eml};
use crate::extract::text::normalize_newlines;

pub(crate) const FORMAT: Format = Format {
    name: "Outlook",
    media_types: &["application/vnd.ms-outlook"],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: extract,
};

/// Most recipients and attachments of a message.
const MAX_STORAGES: usize = 10_000;

/// Property ids (MS-OXPROPS).
mod id {
    pub(super) const MESSAGE_CLASS: u16 = 0x001a;
    pub(super) const SUBJECT: u16 = 0x0037;
    pub(super) const CLIENT_SUBMIT_TIME: u16 = 0x0039;
    pub(super) const TRANSPORT_HEADERS: u16 = 0x007d;
    pub(super) const RECIPIENT_TYPE: u16 = 0x0c15;
    pub(super) const SENDER_NAME: u16 = 0x0c1a;
    pub(super) const SENDER_EMAIL: u16 = 0x0c1f;
    pub(super) const DELIVERY_TIME: u16 = 0x0e06;
    pub(super) const BODY: u16 = 0x1000;
    pub(super) const BODY_HTML: u16 = 0x1013;
    pub(super) const MESSAGE_ID: u16 = 0x1035;
    pub(super) const IN_REPLY_TO: u16 = 0x1042;
    pub(super) const DISPLAY_NAME: u16 = 0x3001;
    pub(super) const EMAIL: u16 = 0x3003;
    pub(super) const ATTACH_DATA: u16 = 0x3701;
    pub(super) const ATTACH_FILENAME: u16 = 0x3704;
    pub(super) const ATTACH_LONG_FILENAME: u16 = 0x3707;
    pub(super) const ATTACH_MIME_TYPE: u16 = 0x370e;
    pub(super) const SMTP_ADDRESS: u16 = 0x39fe;
    pub(super) const SENDER_SMTP_ADDRESS: u16 = 0x5d01;
}

/// The storage of an attached message.
const ATTACHED_MESSAGE: &str = "__substg1.0_3701000D";

/// Extracts the item; its streams may contain at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let file = CompoundFile::open(Cursor::new(bytes));
    let file = file.map_err(|error| ExtractErrorKind::Corrupt(error.to_string()))?;
    let mut streams = Streams::new(file, most);
    let mail = read_message(&mut streams, Path::new("/"), 32, MAX_DEPTH)?;
    if mail.is_encrypted {
        return Err(ExtractErrorKind::Encrypted);
    }
    Ok(mail.into_document())
}

/// Reads the message in a storage. `header` is the length of the header of its fixed properties.
fn read_message(
    streams: &mut Streams<'_>,
    storage: &Path,
    header: usize,
    depth: u8,
) -> Result<Mail, ExtractErrorKind> {
    let fixed = Properties::read(streams, storage, header)?;
    let mut text = |id| streams.text(storage, id, &fixed);
    let class = text(id::MESSAGE_CLASS)?.to_ascii_lowercase();
    let headers = text(id::TRANSPORT_HEADERS)?;
    let sender = [id::SENDER_SMTP_ADDRESS, id::SENDER_EMAIL].map(&mut text);
    let [smtp, email] = sender;
    let mut mail = Mail {
        subject: text(id::SUBJECT)?,
        from: address(&text(id::SENDER_NAME)?, &[smtp?, email?]).into_iter().collect(),
        date: fixed.time(id::CLIENT_SUBMIT_TIME).or_else(|| fixed.time(id::DELIVERY_TIME)),
        message_id: Some(bare_id(&text(id::MESSAGE_ID)?)),
        in_reply_to: vec![bare_id(&text(id::IN_REPLY_TO)?)],
        body: normalize_newlines(&text(id::BODY)?).into_owned(),
        ..Mail::default()
    };
    if mail.body.trim().is_empty() {
        let page = streams.page(storage, id::BODY_HTML, &fixed)?;
        mail.body = html::from_text(&page).text;
    }
    add_headers(&mut mail, &headers);
    for child in streams.children(storage, "__recip_version1.0_", MAX_STORAGES) {
        read_recipient(streams, &child, &mut mail)?;
    }
    for child in streams.children(storage, "__attach_version1.0_", MAX_STORAGES) {
        read_attachment(streams, &child, &class, depth, &mut mail)?;
    }
    Ok(mail)
}

/// Adds what only the Internet header of the message has.
fn add_headers(mail: &mut Mail, headers: &str) {
    let Ok(header) = eml::read(headers.as_bytes()) else { return };
    if mail.message_id.as_ref().is_none_or(String::is_empty) {
        mail.message_id = header.message_id;
    }
    if mail.in_reply_to.iter().all(String::is_empty) {
        mail.in_reply_to = header.in_reply_to;
    }
    if mail.from.is_empty() {
        mail.from = header.from;
    }
    mail.date = mail.date.take().or(header.date);
}

fn read_recipient(
    streams: &mut Streams<'_>,
    storage: &Path,
    mail: &mut Mail,
) -> Result<(), ExtractErrorKind> {
    let fixed = Properties::read(streams, storage, 8)?;
    let mut text = |id| streams.text(storage, id, &fixed);
    let addresses = [text(id::SMTP_ADDRESS)?, text(id::EMAIL)?];
    let recipient = address(&text(id::DISPLAY_NAME)?, &addresses);
    match fixed.number(id::RECIPIENT_TYPE).unwrap_or(1) {
        2 => mail.cc.extend(recipient),
        // A blind copy.
        3 => {}
        _ => mail.to.extend(recipient),
    }
    Ok(())
}

fn read_attachment(
    streams: &mut Streams<'_>,
    storage: &Path,
    class: &str,
    depth: u8,
    mail: &mut Mail,
) -> Result<(), ExtractErrorKind> {
    let fixed = Properties::read(streams, storage, 8)?;
    let nested: PathBuf = storage.join(ATTACHED_MESSAGE);
    if depth > 0 && streams.is_storage(&nested) {
        mail.attached.push(read_message(streams, &nested, 24, depth - 1)?);
        return Ok(());
    }
    if class.contains("smime") {
        // The only attachment of a signed or encrypted message is its content.
        let content = streams.bytes(storage, id::ATTACH_DATA)?;
        mail.is_encrypted |= body::is_envelope(&content);
        if let Ok(signed) = eml::read(&content) {
            mail.body = signed.body;
            mail.attachments.extend(signed.attachments);
            return Ok(());
        }
    }
    let mut text = |id| streams.text(storage, id, &fixed);
    let names =
        [text(id::ATTACH_LONG_FILENAME)?, text(id::ATTACH_FILENAME)?, text(id::DISPLAY_NAME)?];
    let name = names.iter().find(|name| !name.is_empty()).map(String::as_str);
    let media_type = text(id::ATTACH_MIME_TYPE)?;
    mail.attachments.push(Attachment::new(name.unwrap_or_default(), &media_type));
    Ok(())
}

/// `Name <address>` with the first Internet address; Exchange also stores addresses that only its
/// directory knows.
fn address(name: &str, addresses: &[String]) -> Option<String> {
    let name = name.trim().trim_matches('\'');
    let address = addresses.iter().map(|it| it.trim()).find(|address| address.contains('@'));
    match address {
        Some(address) if name.is_empty() || name == address => Some(address.to_owned()),
        Some(address) => Some(format!("{name} <{address}>")),
        None => Some(name.to_owned()).filter(|name| !name.is_empty()),
    }
}

fn bare_id(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}
