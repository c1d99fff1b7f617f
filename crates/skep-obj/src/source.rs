//! What `.BTF.ext` says about instructions: their function's type, their source line, their CO-RE
//! relocations.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use skep_btf::ext::{CoreRelo, Ext, Group, Record};
use skep_btf::{Btf, TypeId};
use skep_isa::Insn;

use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::types::{Types, shared};

/// One line of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// File, as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when it is not known.
    pub column: u32,
    /// The line's text; empty when the object does not keep it.
    pub text: String,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.text.trim() {
            "" => Ok(()),
            text => write!(f, ": `{text}`"),
        }
    }
}

/// A function begins at an instruction (`struct bpf_func_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// The instruction, in slots.
    pub insn: u32,
    /// The function in the object's BTF.
    pub type_id: TypeId,
}

/// A source line begins at an instruction (`struct bpf_line_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// The instruction, in slots.
    pub insn: u32,
    /// String offset of the file's name.
    pub file_off: u32,
    /// String offset of the line's text.
    pub text_off: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 when it is not known.
    pub column: u32,
}

impl FuncInfo {
    /// Bytes of one record.
    pub const SIZE: u32 = 8;

    /// The record as bpf(2) takes it.
    pub fn to_bytes(self) -> [u8; Self::SIZE as usize] {
        let mut bytes = [0; Self::SIZE as usize];
        bytes[..4].copy_from_slice(&self.insn.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.type_id.0.to_ne_bytes());
        bytes
    }
}

impl LineInfo {
    /// Bytes of one record.
    pub const SIZE: u32 = 16;

    /// The record as bpf(2) takes it.
    pub fn to_bytes(self) -> [u8; Self::SIZE as usize] {
        let words = [self.insn, self.file_off, self.text_off, (self.line << 10) | (self.column & 0x3ff)];
        let mut bytes = [0; Self::SIZE as usize];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The line itself; `btf` holds its strings.
    pub fn source(&self, btf: &Btf) -> Option<SourceLine> {
        let text = btf.string(self.text_off).unwrap_or_default().to_owned();
        Some(SourceLine {
            file: btf.string(self.file_off).ok()?.to_owned(),
            line: self.line,
            column: self.column,
            text,
        })
    }
}

/// What is known about the instructions of an object, by section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    strings: Option<Arc<Btf>>,
    sections: HashMap<usize, InSection>,
    /// CO-RE relocations in the order of the object: section, slot, relocation.
    pub(crate) core: Vec<(usize, usize, CoreRelo)>,
}

/// Records of one section, by slot of the section.
#[derive(Clone, Debug, Default)]
struct InSection {
    functions: Vec<FuncInfo>,
    lines: Vec<LineInfo>,
}

impl Lines {
    /// Reads `.BTF.ext`, if there is one.
    pub(crate) fn read(elf: &Elf<'_>, types: Option<&Types>) -> Result<Self> {
        let (Some((_, section)), Some(types)) = (elf.section(".BTF.ext"), types) else {
            return Ok(Self::default());
        };
        let read = || {
            let ext = Ext::parse(shared(section.data.to_vec()))?;
            let mut lines = Self { strings: Some(types.btf.clone()), ..Self::default() };
            lines.add(elf, &ext)?;
            Ok(lines)
        };
        read().map_err(|e: Error| e.section(".BTF.ext"))
    }

    fn add(&mut self, elf: &Elf<'_>, ext: &Ext) -> Result<()> {
        for group in ext.func_info() {
            let section = self.section(elf, &group)?;
            let records = group.records().map(|r| FuncInfo { insn: slot(r.insn_off), type_id: r.ty });
            self.sections.entry(section).or_default().functions.extend(records);
        }
        for group in ext.line_info() {
            let section = self.section(elf, &group)?;
            let records = group.records().map(|r| LineInfo {
                insn: slot(r.insn_off),
                file_off: r.file_off,
                text_off: r.text_off,
                line: r.line(),
                column: r.column(),
            });
            self.sections.entry(section).or_default().lines.extend(records);
        }
        for group in ext.core_relos() {
            let section = self.section(elf, &group)?;
            self.core.extend(group.records().map(|r| (section, slot(r.insn_off) as usize, r)));
        }
        for section in self.sections.values_mut() {
            section.functions.sort_by_key(|f| f.insn);
            section.lines.sort_by_key(|l| l.insn);
        }
        Ok(())
    }

    /// The ELF section that a group is about.
    fn section<R: Record>(&self, elf: &Elf<'_>, group: &Group<'_, R>) -> Result<usize> {
        let Some(strings) = &self.strings else {
            return Err(Error::corrupt("no strings"));
        };
        let name = group.section(strings)?;
        let section = elf.section(name).map(|(index, _)| index);
        section.ok_or_else(|| Error::corrupt(format!("records about section `{name}`, which does not exist")))
    }

    /// The source line of a slot of a section.
    pub(crate) fn at(&self, section: usize, slot: usize) -> Option<SourceLine> {
        let lines = &self.sections.get(&section)?.lines;
        let after = lines.partition_point(|line| line.insn as usize <= slot);
        lines.get(after.checked_sub(1)?)?.source(self.strings.as_deref()?)
    }

    /// Functions that begin in these slots of a section, as if the first slot were number `to`.
    pub(crate) fn functions(&self, section: usize, slots: &Range<usize>, to: usize) -> Vec<FuncInfo> {
        let all = self.sections.get(&section).map(|s| &s.functions[..]).unwrap_or_default();
        let inside = all.iter().filter(|f| slots.contains(&(f.insn as usize)));
        inside.map(|f| FuncInfo { insn: (f.insn as usize - slots.start + to) as u32, ..*f }).collect()
    }

    /// Lines that begin in these slots of a section, as if the first slot were number `to`.
    pub(crate) fn lines(&self, section: usize, slots: &Range<usize>, to: usize) -> Vec<LineInfo> {
        let all = self.sections.get(&section).map(|s| &s.lines[..]).unwrap_or_default();
        let inside = all.iter().filter(|l| slots.contains(&(l.insn as usize)));
        inside.map(|l| LineInfo { insn: (l.insn as usize - slots.start + to) as u32, ..*l }).collect()
    }
}

/// Compilers count bytes, the kernel counts slots.
fn slot(bytes: u32) -> u32 {
    bytes / Insn::SIZE as u32
}
