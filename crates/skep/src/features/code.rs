//! Programs that only a runtime with some feature takes.

use skep_isa::uapi::{AttachType, ProgType};
use skep_isa::{Insn, Reg};
use skep_runtime::Error;
use skep_runtime::command::ProgLoad;

use super::ENOTSUPP;
use crate::host;

const R0: Reg = Reg(0);
const EXIT: Insn = Insn::new(0x95, R0, R0, 0, 0);
const EINVAL: i32 = 22;
const F_SLEEPABLE: u32 = 1 << 4;

/// The program that does nothing.
pub(super) const NOTHING: [Insn; 2] = [mov(0), EXIT];

/// `r0 = imm`.
const fn mov(imm: i32) -> Insn {
    Insn::new(0xb7, R0, R0, 0, imm)
}

/// A program that calls a helper, without regard to arguments.
pub(super) fn call(helper: u32) -> [Insn; 2] {
    [Insn::new(0x85, R0, R0, 0, helper.cast_signed()), EXIT]
}

/// A program of that many instructions.
pub(super) fn long(insns: usize) -> Vec<Insn> {
    let mut code = vec![mov(1); insns.saturating_sub(1)];
    code.push(EXIT);
    code
}

/// What the verifier, or the instruction set, may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Programs of more than 4096 instructions (Linux 5.2).
    LargePrograms,
    /// Loops that are seen to end (5.3).
    BoundedLoops,
    /// Unsigned comparisons with less (4.14).
    IsaV2,
    /// Comparisons of 32 bits (5.1).
    IsaV3,
    /// Jumps over more than 32767 instructions and their like (6.6).
    IsaV4,
}

impl Trait {
    pub(super) fn insns(self) -> Vec<Insn> {
        /// `if r0 < 0 goto +1`, of 64 and of 32 bits.
        const JLT: u8 = 0xa5;
        const JLT32: u8 = 0xa6;
        /// `if w0 == 1 goto`.
        const JEQ32: u8 = 0x16;
        /// `gotol +1`: the distance is where an immediate value is else.
        const JA32: u8 = 0x06;
        match self {
            Self::LargePrograms => long(4096 + 1),
            Self::BoundedLoops => {
                let subtract = Insn::new(0x17, R0, R0, 0, 1);
                vec![mov(10), subtract, Insn::new(0x55, R0, R0, -2, 0), EXIT]
            }
            Self::IsaV2 => vec![mov(0), Insn::new(JLT, R0, R0, 1, 0), mov(1), EXIT],
            Self::IsaV3 => vec![mov(0), Insn::new(JLT32, R0, R0, 1, 0), mov(1), EXIT],
            Self::IsaV4 => {
                vec![mov(0), Insn::new(JEQ32, R0, R0, 1, 1), Insn::new(JA32, R0, R0, 0, 1), mov(1), EXIT]
            }
        }
    }
}

/// The least that is to be said of a program of some type.
pub(super) fn smallest(prog_type: ProgType, insns: &[Insn]) -> ProgLoad<'_> {
    let mut spec = ProgLoad::new(prog_type, "", insns, "GPL");
    spec.expected_attach_type = match prog_type {
        ProgType::CGROUP_SOCK_ADDR => Some(AttachType::CGROUP_INET4_CONNECT),
        ProgType::CGROUP_SOCKOPT => Some(AttachType::CGROUP_GETSOCKOPT),
        ProgType::SK_LOOKUP => Some(AttachType::SK_LOOKUP),
        ProgType::LIRC_MODE2 => Some(AttachType::LIRC_MODE2),
        ProgType::NETFILTER => Some(AttachType::NETFILTER),
        ProgType::TRACING => Some(AttachType::TRACE_FENTRY),
        ProgType::LSM => Some(AttachType::LSM_MAC),
        _ => None,
    };
    match prog_type {
        ProgType::KPROBE => spec.kern_version = host::kernel_version(),
        ProgType::SYSCALL => spec.prog_flags = F_SLEEPABLE,
        // Type 1 is no function; that the kernel comes to say so is the answer.
        ProgType::TRACING | ProgType::LSM | ProgType::EXT => spec.attach_btf_id = 1,
        _ => {}
    }
    spec
}

/// Does the type want to know what the program attaches to, so that the smallest one is refused?
pub(super) fn names_a_target(prog_type: ProgType) -> bool {
    matches!(prog_type, ProgType::TRACING | ProgType::LSM | ProgType::EXT | ProgType::STRUCT_OPS)
}

/// Is this how a runtime that knows the type refuses the smallest program of it?
pub(super) fn is_expected(prog_type: ProgType, error: &Error) -> bool {
    let says = |text: &str| error.errno() == EINVAL && error.to_string().contains(text);
    match prog_type {
        ProgType::TRACING | ProgType::LSM => says("attach_btf_id 1 is not a function"),
        ProgType::EXT => says("Cannot replace kernel functions"),
        ProgType::STRUCT_OPS => error.errno() == ENOTSUPP,
        _ => false,
    }
}

/// Does the verifier say that it does not know the helper, or not for this type of program? The words are those of
/// different ages of Linux.
pub(super) fn says_no_such_helper(error: &Error) -> bool {
    let text = error.to_string();
    ["invalid func ", "unknown func ", "program of this type cannot use helper "]
        .iter()
        .any(|no| text.contains(no))
}
