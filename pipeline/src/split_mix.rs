//! Reproducible pseudo-random numbers: SplitMix64 (Steele, Lea, Flood 2014). They are not secret.

/// A pseudo-random number generator.
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A uniformly distributed number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let scaled = u128::from(self.next_u64()) * end as u128;
        usize::try_from(scaled >> 64).expect("the result is below `end`")
    }
}
