//! Comparisons of sets of numbers: is a branch decided, and what do its two sides say about the operands?

use skep_isa::JmpOp;

use crate::scalar::Scalar;
use crate::tnum::Tnum;

/// A condition a path can assert: the comparisons, and "no common bit", the opposite of `Set`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cond {
    /// A comparison of the instruction set.
    Is(JmpOp),
    /// `a & b == 0`.
    NoneSet,
}

/// The condition that holds where `op` does not.
pub fn negate(op: JmpOp) -> Cond {
    Cond::Is(match op {
        JmpOp::Eq => JmpOp::Ne,
        JmpOp::Ne => JmpOp::Eq,
        JmpOp::Set => return Cond::NoneSet,
        JmpOp::Ge => JmpOp::Lt,
        JmpOp::Gt => JmpOp::Le,
        JmpOp::Le => JmpOp::Gt,
        JmpOp::Lt => JmpOp::Ge,
        JmpOp::Sge => JmpOp::Slt,
        JmpOp::Sgt => JmpOp::Sle,
        JmpOp::Sle => JmpOp::Sgt,
        JmpOp::Slt => JmpOp::Sge,
    })
}

/// The comparison with its operands exchanged.
pub fn flip(op: JmpOp) -> JmpOp {
    match op {
        JmpOp::Eq | JmpOp::Ne | JmpOp::Set => op,
        JmpOp::Ge => JmpOp::Le,
        JmpOp::Gt => JmpOp::Lt,
        JmpOp::Le => JmpOp::Ge,
        JmpOp::Lt => JmpOp::Gt,
        JmpOp::Sge => JmpOp::Sle,
        JmpOp::Sgt => JmpOp::Slt,
        JmpOp::Sle => JmpOp::Sge,
        JmpOp::Slt => JmpOp::Sgt,
    }
}

/// One width's view of a scalar.
struct View {
    bits: Tnum,
    umin: u64,
    umax: u64,
    smin: i64,
    smax: i64,
}

fn view(s: &Scalar, wide: bool) -> View {
    if wide {
        return View { bits: s.bits, umin: s.umin, umax: s.umax, smin: s.smin, smax: s.smax };
    }
    View {
        bits: s.bits.low(),
        umin: u64::from(s.umin32),
        umax: u64::from(s.umax32),
        smin: i64::from(s.smin32),
        smax: i64::from(s.smax32),
    }
}

/// `Some(true)` where the branch is always taken, `Some(false)` where never.
pub fn decide(op: JmpOp, wide: bool, a: &Scalar, b: &Scalar) -> Option<bool> {
    let (x, y) = (view(a, wide), view(b, wide));
    match op {
        JmpOp::Eq => decide_equal(&x, &y, a, b, wide),
        JmpOp::Ne => decide_equal(&x, &y, a, b, wide).map(|equal| !equal),
        JmpOp::Set => decide_set(&x, &y),
        JmpOp::Gt => order(x.umin > y.umax, x.umax <= y.umin),
        JmpOp::Sgt => order(x.smin > y.smax, x.smax <= y.smin),
        JmpOp::Lt => order(x.umax < y.umin, x.umin >= y.umax),
        JmpOp::Slt => order(x.smax < y.smin, x.smin >= y.smax),
        JmpOp::Ge => order(x.umin >= y.umax, x.umax < y.umin),
        JmpOp::Sge => order(x.smin >= y.smax, x.smax < y.smin),
        JmpOp::Le => order(x.umax <= y.umin, x.umin > y.umax),
        JmpOp::Sle => order(x.smax <= y.smin, x.smin > y.smax),
    }
}

fn order(always: bool, never: bool) -> Option<bool> {
    if always {
        Some(true)
    } else if never {
        Some(false)
    } else {
        None
    }
}

fn decide_equal(x: &View, y: &View, a: &Scalar, b: &Scalar, wide: bool) -> Option<bool> {
    if x.bits.is_const() && y.bits.is_const() {
        return Some(x.bits.value == y.bits.value);
    }
    let apart =
        !x.bits.overlaps(y.bits) || x.umin > y.umax || x.umax < y.umin || x.smin > y.smax || x.smax < y.smin;
    let low_apart = a.umin32 > b.umax32 || a.umax32 < b.umin32 || a.smin32 > b.smax32 || a.smax32 < b.smin32;
    if apart || (wide && low_apart) { Some(false) } else { None }
}

fn decide_set(x: &View, y: &View) -> Option<bool> {
    let (x, y) = if y.bits.is_const() { (x, y) } else { (y, x) };
    if !y.bits.is_const() {
        return None;
    }
    order(x.bits.value & y.bits.value != 0, x.bits.max() & y.bits.value == 0)
}

/// Narrows both operands by what `cond` says of them; they still want [`Scalar::sync`].
pub fn refine(cond: Cond, wide: bool, a: &mut Scalar, b: &mut Scalar) {
    let op = match cond {
        Cond::NoneSet => return refine_none_set(wide, a, b),
        Cond::Is(op) => op,
    };
    match op {
        JmpOp::Ge | JmpOp::Gt | JmpOp::Sge | JmpOp::Sgt => refine(Cond::Is(flip(op)), wide, b, a),
        JmpOp::Eq => refine_equal(wide, a, b),
        JmpOp::Ne => refine_unequal(wide, a, b),
        JmpOp::Set => refine_set(wide, a, b),
        JmpOp::Le if wide => {
            a.umax = a.umax.min(b.umax);
            b.umin = b.umin.max(a.umin);
        }
        JmpOp::Le => {
            a.umax32 = a.umax32.min(b.umax32);
            b.umin32 = b.umin32.max(a.umin32);
        }
        JmpOp::Lt if wide => {
            a.umax = a.umax.min(b.umax.wrapping_sub(1));
            b.umin = b.umin.max(a.umin.wrapping_add(1));
        }
        JmpOp::Lt => {
            a.umax32 = a.umax32.min(b.umax32.wrapping_sub(1));
            b.umin32 = b.umin32.max(a.umin32.wrapping_add(1));
        }
        JmpOp::Sle if wide => {
            a.smax = a.smax.min(b.smax);
            b.smin = b.smin.max(a.smin);
        }
        JmpOp::Sle => {
            a.smax32 = a.smax32.min(b.smax32);
            b.smin32 = b.smin32.max(a.smin32);
        }
        JmpOp::Slt if wide => {
            a.smax = a.smax.min(b.smax.wrapping_sub(1));
            b.smin = b.smin.max(a.smin.wrapping_add(1));
        }
        JmpOp::Slt => {
            a.smax32 = a.smax32.min(b.smax32.wrapping_sub(1));
            b.smin32 = b.smin32.max(a.smin32.wrapping_add(1));
        }
    }
}

fn refine_equal(wide: bool, a: &mut Scalar, b: &mut Scalar) {
    if wide {
        a.umin = a.umin.max(b.umin);
        a.umax = a.umax.min(b.umax);
        a.smin = a.smin.max(b.smin);
        a.smax = a.smax.min(b.smax);
        (b.umin, b.umax, b.smin, b.smax) = (a.umin, a.umax, a.smin, a.smax);
        a.bits = a.bits.intersect(b.bits);
        b.bits = a.bits;
    } else {
        a.umin32 = a.umin32.max(b.umin32);
        a.umax32 = a.umax32.min(b.umax32);
        a.smin32 = a.smin32.max(b.smin32);
        a.smax32 = a.smax32.min(b.smax32);
        (b.umin32, b.umax32, b.smin32, b.smax32) = (a.umin32, a.umax32, a.smin32, a.smax32);
        let low = a.bits.low().intersect(b.bits.low());
        a.bits = a.bits.with_low(low);
        b.bits = b.bits.with_low(low);
    }
}

/// A known value that is an end of a range is cut off it.
fn refine_unequal(wide: bool, a: &mut Scalar, b: &mut Scalar) {
    let (a, b) = if b.is_const_width(wide) { (a, b) } else { (b, a) };
    if !b.is_const_width(wide) {
        return;
    }
    let v = b.const_value(wide);
    if wide {
        a.umin = if a.umin == v { a.umin.wrapping_add(1) } else { a.umin };
        a.umax = if a.umax == v { a.umax.wrapping_sub(1) } else { a.umax };
        a.smin = if a.smin == v as i64 { a.smin.wrapping_add(1) } else { a.smin };
        a.smax = if a.smax == v as i64 { a.smax.wrapping_sub(1) } else { a.smax };
    } else {
        let v = v as u32;
        a.umin32 = if a.umin32 == v { a.umin32.wrapping_add(1) } else { a.umin32 };
        a.umax32 = if a.umax32 == v { a.umax32.wrapping_sub(1) } else { a.umax32 };
        a.smin32 = if a.smin32 == v as i32 { a.smin32.wrapping_add(1) } else { a.smin32 };
        a.smax32 = if a.smax32 == v as i32 { a.smax32.wrapping_sub(1) } else { a.smax32 };
    }
}

/// A common bit exists; with one candidate only, it is set.
fn refine_set(wide: bool, a: &mut Scalar, b: &mut Scalar) {
    let (a, b) = if b.is_const_width(wide) { (a, b) } else { (b, a) };
    let v = b.const_value(wide);
    if !b.is_const_width(wide) || !v.is_power_of_two() {
        return;
    }
    a.bits = if wide { a.bits.or(Tnum::known(v)) } else { a.bits.with_low(a.bits.low().or(Tnum::known(v))) };
}

fn refine_none_set(wide: bool, a: &mut Scalar, b: &mut Scalar) {
    let (a, b) = if b.is_const_width(wide) { (a, b) } else { (b, a) };
    if !b.is_const_width(wide) {
        return;
    }
    let cleared = Tnum::known(!b.const_value(wide));
    // Ranges that ended at a bit now known to be clear would contradict it; the bits give new ones.
    a.forget_ranges();
    a.bits = if wide { a.bits.and(cleared) } else { a.bits.with_low(a.bits.low().and(cleared)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(op: JmpOp, wide: bool, a: u64, b: u64) -> bool {
        let (a, b) = if wide { (a, b) } else { (a as i32 as i64 as u64, b as i32 as i64 as u64) };
        let (sa, sb) = (a as i64, b as i64);
        let (a, b) = if wide { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
        match op {
            JmpOp::Eq => a == b,
            JmpOp::Ne => a != b,
            JmpOp::Gt => a > b,
            JmpOp::Ge => a >= b,
            JmpOp::Lt => a < b,
            JmpOp::Le => a <= b,
            JmpOp::Set => a & b != 0,
            JmpOp::Sgt => sa > sb,
            JmpOp::Sge => sa >= sb,
            JmpOp::Slt => sa < sb,
            JmpOp::Sle => sa <= sb,
        }
    }

    #[test]
    fn decisions_and_refinements_keep_every_pair_that_satisfies_them() {
        let points =
            [0u64, 1, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 33, i64::MAX as u64, 1 << 63, u64::MAX];
        let sets: Vec<(u64, u64, Scalar)> = points
            .iter()
            .flat_map(|&lo| points.iter().filter(move |&&hi| hi >= lo).map(move |&hi| (lo, hi)))
            .map(|(lo, hi)| (lo, hi, Scalar { umin: lo, umax: hi, ..Scalar::UNKNOWN }.synced()))
            .collect();
        for (alo, ahi, a) in &sets {
            for (blo, bhi, b) in &sets {
                for op in JmpOp::ALL {
                    for wide in [true, false] {
                        for (x, y) in [(*alo, *blo), (*alo, *bhi), (*ahi, *blo), (*ahi, *bhi)] {
                            let taken = holds(op, wide, x, y);
                            if let Some(d) = decide(op, wide, a, b) {
                                assert_eq!(d, taken, "{op:?} {wide} {x:#x} {y:#x}");
                            }
                            let cond = if taken { Cond::Is(op) } else { negate(op) };
                            let (mut ra, mut rb) = (*a, *b);
                            refine(cond, wide, &mut ra, &mut rb);
                            ra.sync();
                            rb.sync();
                            assert!(ra.has(x) && rb.has(y), "{cond:?} {wide} {x:#x} {y:#x}\n{ra:?}\n{rb:?}");
                        }
                    }
                }
            }
        }
    }
}
