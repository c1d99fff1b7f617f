//! The string section, and the search for names in it.
//!
//! A look-up by name first finds where the name stands in the string section (one pass at memory speed) and then walks
//! over the types comparing offsets, which reads no string and keeps nothing. A name that no type has is mostly answered
//! by the first step alone.

use memchr::arch::all::packedpair::HeuristicFrequencyRank;
use memchr::memchr;
use memchr::memmem::FinderBuilder;

use crate::{Btf, Error, Result};

impl Btf {
    /// The string at an offset; offsets below the base's length mean the base's strings.
    pub fn string(&self, off: u32) -> Result<&str> {
        // What has no name is asked for it, too, and most types have none.
        if off == 0 {
            return Ok("");
        }
        let bytes = self.string_bytes(off)?;
        std::str::from_utf8(bytes)
            .map_err(|_| Error::malformed(format!("the string at offset {off} is not UTF-8")))
    }

    /// The bytes of a string without their NUL.
    pub(crate) fn string_bytes(&self, off: u32) -> Result<&[u8]> {
        if let Some(base) = self.base().filter(|_| off < self.first_string()) {
            return base.string_bytes(off);
        }
        // Offset 0 is the empty string, even in BTF that has no string section.
        if off == 0 {
            return Ok(&[]);
        }
        let tail = self.string_section().get((off - self.first_string()) as usize..).unwrap_or_default();
        let end = memchr(0, tail).ok_or_else(|| {
            Error::malformed(format!(
                "string offset {off} is outside of the string section, which ends at {}",
                self.strings_end()
            ))
        })?;
        Ok(&tail[..end])
    }

    /// The offset after the last string, counted from the start of the base's strings.
    pub fn strings_end(&self) -> u32 {
        self.first_string().saturating_add(self.string_section().len() as u32)
    }
}

/// Offsets of strings that a name may have.
pub(crate) struct NameOffsets {
    sorted: Vec<u32>,
    /// Has bit `offset % 4096` set for each of them: most other offsets are told apart without a search.
    filter: [u64; 64],
}

impl NameOffsets {
    /// Where `name` stands, as a whole string or as the tail of one, in the strings of `btf` and its bases. Nowhere if it
    /// is empty: types without name are not looked up.
    pub(crate) fn of(btf: &Btf, name: &str) -> Self {
        let mut found = Self { sorted: Vec::new(), filter: [0; 64] };
        if !name.is_empty() && !name.contains('\0') {
            found.search(btf, &[name.as_bytes(), b"\0"].concat());
        }
        found.sorted.sort_unstable();
        found
    }

    /// Where `name` stands, and where strings do that begin with it and `___`.
    pub(crate) fn with_flavours(btf: &Btf, name: &str) -> Self {
        let mut found = Self::of(btf, name);
        if !name.is_empty() {
            found.search(btf, &[name.as_bytes(), b"___"].concat());
        }
        found.sorted.sort_unstable();
        found
    }

    /// Adds the offsets of `needle`.
    fn search(&mut self, btf: &Btf, needle: &[u8]) {
        let finder = FinderBuilder::new().build_forward_with_ranker(NameBytes, needle);
        let mut next = Some(btf);
        while let Some(btf) = next {
            let strings = btf.string_section();
            for at in finder.find_iter(strings) {
                self.insert(btf.first_string().saturating_add(at as u32));
            }
            next = btf.base().map(AsRef::as_ref);
        }
    }

    fn insert(&mut self, off: u32) {
        self.sorted.push(off);
        self.filter[(off >> 6) as usize % 64] |= 1 << (off % 64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    #[inline]
    pub(crate) fn contains(&self, off: u32) -> bool {
        self.filter[(off >> 6) as usize % 64] >> (off % 64) & 1 != 0
            && self.sorted.binary_search(&off).is_ok()
    }
}

/// How frequent bytes are in the names of a kernel: a search is quick if it looks for the rarest ones.
struct NameBytes;

impl HeuristicFrequencyRank for NameBytes {
    fn rank(&self, byte: u8) -> u8 {
        const BY_FREQUENCY: &[u8] = b"_et\0rasiconpldfmubgETkvhxARSyIOPNwCLDFMqUBGH4V62XKYzW3j10Q8Z5J97";
        BY_FREQUENCY.iter().position(|&known| known == byte).map_or(0, |place| u8::MAX - 3 * place as u8)
    }
}
