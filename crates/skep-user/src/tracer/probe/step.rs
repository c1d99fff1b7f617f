//! Executing the instruction under a breakpoint while the breakpoint stays, so that no other thread slips past it.
//!
//! What jumps, calls or returns is done here, on the registers. Everything else is executed by the thread itself from a copy
//! elsewhere, which is followed by a jump back: that costs no stop. Operands relative to the instruction pointer are
//! adjusted to the copy's place. Pure: it reads bytes and registers, and answers what to do.

use iced_x86::{Code, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};

use crate::sys::ptrace::{Registers, reg};

/// Bytes that an instruction may have.
pub(super) const MAX_BYTES: usize = 15;
/// Bytes for a copy and the jump behind it.
pub(super) const SLOT_BYTES: u64 = 32;

/// An instruction and how to get past it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its own address.
    at: u64,
    bytes: u64,
    /// `endbr64` or `push %rbp`.
    begins_function: bool,
    way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// It does nothing.
    Skip,
    Jump(u64),
    JumpIf(ConditionCode, u64),
    Call(Target),
    /// Back to the caller, whose arguments take this many bytes of the stack.
    Return(u64),
    Copy(Copied),
    /// Only where it is.
    InPlace,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Address(u64),
    Register(usize),
    /// To what is stored at `base + index * scale + displacement`.
    Stored {
        base: Option<usize>,
        index: Option<usize>,
        scale: u64,
        displacement: u64,
    },
}

/// An instruction that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copied {
    code: Vec<u8>,
    /// Where its 32-bit displacement is, and the address that it means.
    relative: Option<(usize, u64)>,
}

/// What a thread has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The registers are as after the instruction. A value is to be pushed on the stack first, at the stack pointer.
    Done { pushed: Option<u64> },
    /// A copy has to run.
    Copy,
    /// The instruction has to run where it is.
    InPlace,
}

impl Step {
    /// Decodes the instruction at an address; what cannot be decoded faults where it is.
    pub(super) fn decode(code: &[u8], at: u64) -> Self {
        let mut decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
        let insn = decoder.decode();
        let way = if insn.is_invalid() { Way::InPlace } else { way(&insn, &decoder, code) };
        let begins_function = matches!(
            (insn.code(), insn.op0_register()),
            (Code::Endbr64, _) | (Code::Push_r64, Register::RBP)
        );
        Self { at, bytes: insn.len() as u64, begins_function, way }
    }

    /// The address behind it.
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes
    }

    /// Does a function begin so, whose caller's address is still on top of the stack?
    pub(super) fn is_before_frame(&self) -> bool {
        self.begins_function
    }

    /// Does it what can be done on registers; `read` reads eight bytes of the process.
    pub(super) fn go(&self, regs: &mut Registers, read: impl Fn(u64) -> Option<u64>) -> Next {
        let pushed = match &self.way {
            Way::Copy(_) => return Next::Copy,
            Way::InPlace => return Next::InPlace,
            Way::Skip => {
                regs[reg::RIP] = self.end();
                None
            }
            Way::Jump(target) => {
                regs[reg::RIP] = *target;
                None
            }
            Way::JumpIf(condition, target) => {
                regs[reg::RIP] = if holds(*condition, regs[reg::EFLAGS]) { *target } else { self.end() };
                None
            }
            Way::Call(target) => {
                let Some(target) = target.address(regs, &read) else { return Next::InPlace };
                regs[reg::RIP] = target;
                regs[reg::RSP] = regs[reg::RSP].wrapping_sub(8);
                Some(self.end())
            }
            Way::Return(arguments) => {
                let Some(target) = read(regs[reg::RSP]) else { return Next::InPlace };
                regs[reg::RIP] = target;
                regs[reg::RSP] = regs[reg::RSP].wrapping_add(8 + arguments);
                None
            }
        };
        Next::Done { pushed }
    }

    /// The copy for an address, with the jump behind it; `None` when one of them does not reach its target.
    pub(super) fn copy_to(&self, slot: u64) -> Option<Vec<u8>> {
        let Way::Copy(copied) = &self.way else { return None };
        let mut code = copied.code.clone();
        if let Some((at, target)) = copied.relative {
            code[at..at + 4].copy_from_slice(&distance(slot + self.bytes, target)?.to_le_bytes());
        }
        const JUMP: u8 = 0xe9;
        const JUMP_BYTES: u64 = 5;
        code.push(JUMP);
        code.extend(distance(slot + self.bytes + JUMP_BYTES, self.end())?.to_le_bytes());
        Some(code)
    }
}

fn distance(from: u64, to: u64) -> Option<i32> {
    i32::try_from(to.wrapping_sub(from).cast_signed()).ok()
}

fn way(insn: &Instruction, decoder: &Decoder<'_>, code: &[u8]) -> Way {
    match insn.flow_control() {
        FlowControl::UnconditionalBranch => Way::Jump(insn.near_branch_target()),
        FlowControl::ConditionalBranch => match insn.condition_code() {
            // Loops count a register down.
            ConditionCode::None => Way::InPlace,
            condition => Way::JumpIf(condition, insn.near_branch_target()),
        },
        FlowControl::Call if insn.is_call_near() => Way::Call(Target::Address(insn.near_branch_target())),
        FlowControl::IndirectCall => stored(insn).map_or(Way::InPlace, Way::Call),
        FlowControl::Return if matches!(insn.code(), Code::Retnq | Code::Retnq_imm16) => {
            Way::Return(if insn.op_count() == 0 { 0 } else { insn.immediate16().into() })
        }
        FlowControl::Return | FlowControl::XbeginXabortXend => Way::InPlace,
        FlowControl::Next if is_nothing(insn) => Way::Skip,
        _ => copied(insn, decoder, code).map_or(Way::InPlace, Way::Copy),
    }
}

fn is_nothing(insn: &Instruction) -> bool {
    matches!(
        insn.code(),
        Code::Endbr64
            | Code::Nopw
            | Code::Nopd
            | Code::Nopq
            | Code::Nop_rm16
            | Code::Nop_rm32
            | Code::Nop_rm64
    )
}

fn copied(insn: &Instruction, decoder: &Decoder<'_>, code: &[u8]) -> Option<Copied> {
    let relative = insn.is_ip_rel_memory_operand().then(|| {
        let offsets = decoder.get_constant_offsets(insn);
        (offsets.displacement_size() == 4)
            .then(|| (offsets.displacement_offset(), insn.ip_rel_memory_address()))
    });
    let relative = match relative {
        Some(None) => return None,
        relative => relative.flatten(),
    };
    Some(Copied { code: code.get(..insn.len())?.to_vec(), relative })
}

/// Where an indirect call goes.
fn stored(insn: &Instruction) -> Option<Target> {
    match insn.op0_kind() {
        OpKind::Register => register(insn.op0_register()).map(Target::Register),
        OpKind::Memory if insn.is_ip_rel_memory_operand() => Some(Target::Stored {
            base: None,
            index: None,
            scale: 1,
            displacement: insn.ip_rel_memory_address(),
        }),
        OpKind::Memory if insn.segment_prefix() == Register::None => {
            let part = |name: Register| match name {
                Register::None => Some(None),
                name => register(name).map(Some),
            };
            Some(Target::Stored {
                base: part(insn.memory_base())?,
                index: part(insn.memory_index())?,
                scale: insn.memory_index_scale().into(),
                displacement: insn.memory_displacement64(),
            })
        }
        _ => None,
    }
}

impl Target {
    fn address(&self, regs: &Registers, read: &impl Fn(u64) -> Option<u64>) -> Option<u64> {
        match *self {
            Self::Address(address) => Some(address),
            Self::Register(register) => Some(regs[register]),
            Self::Stored { base, index, scale, displacement } => {
                let value = |register: Option<usize>| register.map_or(0, |register| regs[register]);
                read(value(base).wrapping_add(value(index).wrapping_mul(scale)).wrapping_add(displacement))
            }
        }
    }
}

fn register(name: Register) -> Option<usize> {
    Some(match name {
        Register::RAX => reg::RAX,
        Register::RBX => reg::RBX,
        Register::RCX => reg::RCX,
        Register::RDX => reg::RDX,
        Register::RSI => reg::RSI,
        Register::RDI => reg::RDI,
        Register::RBP => reg::RBP,
        Register::RSP => reg::RSP,
        Register::R8 => reg::R8,
        Register::R9 => reg::R9,
        Register::R10 => reg::R10,
        Register::R11 => reg::R11,
        Register::R12 => reg::R12,
        Register::R13 => reg::R13,
        Register::R14 => reg::R14,
        Register::R15 => reg::R15,
        _ => return None,
    })
}

/// Does a condition hold for these flags?
fn holds(condition: ConditionCode, flags: u64) -> bool {
    let flag = |bit: u32| flags >> bit & 1 == 1;
    let (carry, parity, zero, sign, overflow) = (flag(0), flag(2), flag(6), flag(7), flag(11));
    match condition {
        ConditionCode::o => overflow,
        ConditionCode::no => !overflow,
        ConditionCode::b => carry,
        ConditionCode::ae => !carry,
        ConditionCode::e => zero,
        ConditionCode::ne => !zero,
        ConditionCode::be => carry || zero,
        ConditionCode::a => !carry && !zero,
        ConditionCode::s => sign,
        ConditionCode::ns => !sign,
        ConditionCode::p => parity,
        ConditionCode::np => !parity,
        ConditionCode::l => sign != overflow,
        ConditionCode::ge => sign == overflow,
        ConditionCode::le => zero || sign != overflow,
        ConditionCode::g => !zero && sign == overflow,
        ConditionCode::None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0x40_1000;

    /// Registers after the instruction, and what it pushes, where the stack holds `0x1111` and all else is not mapped.
    fn go(code: &[u8], set: &[(usize, u64)]) -> (Next, Registers) {
        let mut regs: Registers = [0; 27];
        (regs[reg::RIP], regs[reg::RSP]) = (AT, 0x7000);
        set.iter().for_each(|&(register, value)| regs[register] = value);
        let next = Step::decode(code, AT).go(&mut regs, |at| (at == 0x7000).then_some(0x1111));
        (next, regs)
    }

    #[test]
    fn control_flow_is_done_on_registers() {
        let done = Next::Done { pushed: None };
        for (code, flags, rip, rsp) in [
            (&[0x90][..], 0, AT + 1, 0x7000),
            (&[0xf3, 0x0f, 0x1e, 0xfa], 0, AT + 4, 0x7000),
            (&[0x0f, 0x1f, 0x44, 0, 0], 0, AT + 5, 0x7000),
            (&[0xeb, 0xfe], 0, AT, 0x7000),
            (&[0xe9, 0, 1, 0, 0], 0, AT + 5 + 0x100, 0x7000),
            (&[0x74, 0x10], 0, AT + 2, 0x7000),
            (&[0x74, 0x10], 1 << 6, AT + 0x12, 0x7000),
            (&[0x0f, 0x8f, 0, 1, 0, 0], 1 << 7 | 1 << 11, AT + 0x106, 0x7000),
            (&[0xc3], 0, 0x1111, 0x7008),
            (&[0xc2, 0x10, 0], 0, 0x1111, 0x7018),
        ] {
            let (next, regs) = go(code, &[(reg::EFLAGS, flags)]);
            assert_eq!((next, regs[reg::RIP], regs[reg::RSP]), (done, rip, rsp), "{code:x?}");
        }
    }

    #[test]
    fn calls_push_the_address_behind_them() {
        for (code, register, target) in [
            (&[0xe8, 0, 2, 0, 0][..], (reg::RAX, 0), AT + 5 + 0x200),
            (&[0xff, 0xd0], (reg::RAX, 0x2222), 0x2222),
            (&[0x41, 0xff, 0x54, 0xc7, 0x08], (reg::R15, 0x7000 - 8), 0x1111),
        ] {
            let (next, regs) = go(code, &[register]);
            let pushed = Some(AT + code.len() as u64);
            assert_eq!(
                (next, regs[reg::RIP], regs[reg::RSP]),
                (Next::Done { pushed }, target, 0x6ff8),
                "{code:x?}"
            );
        }
        // The table that it reads is not mapped.
        assert_eq!(go(&[0xff, 0x15, 0, 0, 0, 0], &[]).0, Next::InPlace);
    }

    #[test]
    fn copies_mean_the_same_addresses() {
        let slot = AT - 0x1_0000;
        let push = Step::decode(&[0x55, 0xcc], AT).copy_to(slot).expect("a push runs anywhere");
        assert_eq!(push, [[0x55, 0xe9].as_slice(), &(0x1_0000_i32 - 5).to_le_bytes()].concat());
        // lea rax, [rip + 0x10]
        let lea = Step::decode(&[0x48, 0x8d, 0x05, 0x10, 0, 0, 0], AT).copy_to(slot).expect("it reaches");
        assert_eq!(lea[3..7], (0x1_0000_i32 + 0x10).to_le_bytes());
        assert_eq!(Step::decode(&[0x55], AT).copy_to(AT + (1 << 40)), None);
        assert_eq!(go(&[0x55], &[]).0, Next::Copy);
        // syscall, ud2, jmp [rax]
        for code in [[0x0f, 0x05], [0x0f, 0x0b], [0xff, 0x20]] {
            assert_eq!(go(&code, &[]).0, Next::Copy, "{code:x?}");
        }
    }

    #[test]
    fn what_is_neither_runs_where_it_is() {
        // loop, jrcxz, an invalid instruction, a far return
        for code in [&[0xe2, 0xfe][..], &[0xe3, 0xfe], &[0x06], &[0xcb]] {
            assert_eq!(go(code, &[]).0, Next::InPlace, "{code:x?}");
        }
    }
}
