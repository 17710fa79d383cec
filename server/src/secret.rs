//! Generation of tokens and keys, and their stored form.
//!
//! Refresh tokens, API keys and set-up tokens are random strings of 256 bits. Their SHA-256 reveals
//! nothing to a thief of the table, because they cannot be guessed; a slow hash as for passwords is
//! unnecessary.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

/// Characters of a secret: 43 of an alphabet of 62 are 256 bits.
const SECRET_LENGTH: usize = 43;
/// Characters of the visible prefix of a key.
const PREFIX_LENGTH: usize = 8;

/// A random string of 256 bits. Letters and digits only, so that a double click selects it.
///
/// ```
/// use server::secret::random_secret;
///
/// let secret = random_secret();
/// assert!(secret.len() == 43 && secret.chars().all(|it| it.is_ascii_alphanumeric()));
/// assert_ne!(secret, random_secret());
/// ```
pub fn random_secret() -> String {
    random_text(SECRET_LENGTH)
}

fn random_text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// 32 random bytes from the generator of the thread.
pub fn random_bytes() -> [u8; 32] {
    rand::rng().random()
}

/// A new API key and its visible prefix.
pub(super) fn new_api_key() -> (String, String) {
    let prefix = format!("smk_{}", random_text(PREFIX_LENGTH));
    (format!("{prefix}_{}", random_secret()), prefix)
}

/// Returns true for an API key; other bearer tokens are access tokens.
pub(super) fn is_api_key(bearer: &str) -> bool {
    bearer.starts_with("smk_")
}

/// The stored form of a token or key: its SHA-256 in hexadecimal.
///
/// ```
/// assert_eq!(
///     server::secret::digest("abc"),
///     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/// );
/// ```
pub fn digest(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognised_by_their_prefix_and_never_alike() {
        let (made, prefix) = new_api_key();
        assert!(is_api_key(&made) && made.starts_with(&prefix));
        assert_eq!((made.len(), prefix.len()), (4 + 8 + 1 + 43, 12));
        assert_ne!(made, new_api_key().0);
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
