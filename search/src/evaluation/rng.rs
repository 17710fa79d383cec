//! Pseudo-random numbers with a fixed seed (splitmix64), so that evaluations are reproducible.

/// A pseudo-random number generator.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator with this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniformly distributed number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let scaled = u128::from(self.next_u64()) * end as u128;
        usize::try_from(scaled >> 64).expect("the result is below `end`")
    }
}
