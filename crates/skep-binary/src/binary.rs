//! What an ELF file says of places in it: symbols and USDT notes, as offsets in the file, which uprobes count by.

use std::fs;
use std::path::Path;

use object::elf::FileHeader64;
use object::read::elf::{ElfFile, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use skep_runtime::{Error, Result};

use crate::glob;

type Elf<'a> = ElfFile<'a, FileHeader64<Endianness>>;

/// An executable or library, in memory.
#[derive(Debug)]
pub struct Binary {
    bytes: Vec<u8>,
    name: String,
}

/// A place of a USDT probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it is, in the file.
    pub offset: u64,
    /// Its address as the file has it.
    pub address: u64,
    /// Counter of tracers that the program looks at, in the file; 0 for none.
    pub semaphore: u64,
    /// Where its arguments are, for each `SIZE@PLACE`.
    pub arguments: String,
}

impl Binary {
    /// Reads a file; what it says is looked at later.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path)
            .map_err(|e| Error::os(e.raw_os_error().unwrap_or(libc::EIO), describe(&name, &e)))?;
        Ok(Self { bytes, name })
    }

    fn elf(&self) -> Result<Elf<'_>> {
        Elf::parse(&*self.bytes)
            .map_err(|e| Error::os(libc::ENOEXEC, format!("`{}` is no 64-bit ELF file: {e}", self.name)))
    }

    /// The offset of a function.
    pub fn function(&self, name: &str) -> Result<u64> {
        let elf = self.elf()?;
        let found = functions(&elf).filter(|(symbol, ..)| is_named(symbol, name));
        // A global definition is the one that other files see.
        let address = found.min_by_key(|&(_, rank, _)| rank).map(|(.., address)| address);
        address.and_then(|address| offset_of(&elf, address)).ok_or_else(|| {
            Error::os(libc::ENOENT, format!("`{}` has no function `{name}`", self.name))
                .hint("inlined and stripped functions have no symbol; an offset in the file works without")
        })
    }

    /// The offsets of the functions that match a pattern.
    pub fn functions(&self, pattern: &str) -> Result<Vec<u64>> {
        let elf = self.elf()?;
        let mut offsets: Vec<u64> = functions(&elf)
            .filter(|(name, ..)| glob(pattern.as_bytes(), base_name(name).as_bytes()))
            .filter_map(|(.., address)| offset_of(&elf, address))
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        if offsets.is_empty() {
            return Err(Error::os(libc::ENOENT, format!("`{}` has no function `{pattern}`", self.name)));
        }
        Ok(offsets)
    }

    /// The places of a USDT probe.
    pub fn notes(&self, provider: &str, probe: &str) -> Result<Vec<Note>> {
        let elf = self.elf()?;
        let section = elf.section_by_name(".note.stapsdt");
        let data = section.and_then(|section| section.data().ok()).unwrap_or_default();
        // Where the notes think that this section is; they are not updated when the file is prelinked.
        let base = elf.section_by_name(".stapsdt.base").map(|section| section.address());
        let notes: Vec<Note> = Descriptions { data }
            .filter(|note| note.provider == provider && note.probe == probe)
            .filter_map(|note| {
                let moved = base.map_or(0, |base| base.wrapping_sub(note.base));
                let address = note.address.wrapping_add(moved);
                let semaphore = match note.semaphore {
                    0 => 0,
                    semaphore => offset_of(&elf, semaphore.wrapping_add(moved))?,
                };
                let arguments = note.arguments.to_owned();
                Some(Note { offset: offset_of(&elf, address)?, address, semaphore, arguments })
            })
            .collect();
        if notes.is_empty() {
            return Err(Error::os(
                libc::ENOENT,
                format!("`{}` has no probe `{provider}:{probe}`", self.name),
            ));
        }
        Ok(notes)
    }
}

/// An operating system error in lower case, without its number.
fn describe(name: &str, error: &std::io::Error) -> String {
    let text = error.to_string();
    format!("`{name}`: {}", text.split(" (os error").next().unwrap_or(&text).to_lowercase())
}

/// Functions of both symbol tables: name, rank (global before weak before local), address.
fn functions<'a>(elf: &'a Elf<'a>) -> impl Iterator<Item = (&'a str, u8, u64)> {
    elf.symbols().chain(elf.dynamic_symbols()).filter_map(|symbol| {
        let is_function = symbol.kind() == SymbolKind::Text && symbol.is_definition();
        let rank = if symbol.is_weak() { 1 } else { 2 * u8::from(!symbol.is_global()) };
        is_function.then(|| symbol.name().ok()).flatten().map(|name| (name, rank, symbol.address()))
    })
}

/// Static symbol tables write a version behind the name: `memcpy@@GLIBC_2.14`.
fn is_named(symbol: &str, name: &str) -> bool {
    symbol == name || base_name(symbol) == name || symbol.replacen("@@", "@", 1) == name
}

fn base_name(symbol: &str) -> &str {
    symbol.split('@').next().unwrap_or(symbol)
}

/// Where an address lies in the file: by the segments, or, for what is not loaded, the sections.
fn offset_of(elf: &Elf<'_>, address: u64) -> Option<u64> {
    let endian = elf.endian();
    let header = elf.elf_header();
    let segments = header.program_headers(endian, elf.data()).ok()?;
    let in_segment = segments.iter().find_map(|segment| {
        let start = segment.p_vaddr(endian);
        let is_there = segment.p_type(endian) == object::elf::PT_LOAD
            && (start..start.checked_add(segment.p_filesz(endian))?).contains(&address);
        is_there.then(|| address - start + segment.p_offset(endian))
    });
    in_segment.or_else(|| {
        let sections = header.sections(endian, elf.data()).ok()?;
        sections.iter().find_map(|section| {
            let start = section.sh_addr(endian);
            let is_there =
                start != 0 && (start..start.checked_add(section.sh_size(endian))?).contains(&address);
            is_there.then(|| address - start + section.sh_offset(endian))
        })
    })
}

/// Notes of `.note.stapsdt`: three lengths and kinds, the owner `stapsdt`, three addresses and three strings.
struct Descriptions<'a> {
    data: &'a [u8],
}

struct Description<'a> {
    address: u64,
    base: u64,
    semaphore: u64,
    provider: &'a str,
    probe: &'a str,
    arguments: &'a str,
}

/// `NT_STAPSDT`.
const NOTE_KIND: u32 = 3;

impl<'a> Iterator for Descriptions<'a> {
    type Item = Description<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = |at: usize| Some(u32::from_ne_bytes(self.data.get(at..at + 4)?.try_into().ok()?));
            let (name_bytes, bytes, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
            let start = 12 + name_bytes.checked_next_multiple_of(4)?;
            let description = self.data.get(start..start.checked_add(bytes)?)?;
            self.data = self.data.get(start + bytes.checked_next_multiple_of(4)?..).unwrap_or_default();
            if kind == NOTE_KIND
                && let Some(description) = describe_note(description)
            {
                return Some(description);
            }
        }
    }
}

fn describe_note(bytes: &[u8]) -> Option<Description<'_>> {
    let long = |n: usize| Some(u64::from_ne_bytes(bytes.get(8 * n..8 * n + 8)?.try_into().ok()?));
    let mut strings = bytes.get(24..)?.split(|&byte| byte == 0).map(std::str::from_utf8);
    let mut string = || strings.next()?.ok();
    Some(Description {
        address: long(0)?,
        base: long(1)?,
        semaphore: long(2)?,
        provider: string()?,
        probe: string()?,
        arguments: string()?,
    })
}
