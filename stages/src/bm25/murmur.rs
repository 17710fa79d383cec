//! The index of a term: the absolute value of its 32-bit MurmurHash3 as a signed number. Qdrant's
//! BM25 and its clients use the same function, so their vectors are compatible.
//!
//! After Austin Appleby's `MurmurHash3_x86_32`, which is in the public domain; the seed is 0.

/// The index of a term. The function must never change, because indices are stored.
pub(super) fn token_index(word: &str) -> u32 {
    murmur3_32(word.as_bytes()).cast_signed().unsigned_abs()
}

fn murmur3_32(bytes: &[u8]) -> u32 {
    let mixed =
        |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= mixed(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut tail = [0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    hash ^= mixed(u32::from_le_bytes(tail));
    hash ^= u32::try_from(bytes.len()).expect("a term is short");
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values computed with the reference implementation, `mmh3` 5.2 for Python.
    #[test]
    fn hashes_are_those_of_the_reference() {
        for (word, expected) in [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("hello", 0x248b_fa47),
            ("world", 0xfb96_3cfb),
            ("pthread_mutex_lock", 0x05c3_5933),
            ("größe", 0xe3d3_963f),
        ] {
            assert_eq!(
                murmur3_32(word.as_bytes()),
                expected,
                "{word}: {:#x}",
                murmur3_32(word.as_bytes())
            );
        }
    }
}
