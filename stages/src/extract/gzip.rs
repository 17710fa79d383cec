//! Unpacks files compressed by gzip, such as the documentation of Debian packages.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use crate::extract::read::ExtractErrorKind;

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
