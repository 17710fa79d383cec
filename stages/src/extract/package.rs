//! The ZIP archive of a document: its parts, as text, within a limit.

use std::io::{Cursor, Read as _};

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
    pub(crate) archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    pub(crate) remaining_bytes: u64,
    pub(crate) max_bytes: u64,
}

impl Package<'_> {
    /// The text of a part; `None` if the archive has no such part.
    pub(crate) fn read_part(&mut self, name: &str) -> Result<Option<String>, ExtractErrorKind> {
        let entry = match self.archive.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(zip_error(&error)),
        };
        let mut bytes = Vec::new();
        entry.take(self.remaining_bytes + 1).read_to_end(&mut bytes).map_err(corrupt)?;
        let Some(left) = self.remaining_bytes.checked_sub(bytes.len() as u64) else {
            return Err(ExtractErrorKind::unpack_limit(self.max_bytes));
        };
        self.remaining_bytes = left;
        let text = decode(&bytes, None).ok_or_else(|| corrupt("a part is not text"))?;
        Ok(Some(text.into_owned()))
    }
}
