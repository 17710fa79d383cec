//! The ZIP archive of a document: its parts, within a limit.

use std::io::{Cursor, Read as _};

use percent_encoding::percent_decode_str;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::extract::error::ExtractErrorKind;
use crate::extract::text::decode;

/// The error of content that violates the format.
pub(crate) fn corrupt(cause: impl Into<Box<dyn std::error::Error>>) -> ExtractErrorKind {
    ExtractErrorKind::Corrupt(cause.into().to_string())
}

/// The error of the archive.
pub(crate) fn zip_error(error: &ZipError) -> ExtractErrorKind {
    if matches!(error, ZipError::UnsupportedArchive(why) if *why == ZipError::PASSWORD_REQUIRED) {
        return ExtractErrorKind::Encrypted;
    }
    if matches!(error, ZipError::InvalidArchive(_)) {
        return corrupt("not a ZIP archive, or truncated");
    }
    ExtractErrorKind::Corrupt(error.to_string())
}

/// The parts of a document.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    remaining_bytes: u64,
    max_bytes: u64,
}

impl<'a> Package<'a> {
    /// Opens the archive. The parts that are read may unpack to at most `max_bytes` in total.
    pub(crate) fn open(bytes: &'a [u8], max_bytes: u64) -> Result<Self, ExtractErrorKind> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| zip_error(&error))?;
        Ok(Self { archive, remaining_bytes: max_bytes, max_bytes })
    }

    /// The text of a part; `None` if the archive has no such part.
    pub(crate) fn read_part(&mut self, name: &str) -> Result<Option<String>, ExtractErrorKind> {
        let Some(bytes) = self.read_bytes(name)? else { return Ok(None) };
        let text = decode(&bytes, None).ok_or_else(|| corrupt("a part is not text"))?;
        Ok(Some(text.into_owned()))
    }

    /// The bytes of a part; `None` if the archive has no such part.
    pub(crate) fn read_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, ExtractErrorKind> {
        let entry = match self.archive.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(zip_error(&error)),
        };
        let mut bytes = Vec::new();
        let unpacked = entry.take(self.remaining_bytes + 1).read_to_end(&mut bytes);
        let Some(left) = self.remaining_bytes.checked_sub(bytes.len() as u64) else {
            return Err(ExtractErrorKind::unpack_limit(self.max_bytes));
        };
        self.remaining_bytes = left;
        unpacked.map_err(corrupt)?;
        Ok(Some(bytes))
    }
}

/// The name of the part to which a part refers by a relative URI, without its fragment.
pub(crate) fn resolve(from: &str, reference: &str) -> String {
    let reference = reference.split(['#', '?']).next().unwrap_or_default();
    let reference = percent_decode_str(reference).decode_utf8_lossy();
    if reference.is_empty() {
        return from.to_owned();
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = if reference.starts_with('/') { "" } else { folder };
    let mut segments = Vec::new();
    for segment in folder.split('/').chain(reference.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_relative_to_their_part() {
        assert_eq!(resolve("ppt/slides/slide1.xml", "../media/a.png"), "ppt/media/a.png");
        assert_eq!(resolve("ppt/presentation.xml", "/ppt/slides/b.xml"), "ppt/slides/b.xml");
        assert_eq!(
            resolve("OEBPS/book.opf", "text/My%20book.xhtml#c1"),
            "OEBPS/text/My book.xhtml"
        );
        assert_eq!(resolve("book.opf", "../../etc/passwd"), "etc/passwd");
        assert_eq!(resolve("a/b.xhtml", "#here"), "a/b.xhtml");
    }
}
