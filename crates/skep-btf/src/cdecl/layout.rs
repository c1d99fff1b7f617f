//! Where the members of a structure or union lie.
//!
//! The rules are those of the System V ABI for x86-64 as clang applies them to BPF. A bit field goes to the next
//! free bit, unless it would then cross a boundary of its type; `: 0` goes on to the next such boundary; a field
//! without a name does not raise the alignment of the structure. `packed` lets members start at any byte and bit
//! fields at any bit; `aligned` raises, `#pragma pack` lowers what is left.

/// A member to be placed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Field {
    /// Size and natural alignment of the type, in bytes.
    pub(super) bytes: u64,
    pub(super) align: u64,
    /// Width of a bit field.
    pub(super) bits: Option<u32>,
    pub(super) named: bool,
    pub(super) packed: bool,
    /// From an `aligned` attribute of the member.
    pub(super) min_align: Option<u64>,
}

/// A structure or union being laid out.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) union: bool,
    pub(super) packed: bool,
    /// From `#pragma pack`.
    pub(super) max_align: Option<u64>,
    next_bit: u64,
    size_bits: u64,
    align: u64,
}

impl Layout {
    pub(super) fn new(union: bool, packed: bool, max_align: Option<u64>) -> Layout {
        Layout { union, packed, max_align, next_bit: 0, size_bits: 0, align: 1 }
    }

    /// Offset of the field in bits; `None` if the structure becomes too large.
    pub(super) fn place(&mut self, field: Field) -> Option<u64> {
        let start = if self.union { 0 } else { self.next_bit };
        let align = self.field_align(&field);
        let (offset, width) = match field.bits {
            Some(bits) => (self.bit_field_offset(start, &field, align, bits)?, u64::from(bits)),
            None => (start.checked_next_multiple_of(align * 8)?, field.bytes.checked_mul(8)?),
        };
        if field.bits.is_none() || field.named {
            self.align = self.align.max(align);
        }
        self.next_bit = offset.checked_add(width)?;
        self.size_bits = self.size_bits.max(self.next_bit);
        (self.size_bits <= super::types::MAX_BYTES * 8).then_some(offset)
    }

    /// Size and alignment in bytes of the whole; `min_align` is from its `aligned` attribute.
    pub(super) fn finish(self, min_align: Option<u64>) -> Option<(u64, u64)> {
        let align = self.align.max(min_align.unwrap_or(1));
        let size = self.size_bits.div_ceil(8).checked_next_multiple_of(align)?;
        (size <= super::types::MAX_BYTES).then_some((size, align))
    }

    fn field_align(&self, field: &Field) -> u64 {
        let natural = if self.is_packed(field) { 1 } else { field.align };
        let raised = natural.max(field.min_align.unwrap_or(1));
        self.max_align.map_or(raised, |max| raised.min(max))
    }

    /// `: 0` stays what it is in a packed structure.
    fn is_packed(&self, field: &Field) -> bool {
        (self.packed || field.packed) && field.bits != Some(0)
    }

    fn bit_field_offset(&self, start: u64, field: &Field, align: u64, bits: u32) -> Option<u64> {
        let crosses = self.max_align.is_none() && start % (align * 8) + u64::from(bits) > field.bytes * 8;
        match bits == 0 || (crosses && !self.is_packed(field)) || field.min_align.is_some() {
            true => start.checked_next_multiple_of(align * 8),
            false => Some(start),
        }
    }
}
