//! Linked objects as input: what of [`skep_obj::Linked`] the analysis needs, made once for all programs.

use std::sync::Arc;

use skep_btf::{Btf, Shape, TypeId};
use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::map::MapDef;
use skep_obj::{Linked, LinkedProgram};

use crate::environment::Environment;
use crate::explain::{Explanation, Facts, Function, explain};
use crate::input::{Attach, Input, MapInfo, Target};
use crate::log::{Level, Recording, SourceLine};
use crate::outcome::{Outcome, Report, Unsupported};
use crate::warm;
use crate::{verify_in, verify_recorded};

/// Licences that open the kernel's GPL-only interface (`license_is_gpl_compatible`).
const GPL_COMPATIBLE: &[&str] =
    &["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Of the log of a path that explains a rejection, this much is kept: the end says most.
const EXPLAINED_LOG_BYTES: usize = 16 << 20;

/// An object whose programs can be verified, each as if it alone were loaded.
pub struct Subject<'a> {
    linked: &'a Linked,
    maps: Vec<MapInfo>,
    target: Target,
    environment: Environment,
    notes: Vec<Notes>,
}

/// What goes beside the instructions of a program, by their numbers.
struct Notes {
    func_info: Vec<(u32, u32)>,
    module_vars: Vec<(u32, usize)>,
}

impl<'a> Subject<'a> {
    /// An object, linked for `target`.
    pub fn new(linked: &'a Linked, target: &skep_obj::Target) -> Self {
        let modules = target.modules.iter().map(|m| (m.name.clone(), Arc::clone(&m.btf))).collect();
        let maps: Vec<MapInfo> = linked.maps.iter().map(map_info).collect();
        let target = Target { btf: target.btf.clone(), modules, cpus: target.cpus };
        let environment = Environment::new(&target, linked.btf.clone(), &maps);
        let notes = linked.programs.iter().map(Notes::of).collect();
        Self { linked, maps, target, environment, notes }
    }

    /// Makes the names of the kernel's types known and verifies a small program, for the sake of the next one's time.
    ///
    /// The first verification of a process waits for its code to be paged in and cached, several times as long as the verdict
    /// on a small program takes. The kernel's verifier is always there, and knows types by name from its build; who
    /// compares times with its calls this before.
    pub fn warm_up(&self) {
        warm::warm_up(&self.target);
    }

    /// Verifies the program of this number. What could not be linked is unsupported, in the linker's words.
    pub fn verify(&self, program: usize) -> Report {
        match self.input(program) {
            Ok(input) => verify_in(&input, &self.environment),
            Err(what) => unlinked(what),
        }
    }

    /// The same, written down; see [`verify_recorded`]. The program's source lines are added to the recording.
    pub fn verify_recorded(&self, program: usize, recording: Recording<'_>) -> (Report, Vec<u32>) {
        let lines = self.linked.programs.get(program).map(source_lines).unwrap_or_default();
        match self.input(program) {
            Ok(input) => verify_recorded(&input, Recording { lines, ..recording }),
            Err(what) => (unlinked(what), Vec::new()),
        }
    }

    /// Why a program is rejected, in terms of its source; `None` where it is not. Verifies it again, with a log.
    pub fn explain(&self, program: usize) -> Option<Explanation> {
        let mut log = String::new();
        let recording = Recording {
            level: Some(Level::Path),
            keep_bytes: EXPLAINED_LOG_BYTES,
            sink: Some(Box::new(|text: &str| log.push_str(text))),
            ..Recording::default()
        };
        let (report, _) = self.verify_recorded(program, recording);
        let Outcome::Reject(rejection) = report.outcome else { return None };
        explain(&log, Some(rejection.insn), &self.facts(program))
    }

    /// What the object knows of a program that explains a log of it, also a kernel's.
    pub fn facts(&self, program: usize) -> Facts {
        let Some(linked) = self.linked.programs.get(program) else { return Facts::default() };
        let btf = self.linked.btf.as_deref();
        Facts {
            lines: source_lines(linked),
            functions: linked.func_info.iter().filter_map(|f| function(btf?, f.insn, f.type_id)).collect(),
        }
    }

    /// The program of this number as the verifier takes it, or why it cannot be linked.
    pub fn input(&self, program: usize) -> Result<Input<'_>, String> {
        let (Some(program), Some(notes)) = (self.linked.programs.get(program), self.notes.get(program))
        else {
            return Err(format!("program number {program}, of which there is none"));
        };
        program.result.as_ref().map_err(what_is_lacking)?;
        Ok(Input {
            name: &program.name,
            prog_type: program.prog_type,
            attach_type: program.expected_attach_type.unwrap_or(AttachType(0)),
            attach: self.attach(program),
            gpl: GPL_COMPATIBLE.contains(&self.linked.license.as_str()),
            sleepable: program.flags & skep_obj::program::F_SLEEPABLE != 0,
            flags: program.flags,
            insns: &program.insns,
            maps: &self.maps,
            btf: self.linked.btf.clone(),
            func_info: &notes.func_info,
            kfunc_modules: &self.linked.kfunc_modules,
            module_vars: &notes.module_vars,
            target: &self.target,
        })
    }

    /// What the program attaches to, as its types say.
    fn attach(&self, program: &LinkedProgram) -> Attach {
        let by_type = matches!(program.prog_type, ProgType::TRACING | ProgType::LSM | ProgType::STRUCT_OPS);
        match program.attach_btf {
            Some(ty) if program.prog_type == ProgType::STRUCT_OPS => {
                let btf = match ty.module {
                    Some(module) => self.target.modules.get(module).map(|(_, btf)| btf),
                    None => self.target.btf.as_ref(),
                };
                let ops = btf.and_then(|btf| btf.type_by_id(ty.id).ok()).map(|t| t.name.to_owned());
                let member = program.expected_attach_type.map_or(0, |a| a.0);
                Attach::StructOps { ops: ops.unwrap_or_default(), member }
            }
            Some(ty) => Attach::Kernel { obj: ty.module.map_or(0, |m| m as u16 + 2), id: ty.id.0 },
            None if by_type => Attach::Missing(format!("{:?}", program.attach)),
            None => Attach::None,
        }
    }
}

impl Notes {
    fn of(program: &LinkedProgram) -> Self {
        Self {
            func_info: program.func_info.iter().map(|f| (f.insn, f.type_id.0)).collect(),
            module_vars: program.module_refs.iter().map(|r| (r.insn as u32, r.module)).collect(),
        }
    }
}

/// What is said of a program that could not be linked.
fn what_is_lacking(error: &skep_obj::Error) -> String {
    let hint = error.advice().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("what linking lacks: {error}{hint}")
}

fn unlinked(what: String) -> Report {
    Report { outcome: Outcome::Unsupported(Unsupported { insn: 0, what }), stats: crate::Stats::default() }
}

/// Name and arguments of a function, by its type.
fn function(btf: &Btf, insn: u32, ty: TypeId) -> Option<Function> {
    let func = btf.type_by_id(ty).ok()?;
    let Shape::Func { proto, .. } = func.shape else { return None };
    let params = match btf.type_by_id(proto).ok()?.shape {
        Shape::FuncProto(proto) => proto.params.iter().flatten().map(|param| param.name.to_owned()).collect(),
        _ => Vec::new(),
    };
    Some(Function { insn, name: func.name.to_owned(), params })
}

/// A program's source lines as the log shows them.
pub(crate) fn source_lines(program: &LinkedProgram) -> Vec<SourceLine> {
    let line = |(insn, source): (usize, skep_obj::source::SourceLine)| SourceLine {
        insn: insn as u32,
        file: source.file.rsplit('/').next().unwrap_or_default().to_owned(),
        line: source.line,
        column: source.column,
        text: source.text,
    };
    program.source_lines().map(line).collect()
}

fn map_info(map: &MapDef) -> MapInfo {
    let frozen = || {
        let mut bytes = map.data.clone();
        bytes.resize(map.value_size as usize, 0);
        Arc::from(bytes)
    };
    MapInfo {
        name: map.name.clone(),
        ty: map.map_type,
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.max_entries,
        flags: map.map_flags,
        value_type: map.types_to_create().map_or(0, |(_, value)| value.0),
        frozen: map.is_frozen().then(frozen),
        inner: map.inner.as_deref().map(|inner| Box::new(map_info(inner))),
    }
}
