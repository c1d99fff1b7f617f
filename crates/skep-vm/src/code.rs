//! The interpreter's own instructions: one for each slot, flat, with everything resolved that can be before a run.
//!
//! An instruction here takes 16 bytes. Registers are checked, constants are widened, jump targets are absolute, maps are
//! addresses and helpers are function pointers, so that running one is a single dispatch on its kind.

use skep_isa::{AluOp, AtomicOp, Endian, JmpOp, Operand, Reg, Size};

use crate::helper::{HelperFn, HostFn};

/// A register, known to exist: its number is an index into a file of 16, which nothing needs to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[rustfmt::skip]
pub(crate) enum R { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15 }

impl R {
    #[rustfmt::skip]
    const ALL: [Self; 16] = [
        Self::R0, Self::R1, Self::R2, Self::R3, Self::R4, Self::R5, Self::R6, Self::R7,
        Self::R8, Self::R9, Self::R10, Self::R11, Self::R12, Self::R13, Self::R14, Self::R15,
    ];

    /// Its number.
    #[inline(always)]
    pub(crate) fn at(self) -> usize {
        self as usize
    }
}

impl From<Reg> for R {
    fn from(reg: Reg) -> Self {
        Self::ALL[usize::from(reg.0) % Self::ALL.len()]
    }
}

/// Calls `$then` with the families whose members differ only in operation, width and operand: for each operation its name
/// in the ISA, its function in [`Int`](crate::alu::Int), and its four instructions.
macro_rules! for_each_binary {
    ($then:ident) => {
        $then! {
            alu {
                Add add Add64R Add64I Add32R Add32I;
                Sub sub Sub64R Sub64I Sub32R Sub32I;
                Mul mul Mul64R Mul64I Mul32R Mul32I;
                Div div Div64R Div64I Div32R Div32I;
                Sdiv sdiv Sdiv64R Sdiv64I Sdiv32R Sdiv32I;
                Or or Or64R Or64I Or32R Or32I;
                And and And64R And64I And32R And32I;
                Lsh lsh Lsh64R Lsh64I Lsh32R Lsh32I;
                Rsh rsh Rsh64R Rsh64I Rsh32R Rsh32I;
                Mod rem Mod64R Mod64I Mod32R Mod32I;
                Smod srem Smod64R Smod64I Smod32R Smod32I;
                Xor xor Xor64R Xor64I Xor32R Xor32I;
                Mov mov Mov64R Mov64I Mov32R Mov32I;
                Arsh arsh Arsh64R Arsh64I Arsh32R Arsh32I;
            }
            jump {
                Eq eq Jeq64R Jeq64I Jeq32R Jeq32I;
                Gt gt Jgt64R Jgt64I Jgt32R Jgt32I;
                Ge ge Jge64R Jge64I Jge32R Jge32I;
                Set set Jset64R Jset64I Jset32R Jset32I;
                Ne ne Jne64R Jne64I Jne32R Jne32I;
                Sgt sgt Jsgt64R Jsgt64I Jsgt32R Jsgt32I;
                Sge sge Jsge64R Jsge64I Jsge32R Jsge32I;
                Lt lt Jlt64R Jlt64I Jlt32R Jlt32I;
                Le le Jle64R Jle64I Jle32R Jle32I;
                Slt slt Jslt64R Jslt64I Jslt32R Jslt32I;
                Sle sle Jsle64R Jsle64I Jsle32R Jsle32I;
            }
            load {
                LoadB u8 widen;
                LoadH u16 widen;
                LoadW u32 widen;
                LoadDW u64 widen;
                LoadSB u8 widen_signed;
                LoadSH u16 widen_signed;
                LoadSW u32 widen_signed;
            }
            store {
                StoreB StoreImmB u8;
                StoreH StoreImmH u16;
                StoreW StoreImmW u32;
                StoreDW StoreImmDW u64;
            }
        }
    };
}
pub(crate) use for_each_binary;

macro_rules! define {
    (
        alu { $($alu:ident $alu_fn:ident $a64r:ident $a64i:ident $a32r:ident $a32i:ident;)* }
        jump { $($jmp:ident $jmp_fn:ident $j64r:ident $j64i:ident $j32r:ident $j32i:ident;)* }
        load { $($load:ident $load_ty:ident $widen:ident;)* }
        store { $($store:ident $store_imm:ident $store_ty:ident;)* }
    ) => {
        /// One instruction. Offsets are in bytes; targets are slots of the program.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Code {
            $(
                $a64r { dst: R, src: R },
                $a64i { dst: R, imm: i32 },
                $a32r { dst: R, src: R },
                $a32i { dst: R, imm: i32 },
            )*
            $(
                $j64r { dst: R, src: R, target: u32 },
                $j64i { dst: R, imm: i32, target: u32 },
                $j32r { dst: R, src: R, target: u32 },
                $j32i { dst: R, imm: i32, target: u32 },
            )*
            $($load { dst: R, base: R, off: i16 },)*
            $(
                $store { base: R, src: R, off: i16 },
                $store_imm { base: R, off: i16, imm: i32 },
            )*
            /// Sign-extends the low `bits`.
            MovSx { wide: bool, bits: u8, dst: R, src: R },
            Neg { wide: bool, dst: R },
            Endian { kind: Endian, bits: u8, dst: R },
            /// Keeps the low half: a user-space arena pointer and a kernel's are the same here.
            AddrSpaceCast { dst: R, src: R },
            /// Takes two slots.
            LoadImm64 { dst: R, imm: u64 },
            LoadPacket { size: Size, index: Option<R>, imm: i32 },
            Atomic { wide: bool, op: AtomicOp, base: R, src: R, off: i16 },
            LoadAcquire { size: Size, dst: R, base: R, off: i16 },
            StoreRelease { size: Size, base: R, src: R, off: i16 },
            Jump { target: u32 },
            MayGoto { target: u32 },
            CallHelper { id: u16, run: HelperFn },
            CallHost { run: HostFn },
            CallLocal { target: u32 },
            CallIndirect { reg: R },
            Exit,
            /// No instruction begins here: the second half of one, or the end of the program.
            Nothing,
        }

        impl Code {
            pub(crate) fn alu(wide: bool, op: AluOp, dst: Reg, src: Operand) -> Self {
                let dst = R::from(dst);
                match (op, wide, src) {
                    $(
                        (AluOp::$alu, true, Operand::Reg(src)) => Self::$a64r { dst, src: src.into() },
                        (AluOp::$alu, true, Operand::Imm(imm)) => Self::$a64i { dst, imm },
                        (AluOp::$alu, false, Operand::Reg(src)) => Self::$a32r { dst, src: src.into() },
                        (AluOp::$alu, false, Operand::Imm(imm)) => Self::$a32i { dst, imm },
                    )*
                }
            }

            pub(crate) fn jump(wide: bool, op: JmpOp, dst: Reg, src: Operand, target: u32) -> Self {
                let dst = R::from(dst);
                match (op, wide, src) {
                    $(
                        (JmpOp::$jmp, true, Operand::Reg(src)) => Self::$j64r { dst, src: src.into(), target },
                        (JmpOp::$jmp, true, Operand::Imm(imm)) => Self::$j64i { dst, imm, target },
                        (JmpOp::$jmp, false, Operand::Reg(src)) => Self::$j32r { dst, src: src.into(), target },
                        (JmpOp::$jmp, false, Operand::Imm(imm)) => Self::$j32i { dst, imm, target },
                    )*
                }
            }

            /// The slot that it may go to.
            pub(crate) fn target(self) -> Option<usize> {
                match self {
                    $(
                        Self::$j64r { target, .. }
                        | Self::$j64i { target, .. }
                        | Self::$j32r { target, .. }
                        | Self::$j32i { target, .. } => Some(target as usize),
                    )*
                    Self::Jump { target } | Self::MayGoto { target } | Self::CallLocal { target } => {
                        Some(target as usize)
                    }
                    _ => None,
                }
            }
        }
    };
}
for_each_binary!(define);

impl Code {
    pub(crate) fn load(size: Size, signed: bool, dst: Reg, base: Reg, off: i16) -> Self {
        let (dst, base) = (dst.into(), base.into());
        match (size, signed) {
            (Size::B, false) => Self::LoadB { dst, base, off },
            (Size::H, false) => Self::LoadH { dst, base, off },
            (Size::W, false) => Self::LoadW { dst, base, off },
            (Size::B, true) => Self::LoadSB { dst, base, off },
            (Size::H, true) => Self::LoadSH { dst, base, off },
            (Size::W, true) => Self::LoadSW { dst, base, off },
            (Size::DW, _) => Self::LoadDW { dst, base, off },
        }
    }

    pub(crate) fn store(size: Size, base: Reg, off: i16, src: Operand) -> Self {
        let base = base.into();
        match (size, src) {
            (Size::B, Operand::Reg(src)) => Self::StoreB { base, src: src.into(), off },
            (Size::H, Operand::Reg(src)) => Self::StoreH { base, src: src.into(), off },
            (Size::W, Operand::Reg(src)) => Self::StoreW { base, src: src.into(), off },
            (Size::DW, Operand::Reg(src)) => Self::StoreDW { base, src: src.into(), off },
            (Size::B, Operand::Imm(imm)) => Self::StoreImmB { base, off, imm },
            (Size::H, Operand::Imm(imm)) => Self::StoreImmH { base, off, imm },
            (Size::W, Operand::Imm(imm)) => Self::StoreImmW { base, off, imm },
            (Size::DW, Operand::Imm(imm)) => Self::StoreImmDW { base, off, imm },
        }
    }
}

const _: () = assert!(size_of::<Code>() == 16);
