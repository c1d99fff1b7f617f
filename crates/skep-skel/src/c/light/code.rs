//! The instructions of a loader, one function for each kind that it consists of.
//!
//! `R6` holds the context and `R7` the result of the last command for as long as the loader runs; `R8` is the attribute that is
//! being filled in. `R0` to `R5` mean something only between a few instructions in a row.

use skep_isa::table::{CALL, EXIT, LD_IMM64};
use skep_isa::{Insn, Reg};
use skep_obj::error::{Error, ErrorKind, Result};

use super::blob::{Blob, Place};

/// `BPF_PSEUDO_MAP_IDX_VALUE`: an address in the value of a map; the loader has one map, whose number is 0.
const PSEUDO_MAP_IDX_VALUE: Reg = Reg(6);

/// The pointer to the context.
pub(super) const CTX: Reg = Reg::R6;
/// The last result: a descriptor, zero, or an error.
pub(super) const RESULT: Reg = Reg::R7;
/// The address of an attribute.
pub(super) const ATTR: Reg = Reg::R8;

/// Bytes that are loaded or stored at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// When a jump is taken: the opcode of a comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum If {
    Equal = 0x15,
    NotEqual = 0x55,
    AtLeast = 0x75,
    Less = 0xc5,
}

/// Helpers (`bpf_*` of `linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    ProbeReadKernel = 113,
    CopyFromUser = 148,
    SysBpf = 166,
    BtfFindByNameKind = 167,
    SysClose = 168,
    KallsymsLookupName = 179,
}

/// A jump whose target comes later.
#[must_use = "a jump has to go somewhere"]
pub(super) struct Jump(usize);

/// A loader that would be too long.
pub(super) fn too_much() -> Error {
    let what = "the object has more maps, programs and externs than one loader takes";
    Error::new(ErrorKind::Unsupported, what).hint("split the object, or leave `-L` out")
}

/// The code so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    insns: Vec<Insn>,
    /// Addresses in the blob, which are filled in at the end.
    addresses: Vec<(usize, Place)>,
    /// Jumps to the end that gives everything back.
    failures: Vec<usize>,
}

impl Code {
    fn push(&mut self, code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> usize {
        self.insns.push(Insn::new(code, dst, src, off, imm));
        self.insns.len() - 1
    }

    /// `dst = src`
    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, src, 0, 0);
    }

    /// `dst = imm`
    pub(super) fn set(&mut self, dst: Reg, imm: i32) {
        self.push(0xb7, dst, Reg::R0, 0, imm);
    }

    /// `dst &= imm`
    pub(super) fn and(&mut self, dst: Reg, imm: i32) {
        self.push(0x57, dst, Reg::R0, 0, imm);
    }

    /// `dst >>= bits`
    pub(super) fn shift_right(&mut self, dst: Reg, bits: i32) {
        self.push(0x77, dst, Reg::R0, 0, bits);
    }

    /// `dst = &blob[place]`
    pub(super) fn address(&mut self, dst: Reg, place: Place) {
        let at = self.push(LD_IMM64, dst, PSEUDO_MAP_IDX_VALUE, 0, 0);
        self.push(0, Reg::R0, Reg::R0, 0, 0);
        self.addresses.push((at, place));
    }

    /// `dst = *(size *)(src + off)`
    pub(super) fn load(&mut self, size: Size, dst: Reg, src: Reg, off: i16) {
        self.push(0x61 | size as u8, dst, src, off, 0);
    }

    /// `*(size *)(dst + off) = src`
    pub(super) fn store(&mut self, size: Size, dst: Reg, off: i16, src: Reg) {
        self.push(0x63 | size as u8, dst, src, off, 0);
    }

    /// `*(size *)(dst + off) = imm`
    pub(super) fn store_imm(&mut self, size: Size, dst: Reg, off: i16, imm: i32) {
        self.push(0x62 | size as u8, dst, Reg::R0, off, imm);
    }

    /// Calls a helper, whose answer goes to `R0`.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CALL, Reg::R0, Reg::R0, 0, helper as i32);
    }

    /// Jumps where `reg` compares so with `imm`.
    pub(super) fn jump_if(&mut self, when: If, reg: Reg, imm: i32) -> Jump {
        Jump(self.push(when as u8, reg, Reg::R0, 0, imm))
    }

    /// Jumps.
    pub(super) fn jump(&mut self) -> Jump {
        Jump(self.push(0x05, Reg::R0, Reg::R0, 0, 0))
    }

    /// What comes next is where the jump goes, over a few instructions.
    pub(super) fn land(&mut self, jump: Jump) {
        self.insns[jump.0].off = (self.insns.len() - jump.0 - 1) as i16;
    }

    /// Gives everything back and answers the error, where the last result is one.
    pub(super) fn fail_if_negative(&mut self) {
        let at = self.push(If::Less as u8, RESULT, Reg::R0, 0, 0);
        self.failures.push(at);
    }

    /// What comes next is where failures go.
    pub(super) fn land_failures(&mut self) -> Result<()> {
        for at in std::mem::take(&mut self.failures) {
            self.insns[at].off = i16::try_from(self.insns.len() - at - 1).map_err(|_| too_much())?;
        }
        Ok(())
    }

    /// Answers the last result.
    pub(super) fn exit(&mut self) {
        self.copy(Reg::R0, RESULT);
        self.push(EXIT, Reg::R0, Reg::R0, 0, 0);
    }

    /// The instructions, with all addresses.
    pub(super) fn finish(mut self, blob: &Blob) -> Result<Vec<Insn>> {
        for (at, place) in self.addresses {
            self.insns[at + 1].imm = i32::try_from(blob.offset(place)).map_err(|_| {
                Error::new(ErrorKind::Unsupported, "the object's variables and code have more than 2 GiB")
                    .hint("leave `-L` out")
            })?;
        }
        Ok(self.insns)
    }
}
