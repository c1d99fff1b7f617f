//! Programs: functions that are attached somewhere.

use skep_isa::uapi::{AttachType, ProgType};

use crate::attach::AttachPoint;
use crate::error::Error;
use crate::function::Function;
use crate::section::{self, SectionDef};

/// The program may sleep (`BPF_F_SLEEPABLE`).
pub const F_SLEEPABLE: u32 = 1 << 4;
/// The program takes packets in several fragments (`BPF_F_XDP_HAS_FRAGS`).
pub const F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// One program, as its section's name and the caller describe it.
///
/// What the section says can be changed before linking, as with libbpf's `bpf_program__set_type` and its
/// like.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of its function.
    pub name: String,
    /// Section, without a leading `?`.
    pub section: String,
    /// What kind of program; `UNSPEC` when the section is unknown.
    pub prog_type: ProgType,
    /// What the verifier is told about the hook, where the program type has several.
    pub expected_attach_type: Option<AttachType>,
    /// Where it is to be attached.
    pub attach: AttachPoint,
    /// What is wrong with the section's name: unknown, so that the type is, too; or the part that says where
    /// to attach, and then the program can be loaded all the same.
    pub section_error: Option<Error>,
    /// Flags for loading: [`F_SLEEPABLE`], [`F_XDP_HAS_FRAGS`].
    pub flags: u32,
    /// Is the program loaded by default? A section with `?` says no.
    pub autoload: bool,
    /// Its function among the object's.
    pub(crate) function: usize,
}

impl Program {
    /// May the program sleep?
    pub fn sleepable(&self) -> bool {
        self.flags & F_SLEEPABLE != 0
    }
}

/// The programs among the functions, in their order.
pub(crate) fn collect(functions: &[Function]) -> Vec<Program> {
    functions.iter().enumerate().filter(|(_, f)| f.is_entry()).map(|(index, f)| describe(f, index)).collect()
}

/// Which of the programs a function is.
pub(crate) fn number(functions: &[Function], function: usize) -> usize {
    functions[..function].iter().filter(|f| f.is_entry()).count()
}

fn describe(function: &Function, index: usize) -> Program {
    let (section, autoload) = match function.section_name.strip_prefix('?') {
        Some(section) => (section, false),
        None => (&*function.section_name, true),
    };
    let mut program = Program {
        name: function.name.clone(),
        section: section.to_owned(),
        prog_type: ProgType::UNSPEC,
        expected_attach_type: None,
        attach: AttachPoint::None,
        section_error: None,
        flags: 0,
        autoload,
        function: index,
    };
    match SectionDef::find(section) {
        None => program.section_error = Some(section::unknown(section).symbol(&function.name)),
        Some(def) => {
            program.prog_type = def.prog_type;
            program.expected_attach_type = def.attach_type;
            program.flags =
                if def.sleepable { F_SLEEPABLE } else { 0 } | if def.frags { F_XDP_HAS_FRAGS } else { 0 };
            match def.attach_point(section) {
                Ok(point) => program.attach = point,
                Err(error) => program.section_error = Some(error.symbol(&function.name)),
            }
        }
    }
    program
}
