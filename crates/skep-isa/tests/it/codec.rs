//! Slots to operations and back.

use skep_isa::table::{Field, ROWS, Row, Use};
use skep_isa::{DecodeErrorKind, Insn, Op, Reg, decode};

/// Values that operands of a row take in turn; the last are all ones.
const SAMPLES: [i32; 4] = [0, 1, 5, -1];

/// The slots of a row with every operand set to `sample` (registers to what they can hold).
pub(crate) fn slots_of(row: &Row, sample: i32) -> [Insn; 2] {
    let value = |field, operand| match row.layout.of(field) {
        Use::Operand => operand,
        Use::Fixed(value) => value,
    };
    let reg = |field| Reg(value(field, sample.clamp(0, 10)) as u8);
    let off = value(Field::Off, sample) as i16;
    let first = Insn::new(row.code, reg(Field::Dst), reg(Field::Src), off, value(Field::Imm, sample));
    [first, Insn { imm: value(Field::NextImm, sample), ..Insn::default() }]
}

#[test]
fn every_row_round_trips() {
    for row in ROWS {
        for sample in SAMPLES {
            let slots = slots_of(row, sample);
            let op = decode(&slots, 0).unwrap_or_else(|e| panic!("{row:?}: {e}"));
            assert_eq!(*op.encode().unwrap(), slots[..op.slots()], "{op:?}");
            assert_eq!(op.isa(), Some(row.isa), "{op:?}");
        }
    }
}

#[test]
fn fields_that_a_row_reserves_must_be_zero() {
    for row in ROWS {
        for field in [Field::Dst, Field::Src, Field::Off, Field::Imm] {
            if row.layout.of(field) == Use::Operand {
                continue;
            }
            let mut slots = slots_of(row, 1);
            match field {
                Field::Dst => slots[0].regs |= 9,
                Field::Src => slots[0].regs |= 9 << 4,
                Field::Off => slots[0].off = 77,
                _ => slots[0].imm = 77,
            }
            let error = decode(&slots, 0).expect_err("a reserved field is set");
            assert!(
                matches!(
                    error.kind,
                    DecodeErrorKind::Reserved { field: f, .. } | DecodeErrorKind::UnknownVariant { field: f, .. } if f == field
                ),
                "{row:?}: {error}"
            );
        }
    }
}

#[track_caller]
fn check_error(slots: &[Insn], expected: &str) {
    assert_eq!(decode(slots, 0).expect_err("invalid slots").to_string(), expected);
}

#[test]
fn errors_name_the_field() {
    let mov = Insn::new(0xbf, Reg::R1, Reg::R2, 0, 0);
    check_error(
        &[Insn { imm: 7, ..mov }],
        "instruction 0: `BPF_MOV` uses reserved fields: `imm` is `0x7`, not 0",
    );
    check_error(&[Insn { off: 5, ..mov }], "instruction 0: `BPF_MOV` knows no `off` of `0x5`");
    check_error(
        &[Insn::new(0xdb, Reg::R1, Reg::R2, 0, 0x22)],
        "instruction 0: `BPF_ATOMIC` knows no `imm` of `0x22`",
    );
    check_error(&[Insn::new(0xbf, Reg(11), Reg::R2, 0, 0)], "instruction 0: register `r11` is invalid");
    check_error(&[Insn::new(0xff, Reg::R0, Reg::R0, 0, 0)], "instruction 0: unknown opcode `0xff`");
    check_error(
        &[Insn::new(0x18, Reg::R0, Reg::R0, 0, 0)],
        "instruction 0: `BPF_LD_IMM64` lacks its second slot",
    );
    check_error(
        &[Insn::new(0x18, Reg::R0, Reg::R0, 0, 0), mov],
        "instruction 0: `BPF_LD_IMM64` has more than an immediate in its second slot",
    );
    check_error(
        &[Insn::default()],
        "instruction 0: unknown opcode `0x00` (the second slot of a 64-bit immediate?)",
    );
    check_error(&[], "instruction 0: there is no such slot");
}

#[test]
fn operations_outside_the_set_do_not_encode() {
    let (dst, src) = (Reg::R1, Reg::R2);
    for op in [
        Op::MovSx { wide: false, bits: 32, dst, src },
        Op::Endian { kind: skep_isa::Endian::Le, bits: 24, dst },
        Op::Load { size: skep_isa::Size::DW, signed: true, dst, base: src, off: 0 },
        Op::LoadAbs { size: skep_isa::Size::DW, imm: 0 },
        Op::Ja { long: false, off: 0x8000 },
    ] {
        assert_eq!(op.encode(), None, "{op:?}");
        assert_eq!(op.isa(), None, "{op:?}");
    }
}

/// The xorshift* generator: enough to reach every opcode, and the same on every run.
pub(crate) struct Xorshift(pub(crate) u64);

impl Xorshift {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        // The product hides that successive states are linear in each other; its upper half is the better one.
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(32)
    }

    /// A slot; half of the time with most fields zero, because few instructions allow all of them.
    pub(crate) fn insn(&mut self) -> Insn {
        let (bits, sparse) = (self.next(), self.next());
        let mut insn = Insn::from_le_bytes(bits.to_le_bytes());
        if sparse & 1 != 0 {
            insn.regs &= if sparse & 2 != 0 { 0x77 } else { 0x07 };
            insn.off = if sparse & 4 != 0 { insn.off & 3 } else { 0 };
            insn.imm = if sparse & 8 != 0 { insn.imm & 0x1f1 } else { 0 };
        }
        insn
    }
}

#[test]
fn whatever_decodes_encodes_to_the_same_slots() {
    let mut random = Xorshift(0x5eed);
    let mut reached = std::collections::BTreeSet::new();
    for round in 0..200_000 {
        let mut slots = [random.insn(), random.insn()];
        if round % 2 == 0 {
            slots[1] = Insn { imm: slots[1].imm, ..Insn::default() };
        }
        if let Ok(op) = decode(&slots, 0) {
            assert_eq!(*op.encode().unwrap(), slots[..op.slots()], "{op:?}");
            reached.insert(slots[0].code);
        }
    }
    let missed: Vec<_> = ROWS.iter().filter(|row| !reached.contains(&row.code)).collect();
    assert!(missed.is_empty(), "the generator never reaches {missed:?}");
}
