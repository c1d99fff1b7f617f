//! Programs: functions that are attached somewhere.

mod context;

use skep_isa::uapi::{AttachType, ProgType};

use crate::attach::AttachPoint;
use crate::error::{Error, Result};
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
    /// Where else.
    pub also: Vec<AttachPoint>,
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

    /// Attaches the program at the places that other section names mean, instead of where its own says; it is loaded for
    /// them. A `:` may stand for the first `/`: `uprobe:/bin/sh:main` is `uprobe//bin/sh:main`.
    pub fn attach_at(&mut self, sections: &[&str]) -> Result<()> {
        let mut points = Vec::new();
        for &text in sections {
            let section = section_name(text);
            let def = SectionDef::find(&section).ok_or_else(|| section::unknown(&section))?;
            self.take_type(def, &section)?;
            points.push(def.attach_point(&section)?);
        }
        if !points.is_empty() {
            self.attach = points.remove(0);
            self.also = points;
            self.section_error = None;
            self.autoload = true;
        }
        Ok(())
    }

    /// Makes it a program for a row of the section table, if its type allows.
    fn take_type(&mut self, def: &SectionDef, section: &str) -> Result<()> {
        if self.prog_type == ProgType::UNSPEC {
            self.prog_type = def.prog_type;
        }
        if self.prog_type != def.prog_type {
            let (is, wanted) = (self.prog_type, def.prog_type);
            let message =
                format!("a program of type `{is}` does not go with `{section}`, which is for `{wanted}`");
            return Err(Error::invalid(message).symbol(&self.name));
        }
        self.expected_attach_type = def.attach_type;
        if def.sleepable {
            self.flags |= F_SLEEPABLE;
        }
        Ok(())
    }
}

pub(crate) use context::prog_type as type_by_context;

/// The programs among the functions, in their order.
pub(crate) fn collect(functions: &[Function]) -> Vec<Program> {
    functions.iter().enumerate().filter(|(_, f)| f.is_entry()).map(|(index, f)| describe(f, index)).collect()
}

/// Which of the programs a function is.
pub(crate) fn number(functions: &[Function], function: usize) -> usize {
    functions[..function].iter().filter(|f| f.is_entry()).count()
}

/// The name with a `/` behind its first part.
fn section_name(text: &str) -> String {
    match text.split_once([':', '/']) {
        Some((prefix, rest)) => format!("{prefix}/{rest}"),
        None => text.to_owned(),
    }
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
        also: Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn program(section: &str) -> Program {
        let mut program = Program {
            name: "f".into(),
            section: section.into(),
            prog_type: ProgType::UNSPEC,
            expected_attach_type: None,
            attach: AttachPoint::None,
            also: Vec::new(),
            section_error: None,
            flags: 0,
            autoload: false,
            function: 0,
        };
        program.prog_type = SectionDef::find(section).map_or(ProgType::UNSPEC, |def| def.prog_type);
        program
    }

    #[test]
    fn programs_can_be_attached_elsewhere() {
        let mut f = program("kprobe/handle_entry");
        f.attach_at(&["uprobe:/lib/libc.so.6:malloc", "uretprobe.s//bin/sh:main"]).expect("the same type");
        let uprobe = |path: &str, symbol: &str, ret| AttachPoint::Uprobe {
            path: Some(path.into()),
            symbol: Some(symbol.into()),
            offset: 0,
            ret,
        };
        assert_eq!(f.attach, uprobe("/lib/libc.so.6", "malloc", false));
        assert_eq!(f.also, [uprobe("/bin/sh", "main", true)]);
        assert!(f.autoload && f.sleepable());
        f.attach_at(&["usdt:libc.so.6:libc:setjmp"]).expect("the same type");
        assert!(matches!(&f.attach, AttachPoint::Usdt { name: Some(name), .. } if name == "setjmp"));
        assert!(f.also.is_empty());
    }

    #[test]
    fn other_types_and_unknown_names_are_refused() {
        let mut f = program("uprobe");
        let message = |result: Result<()>| result.expect_err("it does not fit").message().to_owned();
        assert!(message(f.attach_at(&["xdp"])).contains("does not go with `xdp`"));
        assert!(message(f.attach_at(&["uprob:/bin/sh:main"])).contains("unknown section"));
        assert!(message(f.attach_at(&["uprobe:/bin/sh"])).contains("PATH:SYMBOL"));
    }
}
