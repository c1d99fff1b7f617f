//! A program's code: its function and, behind it, every function it calls, with all references filled in.

use std::collections::HashMap;

use skep_btf::ext::CoreRelo;
use skep_isa::table::{CALL, LD_IMM64};
use skep_isa::uapi::ProgType;
use skep_isa::{Insn, Reg};

use super::externs::{Externs, Value};
use super::{Deferred, ExternRef, LinkedProgram, MapRef, ModuleRef, Poison, jump_table};
use crate::error::{Error, Result};
use crate::externs::ExternKind;
use crate::map::MapDef;
use crate::object::Object;
use crate::reloc::{
    self, PSEUDO_BTF_ID, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, PSEUDO_MAP_IDX, PSEUDO_MAP_IDX_VALUE,
    Reloc,
};
use crate::section;

/// More instructions than any kernel takes (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_INSNS: usize = 1_000_000;

/// Helpers that do not exist, by which tools recognise a map that is not created and a kernel function that
/// is missing. The number of the map or extern is added. Numbers as in libbpf.
const POISON_MAP: i32 = 2_001_000_000;
const POISON_KFUNC: i32 = 2_002_000_000;

/// What all programs of an object are linked with.
pub(super) struct Linker<'a> {
    pub(super) object: &'a Object,
    pub(super) functions: Vec<super::core::Relocated>,
    pub(super) externs: Externs,
    pub(super) maps: Vec<MapDef>,
    /// Programs with the function that each runs when it throws.
    pub(super) callbacks: Vec<(String, String)>,
}

/// Where functions were put.
#[derive(Default)]
pub(super) struct Layout {
    /// Functions in the order of their code, with their first slots.
    pub(super) placed: Vec<(usize, usize)>,
    /// First slot by function.
    starts: HashMap<usize, usize>,
    len: usize,
}

impl Layout {
    /// Puts a function at the end.
    fn place(&mut self, function: usize, slots: usize) {
        self.placed.push((function, self.len));
        self.starts.insert(function, self.len);
        self.len += slots;
    }
}

impl Linker<'_> {
    /// Links one program. What is wrong with it is in its `result`.
    pub(super) fn program(&mut self, index: usize) -> LinkedProgram {
        let source = &self.object.programs[index];
        let mut program = LinkedProgram {
            name: source.name.clone(),
            section: source.section.clone(),
            prog_type: source.prog_type,
            expected_attach_type: source.expected_attach_type,
            attach: source.attach.clone(),
            also: source.also.clone(),
            attach_error: source.section_error.clone(),
            attach_btf: None,
            flags: source.flags,
            autoload: source.autoload,
            insns: Vec::new(),
            map_refs: Vec::new(),
            module_refs: Vec::new(),
            deferred: Deferred::default(),
            func_info: Vec::new(),
            line_info: Vec::new(),
            poisoned: Vec::new(),
            result: Ok(()),
            strings: self.object.btf.clone(),
        };
        let file = &self.object.file;
        let result = match source.prog_type {
            ProgType::UNSPEC => {
                let known = source.section_error.clone();
                Err(known.unwrap_or_else(|| section::unknown(&source.section)))
            }
            _ => Ok(()),
        };
        let linked = self.link(source.function, &mut program);
        program.result =
            result.and(linked).map_err(|e| e.file(file).section(&source.section).symbol(&source.name));
        program
    }

    fn link(&mut self, function: usize, program: &mut LinkedProgram) -> Result<()> {
        let layout = self.lay_out(function)?;
        self.copy(&layout, program);
        let object = self.object;
        let mut result = Ok(());
        for (function, start) in &layout.placed {
            if let Some(error) = &self.functions[*function].error {
                result = result.and(Err(error.clone()));
            }
            let function = &object.functions[*function];
            for reloc in &function.relocs {
                let filled = self.fill(program, &layout, *start, reloc);
                let place = || object.lines.at(function.section, function.start + reloc.insn);
                result = result.and(filled.map_err(|e| function.at(e, reloc.insn).source(place())));
            }
        }
        result
    }

    /// Decides which functions the program consists of.
    fn lay_out(&self, main: usize) -> Result<Layout> {
        let mut layout = Layout::default();
        self.add(main, &mut layout)?;
        if let Some(callback) = self.exception_callback(main)? {
            self.add(callback, &mut layout)?;
        }
        Ok(layout)
    }

    /// Places a function and all that it calls, in libbpf's order: depth first, in the order of calls.
    fn add(&self, root: usize, layout: &mut Layout) -> Result<()> {
        let functions = &self.object.functions;
        // A stack of our own: calls may be nested as deep as an object likes.
        let mut stack = Vec::new();
        let mut enter = |function: usize, stack: &mut Vec<(usize, usize)>| {
            if !layout.starts.contains_key(&function) {
                layout.place(function, functions[function].insns.len());
                stack.push((function, 0));
            }
            match layout.len > MAX_INSNS {
                true => Err(Error::unsupported(format!(
                    "more than {MAX_INSNS} instructions with the functions it calls"
                ))),
                false => Ok(()),
            }
        };
        enter(root, &mut stack)?;
        while let Some((function, at)) = stack.pop() {
            if let Some(reloc) = functions[function].relocs.get(at) {
                stack.push((function, at + 1));
                if let reloc::Target::Function(callee) = reloc.target {
                    enter(callee, &mut stack)?;
                }
            }
        }
        Ok(())
    }

    /// The function that the program runs when it throws (`__exception_cb`); nothing calls it.
    fn exception_callback(&self, main: usize) -> Result<Option<usize>> {
        let functions = &self.object.functions;
        let mut wanted = self.callbacks.iter().filter(|(program, _)| *program == functions[main].name);
        // More than one is the verifier's to refuse.
        let (Some((_, name)), None) = (wanted.next(), wanted.next()) else {
            return Ok(None);
        };
        let callback =
            functions.iter().position(|f| f.name == *name && !f.is_entry() && f.global && !f.hidden);
        callback.map(Some).ok_or_else(|| {
            Error::invalid(format!("the exception callback `{name}` is no global function of the object"))
        })
    }

    /// Copies code, functions' types and source lines.
    fn copy(&self, layout: &Layout, program: &mut LinkedProgram) {
        let lines = &self.object.lines;
        for (index, start) in &layout.placed {
            let (function, relocated) = (&self.object.functions[*index], &self.functions[*index]);
            program.insns.extend(&relocated.insns);
            program.func_info.extend(lines.functions(function.section, &function.range(), *start));
            program.line_info.extend(lines.lines(function.section, &function.range(), *start));
            let first = (*start * Insn::SIZE) as u32;
            let moved = relocated.left.iter().map(|r| CoreRelo { insn_off: r.insn_off + first, ..*r });
            program.deferred.core_relos.extend(moved);
            let poisoned = relocated.poisoned.iter();
            program
                .poisoned
                .extend(poisoned.map(|p| Poison { insn: p.insn + start, reason: p.reason.clone() }));
        }
        // The kernel wants types of all functions or of none.
        if program.func_info.len() != layout.placed.len() {
            program.func_info.clear();
        }
    }

    /// Fills in one reference of the function that begins at slot `start`.
    fn fill(
        &mut self,
        program: &mut LinkedProgram,
        layout: &Layout,
        start: usize,
        reloc: &Reloc,
    ) -> Result<()> {
        let insn = start + reloc.insn;
        match reloc.target {
            reloc::Target::Map(map) => self.fill_map(program, insn, map, None),
            reloc::Target::Data { map, offset } => self.fill_map(program, insn, map, Some(offset)),
            reloc::Target::Function(function) => {
                let callee = layout.starts.get(&function).copied().unwrap_or_default();
                let slot = &mut program.insns[insn];
                *slot = slot.with_src(if slot.code == CALL { PSEUDO_CALL } else { PSEUDO_FUNC });
                slot.imm = (callee as i64 - insn as i64 - 1) as i32;
            }
            reloc::Target::Extern(ext) => self.fill_extern(program, insn, ext)?,
            reloc::Target::JumpTable { offset, size } => {
                let table = jump_table::build(self.object, layout, insn, offset, size)?;
                let map = jump_table::add(&mut self.maps, table);
                set_map(program, insn, map, Some(0));
            }
        }
        Ok(())
    }

    fn fill_map(&self, program: &mut LinkedProgram, insn: usize, map: usize, value_off: Option<u32>) {
        let def = &self.maps[map];
        if def.autocreate {
            set_map(program, insn, map, value_off);
        } else {
            let call = Insn::new(CALL, Reg(0), Reg(0), 0, POISON_MAP.wrapping_add(map as i32));
            program.insns[insn] = call;
            program.insns[insn + 1] = call;
            program.poisoned.push(Poison { insn, reason: format!("map `{}` is not created", def.name) });
        }
    }

    fn fill_extern(&self, program: &mut LinkedProgram, insn: usize, ext: usize) -> Result<()> {
        let value = self.externs.values[ext].clone()?;
        let call = program.insns[insn].code == CALL;
        match value {
            Value::Deferred => return self.defer(program, insn, ext),
            Value::Function { id, fd_index, .. } if call => {
                let slot = program.insns[insn].with_src(PSEUDO_KFUNC_CALL);
                program.insns[insn] = Insn { imm: id.0 as i32, off: fd_index, ..slot };
            }
            Value::MissingFunction if call => {
                program.insns[insn] =
                    Insn::new(CALL, Reg(0), Reg(0), 0, POISON_KFUNC.wrapping_add(ext as i32));
                let reason = format!("the kernel has no function `{}`", self.object.externs[ext].name);
                program.poisoned.push(Poison { insn, reason });
            }
            _ if call => {
                return Err(Error::corrupt(format!(
                    "a call of `{}`, which is no function",
                    self.object.externs[ext].name
                )));
            }
            Value::Kconfig { map, offset } => set_map(program, insn, map, Some(offset)),
            Value::Address(address) => set_imm64(program, insn, address),
            Value::MissingFunction => set_imm64(program, insn, 0),
            Value::Variable(ty) => set_btf_id(program, insn, ty.id.0, ty.module),
            Value::Function { id, module, .. } => set_btf_id(program, insn, id.0, module),
        }
        Ok(())
    }

    /// Leaves a symbol of the kernel to those who load the program.
    fn defer(&self, program: &mut LinkedProgram, insn: usize, ext: usize) -> Result<()> {
        let wanted = &self.object.externs[ext];
        match (wanted.kind, program.insns[insn].code == CALL) {
            (ExternKind::Kfunc(_), true) => {
                let slot = program.insns[insn].with_src(PSEUDO_KFUNC_CALL);
                program.insns[insn] = Insn { imm: 0, off: 0, ..slot };
            }
            (_, true) => {
                return Err(Error::corrupt(format!("a call of `{}`, which is no function", wanted.name)));
            }
            (ExternKind::Ksym, false) => set_imm64(program, insn, 0),
            (_, false) => set_btf_id(program, insn, 0, None),
        }
        program.deferred.externs.push(ExternRef { insn, ext });
        Ok(())
    }
}

fn set_map(program: &mut LinkedProgram, insn: usize, map: usize, value_off: Option<u32>) {
    let [first, second] = pair(program, insn);
    *first = first.with_src(if value_off.is_some() { PSEUDO_MAP_IDX_VALUE } else { PSEUDO_MAP_IDX });
    first.imm = map as i32;
    second.imm = value_off.unwrap_or(0) as i32;
    program.map_refs.push(MapRef { insn, map, value_off });
}

fn set_imm64(program: &mut LinkedProgram, insn: usize, value: u64) {
    let [first, second] = pair(program, insn);
    first.imm = value as i32;
    second.imm = (value >> 32) as i32;
}

fn set_btf_id(program: &mut LinkedProgram, insn: usize, id: u32, module: Option<usize>) {
    let [first, second] = pair(program, insn);
    *first = first.with_src(PSEUDO_BTF_ID);
    first.imm = id as i32;
    second.imm = 0;
    program.module_refs.extend(module.map(|module| ModuleRef { insn, module }));
}

/// Both slots of an `LD_IMM64`; relocations name no others.
fn pair(program: &mut LinkedProgram, insn: usize) -> &mut [Insn; 2] {
    let slots = program.insns.get_mut(insn..).and_then(|rest| rest.first_chunk_mut());
    let pair = slots.expect("invariant: a relocated 64-bit load has both slots within its function");
    debug_assert!(pair[0].code == LD_IMM64 || pair[0].code == CALL);
    pair
}
