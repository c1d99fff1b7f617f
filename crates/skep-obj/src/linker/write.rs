//! Writes the object as ELF.

use object::elf;
use object::write::elf::{FileHeader, Rel, SectionHeader, SectionIndex, SinglePhase, Sym, Writer};

use super::sections::{Layout, OutSection};
use super::symbols::{OutSymbol, Table};
use super::types::Merged;
use crate::elf::{Bind, SectionKind, SymbolKind};
use crate::error::{Error, Result};

/// The bytes of the file.
pub(super) fn object(layout: &Layout, table: &Table, types: &Merged) -> Result<Vec<u8>> {
    let failed = |e: object::write::Error| Error::unsupported(format!("cannot write the object: {e}"));
    let names: Vec<String> = layout.sections.iter().map(|section| format!(".rel{}", section.name)).collect();
    let (mut out, mut start) = (Vec::new(), Vec::new());
    let mut writer = Writer::new_single_phase(object::Endianness::Little, true, &mut out);
    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: elf::EM_BPF,
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    };
    writer.write_file_header(&header).map_err(failed)?;
    let headers = contents(&mut writer, layout, types, &names);
    symbols(&mut writer, table);
    writer.write_strtab().map_err(failed)?;
    writer.write_shstrtab().map_err(failed)?;
    writer.write_null_section_header();
    // Behind all others come the symbols' names, and then the symbols.
    let symtab = headers.len() as u32 + 2;
    for header in headers {
        let sh_link = if header.sh_type == elf::SHT_REL { symtab } else { 0 };
        writer.write_section_header(&SectionHeader { sh_link, ..header });
    }
    writer.write_strtab_section_header();
    writer.write_symtab_section_header(table.locals as u32 + 1);
    writer.write_shstrtab_section_header();
    // Where the headers of the sections are is known only now.
    writer.write_file_header_to(&mut start).map_err(failed)?;
    out[..start.len()].copy_from_slice(&start);
    Ok(out)
}

/// Writes what is in all sections but the tables of symbols and strings, and answers their headers.
fn contents<'a>(
    writer: &mut Writer<'a, SinglePhase>,
    layout: &'a Layout,
    types: &Merged,
    relocs_names: &'a [String],
) -> Vec<SectionHeader> {
    let mut headers: Vec<SectionHeader> =
        layout.sections.iter().map(|section| variables_or_code(writer, section)).collect();
    for (name, bytes) in [(".BTF", Some(&types.btf)), (".BTF.ext", types.ext.as_ref())] {
        if let Some(bytes) = bytes {
            let sh_offset = writer.write_align(4);
            writer.write(bytes);
            let sh_size = bytes.len() as u64;
            headers.push(SectionHeader { sh_offset, sh_size, sh_addralign: 4, ..header(writer, name) });
        }
    }
    for (number, section) in layout.sections.iter().enumerate().filter(|(_, s)| !s.relocs.is_empty()) {
        let sh_offset = writer.write_align_relocation();
        for reloc in &section.relocs {
            let (r_offset, r_sym, r_type) =
                (reloc.offset, reloc.symbol as u32, elf::RelocationType(reloc.kind));
            writer.write_relocation(false, &Rel { r_offset, r_sym, r_type, r_addend: 0 });
        }
        headers.push(SectionHeader {
            sh_type: elf::SHT_REL,
            sh_flags: elf::SHF_INFO_LINK,
            // Sections are numbered from 1.
            sh_info: number as u32 + 1,
            sh_offset,
            sh_size: writer.offset() - sh_offset,
            sh_addralign: 8,
            sh_entsize: 16,
            ..header(writer, &relocs_names[number])
        });
    }
    headers
}

fn variables_or_code<'a>(writer: &mut Writer<'a, SinglePhase>, section: &'a OutSection) -> SectionHeader {
    let sh_offset = writer.write_align(section.align);
    writer.write(&section.data);
    let is_zero = section.kind == SectionKind::Zero;
    SectionHeader {
        sh_type: if is_zero { elf::SHT_NOBITS } else { elf::SHT_PROGBITS },
        sh_flags: elf::SectionFlags(section.flags),
        sh_offset,
        sh_size: section.size,
        sh_addralign: section.align,
        ..header(writer, &section.name)
    }
}

/// A header that says nothing but the name.
fn header<'a>(writer: &mut Writer<'a, SinglePhase>, name: &'a str) -> SectionHeader {
    let id = writer.add_section_name(name.as_bytes());
    SectionHeader {
        sh_name: writer.section_name_offset(Some(id)),
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SectionFlags(0),
        sh_addr: 0,
        sh_offset: 0,
        sh_size: 0,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 1,
        sh_entsize: 0,
    }
}

fn symbols<'a>(writer: &mut Writer<'a, SinglePhase>, table: &'a Table) {
    writer.write_null_symbol();
    for symbol in &table.symbols {
        let name = (!symbol.name.is_empty()).then(|| writer.add_string(symbol.name.as_bytes()));
        let st_name = writer.string_offset(name);
        writer.write_symbol(&entry(symbol, st_name));
    }
}

fn entry(symbol: &OutSymbol, st_name: u32) -> Sym {
    let bind = match symbol.bind {
        Bind::Local => elf::STB_LOCAL,
        Bind::Global => elf::STB_GLOBAL,
        Bind::Weak => elf::STB_WEAK,
    };
    let kind = match symbol.kind {
        SymbolKind::Object => elf::STT_OBJECT,
        SymbolKind::Function => elf::STT_FUNC,
        SymbolKind::Section => elf::STT_SECTION,
        SymbolKind::None | SymbolKind::Other => elf::STT_NOTYPE,
    };
    let visibility = if symbol.hidden { elf::STV_HIDDEN } else { elf::STV_DEFAULT };
    Sym {
        section: symbol.place.map(|(section, _)| SectionIndex(section as u32 + 1).0),
        st_name,
        st_info: elf::SymbolInfo::new(bind, kind),
        st_other: visibility.into(),
        st_shndx: elf::SHN_UNDEF,
        st_value: symbol.place.map_or(0, |(_, offset)| offset),
        st_size: symbol.size,
    }
}
