//! ELF, as far as eBPF objects use it: sections, symbols and relocations as plain tables.
//!
//! Takes the bytes of a file; gives tables whose cross references (section of a symbol, symbol of a
//! relocation, range of a section) have been checked, or says why the file is not one of ours. Contents are
//! not looked at here.

use std::borrow::Cow;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader, Rel, SectionHeader, Sym};

use crate::error::{Error, ErrorKind, Result};

/// The tables of one file.
#[derive(Debug)]
pub(crate) struct Elf<'d> {
    /// All sections, by their number in the file; number 0 is empty.
    pub(crate) sections: Vec<Section<'d>>,
    /// All symbols, by their number in the file.
    pub(crate) symbols: Vec<Symbol<'d>>,
}

/// One section.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    pub(crate) name: Cow<'d, str>,
    pub(crate) kind: SectionKind,
    /// Empty for sections without contents in the file.
    pub(crate) data: &'d [u8],
    /// Bytes in memory; differs from `data.len()` for `.bss`.
    pub(crate) size: u64,
    /// `SHF_ALLOC` and its like.
    pub(crate) flags: u64,
    /// What its offset in memory is a multiple of.
    pub(crate) align: u64,
    /// Relocations of this section, by offset.
    pub(crate) relocs: Vec<RawReloc>,
}

/// What a section holds, by its type and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// Instructions.
    Code,
    /// Data with contents.
    Data,
    /// Zeroes.
    Zero,
    /// Tables of the file format, and everything else.
    Other,
}

/// One symbol.
#[derive(Debug)]
pub(crate) struct Symbol<'d> {
    pub(crate) name: Cow<'d, str>,
    pub(crate) place: SymbolPlace,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: SymbolKind,
    pub(crate) bind: Bind,
    /// Hidden or internal visibility: not meant to be seen outside the object.
    pub(crate) hidden: bool,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolPlace {
    Undefined,
    Section(usize),
    /// Absolute, common, and reserved numbers.
    Special,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolKind {
    None,
    Object,
    Function,
    Section,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    Local,
    Global,
    Weak,
}

/// One relocation: which bytes stand for which symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawReloc {
    /// Byte offset in the section.
    pub(crate) offset: u64,
    /// Number of the symbol; it exists.
    pub(crate) symbol: usize,
    /// How the bytes stand for it: `R_BPF_64_64` and its like.
    pub(crate) kind: u32,
}

/// The contents of a section of any 64-bit little-endian ELF file: an eBPF object, a kernel, a module.
pub fn section<'d>(bytes: &'d [u8], name: &str) -> Result<Option<&'d [u8]>> {
    let header = elf::FileHeader64::<LE>::parse(bytes)
        .map_err(|e| truncated(format!("cannot read the ELF header: {}", lower(e))))?;
    let headers = header
        .sections(LE, bytes)
        .map_err(|e| truncated(format!("cannot read the section table: {}", lower(e))))?;
    let Some((_, section)) = headers.section_by_name(LE, name.as_bytes()) else { return Ok(None) };
    let data = section.data(LE, bytes).map_err(|e| truncated(format!("section `{name}`: {}", lower(e))))?;
    Ok(Some(data))
}

impl Symbol<'_> {
    pub(crate) fn is_extern(&self) -> bool {
        self.place == SymbolPlace::Undefined && self.bind != Bind::Local && !self.name.is_empty()
    }

    pub(crate) fn is_in(&self, section: usize) -> bool {
        self.place == SymbolPlace::Section(section)
    }
}

impl<'d> Elf<'d> {
    /// Reads the tables of `bytes`.
    pub(crate) fn parse(bytes: &'d [u8]) -> Result<Self> {
        check_ident(bytes)?;
        let header = elf::FileHeader64::<LE>::parse(bytes)
            .map_err(|e| truncated(format!("cannot read the ELF header: {}", lower(e))))?;
        check_machine(header)?;
        let headers = header
            .sections(LE, bytes)
            .map_err(|e| truncated(format!("cannot read the section table: {}", lower(e))))?;
        let mut sections = Vec::with_capacity(headers.len());
        for section in headers.iter() {
            let name = headers.section_name(LE, section).map_err(|e| {
                Error::corrupt(format!("section {}: cannot read its name: {}", sections.len(), lower(e)))
            })?;
            sections.push(read_section(section, String::from_utf8_lossy(name), bytes)?);
        }
        let table = headers
            .symbols(LE, bytes, elf::SHT_SYMTAB)
            .map_err(|e| truncated(format!("cannot read the symbol table: {}", lower(e))))?;
        if table.is_empty() {
            return Err(Error::unsupported("no symbol table: functions and maps have no names")
                .hint("the object was stripped; use `llvm-strip -g`, which keeps symbols"));
        }
        let symbols = table
            .enumerate()
            .map(|(index, symbol)| {
                let name = table.symbol_name(LE, symbol).map_err(|e| {
                    Error::corrupt(format!("symbol {index}: cannot read its name: {}", lower(e)))
                })?;
                read_symbol(symbol, String::from_utf8_lossy(name), sections.len())
            })
            .collect::<Result<Vec<_>>>()?;
        for section in headers.iter() {
            attach_relocs(section, bytes, &mut sections, symbols.len())?;
        }
        Ok(Self { sections, symbols })
    }

    /// The first section of this name, with its number.
    pub(crate) fn section(&self, name: &str) -> Option<(usize, &Section<'d>)> {
        self.sections.iter().enumerate().find(|(_, s)| s.name == name)
    }
}

/// Magic number, class and byte order: is this the kind of file at all?
fn check_ident(bytes: &[u8]) -> Result<()> {
    let not = |message: String| Error::new(ErrorKind::NotAnObject, message);
    if bytes.is_empty() {
        return Err(not("the file is empty".into()).hint("did the compiler fail? compile it again"));
    }
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(not("not an ELF file".into()).hint(foreign_format(bytes)));
    }
    let (Some(class), Some(order)) = (bytes.get(4), bytes.get(5)) else {
        return Err(truncated(format!("the file ends after {} bytes, within the ELF header", bytes.len())));
    };
    if *class != elf::ELFCLASS64.0 {
        return Err(not("a 32-bit ELF file; eBPF objects are 64-bit".into())
            .hint("compile with `clang -target bpf -c`"));
    }
    if *order != elf::ELFDATA2LSB.0 {
        return Err(not("compiled for big-endian machines (`bpfeb`); this machine is little-endian".into())
            .hint("compile with `clang -target bpfel -c`"));
    }
    Ok(())
}

/// What a file that is not ELF probably is, and what to do with it.
fn foreign_format(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"BC\xc0\xde") {
        "this is LLVM bitcode: compile without `-emit-llvm`, or use `llc -march=bpf -filetype=obj`"
    } else if bytes.starts_with(&[0x9f, 0xeb]) || bytes.starts_with(&[0xeb, 0x9f]) {
        "this is raw BTF: it holds types and no programs"
    } else if bytes.starts_with(b"!<arch>") {
        "this is an archive: extract its members with `ar x` and name one"
    } else {
        "name an object compiled with `clang -target bpf -c`"
    }
}

fn check_machine(header: &elf::FileHeader64<LE>) -> Result<()> {
    let machine = header.e_machine(LE);
    // Compilers before the number was assigned wrote 0; libbpf takes those too.
    if machine != elf::EM_BPF && machine.0 != 0 {
        let name = match machine {
            elf::EM_X86_64 => "x86-64",
            elf::EM_AARCH64 => "AArch64",
            elf::EM_RISCV => "RISC-V",
            elf::EM_S390 => "s390",
            elf::EM_PPC64 => "PowerPC",
            _ => "another machine",
        };
        return Err(Error::new(
            ErrorKind::NotAnObject,
            format!("compiled for {name} (ELF machine {}), not for eBPF", machine.0),
        )
        .hint("compile with `clang -target bpf -c`; an object embedded in a program must be cut out first"));
    }
    if header.e_type(LE) != elf::ET_REL {
        return Err(Error::new(ErrorKind::NotAnObject, "a linked ELF file, not a relocatable object")
            .hint("name the object that `clang -target bpf -c` wrote"));
    }
    Ok(())
}

fn read_section<'d>(
    header: &elf::SectionHeader64<LE>,
    name: Cow<'d, str>,
    bytes: &'d [u8],
) -> Result<Section<'d>> {
    let size = header.sh_size(LE);
    let kind = match header.sh_type(LE) {
        elf::SHT_PROGBITS if header.sh_flags(LE).0 & elf::SHF_EXECINSTR.0 != 0 => SectionKind::Code,
        elf::SHT_PROGBITS => SectionKind::Data,
        elf::SHT_NOBITS => SectionKind::Zero,
        _ => SectionKind::Other,
    };
    let data = header.data(LE, bytes).map_err(|_| {
        truncated(format!(
            "the section's {size} bytes at offset {} lie outside the file of {} bytes",
            header.sh_offset(LE),
            bytes.len()
        ))
        .section(&name)
    })?;
    if size > u64::from(u32::MAX) {
        return Err(Error::corrupt(format!("the section claims {size} bytes; more than 4 GiB cannot be"))
            .section(&name));
    }
    let (flags, align) = (header.sh_flags(LE).0, header.sh_addralign(LE));
    Ok(Section { name, kind, data, size, flags, align, relocs: Vec::new() })
}

fn read_symbol<'d>(symbol: &elf::Sym64<LE>, name: Cow<'d, str>, sections: usize) -> Result<Symbol<'d>> {
    let number = symbol.st_shndx(LE);
    let place = match usize::from(number.0) {
        0 => SymbolPlace::Undefined,
        _ if number.0 >= elf::SHN_LORESERVE => SymbolPlace::Special,
        n if n < sections => SymbolPlace::Section(n),
        n => {
            return Err(Error::corrupt(format!("the symbol lies in section {n} of {sections}")).symbol(&name));
        }
    };
    let kind = match symbol.st_type() {
        elf::STT_NOTYPE => SymbolKind::None,
        elf::STT_OBJECT => SymbolKind::Object,
        elf::STT_FUNC => SymbolKind::Function,
        elf::STT_SECTION => SymbolKind::Section,
        _ => SymbolKind::Other,
    };
    let bind = match symbol.st_bind() {
        elf::STB_LOCAL => Bind::Local,
        elf::STB_WEAK => Bind::Weak,
        _ => Bind::Global,
    };
    let hidden = matches!(symbol.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL);
    Ok(Symbol { name, place, value: symbol.st_value(LE), size: symbol.st_size(LE), kind, bind, hidden })
}

/// Puts the entries of a relocation section where they belong: at the section they change.
fn attach_relocs(
    header: &elf::SectionHeader64<LE>,
    bytes: &[u8],
    sections: &mut [Section<'_>],
    symbols: usize,
) -> Result<()> {
    let target = header.sh_info(LE) as usize;
    let rela = header.sh_type(LE) == elf::SHT_RELA;
    if header.sh_type(LE) != elf::SHT_REL && !rela {
        return Ok(());
    }
    let Some(section) = sections.get_mut(target) else {
        return Err(Error::corrupt(format!("relocations for section {target} of {}", sections.len())));
    };
    if matches!(section.kind, SectionKind::Other) || section.name.starts_with(".debug_") {
        return Ok(());
    }
    if rela {
        return Err(Error::unsupported(
            "relocations with addends (`SHT_RELA`), which no eBPF compiler writes",
        )
        .section(&section.name));
    }
    let entries = header.rel(LE, bytes).map_err(|e| {
        Error::corrupt(format!("cannot read the relocations: {}", lower(e))).section(&section.name)
    })?;
    for entry in entries.map_or(&[][..], |(entries, _)| entries) {
        let (offset, symbol) = (entry.r_offset(LE), entry.r_sym(LE) as usize);
        if symbol >= symbols {
            return Err(Error::corrupt(format!(
                "the relocation at offset {offset} names symbol {symbol} of {symbols}"
            ))
            .section(&section.name));
        }
        if offset >= section.size {
            return Err(Error::corrupt(format!(
                "a relocation at offset {offset}, behind the section's {} bytes",
                section.size
            ))
            .section(&section.name));
        }
        section.relocs.push(RawReloc { offset, symbol, kind: entry.r_type(LE).0 });
    }
    section.relocs.sort_by_key(|reloc| reloc.offset);
    Ok(())
}

fn truncated(message: String) -> Error {
    Error::corrupt(message).hint("the file is truncated or damaged: compile or copy it again")
}

/// The ELF reader's messages begin with a capital; ours do not.
fn lower(error: object::read::Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}
