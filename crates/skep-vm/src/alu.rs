//! Arithmetic and comparisons of one width (RFC 9669 sections 4.1 and 4.3): total functions, as the ISA defines them.

/// A 32- or 64-bit register value. Shifts are masked to the width; a division by zero gives zero, its remainder the
/// dividend; the most negative number divided by -1 is itself.
pub(crate) trait Int: Copy {
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn sdiv(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn and(self, b: Self) -> Self;
    fn lsh(self, b: Self) -> Self;
    fn rsh(self, b: Self) -> Self;
    fn rem(self, b: Self) -> Self;
    fn srem(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    fn mov(self, b: Self) -> Self;
    fn arsh(self, b: Self) -> Self;

    fn eq(self, b: Self) -> bool;
    fn gt(self, b: Self) -> bool;
    fn ge(self, b: Self) -> bool;
    fn set(self, b: Self) -> bool;
    fn ne(self, b: Self) -> bool;
    fn sgt(self, b: Self) -> bool;
    fn sge(self, b: Self) -> bool;
    fn lt(self, b: Self) -> bool;
    fn le(self, b: Self) -> bool;
    fn slt(self, b: Self) -> bool;
    fn sle(self, b: Self) -> bool;
}

macro_rules! methods {
    ($ty:ident: $($name:ident = |$a:ident, $b:ident| $result:ty { $body:expr })*) => {
        $(#[inline(always)] fn $name(self, $b: $ty) -> $result { let $a = self; $body })*
    };
}

macro_rules! int {
    ($ty:ident, $signed:ident) => {
        impl Int for $ty {
            methods! { $ty:
                add = |a, b| $ty { a.wrapping_add(b) }
                sub = |a, b| $ty { a.wrapping_sub(b) }
                mul = |a, b| $ty { a.wrapping_mul(b) }
                div = |a, b| $ty { a.checked_div(b).unwrap_or(0) }
                sdiv = |a, b| $ty { if b == 0 { 0 } else { (a as $signed).wrapping_div(b as $signed) as $ty } }
                or = |a, b| $ty { a | b }
                and = |a, b| $ty { a & b }
                lsh = |a, b| $ty { a.wrapping_shl(b as u32) }
                rsh = |a, b| $ty { a.wrapping_shr(b as u32) }
                rem = |a, b| $ty { a.checked_rem(b).unwrap_or(a) }
                srem = |a, b| $ty { if b == 0 { a } else { (a as $signed).wrapping_rem(b as $signed) as $ty } }
                xor = |a, b| $ty { a ^ b }
                mov = |_a, b| $ty { b }
                arsh = |a, b| $ty { (a as $signed).wrapping_shr(b as u32) as $ty }
                eq = |a, b| bool { a == b }
                gt = |a, b| bool { a > b }
                ge = |a, b| bool { a >= b }
                set = |a, b| bool { a & b != 0 }
                ne = |a, b| bool { a != b }
                sgt = |a, b| bool { a as $signed > b as $signed }
                sge = |a, b| bool { a as $signed >= b as $signed }
                lt = |a, b| bool { a < b }
                le = |a, b| bool { a <= b }
                slt = |a, b| bool { (a as $signed) < b as $signed }
                sle = |a, b| bool { a as $signed <= b as $signed }
            }
        }
    };
}

int!(u32, i32);
int!(u64, i64);
