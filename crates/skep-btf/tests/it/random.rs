//! Pseudo-random numbers that are the same in every run.

use skep_btf::{Array, Btf, Builder, Def, EnumValue, Int, IntEncoding, Member, Param, TypeId};

/// Marsaglia's xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Types that mostly make no sense: they refer to themselves, to nothing, and lie anywhere.
    pub(crate) fn types(&mut self) -> Btf {
        let mut builder = Builder::new();
        let count = 1 + self.below(12);
        for _ in 0..count {
            let (a, b) = (TypeId(self.below(count + 2) as u32), TypeId(self.below(count + 2) as u32));
            let (bits, width, kind) = (self.below(200) as u32, self.below(40) as u8, self.below(13));
            let members = [
                Member { name: "x", ty: a, bit_offset: bits, bitfield_bits: width },
                Member { name: "", ty: b, bit_offset: bits / 8 * 8, bitfield_bits: 0 },
            ];
            let name = *self.pick(&["", "s", "t", "a b", "char"]);
            let (params, values) = ([Param { name, ty: b }], [EnumValue { name, value: 3 }]);
            let encoding = IntEncoding { signed: bits % 2 > 0, char: bits % 7 == 0, bool: bits % 5 == 0 };
            builder.add(match kind {
                0 => Def::Ptr(a),
                1 => Def::Array(Array { elem: a, index: b, len: bits }),
                2 | 3 => Def::Struct { name, bytes: bits, members: &members },
                4 => Def::Union { name, bytes: bits, members: &members[..1] },
                5 => Def::Typedef { name, ty: a },
                6 => Def::Const(a),
                7 => Def::FuncProto { ret: a, params: &params },
                8 => Def::Enum { name, bytes: bits % 9, signed: false, values: &values },
                9 => Def::Fwd { name, union: true },
                10 => Def::TypeTag { name, ty: a, attribute: false },
                11 => Def::Float { name, bytes: bits % 9 },
                _ => Def::Int { name, int: Int { bytes: bits % 20, bits: width, bit_offset: 0, encoding } },
            });
        }
        builder.finish_btf(None).expect("the builder writes what can be read")
    }
}
