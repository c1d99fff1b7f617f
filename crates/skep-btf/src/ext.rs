//! `.BTF.ext`: what the compiler says about instructions — which function and which source line they belong to, and which
//! of their fields depend on the target's types (CO-RE relocations).
//!
//! There are three kinds of records, each in groups by ELF section. Records may be longer than this crate knows: the rest
//! is skipped when reading and kept for the kernel. Offsets and counts are checked when parsing; what records refer to
//! (types, strings) is checked when it is used.

mod write;

use std::marker::PhantomData;
use std::ops::Range;

use crate::header::{preamble, section};
use crate::{Btf, ByteOrder, Bytes, Error, Result, TypeId};

pub use write::ExtBuilder;

/// Bytes of the header up to the place of the line records; the place of the relocations follows in newer versions.
const HEADER_BYTES: u32 = 24;
/// Bytes of the header with the place of the relocations.
const HEADER_CORE_BYTES: u32 = 32;
/// Bytes of an instruction slot: `.BTF.ext` counts bytes, the kernel counts instructions.
const INSN_BYTES: u32 = 8;

/// A `.BTF.ext` section.
pub struct Ext {
    bytes: Bytes,
    order: ByteOrder,
    func_info: Groups,
    line_info: Groups,
    core_relos: Groups,
}

/// Where the records of one kind are.
#[derive(Debug, Default)]
struct Groups {
    record_bytes: usize,
    groups: Vec<(u32, Range<usize>)>,
}

impl Ext {
    /// Checks the header and finds the groups of records.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let data = (*bytes).as_ref();
        let (order, header_len) = preamble(data, ".BTF.ext")?;
        if header_len < HEADER_BYTES {
            return Err(Error::malformed(format!(
                "the header of `.BTF.ext` says it has {header_len} bytes, fewer than {HEADER_BYTES}"
            )));
        }
        let groups = |name, at: usize, min| {
            let field = |off| order.u32(data, off).unwrap_or_default();
            let range = section(data, header_len, name, field(at), field(at + 4))?;
            Groups::parse(data, order, range, min)
                .map_err(|e| e.at(format_args!("{name} records of `.BTF.ext`")))
        };
        Ok(Self {
            order,
            func_info: groups("function", 8, FuncInfo::BYTES)?,
            line_info: groups("line", 16, LineInfo::BYTES)?,
            core_relos: match header_len {
                HEADER_CORE_BYTES.. => groups("relocation", 24, CoreRelo::BYTES)?,
                _ => Groups::default(),
            },
            bytes,
        })
    }

    /// Which function begins at which instruction, by section.
    pub fn func_info(&self) -> impl Iterator<Item = Group<'_, FuncInfo>> {
        self.groups(&self.func_info)
    }

    /// Which source line an instruction and those after it come from, by section.
    pub fn line_info(&self) -> impl Iterator<Item = Group<'_, LineInfo>> {
        self.groups(&self.line_info)
    }

    /// What in an instruction depends on the target's types, by section.
    pub fn core_relos(&self) -> impl Iterator<Item = Group<'_, CoreRelo>> {
        self.groups(&self.core_relos)
    }

    /// The bytes of one function record, as bpf(2) wants to know (`func_info_rec_size`).
    pub fn func_info_bytes(&self) -> u32 {
        self.func_info.record_bytes as u32
    }

    /// The bytes of one line record, as bpf(2) wants to know (`line_info_rec_size`).
    pub fn line_info_bytes(&self) -> u32 {
        self.line_info.record_bytes as u32
    }

    /// The bytes of one relocation record, as bpf(2) wants to know (`core_relo_rec_size`).
    pub fn core_relo_bytes(&self) -> u32 {
        self.core_relos.record_bytes as u32
    }

    fn groups<'a, R>(&'a self, groups: &'a Groups) -> impl Iterator<Item = Group<'a, R>> {
        groups.groups.iter().map(|(name_off, range)| Group {
            section_off: *name_off,
            order: self.order,
            record_bytes: groups.record_bytes,
            bytes: (*self.bytes).as_ref().get(range.clone()).unwrap_or_default(),
            record: PhantomData,
        })
    }
}

impl std::fmt::Debug for Ext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ext")
            .field("func_info", &self.func_info)
            .field("line_info", &self.line_info)
            .field("core_relos", &self.core_relos)
            .finish_non_exhaustive()
    }
}

impl Groups {
    /// A word with the size of a record, and then groups: string offset of the section's name, number of records, records.
    fn parse(data: &[u8], order: ByteOrder, range: Range<usize>, min: usize) -> Result<Self> {
        if range.is_empty() {
            return Ok(Self { record_bytes: min, groups: Vec::new() });
        }
        let word = |off: usize| {
            let within = data.get(..range.end).and_then(|data| order.u32(data, off));
            within.ok_or_else(|| Error::malformed(format!("they end within the word at offset {off}")))
        };
        let record_bytes = word(range.start)? as usize;
        if record_bytes < min || !record_bytes.is_multiple_of(4) {
            return Err(Error::malformed(format!(
                "each has {record_bytes} bytes instead of {min} or a few words more"
            )));
        }
        let mut groups = Vec::new();
        let mut off = range.start + 4;
        while off < range.end {
            let (name_off, count) = (word(off)?, word(off + 4)? as usize);
            let start = off + 8;
            let end = count.checked_mul(record_bytes).and_then(|bytes| start.checked_add(bytes));
            off = end.filter(|&end| end <= range.end).ok_or_else(|| {
                Error::malformed(format!("the group at offset {off} has {count}, more than fit the section"))
            })?;
            groups.push((name_off, start..off));
        }
        Ok(Self { record_bytes, groups })
    }
}

/// The records about the instructions of one ELF section.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a, R> {
    section_off: u32,
    order: ByteOrder,
    record_bytes: usize,
    bytes: &'a [u8],
    record: PhantomData<R>,
}

impl<'a, R: Record> Group<'a, R> {
    /// The section's name; `btf` is the object's.
    pub fn section<'b>(&self, btf: &'b Btf) -> Result<&'b str> {
        btf.string(self.section_off)
    }

    /// The records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = R> + use<'a, R> {
        let order = self.order;
        self.bytes.chunks_exact(self.record_bytes).map(move |record| {
            let mut words = [0; 4];
            for (nth, word) in words.iter_mut().enumerate() {
                *word = order.u32(record, nth * 4).unwrap_or_default();
            }
            R::decode(words)
        })
    }

    /// Appends the records about the section's instructions in `insns` as bpf(2) takes them: in this machine's byte order,
    /// the offset counted in instructions, the first of `insns` having number `at`. Words that this crate does not know are
    /// kept.
    pub fn append_for_load(&self, insns: Range<u32>, at: u32, out: &mut Vec<u8>) {
        for record in self.bytes.chunks_exact(self.record_bytes) {
            let mut words = record.chunks_exact(4).filter_map(|word| self.order.u32(word, 0));
            let insn = words.next().unwrap_or_default() / INSN_BYTES;
            if insns.contains(&insn) {
                let moved = (insn - insns.start).saturating_add(at);
                out.extend(moved.to_ne_bytes());
                out.extend(words.flat_map(u32::to_ne_bytes));
            }
        }
    }
}

/// A record of `.BTF.ext`.
pub trait Record: sealed::Sealed {
    /// Bytes that every version of the record has.
    #[doc(hidden)]
    const BYTES: usize;

    /// Makes the record of its first four words.
    #[doc(hidden)]
    fn decode(words: [u32; 4]) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::FuncInfo {}
    impl Sealed for super::LineInfo {}
    impl Sealed for super::CoreRelo {}
}

/// A function begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "bpf_func_info")]
pub struct FuncInfo {
    /// Where, in bytes from the start of the section.
    pub insn_off: u32,
    /// The function.
    pub ty: TypeId,
}

impl Record for FuncInfo {
    const BYTES: usize = 8;

    fn decode([insn_off, ty, ..]: [u32; 4]) -> Self {
        Self { insn_off, ty: TypeId(ty) }
    }
}

/// A source line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "bpf_line_info")]
pub struct LineInfo {
    /// Where, in bytes from the start of the section.
    pub insn_off: u32,
    /// String offset of the file's name.
    pub file_off: u32,
    /// String offset of the line's text.
    pub text_off: u32,
    line_col: u32,
}

impl LineInfo {
    /// Number of the line, from 1.
    pub fn line(self) -> u32 {
        self.line_col >> 10
    }

    /// Column, from 1; 0 if unknown.
    pub fn column(self) -> u32 {
        self.line_col & 0x3ff
    }

    /// The same line, `bytes` further on in its section, with its strings elsewhere.
    #[must_use]
    pub fn moved(self, bytes: u32, file_off: u32, text_off: u32) -> Self {
        Self { insn_off: self.insn_off.wrapping_add(bytes), file_off, text_off, ..self }
    }
}

impl Record for LineInfo {
    const BYTES: usize = 16;

    fn decode([insn_off, file_off, text_off, line_col]: [u32; 4]) -> Self {
        Self { insn_off, file_off, text_off, line_col }
    }
}

/// A field of an instruction depends on the target's types; [`crate::core`] says what to put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "bpf_core_relo")]
pub struct CoreRelo {
    /// Which instruction, in bytes from the start of the section.
    pub insn_off: u32,
    /// The type at which the access begins.
    pub ty: TypeId,
    /// String offset of the access, such as `0:1:2`.
    pub access_off: u32,
    /// Number of what is asked ([`crate::core::ReloKind`]).
    pub kind: u32,
}

impl Record for CoreRelo {
    const BYTES: usize = 16;

    fn decode([insn_off, ty, access_off, kind]: [u32; 4]) -> Self {
        Self { insn_off, ty: TypeId(ty), access_off, kind }
    }
}
