//! Arithmetic on sets of numbers: what an ALU instruction makes of two scalars.
//!
//! Each function takes the destination in place and leaves ranges that [`Scalar::sync`] has yet to reconcile; the
//! driver [`alu`] does both. Results are supersets of the concrete ones (see the tests), and as narrow as the kernel's.

use skep_isa::AluOp;

use crate::scalar::Scalar;
use crate::tnum::Tnum;

/// `dst op src`, 64 bits wide or 32 with the upper half cleared. Divisions and remainders give any value.
pub fn alu(op: AluOp, wide: bool, dst: &mut Scalar, src: &Scalar) {
    if !is_tracked(op, wide, src) {
        *dst = Scalar::UNKNOWN;
        if !wide {
            dst.zext_32();
            dst.sync();
        }
        return;
    }
    // What is added to any number gives any number: hashes and checksums are made of such.
    let spreads = matches!(op, AluOp::Add | AluOp::Sub | AluOp::Xor);
    if spreads && (dst.is_unknown_width(wide) || src.is_unknown_width(wide)) {
        *dst = if wide { Scalar::UNKNOWN } else { Scalar::WORD };
        return;
    }
    match op {
        AluOp::Add => add(dst, src),
        AluOp::Sub => sub(dst, src),
        AluOp::Mul => mul(dst, src),
        AluOp::And => and(dst, src),
        AluOp::Or => or(dst, src),
        AluOp::Xor => xor(dst, src),
        AluOp::Lsh if wide => lsh64(dst, src),
        AluOp::Lsh => lsh32(dst, src),
        AluOp::Rsh if wide => rsh64(dst, src),
        AluOp::Rsh => rsh32(dst, src),
        AluOp::Arsh if wide => arsh64(dst, src),
        AluOp::Arsh => arsh32(dst, src),
        AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod | AluOp::Mov => *dst = Scalar::UNKNOWN,
    }
    if !wide {
        dst.zext_32();
    }
    dst.sync();
}

/// `-dst`.
pub fn neg(wide: bool, dst: &mut Scalar) {
    let src = std::mem::replace(dst, Scalar::ZERO);
    alu(AluOp::Sub, wide, dst, &src);
}

/// `dst + src` without the final reconciliation, as linked scalars want it.
pub(crate) fn add(dst: &mut Scalar, src: &Scalar) {
    (dst.smin32, dst.smax32) =
        pair(dst.smin32.checked_add(src.smin32), dst.smax32.checked_add(src.smax32), i32::MIN, i32::MAX);
    (dst.smin, dst.smax) =
        pair(dst.smin.checked_add(src.smin), dst.smax.checked_add(src.smax), i64::MIN, i64::MAX);
    // Where both ends wrap, so does everything between them, and the range stays one.
    let (low, low_wraps) = dst.umin32.overflowing_add(src.umin32);
    let (high, high_wraps) = dst.umax32.overflowing_add(src.umax32);
    (dst.umin32, dst.umax32) = if low_wraps == high_wraps { (low, high) } else { (0, u32::MAX) };
    let (low, low_wraps) = dst.umin.overflowing_add(src.umin);
    let (high, high_wraps) = dst.umax.overflowing_add(src.umax);
    (dst.umin, dst.umax) = if low_wraps == high_wraps { (low, high) } else { (0, u64::MAX) };
    dst.bits = dst.bits.add(src.bits);
}

fn sub(dst: &mut Scalar, src: &Scalar) {
    (dst.smin32, dst.smax32) =
        pair(dst.smin32.checked_sub(src.smax32), dst.smax32.checked_sub(src.smin32), i32::MIN, i32::MAX);
    (dst.smin, dst.smax) =
        pair(dst.smin.checked_sub(src.smax), dst.smax.checked_sub(src.smin), i64::MIN, i64::MAX);
    let (low, low_wraps) = dst.umin32.overflowing_sub(src.umax32);
    let (high, high_wraps) = dst.umax32.overflowing_sub(src.umin32);
    (dst.umin32, dst.umax32) = if low_wraps == high_wraps { (low, high) } else { (0, u32::MAX) };
    let (low, low_wraps) = dst.umin.overflowing_sub(src.umax);
    let (high, high_wraps) = dst.umax.overflowing_sub(src.umin);
    (dst.umin, dst.umax) = if low_wraps == high_wraps { (low, high) } else { (0, u64::MAX) };
    dst.bits = dst.bits.sub(src.bits);
}

/// Both ends, or the whole range where one could not be computed.
fn pair<T>(low: Option<T>, high: Option<T>, min: T, max: T) -> (T, T) {
    match (low, high) {
        (Some(low), Some(high)) => (low, high),
        _ => (min, max),
    }
}

fn mul(dst: &mut Scalar, src: &Scalar) {
    dst.bits = dst.bits.mul(src.bits);
    (dst.umin32, dst.umax32) =
        pair(dst.umin32.checked_mul(src.umin32), dst.umax32.checked_mul(src.umax32), 0, u32::MAX);
    (dst.umin, dst.umax) = pair(dst.umin.checked_mul(src.umin), dst.umax.checked_mul(src.umax), 0, u64::MAX);
    let corners32 = [dst.smin32, dst.smax32].map(|a| [src.smin32, src.smax32].map(|b| a.checked_mul(b)));
    (dst.smin32, dst.smax32) = hull(corners32, i32::MIN, i32::MAX);
    let corners = [dst.smin, dst.smax].map(|a| [src.smin, src.smax].map(|b| a.checked_mul(b)));
    (dst.smin, dst.smax) = hull(corners, i64::MIN, i64::MAX);
}

/// Least and greatest corner of a product of ranges.
fn hull<T: Ord + Copy>(corners: [[Option<T>; 2]; 2], min: T, max: T) -> (T, T) {
    let [[Some(a), Some(b)], [Some(c), Some(d)]] = corners else { return (min, max) };
    (a.min(b).min(c).min(d), a.max(b).max(c).max(d))
}

fn and(dst: &mut Scalar, src: &Scalar) {
    let (known, known_low) = both_known(dst, src);
    let (umax, umax32) = (dst.umax.min(src.umax), dst.umax32.min(src.umax32));
    dst.bits = dst.bits.and(src.bits);
    set_low_bitwise(dst, known_low, dst.bits.value as u32, umax32);
    set_bitwise(dst, known, dst.bits.value, umax);
}

fn or(dst: &mut Scalar, src: &Scalar) {
    let (known, known_low) = both_known(dst, src);
    let (umin, umin32) = (dst.umin.max(src.umin), dst.umin32.max(src.umin32));
    dst.bits = dst.bits.or(src.bits);
    set_low_bitwise(dst, known_low, umin32, dst.bits.max() as u32);
    set_bitwise(dst, known, umin, dst.bits.max());
}

fn xor(dst: &mut Scalar, src: &Scalar) {
    let (known, known_low) = both_known(dst, src);
    dst.bits = dst.bits.xor(src.bits);
    set_low_bitwise(dst, known_low, dst.bits.value as u32, dst.bits.max() as u32);
    set_bitwise(dst, known, dst.bits.value, dst.bits.max());
}

fn both_known(dst: &Scalar, src: &Scalar) -> (bool, bool) {
    (dst.bits.is_const() && src.bits.is_const(), dst.bits.low_is_const() && src.bits.low_is_const())
}

fn set_low_bitwise(dst: &mut Scalar, known: bool, umin: u32, umax: u32) {
    if known {
        return dst.set_low_known(dst.bits.value as u32);
    }
    (dst.umin32, dst.umax32) = (umin, umax);
    let same_sign = umin as i32 <= umax as i32;
    (dst.smin32, dst.smax32) = if same_sign { (umin as i32, umax as i32) } else { (i32::MIN, i32::MAX) };
}

fn set_bitwise(dst: &mut Scalar, known: bool, umin: u64, umax: u64) {
    if known {
        *dst = Scalar::known(dst.bits.value);
        return;
    }
    (dst.umin, dst.umax) = (umin, umax);
    let same_sign = umin as i64 <= umax as i64;
    (dst.smin, dst.smax) = if same_sign { (umin as i64, umax as i64) } else { (i64::MIN, i64::MAX) };
    dst.ranges_from_bits();
}

fn lsh64(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin as u32;
    (dst.smin, dst.smax) = if by == 32 {
        // Two shifts by 32 are how compilers sign-extend.
        (i64::from(dst.smin32) << 32, i64::from(dst.smax32) << 32)
    } else {
        (i64::MIN, i64::MAX)
    };
    (dst.umin, dst.umax) =
        if dst.umax > 1u64 << (63 - by) { (0, u64::MAX) } else { (dst.umin << by, dst.umax << by) };
    lsh_low(dst, by);
    dst.bits = dst.bits.shl(by);
    dst.ranges_from_bits();
}

fn lsh32(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin32;
    lsh_low(dst, by);
    dst.bits = dst.bits.low().shl(by).low();
    dst.forget_64();
    dst.ranges32_from_bits();
}

fn lsh_low(dst: &mut Scalar, by: u32) {
    (dst.smin32, dst.smax32) = (i32::MIN, i32::MAX);
    let overflows = by > 31 || u64::from(dst.umax32) > 1u64 << (31 - by);
    (dst.umin32, dst.umax32) = if overflows { (0, u32::MAX) } else { (dst.umin32 << by, dst.umax32 << by) };
}

fn rsh64(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin as u32;
    dst.bits = dst.bits.shr(by);
    let (umin, umax) = (dst.umin >> by, dst.umax >> by);
    dst.forget_ranges();
    (dst.umin, dst.umax) = (umin, umax);
    dst.ranges_from_bits();
}

fn rsh32(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin32;
    dst.bits = dst.bits.low().shr(by);
    let (umin, umax) = (dst.umin32 >> by, dst.umax32 >> by);
    dst.forget_ranges();
    (dst.umin32, dst.umax32) = (umin, umax);
    dst.ranges32_from_bits();
}

fn arsh64(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin as u32;
    let (smin, smax) = (dst.smin >> by, dst.smax >> by);
    dst.bits = dst.bits.sar(by);
    dst.forget_ranges();
    (dst.smin, dst.smax) = (smin, smax);
    dst.ranges_from_bits();
}

fn arsh32(dst: &mut Scalar, src: &Scalar) {
    let by = src.umin32;
    let (smin, smax) = (dst.smin32 >> by, dst.smax32 >> by);
    dst.bits = Tnum::sar32(dst.bits.low(), by);
    dst.forget_ranges();
    (dst.smin32, dst.smax32) = (smin, smax);
    dst.ranges32_from_bits();
}

/// Can the result be computed? Shifts must be by a known, valid amount.
fn is_tracked(op: AluOp, wide: bool, src: &Scalar) -> bool {
    match op {
        AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor => true,
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
            let known = if wide {
                src.bits.is_const() && src.smin == src.smax && src.umin == src.umax
            } else {
                src.bits.low_is_const() && src.smin32 == src.smax32 && src.umin32 == src.umax32
            };
            known && src.umax < if wide { 64 } else { 32 }
        }
        AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod | AluOp::Mov => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concrete(op: AluOp, wide: bool, a: u64, b: u64) -> u64 {
        let (a32, b32) = (a as u32, b as u32);
        match (op, wide) {
            (AluOp::Add, true) => a.wrapping_add(b),
            (AluOp::Sub, true) => a.wrapping_sub(b),
            (AluOp::Mul, true) => a.wrapping_mul(b),
            (AluOp::And, true) => a & b,
            (AluOp::Or, true) => a | b,
            (AluOp::Xor, true) => a ^ b,
            (AluOp::Lsh, true) => a << (b & 63),
            (AluOp::Rsh, true) => a >> (b & 63),
            (AluOp::Arsh, true) => ((a as i64) >> (b & 63)) as u64,
            (AluOp::Lsh, false) => u64::from(a32 << (b32 & 31)),
            (AluOp::Rsh, false) => u64::from(a32 >> (b32 & 31)),
            (AluOp::Arsh, false) => u64::from(((a32 as i32) >> (b32 & 31)) as u32),
            (_, false) => u64::from(concrete(op, true, a, b) as u32),
            _ => 0,
        }
    }

    /// A deterministic stream of interesting numbers: small, near powers of two, and spread.
    fn numbers(n: usize) -> Vec<u64> {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        (0..n)
            .map(|i| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                match i % 4 {
                    0 => x >> (x % 64),
                    1 => (1u64 << (x % 64)).wrapping_sub(x % 3),
                    2 => (x % 16).wrapping_neg(),
                    _ => x % 64,
                }
            })
            .collect()
    }

    #[test]
    fn every_operation_contains_its_concrete_results() {
        let ops = [
            AluOp::Add,
            AluOp::Sub,
            AluOp::Mul,
            AluOp::And,
            AluOp::Or,
            AluOp::Xor,
            AluOp::Lsh,
            AluOp::Rsh,
            AluOp::Arsh,
        ];
        let n = numbers(6000);
        for quad in n.chunks_exact(4) {
            let (alo, ahi) = (quad[0].min(quad[1]), quad[0].max(quad[1]));
            let (blo, bhi) = (quad[2].min(quad[3]), quad[2].max(quad[3]));
            let a = Scalar { umin: alo, umax: ahi, ..Scalar::UNKNOWN }.synced();
            for op in ops {
                let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
                for wide in [true, false] {
                    let (blo, bhi) = if shift { (blo % 32, blo % 32) } else { (blo, bhi) };
                    let b = Scalar { umin: blo, umax: bhi, ..Scalar::UNKNOWN }.synced();
                    let mut r = a;
                    alu(op, wide, &mut r, &b);
                    for (x, y) in [(alo, blo), (alo, bhi), (ahi, blo), (ahi, bhi)] {
                        let c = concrete(op, wide, x, y);
                        assert!(r.has(c), "{op:?} wide={wide} {x:#x} {y:#x} = {c:#x} not in {r:?}");
                    }
                }
            }
        }
    }
}
