//! Numbered cache entries.

use pipeline::CacheKey;

/// Values per call of the process that a test kills.
pub(crate) const VALUES_PER_CALL: u64 = 64;

pub(crate) fn key(number: u64) -> CacheKey {
    CacheKey::new("test", &[&number.to_le_bytes()])
}

/// A value that identifies its number; incompressible, like vectors.
pub(crate) fn value(number: u64, length: usize) -> Vec<u8> {
    let mut state = number + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn entries(numbers: std::ops::Range<u64>, length: usize) -> Vec<(CacheKey, Vec<u8>)> {
    numbers.map(|number| (key(number), value(number, length))).collect()
}
