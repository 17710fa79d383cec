//! OLE compound files, the container of Office documents before 2007 and of encrypted ones.

use crate::extract::error::ExtractErrorKind;

/// The first bytes of a compound file.
pub(crate) const OLE_MAGIC: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/// The stream in which Office stores an encrypted document.
const ENCRYPTED_STREAM: &str = "EncryptedPackage";

/// # Errors
///
/// `Encrypted` for a compound file that contains an encrypted document of a later format.
pub(crate) fn refuse_encrypted(bytes: &[u8]) -> Result<(), ExtractErrorKind> {
    let name: Vec<u8> = ENCRYPTED_STREAM.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_encrypted =
        bytes.starts_with(&OLE_MAGIC) && bytes.windows(name.len()).any(|window| window == name);
    if is_encrypted { Err(ExtractErrorKind::Encrypted) } else { Ok(()) }
}
