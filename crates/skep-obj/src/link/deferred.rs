//! What of a program is left to those who load it: programs that are linked for a kernel nobody knows yet.

use skep_btf::Kind;
use skep_btf::core::essential_name;
use skep_btf::ext::CoreRelo;

use crate::externs::{Extern, ExternKind};

/// What a loader has to fill in, where [`Target::deferred`](super::Target::deferred) says that nothing of the kernel is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deferred {
    /// CO-RE relocations, for the kernel (`core_relos` of bpf(2), since 5.17); [`CoreRelo::insn_off`] counts bytes from the
    /// program's first instruction.
    pub core_relos: Vec<CoreRelo>,
    /// Instructions that refer to the kernel's symbols, in the order of the code's functions.
    pub externs: Vec<ExternRef>,
    /// The type that the program attaches to.
    pub hook: Option<Wanted>,
}

/// An instruction that refers to a symbol of the kernel: `LD_IMM64` or a call. Its opcode and pseudo source are those of a
/// symbol that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternRef {
    /// The first slot.
    pub insn: usize,
    /// Which of [`Linked::externs`](super::Linked::externs).
    pub ext: usize,
}

/// A type of the kernel or of one of its modules, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The module that has to define it, where one is named; `vmlinux` is the kernel itself.
    pub module: Option<String>,
}

impl Wanted {
    /// The type that says where a kernel's symbol is; none for symbols without types.
    pub fn of_extern(ext: &Extern) -> Option<Self> {
        match ext.kind {
            ExternKind::Kvar(_) => Some(Self { name: ext.name.clone(), kind: Kind::Var, module: None }),
            ExternKind::Kfunc(_) => {
                Some(Self { name: essential_name(&ext.name).to_owned(), kind: Kind::Func, module: None })
            }
            _ => None,
        }
    }
}
