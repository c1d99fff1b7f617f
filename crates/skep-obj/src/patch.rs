//! Changes to `.BTF` in place.
//!
//! Numbers of types and offsets of strings stay what they are, because `.BTF.ext` and maps name them; so types are not
//! built anew, but their records are overwritten, and what is new is added at the end.

use skep_btf::{Linkage, SecVar, TypeId};

use crate::error::{Error, Result};

/// Bytes of the fields that every record has.
const RECORD_BYTES: usize = 12;

/// The bytes of `.BTF`, and where its records are.
pub(crate) struct Patch {
    bytes: Vec<u8>,
    /// Where each type's record begins, by number; type 0 has none.
    records: Vec<usize>,
    header: Header,
}

/// Where the two parts are, types first (`struct btf_header`).
#[derive(Clone, Copy)]
struct Header {
    types: usize,
    types_end: usize,
    strings: usize,
    strings_end: usize,
}

impl Patch {
    /// Finds the records. The bytes have been read as BTF before.
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self> {
        let header = Header::read(&bytes).ok_or_else(|| {
            Error::unsupported(
                "the types are not followed by the strings, as every eBPF compiler writes them",
            )
        })?;
        let mut records = vec![0];
        let mut at = header.types;
        while at < header.types_end {
            records.push(at);
            at += record_bytes(&bytes, at)
                .ok_or_else(|| Error::corrupt(format!("type {} is cut off", records.len() - 1)))?;
        }
        Ok(Self { bytes, records, header })
    }

    /// Writes a section's size and variables; there are as many as before.
    pub(crate) fn set_section(&mut self, id: TypeId, size: u32, variables: &[SecVar]) {
        self.set(id, 8, size);
        for (n, variable) in variables.iter().enumerate() {
            let at = RECORD_BYTES + n * 12;
            self.set(id, at, variable.ty.0);
            self.set(id, at + 4, variable.offset);
            self.set(id, at + 8, variable.bytes);
        }
    }

    /// Makes a variable static or global.
    pub(crate) fn set_linkage(&mut self, variable: TypeId, linkage: Linkage) {
        self.set(variable, RECORD_BYTES, linkage.code());
    }

    /// Gives a variable another type.
    pub(crate) fn set_type(&mut self, variable: TypeId, to: TypeId) {
        self.set(variable, 8, to.0);
    }

    /// Makes a function static or global.
    pub(crate) fn set_function_linkage(&mut self, function: TypeId, linkage: Linkage) {
        let info = self.get(function, 4).unwrap_or(0);
        self.set(function, 4, (info & !0xffff) | linkage.code());
    }

    /// Gives names to parameters that have none.
    pub(crate) fn name_parameters(&mut self, proto: TypeId, name: u32) {
        let count = self.get(proto, 4).unwrap_or(0) & 0xffff;
        for n in 0..count as usize {
            let at = RECORD_BYTES + n * 8;
            if self.get(proto, at) == Some(0) && self.get(proto, at + 4).is_some_and(|ty| ty != 0) {
                self.set(proto, at, name);
            }
        }
    }

    /// Adds a string; answers its offset.
    pub(crate) fn add_string(&mut self, text: &str) -> u32 {
        let at = self.header.strings_end;
        self.bytes.splice(at..at, text.bytes().chain([0]));
        self.header.strings_end += text.len() + 1;
        self.header.write(&mut self.bytes);
        (at - self.header.strings) as u32
    }

    /// Adds a global variable.
    pub(crate) fn add_variable(&mut self, name: u32, ty: TypeId) -> TypeId {
        const KIND_VAR: u32 = 14;
        let words = [name, KIND_VAR << 24, ty.0, Linkage::Global.code()];
        let (at, added) = (self.header.types_end, words.len() * 4);
        self.bytes.splice(at..at, words.iter().flat_map(|word| word.to_le_bytes()));
        self.records.push(at);
        let Header { types, types_end, strings, strings_end } = self.header;
        self.header = Header {
            types,
            types_end: types_end + added,
            strings: strings + added,
            strings_end: strings_end + added,
        };
        self.header.write(&mut self.bytes);
        TypeId(self.records.len() as u32 - 1)
    }

    /// The bytes, changed.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn set(&mut self, id: TypeId, offset: usize, value: u32) {
        let place = self.records.get(id.0 as usize).map(|at| at + offset);
        if let Some(bytes) = place.and_then(|at| self.bytes.get_mut(at..at + 4)) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn get(&self, id: TypeId, offset: usize) -> Option<u32> {
        word(&self.bytes, self.records.get(id.0 as usize)? + offset)
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = word(bytes, 4)? as usize;
        let part = |offset, len| {
            let start = header.checked_add(word(bytes, offset)? as usize)?;
            let end = start.checked_add(word(bytes, len)? as usize)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let ((types, types_end), (strings, strings_end)) = (part(8, 12)?, part(16, 20)?);
        (types_end <= strings).then_some(Self { types, types_end, strings, strings_end })
    }

    fn write(self, bytes: &mut [u8]) {
        let header = word(bytes, 4).unwrap_or(0) as usize;
        let words = [
            self.types - header,
            self.types_end - self.types,
            self.strings - header,
            self.strings_end - self.strings,
        ];
        for (n, value) in words.into_iter().enumerate() {
            if let Some(place) = bytes.get_mut(8 + n * 4..12 + n * 4) {
                place.copy_from_slice(&(value as u32).to_le_bytes());
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Bytes of the record at an offset (`Documentation/bpf/btf.rst`).
fn record_bytes(bytes: &[u8], at: usize) -> Option<usize> {
    let info = word(bytes, at + 4)?;
    let count = (info & 0xffff) as usize;
    let tail = match (info >> 24) & 0x1f {
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => 12 * count,
        6 | 13 => 8 * count,
        kind if kind > 19 => return None,
        _ => 0,
    };
    let size = RECORD_BYTES + tail;
    (at + size <= bytes.len()).then_some(size)
}
