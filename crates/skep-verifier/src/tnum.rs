//! Tracked numbers: what is known of a 64-bit value, bit by bit.
//!
//! A [`Tnum`] stands for the set `{ x | x & !mask == value }`: bits of `mask` are unknown, the others are those of
//! `value`, and `value & mask == 0` always. Every operation returns a superset of the results of its operands'
//! members; that is all the verifier's soundness asks of it.

/// A set of 64-bit numbers: known bits in `value`, unknown ones in `mask`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Tnum {
    /// Known bits that are one.
    pub value: u64,
    /// Unknown bits.
    pub mask: u64,
}

impl Tnum {
    /// Every number.
    pub const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    /// Exactly `value`.
    pub const fn known(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    /// The smallest set of this form that holds `min..=max`.
    pub const fn range(min: u64, max: u64) -> Self {
        let bits = 64 - (min ^ max).leading_zeros();
        if bits > 63 {
            return Self::UNKNOWN;
        }
        let delta = (1u64 << bits) - 1;
        Self { value: min & !delta, mask: delta }
    }

    /// Is there exactly one member?
    pub const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// Are the low 32 bits known?
    pub const fn low_is_const(self) -> bool {
        self.mask as u32 == 0
    }

    /// The largest member.
    pub const fn max(self) -> u64 {
        self.value | self.mask
    }

    /// All members shifted left.
    pub const fn shl(self, by: u32) -> Self {
        if by > 63 {
            return Self::known(0);
        }
        Self { value: self.value << by, mask: self.mask << by }
    }

    /// All members shifted right, zeros coming in.
    pub const fn shr(self, by: u32) -> Self {
        if by > 63 {
            return Self::known(0);
        }
        Self { value: self.value >> by, mask: self.mask >> by }
    }

    /// All members shifted right, the sign coming in.
    pub const fn sar(self, by: u32) -> Self {
        let by = if by > 63 { 63 } else { by };
        Self { value: ((self.value as i64) >> by) as u64, mask: ((self.mask as i64) >> by) as u64 }
    }

    /// The low halves shifted right, bit 31 coming in; the upper half becomes zero.
    pub const fn sar32(self, by: u32) -> Self {
        let by = if by > 31 { 31 } else { by };
        Self {
            value: ((self.value as i32) >> by) as u32 as u64,
            mask: ((self.mask as i32) >> by) as u32 as u64,
        }
    }

    /// Sums. Carries out of unknown bits make every bit they may reach unknown.
    pub const fn add(self, other: Self) -> Self {
        let masks = self.mask.wrapping_add(other.mask);
        let values = self.value.wrapping_add(other.value);
        let unknown = (masks.wrapping_add(values) ^ values) | self.mask | other.mask;
        Self { value: values & !unknown, mask: unknown }
    }

    /// Differences.
    pub const fn sub(self, other: Self) -> Self {
        let values = self.value.wrapping_sub(other.value);
        let unknown =
            (values.wrapping_add(self.mask) ^ values.wrapping_sub(other.mask)) | self.mask | other.mask;
        Self { value: values & !unknown, mask: unknown }
    }

    /// Bitwise and.
    pub const fn and(self, other: Self) -> Self {
        let value = self.value & other.value;
        Self { value, mask: self.max() & other.max() & !value }
    }

    /// Bitwise or.
    pub const fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self { value, mask: (self.mask | other.mask) & !value }
    }

    /// Bitwise exclusive or.
    pub const fn xor(self, other: Self) -> Self {
        let mask = self.mask | other.mask;
        Self { value: (self.value ^ other.value) & !mask, mask }
    }

    #[expect(clippy::should_implement_trait, reason = "named as the other operations are")]
    /// Products, by long multiplication: a known one adds the shifted factor, an unknown bit adds it or nothing.
    pub fn mul(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        let mut sum = Self::known(0);
        while a.value | a.mask != 0 {
            if a.value & 1 != 0 {
                sum = sum.add(b);
            } else if a.mask & 1 != 0 {
                sum = sum.union(sum.add(b));
            }
            a = a.shr(1);
            b = b.shl(1);
        }
        sum
    }

    /// The smallest set of this form that holds both.
    pub const fn union(self, other: Self) -> Self {
        let mask = self.mask | other.mask | (self.value ^ other.value);
        Self { value: self.value & !mask, mask }
    }

    /// Members of both. Where they contradict, some set: ranges tell that the case is impossible.
    pub const fn intersect(self, other: Self) -> Self {
        let mask = self.mask & other.mask;
        Self { value: (self.value | other.value) & !mask, mask }
    }

    /// Can a member of one be a member of the other?
    pub const fn overlaps(self, other: Self) -> bool {
        let known = !self.mask & !other.mask;
        self.value & known == other.value & known
    }

    /// Is every member of `other` one of ours?
    pub const fn contains(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// Is `x` a member?
    pub const fn has(self, x: u64) -> bool {
        x & !self.mask == self.value
    }

    /// Are all members multiples of `size`, a power of two (or zero, which asks nothing)?
    pub const fn is_aligned(self, size: u64) -> bool {
        size == 0 || (self.value | self.mask) & (size - 1) == 0
    }

    /// The bytes of the low `bits` bits in reverse order, zero-extended.
    pub const fn swap_bytes(self, bits: u32) -> Self {
        let by = 64 - bits;
        Self { value: self.value.swap_bytes() >> by, mask: self.mask.swap_bytes() >> by }
    }

    /// The smallest member greater than `x`, if there is one.
    pub const fn next_above(self, x: u64) -> Option<u64> {
        if self.max() <= x {
            return None;
        }
        if self.value > x {
            return Some(self.value);
        }
        // Members are `value` plus subsets of the mask; the answer is the least subset greater than `x - value`. Below
        // the highest bit that no subset has, all bits are spent; adding one then carries through the bits that are
        // not in the mask into the next one that is.
        let above = x - self.value;
        let stray = above & !self.mask;
        let spent = if stray == 0 { 0 } else { u64::MAX >> stray.leading_zeros() };
        Some(self.value | ((above | spent | !self.mask).wrapping_add(1) & self.mask))
    }

    /// The low `bytes` bytes, zero-extended.
    pub const fn cast(self, bytes: u32) -> Self {
        if bytes >= 8 {
            return self;
        }
        let keep = (1u64 << (bytes * 8)) - 1;
        Self { value: self.value & keep, mask: self.mask & keep }
    }

    /// The low half, zero-extended.
    pub const fn low(self) -> Self {
        self.cast(4)
    }

    /// The upper half in place, the low half zero.
    pub const fn without_low(self) -> Self {
        self.shr(32).shl(32)
    }

    /// The upper half of this and the low half of `low`.
    pub const fn with_low(self, low: Self) -> Self {
        self.without_low().or(low.low())
    }
}

#[cfg(test)]
mod tests {
    use super::Tnum;

    /// All tnums over the low `bits` bits.
    fn all(bits: u32) -> Vec<Tnum> {
        let n = 1u64 << bits;
        (0..n)
            .flat_map(|mask| (0..n).map(move |value| Tnum { value, mask }))
            .filter(|t| t.value & t.mask == 0)
            .collect()
    }

    fn members(t: Tnum, bits: u32) -> impl Iterator<Item = u64> {
        (0..1u64 << bits).filter(move |&x| t.has(x))
    }

    #[test]
    fn operations_contain_every_concrete_result() {
        type Abstract = fn(Tnum, Tnum) -> Tnum;
        type Concrete = fn(u64, u64) -> u64;
        let ops: [(Abstract, Concrete); 6] = [
            (Tnum::add, u64::wrapping_add),
            (Tnum::sub, u64::wrapping_sub),
            (Tnum::mul, u64::wrapping_mul),
            (Tnum::and, |a, b| a & b),
            (Tnum::or, |a, b| a | b),
            (Tnum::xor, |a, b| a ^ b),
        ];
        for a in all(4) {
            for b in all(4) {
                for (abs, conc) in ops {
                    let r = abs(a, b);
                    assert_eq!(r.value & r.mask, 0);
                    for x in members(a, 4) {
                        assert!(members(b, 4).all(|y| r.has(conc(x, y))), "{a:?} {b:?} -> {r:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn range_holds_its_ends_and_is_tight_on_powers_of_two() {
        assert_eq!(Tnum::range(0, 255), Tnum { value: 0, mask: 255 });
        assert_eq!(Tnum::range(7, 7), Tnum::known(7));
        assert_eq!(Tnum::range(0, u64::MAX), Tnum::UNKNOWN);
        for (lo, hi) in [(3, 17), (100, 131), (1, u64::MAX - 1)] {
            assert!(Tnum::range(lo, hi).has(lo) && Tnum::range(lo, hi).has(hi));
        }
    }

    #[test]
    fn next_member_is_the_least_above() {
        for t in all(4) {
            for x in 0..16 {
                assert_eq!(t.next_above(x), members(t, 4).find(|&y| y > x), "{t:?} {x}");
            }
        }
    }

    #[test]
    fn swapped_bytes_contain_the_concrete_ones() {
        let t = Tnum { value: 0x1200_0034, mask: 0x00ff_0001 };
        for x in [0x1200_0034u64, 0x12ab_0035] {
            assert!(t.has(x));
            assert!(t.swap_bytes(32).has(u64::from((x as u32).swap_bytes())));
            assert!(t.swap_bytes(16).has(u64::from((x as u16).swap_bytes())));
            assert!(t.swap_bytes(64).has(x.swap_bytes()));
        }
    }

    #[test]
    fn containment_agrees_with_membership() {
        for a in all(3) {
            for b in all(3) {
                assert_eq!(a.contains(b), members(b, 3).all(|x| a.has(x)), "{a:?} {b:?}");
                assert_eq!(a.overlaps(b), members(b, 3).any(|x| a.has(x)), "{a:?} {b:?}");
            }
        }
    }
}
