//! Unpacks files compressed by gzip, such as the documentation of Debian packages.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use pipeline::uri;

use crate::extract::error::ExtractErrorKind;

/// The name in messages about a file that cannot be unpacked.
pub(crate) const NAME: &str = "gzip";

pub(crate) fn is_gzip(mime_type: &str) -> bool {
    mime_type == "application/gzip"
}

/// The path of the content: without its last extension if the file is compressed.
pub(crate) fn content_path(uri: &str, mime_type: &str) -> PathBuf {
    let mut path = uri::to_path(uri).unwrap_or_else(|| PathBuf::from(uri));
    if is_gzip(mime_type) {
        path.set_extension("");
    }
    path
}

/// The content, if it has at most `most` bytes.
pub(crate) fn unpack(bytes: &[u8], most: u64) -> Result<Vec<u8>, ExtractErrorKind> {
    let mut content = Vec::new();
    let unpacked = MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut content);
    if let Err(error) = unpacked {
        return Err(ExtractErrorKind::Corrupt(error.to_string()));
    }
    if content.len() as u64 > most {
        return Err(ExtractErrorKind::unpack_limit(most));
    }
    Ok(content)
}
