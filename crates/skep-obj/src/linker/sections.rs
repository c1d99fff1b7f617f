//! Where each section of each file goes, and what is in the sections that come out.

use skep_isa::table::{CALL, LD_IMM64};

use super::Unit;
use super::symbols::Table;
use crate::elf::{Elf, RawReloc, Section, SectionKind, SymbolKind, SymbolPlace};
use crate::error::{Error, Result};

/// Sections that are the same in all files, and kept once.
const ONCE: [&str; 2] = ["license", "version"];
/// Sections that are made anew, or left out.
const LEFT_OUT: [&str; 4] = [".BTF", ".BTF.ext", ".llvm_addrsig", ".eh_frame"];

/// All sections that come out, and where those of the files went.
pub(super) struct Layout {
    pub(super) sections: Vec<OutSection>,
    /// By file, by the section's number in it.
    places: Vec<Vec<Option<Place>>>,
}

/// A section that comes out.
pub(super) struct OutSection {
    pub(super) name: String,
    pub(super) kind: SectionKind,
    pub(super) flags: u64,
    pub(super) align: u64,
    pub(super) size: u64,
    /// Empty where there are only zeroes to come.
    pub(super) data: Vec<u8>,
    /// What its bytes refer to; symbols are numbers of the table that comes out.
    pub(super) relocs: Vec<RawReloc>,
}

/// Where a section went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) section: usize,
    pub(super) offset: u64,
}

impl Layout {
    /// Where a file's section went, if it was taken.
    pub(super) fn place(&self, unit: usize, section: usize) -> Option<Place> {
        *self.places.get(unit)?.get(section)?
    }

    /// The section that comes out under this name.
    pub(super) fn section(&self, name: &str) -> Option<&OutSection> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// Puts the sections of all files one behind the other, by name.
pub(super) fn lay_out(units: &[Unit<'_>]) -> Result<Layout> {
    let mut layout = Layout { sections: Vec::new(), places: Vec::new() };
    for unit in units {
        let mut places = vec![None; unit.elf.sections.len()];
        for (number, section) in unit.elf.sections.iter().enumerate().filter(|(_, section)| is_taken(section))
        {
            let place = append(&mut layout.sections, section);
            places[number] = place.map_err(|e| e.file(unit.file).section(&section.name))?;
        }
        layout.places.push(places);
    }
    Ok(layout)
}

fn is_taken(section: &Section<'_>) -> bool {
    let empty_text = section.kind == SectionKind::Code && section.size == 0 && section.name == ".text";
    section.kind != SectionKind::Other
        && !empty_text
        && !LEFT_OUT.contains(&&*section.name)
        && !section.name.starts_with(".debug_")
}

/// Puts a section behind those of its name; `None` where it says again what is there already.
fn append(sections: &mut Vec<OutSection>, section: &Section<'_>) -> Result<Option<Place>> {
    let at = sections.iter().position(|out| out.name == section.name);
    let number = at.unwrap_or(sections.len());
    let Some(number_known) = at else {
        sections.push(OutSection {
            name: section.name.to_string(),
            kind: section.kind,
            flags: section.flags,
            align: section.align.max(1),
            size: section.size,
            data: section.data.to_vec(),
            relocs: Vec::new(),
        });
        return Ok(Some(Place { section: number, offset: 0 }));
    };
    let out = &mut sections[number_known];
    if (out.kind, out.flags) != (section.kind, section.flags) {
        return Err(Error::invalid("the section is of another kind than in the files before"));
    }
    if ONCE.contains(&&*section.name) {
        return match out.data == section.data {
            true => Ok(None),
            false => Err(Error::invalid(format!(
                "`{}` here, `{}` in the files before",
                text(section.data),
                text(&out.data)
            ))
            .hint("give all objects that are linked the same")),
        };
    }
    out.align = out.align.max(section.align);
    let offset = out.size.next_multiple_of(out.align);
    out.size = offset + section.size;
    if out.size > u64::from(u32::MAX) {
        return Err(Error::invalid("the sections of all files together are larger than 4 GiB"));
    }
    if out.kind != SectionKind::Zero {
        out.data.resize(offset as usize, 0);
        out.data.extend(section.data);
    }
    Ok(Some(Place { section: number, offset }))
}

/// A licence, or the number of a version, for a message.
fn text(data: &[u8]) -> String {
    let text = data.strip_suffix(&[0]).unwrap_or(data);
    match data.try_into() {
        Ok(number) if !text.is_ascii() || text.len() == data.len() => u32::from_le_bytes(number).to_string(),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Makes the references of all sections those of the sections that come out.
pub(super) fn relocate(units: &[Unit<'_>], layout: &mut Layout, table: &Table) -> Result<()> {
    for (unit, number) in units
        .iter()
        .enumerate()
        .flat_map(|(at, unit)| (0..unit.elf.sections.len()).map(move |number| (at, number)))
    {
        let Some(place) = layout.place(unit, number) else { continue };
        let Unit { elf, file, .. } = &units[unit];
        for reloc in &elf.sections[number].relocs {
            let moved = move_reloc(elf, layout, table, (unit, place), reloc);
            let moved = moved.map_err(|e| e.file(file).section(&elf.sections[number].name))?;
            layout.sections[place.section].relocs.push(moved);
        }
    }
    Ok(())
}

/// One reference, which may be to the beginning of a section: then what is to be added to it changes as well.
fn move_reloc(
    elf: &Elf<'_>,
    layout: &mut Layout,
    table: &Table,
    (unit, place): (usize, Place),
    reloc: &RawReloc,
) -> Result<RawReloc> {
    let symbol = &elf.symbols[reloc.symbol];
    let Some(number) = table.number(unit, reloc.symbol) else {
        return Err(Error::unsupported(format!(
            "the reference at offset {} to `{}` is to something that is left out",
            reloc.offset, symbol.name
        )));
    };
    let offset = place.offset + reloc.offset;
    if let (SymbolKind::Section, SymbolPlace::Section(target)) = (symbol.kind, symbol.place) {
        let to = layout.place(unit, target).map_or(0, |place| place.offset);
        add(&mut layout.sections[place.section], offset as usize, to as u32)?;
    }
    Ok(RawReloc { offset, symbol: number, kind: reloc.kind })
}

/// Adds the bytes by which a section has moved to the instruction that refers to something in it.
fn add(section: &mut OutSection, offset: usize, bytes: u32) -> Result<()> {
    let is_code = section.kind == SectionKind::Code;
    let insn = section.data.get_mut(offset..offset + 8).filter(|_| is_code);
    let unknown =
        || Error::unsupported(format!("a reference to a section at offset {offset}, outside of code"));
    let insn = insn.ok_or_else(unknown)?;
    let by = match insn[0] {
        CALL => bytes / 8,
        LD_IMM64 => bytes,
        other => {
            return Err(Error::unsupported(format!(
                "a reference to a section by the instruction at offset {offset} with opcode {other:#04x}"
            )));
        }
    };
    let imm = u32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]).wrapping_add(by);
    insn[4..8].copy_from_slice(&imm.to_le_bytes());
    Ok(())
}
