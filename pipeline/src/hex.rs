//! Serialises 32 bytes, such as a SHA-256, as lower-case hexadecimal text.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the digits.
pub(crate) fn write(bytes: &[u8; 32], to: &mut impl fmt::Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
}

/// The bytes of 64 digits; `None` for any other text.
fn parse(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(64);
    write(bytes, &mut text).expect("writing to a string cannot fail");
    to.serialize_str(&text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    parse(&text)
        .ok_or_else(|| D::Error::custom(format!("invalid hash \"{text}\": expected 64 digits")))
}
