//! Tokens and keys: how they are made, and what is kept of them.
//!
//! Refresh tokens, API keys and setup tokens are random texts of 256 bits, so their SHA-256 says nothing of them to
//! whoever steals the table: there is nothing to guess from, and no reason to make hashing slow as for passwords.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

/// Characters of a secret: 43 of 62 kinds are 256 bits.
const SECRET: usize = 43;
/// Characters by which a person recognises a key.
const PREFIX: usize = 8;

/// A random text of 256 bits. Letters and digits, so that a double click selects it.
pub fn random() -> String {
    text(SECRET)
}

fn text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// 32 random bytes.
pub fn random_bytes() -> [u8; 32] {
    rand::rng().random()
}

/// A new API key, and by which a person recognises it.
pub(super) fn key() -> (String, String) {
    let prefix = format!("smk_{}", text(PREFIX));
    (format!("{prefix}_{}", random()), prefix)
}

/// Whether a bearer is an API key; else it is an access token.
pub(super) fn is_key(bearer: &str) -> bool {
    bearer.starts_with("smk_")
}

/// What is kept of a token or key: its SHA-256 in hexadecimal digits.
pub fn digest(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognised_by_their_prefix_and_never_alike() {
        let (made, prefix) = key();
        assert!(is_key(&made) && made.starts_with(&prefix));
        assert_eq!((made.len(), prefix.len()), (4 + 8 + 1 + 43, 12));
        assert_ne!(made, key().0);
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
