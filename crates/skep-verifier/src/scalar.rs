//! What is known of a number: bits, and its ranges read as signed or unsigned, 64 or 32 bits wide.
//!
//! The five views describe one value, so each narrows the others: [`Scalar::sync`] lets them, and every operation ends
//! with it. The views are a product domain; the concrete set is the intersection of what each allows.

use crate::tnum::Tnum;

/// A set of 64-bit values as the intersection of known bits and four ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Scalar {
    /// Known bits.
    pub bits: Tnum,
    /// Least value as `i64`.
    pub smin: i64,
    /// Greatest value as `i64`.
    pub smax: i64,
    /// Least value as `u64`.
    pub umin: u64,
    /// Greatest value as `u64`.
    pub umax: u64,
    /// Least low half as `i32`.
    pub smin32: i32,
    /// Greatest low half as `i32`.
    pub smax32: i32,
    /// Least low half as `u32`.
    pub umin32: u32,
    /// Greatest low half as `u32`.
    pub umax32: u32,
}

const HIGH: u64 = !0xffff_ffff;

impl Scalar {
    /// Any value.
    pub const UNKNOWN: Self = Self {
        bits: Tnum::UNKNOWN,
        smin: i64::MIN,
        smax: i64::MAX,
        umin: 0,
        umax: u64::MAX,
        smin32: i32::MIN,
        smax32: i32::MAX,
        umin32: 0,
        umax32: u32::MAX,
    };

    /// Any value of 32 bits, zero-extended.
    pub const WORD: Self = Self {
        bits: Tnum { value: 0, mask: u32::MAX as u64 },
        smin: 0,
        smax: u32::MAX as i64,
        umax: u32::MAX as u64,
        ..Self::UNKNOWN
    };

    /// Zero.
    pub const ZERO: Self = Self::known(0);

    /// Exactly `x`.
    pub const fn known(x: u64) -> Self {
        Self {
            bits: Tnum::known(x),
            smin: x as i64,
            smax: x as i64,
            umin: x,
            umax: x,
            smin32: x as i32,
            smax32: x as i32,
            umin32: x as u32,
            umax32: x as u32,
        }
    }

    /// Every signed value from `min` to `max`.
    pub fn between(min: i64, max: i64) -> Self {
        Self { smin: min, smax: max, ..Self::UNKNOWN }.synced()
    }

    /// Is there one value only?
    pub const fn is_const(&self) -> bool {
        self.bits.is_const()
    }

    /// Is the whole value, or its low half, known?
    pub const fn is_const_width(&self, wide: bool) -> bool {
        if wide { self.bits.is_const() } else { self.bits.low_is_const() }
    }

    /// The known value, whole or its low half; meaningless unless known.
    pub const fn const_value(&self, wide: bool) -> u64 {
        if wide { self.bits.value } else { self.bits.value as u32 as u64 }
    }

    /// Is nothing known, of the whole value or of its low half?
    pub fn is_unknown_width(&self, wide: bool) -> bool {
        if wide {
            return *self == Self::UNKNOWN;
        }
        self.bits.mask as u32 == u32::MAX
            && (self.umin32, self.umax32) == (0, u32::MAX)
            && (self.smin32, self.smax32) == (i32::MIN, i32::MAX)
    }

    /// Is it zero for certain?
    pub const fn is_zero(&self) -> bool {
        self.bits.mask == 0 && self.bits.value == 0
    }

    /// Sets the low half to `x` and leaves what is known of the upper one.
    pub fn set_low_known(&mut self, x: u32) {
        self.bits = self.bits.with_low(Tnum::known(u64::from(x)));
        (self.smin32, self.smax32) = (x as i32, x as i32);
        (self.umin32, self.umax32) = (x, x);
    }

    /// Forgets the 64-bit ranges.
    pub fn forget_64(&mut self) {
        (self.smin, self.smax, self.umin, self.umax) = (i64::MIN, i64::MAX, 0, u64::MAX);
    }

    /// Forgets the 32-bit ranges.
    pub fn forget_32(&mut self) {
        (self.smin32, self.smax32, self.umin32, self.umax32) = (i32::MIN, i32::MAX, 0, u32::MAX);
    }

    /// Forgets all ranges but keeps the bits.
    pub fn forget_ranges(&mut self) {
        self.forget_64();
        self.forget_32();
    }

    /// Lets the views narrow each other; see the module's text.
    pub fn sync(&mut self) {
        // Most values are one number or any: there is nothing to narrow but ranges round a known number.
        if self.bits.is_const() {
            let known = Self::known(self.bits.value);
            if self.contains(&known) {
                *self = known;
                return;
            }
        } else if *self == Self::UNKNOWN || *self == Self::WORD {
            return;
        }
        self.ranges_from_bits();
        for _ in 0..3 {
            let before = *self;
            self.deduce_32();
            self.deduce_64();
            self.deduce_mixed();
            // Another round starts from the same and ends with the same.
            if *self == before {
                break;
            }
        }
        self.bits_from_ranges();
        self.ranges_from_bits();
    }

    /// The same, by value.
    pub fn synced(mut self) -> Self {
        self.sync();
        self
    }

    /// Ranges from known bits.
    pub(crate) fn ranges_from_bits(&mut self) {
        self.ranges32_from_bits();
        let Tnum { value, mask } = self.bits;
        self.smin = self.smin.max((value | (mask & i64::MIN as u64)) as i64);
        self.smax = self.smax.min((value | (mask & i64::MAX as u64)) as i64);
        self.umin = self.umin.max(value);
        self.umax = self.umax.min(value | mask);
        self.single_meeting();
    }

    /// Where the unsigned range and the known bits have one value in common, that is it.
    fn single_meeting(&mut self) {
        if self.umin >= self.umax || self.bits.is_const() {
            return;
        }
        if self.bits.has(self.umin) && self.bits.has(self.umax) {
            return;
        }
        let first = if self.bits.has(self.umin) { Some(self.umin) } else { self.bits.next_above(self.umin) };
        let Some(first) = first.filter(|&x| x <= self.umax) else { return };
        let second = self.bits.next_above(first);
        if second.is_none_or(|x| x > self.umax) {
            (self.bits, self.umin, self.umax) = (Tnum::known(first), first, first);
            (self.smin, self.smax) = (self.smin.max(first as i64), self.smax.min(first as i64));
            (self.umin32, self.umax32) = (self.umin32.max(first as u32), self.umax32.min(first as u32));
            (self.smin32, self.smax32) = (self.smin32.max(first as i32), self.smax32.min(first as i32));
        }
    }

    /// 32-bit ranges from known bits.
    pub(crate) fn ranges32_from_bits(&mut self) {
        let (value, mask) = (self.bits.value as u32, self.bits.mask as u32);
        self.smin32 = self.smin32.max((value | (mask & i32::MIN as u32)) as i32);
        self.smax32 = self.smax32.min((value | (mask & i32::MAX as u32)) as i32);
        self.umin32 = self.umin32.max(value);
        self.umax32 = self.umax32.min(value | mask);
    }

    /// 32-bit ranges from 64-bit ones: where the upper half is the same at both ends, the low halves are a range.
    fn deduce_32(&mut self) {
        let (umin, umax, smin, smax) = (self.umin, self.umax, self.smin as u64, self.smax as u64);
        if umin >> 32 == umax >> 32 {
            self.umin32 = self.umin32.max(umin as u32);
            self.umax32 = self.umax32.min(umax as u32);
        }
        if self.smin >> 32 == self.smax >> 32 && smin as u32 <= smax as u32 {
            self.umin32 = self.umin32.max(smin as u32);
            self.umax32 = self.umax32.min(smax as u32);
        }
        for (low, high) in [(umin, umax), (smin, smax)] {
            let same = low >> 32 == high >> 32 && low as i32 <= high as i32;
            // Neighbouring upper halves: the low halves run from a negative number up through zero.
            let next = ((low >> 32) as u32).wrapping_add(1) == (high >> 32) as u32
                && (low as i32) < 0
                && high as i32 >= 0;
            if same || next {
                self.smin32 = self.smin32.max(low as i32);
                self.smax32 = self.smax32.min(high as i32);
            }
        }
        self.deduce_signs_32();
    }

    /// Signed from unsigned and back, where a range does not cross the boundary between both orders.
    fn deduce_signs_32(&mut self) {
        if self.umin32 as i32 <= self.umax32 as i32 {
            self.smin32 = self.smin32.max(self.umin32 as i32);
            self.smax32 = self.smax32.min(self.umax32 as i32);
        }
        if self.smin32 as u32 <= self.smax32 as u32 {
            self.umin32 = self.umin32.max(self.smin32 as u32);
            self.umax32 = self.umax32.min(self.smax32 as u32);
        } else if self.umax32 < self.smin32 as u32 {
            self.smin32 = self.umin32 as i32;
            self.umax32 = self.umax32.min(self.smax32 as u32);
        } else if (self.smax32 as u32) < self.umin32 {
            self.smax32 = self.umax32 as i32;
            self.umin32 = self.umin32.max(self.smin32 as u32);
        }
    }

    fn deduce_64(&mut self) {
        if self.umin as i64 <= self.umax as i64 {
            self.smin = self.smin.max(self.umin as i64);
            self.smax = self.smax.min(self.umax as i64);
        }
        if self.smin as u64 <= self.smax as u64 {
            self.umin = self.umin.max(self.smin as u64);
            self.umax = self.umax.min(self.smax as u64);
        } else if self.umax < self.smin as u64 {
            // The signed range meets the unsigned one in its non-negative part only.
            self.smin = self.umin as i64;
            self.umax = self.umax.min(self.smax as u64);
        } else if (self.smax as u64) < self.umin {
            self.smax = self.umax as i64;
            self.umin = self.umin.max(self.smin as u64);
        }
    }

    /// 64-bit ranges from 32-bit ones: the ends keep their upper halves, their low halves are clamped.
    fn deduce_mixed(&mut self) {
        self.clamp_low(self.umin32, self.umax32);
        if self.smin32 as u32 <= self.smax32 as u32 {
            self.clamp_low(self.smin32 as u32, self.smax32 as u32);
        }
        // A value that fits 32 signed bits and whose low half is not negative is its low half.
        let fits = self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX);
        if self.smin32 >= 0 && fits {
            (self.smin, self.smax) = (i64::from(self.smin32), i64::from(self.smax32));
            (self.umin, self.umax) = (self.smin as u64, self.smax as u64);
            self.bits = self.bits.intersect(Tnum::range(self.umin, self.umax));
        }
    }

    fn clamp_low(&mut self, low: u32, high: u32) {
        let (low, high) = (u64::from(low), u64::from(high));
        self.umin = self.umin.max((self.umin & HIGH) | low);
        self.umax = self.umax.min((self.umax & HIGH) | high);
        self.smin = self.smin.max(((self.smin as u64 & HIGH) | low) as i64);
        self.smax = self.smax.min(((self.smax as u64 & HIGH) | high) as i64);
    }

    fn bits_from_ranges(&mut self) {
        let wide = self.bits.intersect(Tnum::range(self.umin, self.umax));
        let low = wide.low().intersect(Tnum::range(u64::from(self.umin32), u64::from(self.umax32)));
        self.bits = wide.without_low().or(low);
    }

    /// Is no view empty, and do constant bits agree with the ranges? Where not, this path cannot be taken, but saying
    /// so is left to the caller: the kernel forgets the ranges instead.
    pub fn is_consistent(&self) -> bool {
        let ordered = self.umin <= self.umax
            && self.smin <= self.smax
            && self.umin32 <= self.umax32
            && self.smin32 <= self.smax32;
        let (v, low) = (self.bits.value, self.bits.value as u32);
        let wide = !self.bits.is_const()
            || (self.umin == v && self.umax == v && self.smin == v as i64 && self.smax == v as i64);
        let narrow = !self.bits.low_is_const()
            || (self.umin32 == low
                && self.umax32 == low
                && self.smin32 == low as i32
                && self.smax32 == low as i32);
        ordered && wide && narrow
    }

    /// Forgets everything where the views contradict each other.
    pub fn repair(&mut self) {
        if !self.is_consistent() {
            self.forget_ranges();
        }
    }

    /// The low half, zero-extended.
    pub fn zext_32(&mut self) {
        self.bits = self.bits.low();
        (self.umin, self.umax) = (u64::from(self.umin32), u64::from(self.umax32));
        if self.smin32 >= 0 && self.smax32 >= 0 {
            (self.smin, self.smax) = (i64::from(self.smin32), i64::from(self.smax32));
        } else {
            (self.smin, self.smax) = (0, i64::from(u32::MAX));
        }
    }

    /// The low `bytes` bytes, zero-extended: what a load of that size gives.
    pub fn truncate(&mut self, bytes: u32) {
        if bytes >= 8 {
            return;
        }
        self.bits = self.bits.cast(bytes);
        let keep = (1u64 << (bytes * 8)) - 1;
        if self.umin & !keep == self.umax & !keep {
            self.umin &= keep;
            self.umax &= keep;
        } else {
            (self.umin, self.umax) = (0, keep);
        }
        (self.smin, self.smax) = (self.umin as i64, self.umax as i64);
        if bytes < 4 {
            self.forget_32();
        }
        self.sync();
    }

    /// The low `bytes` bytes, sign-extended to 64 bits.
    pub fn sign_extend(&mut self, bytes: u32) {
        let bits = bytes * 8;
        let extend = |x: u64| ((x << (64 - bits)) as i64) >> (64 - bits);
        if self.bits.is_const() {
            *self = Self::known(extend(self.bits.value) as u64);
            return;
        }
        let (top_min, top_max) = (self.smin >> bits, self.smax >> bits);
        let (low, high) = (extend(self.smin as u64), extend(self.smax as u64));
        let ends_agree = top_min == top_max && (low >= 0) == (high >= 0);
        *self = if ends_agree {
            let (min, max) = (low.min(high), low.max(high));
            Self {
                smin: min,
                smax: max,
                umin: min as u64,
                umax: max as u64,
                smin32: min as i32,
                smax32: max as i32,
                umin32: min as u32,
                umax32: max as u32,
                bits: Tnum::range(min as u64, max as u64),
            }
        } else {
            let (min, max) = (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1);
            Self { smin: min, smax: max, smin32: min as i32, smax32: max as i32, ..Self::UNKNOWN }
        };
    }

    /// The low `bytes` bytes (one or two), sign-extended to 32 bits; the upper half is left for [`Self::zext_32`].
    pub fn sign_extend_32(&mut self, bytes: u32) {
        let bits = bytes * 8;
        let extend = |x: u32| ((x << (32 - bits)) as i32) >> (32 - bits);
        if self.bits.is_const() {
            let v = extend(self.bits.value as u32);
            self.bits = Tnum::known(v as u32 as u64);
            (self.smin32, self.smax32, self.umin32, self.umax32) = (v, v, v as u32, v as u32);
            return;
        }
        let (low, high) = (extend(self.smin32 as u32), extend(self.smax32 as u32));
        if self.smin32 >> bits == self.smax32 >> bits && (low >= 0) == (high >= 0) {
            (self.smin32, self.smax32) = (low.min(high), low.max(high));
            (self.umin32, self.umax32) = (self.smin32 as u32, self.smax32 as u32);
            self.bits = Tnum::range(u64::from(self.umin32), u64::from(self.umax32)).low();
        } else {
            (self.smin32, self.smax32) = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1);
            (self.umin32, self.umax32) = (0, u32::MAX);
            self.bits = Tnum { value: 0, mask: u64::from(u32::MAX) };
        }
    }

    /// Does every value of `other` lie in our ranges and bits? The relation pruning asks of precise scalars.
    pub fn contains(&self, other: &Self) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.umin32 <= other.umin32
            && self.umax32 >= other.umax32
            && self.smin32 <= other.smin32
            && self.smax32 >= other.smax32
            && self.bits.contains(other.bits)
    }

    /// A set that holds both.
    pub fn union(&self, other: &Self) -> Self {
        Self {
            bits: self.bits.union(other.bits),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin32: self.smin32.min(other.smin32),
            smax32: self.smax32.max(other.smax32),
            umin32: self.umin32.min(other.umin32),
            umax32: self.umax32.max(other.umax32),
        }
    }

    /// Is `x` a member?
    pub fn has(&self, x: u64) -> bool {
        self.contains(&Self::known(x))
    }

    /// Number of low bits that may be set.
    pub const fn width(&self) -> u32 {
        64 - self.umax.leading_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_a_load_of_four_bytes_gives() {
        let mut loaded = Scalar::UNKNOWN;
        loaded.truncate(4);
        assert_eq!(loaded, Scalar::WORD);
        let round = Scalar { umax: 1 << 32, ..Scalar::WORD }.synced();
        assert_eq!(round, Scalar::WORD, "known bits narrow the range");
        assert!(loaded.is_unknown_width(false) && !loaded.is_unknown_width(true));
        assert!(Scalar::UNKNOWN.is_unknown_width(true) && Scalar::UNKNOWN.is_unknown_width(false));
        assert!(!Scalar { umin32: 1, ..Scalar::WORD }.is_unknown_width(false));
    }

    #[test]
    fn unsigned_bound_narrows_every_view() {
        let s = Scalar { umax: 10, ..Scalar::UNKNOWN }.synced();
        assert_eq!((s.smin, s.smax, s.umin32, s.umax32, s.smin32, s.smax32), (0, 10, 0, 10, 0, 10));
        assert_eq!(s.bits, Tnum { value: 0, mask: 15 });
    }

    #[test]
    fn sync_keeps_members() {
        let ends =
            [0u64, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];
        for &lo in &ends {
            for &hi in ends.iter().filter(|&&h| h >= lo) {
                let u = Scalar { umin: lo, umax: hi, ..Scalar::UNKNOWN }.synced();
                assert!(u.has(lo) && u.has(hi), "u {lo:#x} {hi:#x} {u:?}");
                let (a, b) = ((lo as i64).min(hi as i64), (lo as i64).max(hi as i64));
                let s = Scalar::between(a, b);
                assert!(s.has(a as u64) && s.has(b as u64), "s {a:#x} {b:#x} {s:?}");
            }
        }
    }

    #[test]
    fn extensions_contain_concrete_results() {
        for x in [0u64, 5, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff_ff80, u64::MAX, 1 << 40] {
            for width in [0u64, 3, 200, 70_000] {
                let s = Scalar { umin: x, umax: x.saturating_add(width), ..Scalar::UNKNOWN }.synced();
                for bytes in [1, 2, 4] {
                    let mut t = s;
                    t.sign_extend(bytes);
                    let shift = 64 - bytes * 8;
                    for y in [x, x.saturating_add(width), x.saturating_add(width / 2)] {
                        assert!(t.has((((y << shift) as i64) >> shift) as u64), "{y:#x} {bytes} {t:?}");
                    }
                    let mut z = s;
                    z.truncate(bytes);
                    assert!(z.has(x << shift >> shift), "{x:#x} {bytes} {z:?}");
                }
            }
        }
    }
}
