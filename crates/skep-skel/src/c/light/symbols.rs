//! Symbols of the kernel: looked up by name once, and put into the instructions that refer to them.

use std::collections::HashMap;

use skep_btf::Kind;
use skep_isa::{Insn, Reg};
use skep_obj::link::Wanted;
use skep_obj::{Extern, ExternKind, Linked};

use super::blob::Place;
use super::code::{Code, Helper, If, RESULT, Size};
use super::loader::{INSN_BYTES, Work, wanted_programs};

/// Where fields of an instruction are.
const INSN_REGS: i16 = 1;
const INSN_OFF: i16 = 2;
const INSN_IMM: i16 = 4;
const SECOND_IMM: i16 = INSN_BYTES as i16 + INSN_IMM;

/// What of a function's record says where its module is.
const FD_INDEX: usize = 4;

/// Symbols that programs refer to.
pub(super) struct Symbols(HashMap<usize, Symbol>);

/// A symbol, once the loader has looked it up.
struct Symbol {
    is: Is,
    /// May it be missing?
    weak: bool,
    /// Eight bytes of what was found: an address; the number of a variable's type; or the number of a function's type, and
    /// behind it the place of its module's types in `fd_array`, 0 for the kernel itself.
    record: Place,
    /// The place of the descriptor of the module's types.
    fd: usize,
}

/// What a symbol is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Address,
    Variable,
    Function,
}

impl Symbols {
    /// Looks up all symbols that are referred to.
    pub(super) fn look_up(work: &mut Work<'_>, linked: &Linked) -> Self {
        let mut symbols = HashMap::new();
        for reference in wanted_programs(linked).flat_map(|(_, program)| &program.deferred.externs) {
            symbols
                .entry(reference.ext)
                .or_insert_with(|| Symbol::look_up(work, &linked.externs[reference.ext]));
        }
        Self(symbols)
    }

    /// Puts a symbol into the instruction at a place of the blob.
    pub(super) fn fill(&self, work: &mut Work<'_>, ext: usize, place: Place, insn: Insn) {
        let Some(symbol) = self.0.get(&ext) else { return };
        let fd = work.fd_place(symbol.fd);
        match symbol.is {
            Is::Address => symbol.fill_address(&mut work.code, place),
            Is::Function if insn.code == skep_isa::table::CALL => symbol.fill_call(&mut work.code, place),
            Is::Function | Is::Variable => symbol.fill_type(&mut work.code, place, fd, insn),
        }
    }
}

/// Looks a type up in the kernel and its modules: `RESULT` becomes an error, or its number with the descriptor of the module's
/// types, or 0, in the upper half.
pub(super) fn find(work: &mut Work<'_>, wanted: &Wanted) {
    let name = work.blob.text(&wanted.name);
    let code = &mut work.code;
    code.address(Reg::R1, name);
    code.set(Reg::R2, wanted.name.len() as i32 + 1);
    code.set(Reg::R3, kind(wanted.kind));
    code.set(Reg::R4, 0);
    code.call(Helper::BtfFindByNameKind);
    code.copy(RESULT, Reg::R0);
}

/// The kernel's number of a kind (`BTF_KIND_*`).
fn kind(kind: Kind) -> i32 {
    match kind {
        Kind::Typedef => 8,
        Kind::Var => 14,
        _ => 12,
    }
}

impl Symbol {
    fn look_up(work: &mut Work<'_>, ext: &Extern) -> Self {
        let is = match ext.kind {
            ExternKind::Kvar(_) => Is::Variable,
            ExternKind::Kfunc(_) => Is::Function,
            _ => Is::Address,
        };
        let symbol = Self { is, weak: ext.weak, record: work.blob.zeroes(8), fd: work.fd() };
        match Wanted::of_extern(ext) {
            Some(wanted) => symbol.look_up_type(work, &wanted),
            None => symbol.look_up_address(work, &ext.name),
        }
        symbol
    }

    /// Goes on where there is an error only if the symbol may be missing, and then as if it had been zero.
    fn check(&self, code: &mut Code) {
        match self.weak {
            true => {
                let found = code.jump_if(If::AtLeast, RESULT, 0);
                code.set(RESULT, 0);
                code.land(found);
            }
            false => code.fail_if_negative(),
        }
    }

    fn look_up_address(&self, work: &mut Work<'_>, name: &str) {
        let text = work.blob.text(name);
        let code = &mut work.code;
        code.address(Reg::R1, text);
        code.set(Reg::R2, name.len() as i32 + 1);
        code.set(Reg::R3, 0);
        code.address(Reg::R4, self.record);
        code.call(Helper::KallsymsLookupName);
        code.copy(RESULT, Reg::R0);
        self.check(code);
    }

    fn look_up_type(&self, work: &mut Work<'_>, wanted: &Wanted) {
        find(work, wanted);
        let fd = work.fd_place(self.fd);
        let code = &mut work.code;
        self.check(code);
        code.address(Reg::R1, self.record);
        code.store(Size::Word, Reg::R1, 0, RESULT);
        code.shift_right(RESULT, 32);
        code.address(Reg::R2, fd);
        code.store(Size::Word, Reg::R2, 0, RESULT);
        if self.is == Is::Function {
            let kernel = code.jump_if(If::Equal, RESULT, 0);
            code.store_imm(Size::Word, Reg::R1, FD_INDEX as i16, self.fd as i32);
            code.land(kernel);
        }
    }

    /// The address as a number.
    fn fill_address(&self, code: &mut Code, place: Place) {
        code.address(Reg::R1, self.record);
        code.load(Size::Double, Reg::R0, Reg::R1, 0);
        code.address(Reg::R1, place);
        code.store(Size::Word, Reg::R1, INSN_IMM, Reg::R0);
        code.shift_right(Reg::R0, 32);
        code.store(Size::Word, Reg::R1, SECOND_IMM, Reg::R0);
    }

    /// A call of a function: its type, and where its module is. That it is missing the verifier minds only where it is called.
    fn fill_call(&self, code: &mut Code, place: Place) {
        code.address(Reg::R1, self.record);
        code.load(Size::Word, Reg::R0, Reg::R1, 0);
        code.load(Size::Word, Reg::R2, Reg::R1, FD_INDEX as i16);
        code.address(Reg::R1, place);
        code.store(Size::Word, Reg::R1, INSN_IMM, Reg::R0);
        code.store(Size::Half, Reg::R1, INSN_OFF, Reg::R2);
    }

    /// The address of a variable or function by its type; of what is missing the number 0.
    fn fill_type(&self, code: &mut Code, place: Place, fd: Place, insn: Insn) {
        code.address(Reg::R1, self.record);
        code.load(Size::Word, Reg::R0, Reg::R1, 0);
        code.address(Reg::R1, fd);
        code.load(Size::Word, Reg::R2, Reg::R1, 0);
        code.address(Reg::R1, place);
        code.store(Size::Word, Reg::R1, INSN_IMM, Reg::R0);
        code.store(Size::Word, Reg::R1, SECOND_IMM, Reg::R2);
        if self.weak {
            let found = code.jump_if(If::NotEqual, Reg::R0, 0);
            code.store_imm(Size::Byte, Reg::R1, INSN_REGS, i32::from(insn.with_src(Reg::R0).regs));
            code.land(found);
        }
    }
}
