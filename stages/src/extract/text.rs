//! Decodes bytes to text, and extracts plain text files.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::extract::document::{Document, DocumentBuilder, is_printable};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;

pub(crate) const FORMAT: Format = Format {
    name: "text",
    media_types: &["application/toml", "application/yaml"],
    version: 0,
    is_cached: false,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// `true` for other types of text, such as source code.
pub(crate) fn is_plain(media_type: &str) -> bool {
    media_type.starts_with("text/")
}

/// Bytes of a file that are examined to detect its encoding.
const SAMPLE_BYTES: usize = 1 << 20;

/// Extracts a plain text file; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    Some(plain_text(&decode(bytes, None)?))
}

/// The document of a plain text. A form feed begins a page.
pub(crate) fn plain_text(text: &str) -> Document {
    let mut pen = DocumentBuilder::default();
    if text.contains('\u{c}') {
        for page in text.split('\u{c}') {
            pen.begin_page();
            pen.push_verbatim(&normalize_newlines(page));
        }
    } else {
        pen.push_verbatim(&normalize_newlines(text));
    }
    pen.finish()
}

/// A file with a syntax error as plain text; the metadata `syntax_error` contains the message.
pub(crate) fn plain_with_error(text: &str, error: &str) -> Document {
    let mut document = plain_text(text);
    document.add_metadata("syntax_error", error);
    document
}

/// The text with `\n` at the end of each line and without unprintable characters, otherwise as it
/// is; `None` if the bytes are not text.
pub(crate) fn decode_verbatim(bytes: &[u8], said: Option<&'static Encoding>) -> Option<String> {
    let text = normalize_newlines(&decode(bytes, said)?).into_owned();
    if text.chars().all(is_printable) {
        return Some(text);
    }
    Some(text.chars().filter(|char| is_printable(*char)).collect())
}

/// Decodes text by, in this order: its byte order mark, UTF-8 if valid, the declared encoding, a
/// detected encoding. `None` if the bytes are not text.
pub(crate) fn decode<'a>(bytes: &'a [u8], said: Option<&'static Encoding>) -> Option<Cow<'a, str>> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        let (text, _) = encoding.decode_without_bom_handling(&bytes[mark..]);
        return Some(text).filter(|text| looks_like_text(text));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return looks_like_text(text).then_some(Cow::Borrowed(text));
    }
    let encoding = detect_utf16(bytes)
        .or_else(|| (!bytes.contains(&0)).then(|| guess_encoding(bytes, said)))?;
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    looks_like_text(&text).then_some(text)
}

/// The encoding of bytes that are not valid UTF-8.
fn guess_encoding(bytes: &[u8], said: Option<&'static Encoding>) -> &'static Encoding {
    if is_damaged_utf_8(bytes) {
        return UTF_8;
    }
    // A declaration of UTF-8 is wrong for these bytes.
    if let Some(said) = said.filter(|said| *said != UTF_8) {
        return said;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes[..bytes.len().min(SAMPLE_BYTES)], true);
    detector.guess(None, Utf8Detection::Deny)
}

/// `true` for UTF-8 with a few invalid bytes, as in truncated or concatenated files.
fn is_damaged_utf_8(bytes: &[u8]) -> bool {
    let (mut right, mut wrong) = (0, 0);
    for chunk in bytes[..bytes.len().min(SAMPLE_BYTES)].utf8_chunks() {
        right += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
        wrong += usize::from(!chunk.invalid().is_empty());
    }
    right > 20 * wrong
}

/// Detects UTF-16 without a byte order mark: in most scripts, one byte of many pairs is 0.
fn detect_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(4096) & !1];
    let zeros =
        |offset: usize| head.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), head.len() / 2);
    if pairs > 0 && odd * 3 > pairs && even * 20 < pairs {
        return Some(UTF_16LE);
    }
    (pairs > 0 && even * 3 > pairs && odd * 20 < pairs).then_some(UTF_16BE)
}

/// `true` for readable text: at most one unusual character in 32, and almost no NUL.
fn looks_like_text(text: &str) -> bool {
    let mut end = text.len().min(SAMPLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (mut odd, mut all) = (0, 0);
    for char in text[..end].chars() {
        all += 1;
        let usual = is_printable(char) || matches!(char, '\r' | '\u{c}' | '\u{8}' | '\u{1b}');
        odd += usize::from(!usual || char == char::REPLACEMENT_CHARACTER);
        if char == '\0' && odd > all / 512 {
            return false;
        }
    }
    odd * 32 <= all
}

/// The text with `\n` at the end of each line.
pub(crate) fn normalize_newlines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let german = "Die Bäume blühen im Frühling, und über den Häusern fliegen Vögel.";
        let (latin_1, ..) = encoding_rs::WINDOWS_1252.encode(german);
        let japanese = "これは日本語の文章です。文字コードを調べる必要があります。";
        let (shift_jis, ..) = encoding_rs::SHIFT_JIS.encode(japanese);
        let (euc, ..) = encoding_rs::EUC_JP.encode(japanese);
        let (koi8, ..) = encoding_rs::KOI8_R.encode("Это обычный русский текст, без пометки.");
        let utf_16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let marked = [b"\xff\xfe".as_slice(), &utf_16(german)].concat();
        let big: Vec<_> = german.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, expected) in [
            (german.as_bytes(), german),
            (&latin_1, german),
            (&shift_jis, japanese),
            (&euc, japanese),
            (&koi8, "Это обычный русский текст, без пометки."),
            (&marked, german),
            (&utf_16(german), german),
            (&big, german),
            (b"\xef\xbb\xbfplain", "plain"),
        ] {
            assert_eq!(decode(bytes, None).as_deref(), Some(expected));
        }
    }

    #[test]
    fn one_broken_byte_does_not_change_the_encoding() {
        let mut bytes = "Bäume und Vögel über Häusern. ".repeat(20).into_bytes();
        bytes.push(0xff);
        let text = decode(&bytes, None).unwrap();
        assert!(text.starts_with("Bäume und Vögel") && text.ends_with('\u{fffd}'), "{text}");
    }

    #[test]
    fn binary_is_no_text() {
        let noise: Vec<u8> =
            (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for bytes in [noise.as_slice(), &[0; 100], b"\x7fELF\x02\x01\x01\0\0\0\0\0"] {
            assert_eq!(extract(bytes), None);
        }
    }

    #[test]
    fn lines_are_tidied_and_form_feeds_are_pages() {
        let document = extract(b"one  \r\n\r\n\r\n\r\n\r\ntwo\r\x0cthree").unwrap();
        assert_eq!(document.text, "one\n\n\ntwo\n\nthree");
        assert_eq!(document.pages, [0, 11]);
        assert_eq!(extract(b"").unwrap().text, "");
    }
}
