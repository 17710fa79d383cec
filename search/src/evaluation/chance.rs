//! Numbers drawn by chance that are the same each time (splitmix64), so that an evaluation says the same twice.

/// A source of numbers.
pub(super) struct Chance(u64);

impl Chance {
    /// The numbers that follow from a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Sixty-four bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, each as likely as the others.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let scaled = u128::from(self.bits()) * end as u128;
        usize::try_from(scaled >> 64).expect("is below the end")
    }
}
