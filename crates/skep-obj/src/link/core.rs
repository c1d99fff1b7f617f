//! CO-RE: puts what the target's types say into instructions.
//!
//! What [`skep_btf::core`] answers goes into the immediate value of an arithmetic instruction, the offset of
//! a load or store, or the 64 bits of `LD_IMM64`. Where there is no answer the instruction becomes a call of
//! a helper that does not exist, as with libbpf: a program that never gets there is still good.

use std::sync::Arc;

use skep_btf::core::{Access, Relo, ReloKind, Resolution, Resolver};
use skep_btf::ext::CoreRelo;
use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::{Insn, Reg};

use super::{Poison, Target};
use crate::error::{Error, Result};
use crate::function::{self, Function};
use crate::object::Object;

/// The helper that does not exist; the number is libbpf's, and tools know it.
const POISON_HELPER: i32 = 0xbad_2310;

/// A function after its CO-RE relocations.
pub(super) struct Relocated {
    pub(super) insns: Vec<Insn>,
    pub(super) poisoned: Vec<Poison>,
    /// Relocations that are left to the kernel, in bytes from the function's start.
    pub(super) left: Vec<CoreRelo>,
    /// Why no program that calls the function can be loaded.
    pub(super) error: Option<Error>,
}

/// Relocates all functions.
pub(super) fn relocate(object: &Object, target: &Target) -> Vec<Relocated> {
    let mut functions: Vec<_> = object
        .functions
        .iter()
        .map(|f| Relocated { insns: f.insns.clone(), poisoned: Vec::new(), left: Vec::new(), error: None })
        .collect();
    let Some(local) = &object.btf else {
        return functions;
    };
    let targets: Vec<_> =
        target.btf.iter().chain(target.modules.iter().map(|m| &m.btf)).map(Arc::clone).collect();
    let mut resolver = Resolver::new(local, &targets);
    for (section, slot, record) in &object.lines.core {
        // Code of no function is what a static linker left of an overridden one.
        let Some(index) = function::containing(&object.functions, *section, *slot) else {
            continue;
        };
        let function = &object.functions[index];
        let insn = slot - function.start;
        if target.deferred {
            let insn_off = (insn * Insn::SIZE) as u32;
            functions[index].left.push(CoreRelo { insn_off, ..*record });
            continue;
        }
        let result = Relo::read(local, record).map_err(Error::from).and_then(|relo| {
            check_target(&relo, target)?;
            let resolution = resolver.resolve(&relo)?;
            apply(&mut functions[index], insn, &resolution, || relo.describe(local))
        });
        if let Err(error) = result {
            let error = located(error, object, function, insn);
            functions[index].error.get_or_insert(error);
        }
    }
    functions
}

fn located(error: Error, object: &Object, function: &Function, insn: usize) -> Error {
    function
        .at(error, insn)
        .source(object.lines.at(function.section, function.start + insn))
        .file(&object.file)
}

fn check_target(relo: &Relo<'_>, target: &Target) -> Result<()> {
    if target.btf.is_none() && relo.kind != ReloKind::TypeIdLocal {
        return Err(Error::unresolved("the instruction depends on the kernel's types, which are not known")
            .hint("the kernel needs `CONFIG_DEBUG_INFO_BTF`, or name a file with its types"));
    }
    Ok(())
}

/// Changes one instruction.
fn apply(
    function: &mut Relocated,
    insn: usize,
    resolution: &Resolution,
    what: impl Fn() -> String,
) -> Result<()> {
    let Some(new) = resolution.new else {
        let missing = resolution.missing.as_deref().unwrap_or("the target has no such type or field");
        poison(function, insn, format!("{}: {missing}", what()));
        return Ok(());
    };
    let [first, rest @ ..] = function.insns.get_mut(insn..).unwrap_or_default() else {
        return Err(Error::corrupt("a CO-RE relocation behind the function's end"));
    };
    let old = resolution.validate.then_some(resolution.orig);
    match first.code & 7 {
        ALU | ALU64 => patch_alu(first, old, new),
        LDX | ST | STX => match resolution.access {
            Some(Access { resizable: false, orig_bytes, new_bytes }) if orig_bytes != new_bytes => {
                let reason = format!(
                    "the field has {new_bytes} bytes instead of {orig_bytes}, and cannot be converted"
                );
                poison(function, insn, format!("{}: {reason}", what()));
                Ok(())
            }
            access => patch_memory(first, old, new, access),
        },
        LD => patch_imm64(first, rest.first_mut(), old, new),
        _ => Err(Error::corrupt(format!(
            "a CO-RE relocation for opcode {:#04x}, which takes none",
            first.code
        ))),
    }
}

/// Instruction classes (RFC 9669, section 3.1).
const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const ALU64: u8 = 7;

fn patch_alu(insn: &mut Insn, old: Option<u64>, new: u64) -> Result<()> {
    const SOURCE_REGISTER: u8 = 8;
    if insn.code & SOURCE_REGISTER != 0 {
        return Err(Error::corrupt("a CO-RE relocation for an operation on two registers"));
    }
    expect(old.map(|old| old as i32 == insn.imm), insn.imm)?;
    insn.imm = new as i32;
    Ok(())
}

fn patch_memory(insn: &mut Insn, old: Option<u64>, new: u64, access: Option<Access>) -> Result<()> {
    expect(old.map(|old| old as i64 == i64::from(insn.off)), insn.off.into())?;
    insn.off = i16::try_from(new).map_err(|_| {
        Error::unresolved(format!("offset {new} of the field is too large for the instruction"))
    })?;
    if let Some(Access { orig_bytes, new_bytes, .. }) = access
        && orig_bytes != new_bytes
    {
        if size_bits(orig_bytes) != Some(insn.code & SIZE_BITS) {
            return Err(Error::corrupt(format!(
                "the instruction does not access {orig_bytes} bytes, as the field's type says"
            )));
        }
        let size = size_bits(new_bytes).ok_or_else(|| {
            Error::unresolved(format!("a field of {new_bytes} bytes cannot be accessed at once"))
        })?;
        insn.code = (insn.code & !SIZE_BITS) | size;
    }
    Ok(())
}

const SIZE_BITS: u8 = 0x18;

/// How an instruction says how much memory it accesses (RFC 9669, section 5).
fn size_bits(bytes: u32) -> Option<u8> {
    match bytes {
        4 => Some(0x00),
        2 => Some(0x08),
        1 => Some(0x10),
        8 => Some(0x18),
        _ => None,
    }
}

fn patch_imm64(insn: &mut Insn, second: Option<&mut Insn>, old: Option<u64>, new: u64) -> Result<()> {
    let plain = |insn: &Insn| insn.src() == Reg(0) && insn.off == 0;
    let Some(second) = second.filter(|second| insn.code == LD_IMM64 && plain(insn) && second.code == 0)
    else {
        return Err(Error::corrupt(format!(
            "a CO-RE relocation for opcode {:#04x}, which takes none",
            insn.code
        )));
    };
    let value = u64::from(insn.imm as u32) | (u64::from(second.imm as u32) << 32);
    expect(old.map(|old| old == value), insn.imm)?;
    insn.imm = new as i32;
    second.imm = (new >> 32) as i32;
    Ok(())
}

/// The compiler has put the answer for its own types into the instruction; anything else is not the
/// instruction meant.
fn expect(same: Option<bool>, found: i32) -> Result<()> {
    match same {
        Some(false) => Err(Error::corrupt(format!(
            "a CO-RE relocation for an instruction that holds {found}, not what the object's types say"
        ))),
        _ => Ok(()),
    }
}

fn poison(function: &mut Relocated, insn: usize, reason: String) {
    let slots = if function.insns.get(insn).is_some_and(|i| i.code == LD_IMM64) { 2 } else { 1 };
    for slot in function.insns.iter_mut().skip(insn).take(slots) {
        *slot = Insn::new(CALL, Reg(0), Reg(0), 0, POISON_HELPER);
    }
    function.poisoned.push(Poison { insn, reason });
}
