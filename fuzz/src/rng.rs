//! Random numbers that are the same everywhere: a case is its seed.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of one case of a campaign.
    pub fn new(seed: u64, case: u64) -> Self {
        let mut rng = Self(seed);
        let start = rng.next() ^ case;
        Self(start.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is taken as at least one.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number of the kinds that go wrong: small, powers of two and their neighbours, extremes, anything.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => self.next() >> self.below(64),
            2 => (self.next() >> self.below(64)).wrapping_neg(),
            3 | 4 => {
                let power = 1_u64 << self.below(64);
                power.wrapping_add(self.below(3) as u64).wrapping_sub(1)
            }
            5 => [u64::MAX, i64::MAX as u64, i64::MIN as u64, u64::from(u32::MAX), 1 << 31][self.below(5)],
            _ => self.below(32) as u64,
        }
    }
}
