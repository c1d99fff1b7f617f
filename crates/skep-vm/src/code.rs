//! The interpreter's own instructions: one for each slot, flat, with everything resolved that can be before a run.
//!
//! An instruction here takes 16 bytes. Registers are checked, constants are widened, jump targets are absolute, maps are
//! addresses and helpers are function pointers, so that running one is a single dispatch on its kind.

use skep_isa::{AluOp, AtomicOp, Endian, JmpOp, Operand, Reg, Size};

use crate::direct::Proved;
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
    ($then:ident $($with:ident)?) => {
        $then! {
            $($with)?
            alu {
                Add add Add64R Add64I Add32R Add32I KeptAdd64R KeptAdd64I KeptAdd32R KeptAdd32I Add64Kept Add32Kept;
                Sub sub Sub64R Sub64I Sub32R Sub32I KeptSub64R KeptSub64I KeptSub32R KeptSub32I Sub64Kept Sub32Kept;
                Mul mul Mul64R Mul64I Mul32R Mul32I KeptMul64R KeptMul64I KeptMul32R KeptMul32I Mul64Kept Mul32Kept;
                Div div Div64R Div64I Div32R Div32I KeptDiv64R KeptDiv64I KeptDiv32R KeptDiv32I Div64Kept Div32Kept;
                Sdiv sdiv Sdiv64R Sdiv64I Sdiv32R Sdiv32I KeptSdiv64R KeptSdiv64I KeptSdiv32R KeptSdiv32I Sdiv64Kept Sdiv32Kept;
                Or or Or64R Or64I Or32R Or32I KeptOr64R KeptOr64I KeptOr32R KeptOr32I Or64Kept Or32Kept;
                And and And64R And64I And32R And32I KeptAnd64R KeptAnd64I KeptAnd32R KeptAnd32I And64Kept And32Kept;
                Lsh lsh Lsh64R Lsh64I Lsh32R Lsh32I KeptLsh64R KeptLsh64I KeptLsh32R KeptLsh32I Lsh64Kept Lsh32Kept;
                Rsh rsh Rsh64R Rsh64I Rsh32R Rsh32I KeptRsh64R KeptRsh64I KeptRsh32R KeptRsh32I Rsh64Kept Rsh32Kept;
                Mod rem Mod64R Mod64I Mod32R Mod32I KeptMod64R KeptMod64I KeptMod32R KeptMod32I Mod64Kept Mod32Kept;
                Smod srem Smod64R Smod64I Smod32R Smod32I KeptSmod64R KeptSmod64I KeptSmod32R KeptSmod32I Smod64Kept Smod32Kept;
                Xor xor Xor64R Xor64I Xor32R Xor32I KeptXor64R KeptXor64I KeptXor32R KeptXor32I Xor64Kept Xor32Kept;
                Mov mov Mov64R Mov64I Mov32R Mov32I KeptMov64R KeptMov64I KeptMov32R KeptMov32I Mov64Kept Mov32Kept;
                Arsh arsh Arsh64R Arsh64I Arsh32R Arsh32I KeptArsh64R KeptArsh64I KeptArsh32R KeptArsh32I Arsh64Kept Arsh32Kept;
            }
            jump {
                Eq eq Jeq64R Jeq64I Jeq32R Jeq32I KeptJeq64R KeptJeq64I KeptJeq32R KeptJeq32I;
                Gt gt Jgt64R Jgt64I Jgt32R Jgt32I KeptJgt64R KeptJgt64I KeptJgt32R KeptJgt32I;
                Ge ge Jge64R Jge64I Jge32R Jge32I KeptJge64R KeptJge64I KeptJge32R KeptJge32I;
                Set set Jset64R Jset64I Jset32R Jset32I KeptJset64R KeptJset64I KeptJset32R KeptJset32I;
                Ne ne Jne64R Jne64I Jne32R Jne32I KeptJne64R KeptJne64I KeptJne32R KeptJne32I;
                Sgt sgt Jsgt64R Jsgt64I Jsgt32R Jsgt32I KeptJsgt64R KeptJsgt64I KeptJsgt32R KeptJsgt32I;
                Sge sge Jsge64R Jsge64I Jsge32R Jsge32I KeptJsge64R KeptJsge64I KeptJsge32R KeptJsge32I;
                Lt lt Jlt64R Jlt64I Jlt32R Jlt32I KeptJlt64R KeptJlt64I KeptJlt32R KeptJlt32I;
                Le le Jle64R Jle64I Jle32R Jle32I KeptJle64R KeptJle64I KeptJle32R KeptJle32I;
                Slt slt Jslt64R Jslt64I Jslt32R Jslt32I KeptJslt64R KeptJslt64I KeptJslt32R KeptJslt32I;
                Sle sle Jsle64R Jsle64I Jsle32R Jsle32I KeptJsle64R KeptJsle64I KeptJsle32R KeptJsle32I;
            }
            load {
                LoadB DirectLoadB KeptLoadB u8 widen;
                LoadH DirectLoadH KeptLoadH u16 widen;
                LoadW DirectLoadW KeptLoadW u32 widen;
                LoadDW DirectLoadDW KeptLoadDW u64 widen;
                LoadSB DirectLoadSB KeptLoadSB u8 widen_signed;
                LoadSH DirectLoadSH KeptLoadSH u16 widen_signed;
                LoadSW DirectLoadSW KeptLoadSW u32 widen_signed;
            }
            store {
                StoreB StoreImmB DirectStoreB DirectStoreImmB KeptStoreB KeptStoreImmB StoreBKept u8;
                StoreH StoreImmH DirectStoreH DirectStoreImmH KeptStoreH KeptStoreImmH StoreHKept u16;
                StoreW StoreImmW DirectStoreW DirectStoreImmW KeptStoreW KeptStoreImmW StoreWKept u32;
                StoreDW StoreImmDW DirectStoreDW DirectStoreImmDW KeptStoreDW KeptStoreImmDW StoreDWKept u64;
            }
        }
    };
}
pub(crate) use for_each_binary;

macro_rules! define {
    (
        alu { $(
            $alu:ident $alu_fn:ident $a64r:ident $a64i:ident $a32r:ident $a32i:ident
            $ka64r:ident $ka64i:ident $ka32r:ident $ka32i:ident $a64k:ident $a32k:ident;
        )* }
        jump { $(
            $jmp:ident $jmp_fn:ident $j64r:ident $j64i:ident $j32r:ident $j32i:ident
            $kj64r:ident $kj64i:ident $kj32r:ident $kj32i:ident;
        )* }
        load { $($load:ident $direct_load:ident $kept_load:ident $load_ty:ident $widen:ident;)* }
        store { $(
            $store:ident $store_imm:ident $direct_store:ident $direct_imm:ident
            $kept_store:ident $kept_imm:ident $store_kept:ident $store_ty:ident;
        )* }
    ) => {
        /// One instruction. Offsets are in bytes; targets are slots of the program.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Code {
            $(
                $a64r { dst: R, src: R },
                $a64i { dst: R, imm: i32 },
                $a32r { dst: R, src: R },
                $a32i { dst: R, imm: i32 },
                $ka64r { dst: R, src: R },
                $ka64i { dst: R, imm: i32 },
                $ka32r { dst: R, src: R },
                $ka32i { dst: R, imm: i32 },
                $a64k { dst: R },
                $a32k { dst: R },
            )*
            $(
                $j64r { dst: R, src: R, target: u32 },
                $j64i { dst: R, imm: i32, target: u32 },
                $j32r { dst: R, src: R, target: u32 },
                $j32i { dst: R, imm: i32, target: u32 },
                $kj64r { src: R, target: u32 },
                $kj64i { imm: i32, target: u32 },
                $kj32r { src: R, target: u32 },
                $kj32i { imm: i32, target: u32 },
            )*
            $(
                $load { dst: R, base: R, off: i16 },
                $direct_load { dst: R, base: R, off: i16, proved: Proved },
                $kept_load { dst: R, off: i16, proved: Proved },
            )*
            $(
                $store { base: R, src: R, off: i16 },
                $store_imm { base: R, off: i16, imm: i32 },
                $direct_store { base: R, src: R, off: i16, proved: Proved },
                $direct_imm { base: R, off: i16, imm: i32, proved: Proved },
                $kept_store { src: R, off: i16, proved: Proved },
                $kept_imm { off: i16, imm: i32, proved: Proved },
                $store_kept { base: R, off: i16, proved: Proved },
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

            /// The same without a check, if it is a load or a store.
            pub(crate) fn without_check(self, proved: Proved) -> Self {
                match self {
                    $(Self::$load { dst, base, off } => Self::$direct_load { dst, base, off, proved },)*
                    $(
                        Self::$store { base, src, off } => Self::$direct_store { base, src, off, proved },
                        Self::$store_imm { base, off, imm } => Self::$direct_imm { base, off, imm, proved },
                    )*
                    other => other,
                }
            }

            /// The same with the value of a register that is [kept](Self::keeps), if it uses that.
            pub(crate) fn with_kept(self, kept: R) -> Self {
                match self {
                    $(
                        Self::$a64r { dst, src } if dst == kept && AluOp::$alu != AluOp::Mov => {
                            Self::$ka64r { dst, src }
                        }
                        Self::$a32r { dst, src } if dst == kept && AluOp::$alu != AluOp::Mov => {
                            Self::$ka32r { dst, src }
                        }
                        Self::$a64i { dst, imm } if dst == kept => Self::$ka64i { dst, imm },
                        Self::$a32i { dst, imm } if dst == kept => Self::$ka32i { dst, imm },
                        Self::$a64r { dst, src } if src == kept => Self::$a64k { dst },
                        Self::$a32r { dst, src } if src == kept => Self::$a32k { dst },
                    )*
                    $(
                        Self::$j64r { dst, src, target } if dst == kept => Self::$kj64r { src, target },
                        Self::$j64i { dst, imm, target } if dst == kept => Self::$kj64i { imm, target },
                        Self::$j32r { dst, src, target } if dst == kept => Self::$kj32r { src, target },
                        Self::$j32i { dst, imm, target } if dst == kept => Self::$kj32i { imm, target },
                    )*
                    $(
                        Self::$direct_load { dst, base, off, proved } if base == kept => {
                            Self::$kept_load { dst, off, proved }
                        }
                    )*
                    $(
                        Self::$direct_store { base, src, off, proved } if base == kept => {
                            Self::$kept_store { src, off, proved }
                        }
                        Self::$direct_imm { base, off, imm, proved } if base == kept => {
                            Self::$kept_imm { off, imm, proved }
                        }
                        Self::$direct_store { base, src, off, proved } if src == kept => {
                            Self::$store_kept { base, off, proved }
                        }
                    )*
                    other => other,
                }
            }

            /// The register whose value the interpreter has kept behind it, when it had that of `before`.
            pub(crate) fn keeps(self, before: Option<R>) -> Option<R> {
                match self {
                    $(
                        Self::$a64r { dst, .. }
                        | Self::$a64i { dst, .. }
                        | Self::$a32r { dst, .. }
                        | Self::$a32i { dst, .. } => Some(dst),
                    )*
                    $(Self::$direct_load { dst, .. } => Some(dst),)*
                    $(Self::$j64r { .. } | Self::$j64i { .. } | Self::$j32r { .. } | Self::$j32i { .. } => before,)*
                    $(Self::$direct_store { .. } | Self::$direct_imm { .. } => before,)*
                    Self::Neg { dst, .. } | Self::MovSx { dst, .. } | Self::Endian { dst, .. } => Some(dst),
                    Self::LoadImm64 { dst, .. } => Some(dst),
                    Self::CallHelper { .. } | Self::CallHost { .. } => Some(R::R0),
                    // Behind a constant; elsewhere, nothing goes on.
                    Self::Nothing => before,
                    _ => None,
                }
            }

            /// Where it may go.
            pub(crate) fn target(self) -> Option<u32> {
                match self {
                    $(
                        Self::$j64r { target, .. }
                        | Self::$j64i { target, .. }
                        | Self::$j32r { target, .. }
                        | Self::$j32i { target, .. } => Some(target),
                    )*
                    Self::Jump { target } | Self::MayGoto { target } | Self::CallLocal { target } => Some(target),
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
