//! Conversion of paths to `file://` URIs and back.
//!
//! The result is an IRI: letters of every script stay readable. Only characters that would make it
//! ambiguous are percent-encoded: control characters, the space, `%`, `?`, `#`, and bytes that are
//! not UTF-8. Every path survives a round trip, whatever its bytes are.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

const SCHEME: &str = "file://";

/// The URI of an absolute path.
///
/// ```
/// use std::path::Path;
///
/// let uri = pipeline::uri::of_path(Path::new("/srv/Über uns/100%.txt"));
/// assert_eq!(uri, "file:///srv/Über%20uns/100%25.txt");
/// ```
pub fn of_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let mut uri = String::with_capacity(SCHEME.len() + bytes.len());
    uri.push_str(SCHEME);
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || matches!(char, ' ' | '%' | '?' | '#') {
                encode(&mut uri, char.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                uri.push(char);
            }
        }
        encode(&mut uri, chunk.invalid());
    }
    uri
}

/// The path that [`of_path`] made this URI from; `None` if it is not the URI of a file.
///
/// ```
/// use std::path::PathBuf;
///
/// use pipeline::uri::to_path;
///
/// assert_eq!(to_path("file:///srv/a%20b"), Some(PathBuf::from("/srv/a b")));
/// assert_eq!(to_path("https://example.org/a"), None);
/// ```
pub fn to_path(uri: &str) -> Option<PathBuf> {
    let encoded = uri.strip_prefix(SCHEME)?.as_bytes();
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(&byte) = encoded.get(at) {
        if byte == b'%' {
            let digits = std::str::from_utf8(encoded.get(at + 1..at + 3)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            bytes.push(byte);
            at += 1;
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// File name without its extension, as a title of last resort; `None` if it is not the URI of a
/// file.
///
/// ```
/// assert_eq!(pipeline::uri::stem("file:///srv/the%20report.pdf").as_deref(), Some("the report"));
/// ```
pub fn stem(uri: &str) -> Option<String> {
    let path = to_path(uri)?;
    let stem = path.file_stem().map(OsStr::to_string_lossy)?;
    Some(stem.into_owned())
}

/// A URI or a part of one without percent-encoding, for reading. Bytes that are not UTF-8 become
/// replacement characters, and an escape that is not two hexadecimal digits stays.
///
/// ```
/// assert_eq!(pipeline::uri::decode_lossy("the%20report%"), "the report%");
/// ```
pub fn decode_lossy(uri: &str) -> Cow<'_, str> {
    if !uri.contains('%') {
        return Cow::Borrowed(uri);
    }
    let mut bytes = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| byte == b'%');
        let escape = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = escape.filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &behind[2..];
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn encode(uri: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(uri, "%{byte:02X}").expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stays_readable() {
        let uri = of_path(Path::new("/srv/Über uns/日本語 100%?#.txt"));
        assert_eq!(uri, "file:///srv/Über%20uns/日本語%20100%25%3F%23.txt");
        let path = PathBuf::from(OsString::from_vec(b"/caf\xe9\n".to_vec()));
        assert_eq!(of_path(&path), "file:///caf%E9%0A");
    }

    #[test]
    fn other_schemes_and_broken_escapes_are_no_paths() {
        for uri in ["https://example.org/", "file:///a%", "file:///a%2", "file:///a%zz"] {
            assert_eq!(to_path(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_back(bytes in proptest::collection::vec(1_u8.., 0..64)) {
            let path = PathBuf::from(OsString::from_vec([b"/".as_slice(), &bytes].concat()));
            let uri = of_path(&path);
            prop_assert!(!uri.chars().any(char::is_control));
            prop_assert_eq!(to_path(&uri), Some(path));
        }

        #[test]
        fn every_readable_path_comes_back(name in "\\PC{0,40}") {
            let path = PathBuf::from(format!("/{name}"));
            prop_assert_eq!(to_path(&of_path(&path)), Some(path));
        }
    }
}
