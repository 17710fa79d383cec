//! Decisions by hash: the same seed and text give the same decision on every machine and in every
//! order.

/// Hash of a seed and some texts: FNV-1a with the finaliser of SplitMix64.
pub(crate) fn hash_of(seed: u64, parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        // The length separates the parts.
        for byte in part.bytes().chain(part.len().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    pipeline::SplitMix64::new(hash).next_u64()
}

/// A number from 0 (inclusive) to 1 (exclusive) by the hash of a seed and some texts.
pub(crate) fn hash_share(seed: u64, parts: &[&str]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = (hash_of(seed, parts) >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_depend_on_seed_and_parts() {
        let shares: Vec<f64> =
            (0..10_000).map(|n: i32| hash_share(1, &["uri", &n.to_string()])).collect();
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let count = shares.iter().filter(|it| (low..low + 0.1).contains(*it)).count();
            assert!((850..1150).contains(&count), "{count} of 10,000 from {low}");
        }
        assert_ne!(hash_of(1, &["ab", "c"]), hash_of(1, &["a", "bc"]));
        assert_ne!(hash_of(1, &["a"]), hash_of(2, &["a"]));
    }
}
