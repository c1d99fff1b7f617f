//! Writes `.BTF.ext`.

use super::{CoreRelo, FuncInfo, HEADER_CORE_BYTES, LineInfo, Record};
use crate::ByteOrder;
use crate::header::MAGIC;

/// Collects records by section and writes them as the bytes of a `.BTF.ext` section.
///
/// Names, files, lines and accesses are offsets of strings in the `.BTF` that the section goes with.
#[derive(Debug, Default)]
pub struct ExtBuilder {
    func_info: Sections,
    line_info: Sections,
    core_relos: Sections,
}

/// The words of the records of one kind: string offset of a section's name, and what is about it.
type Sections = Vec<(u32, Vec<Vec<u32>>)>;

impl ExtBuilder {
    /// Adds which function begins where in a section.
    pub fn add_func(&mut self, section_off: u32, record: FuncInfo) {
        push(&mut self.func_info, section_off, [record.insn_off, record.ty.0].into());
    }

    /// Adds which source line begins where in a section.
    pub fn add_line(&mut self, section_off: u32, record: LineInfo) {
        let words = [record.insn_off, record.file_off, record.text_off, record.line_col];
        push(&mut self.line_info, section_off, words.into());
    }

    /// Adds what in a section depends on the target's types.
    pub fn add_core_relo(&mut self, section_off: u32, record: CoreRelo) {
        let words = [record.insn_off, record.ty.0, record.access_off, record.kind];
        push(&mut self.core_relos, section_off, words.into());
    }

    /// The bytes of the section. Records stand in the order of their instructions.
    pub fn finish(mut self, order: ByteOrder) -> Vec<u8> {
        let mut body = Vec::new();
        let mut places = Vec::new();
        let kinds = [
            (&mut self.func_info, FuncInfo::BYTES),
            (&mut self.line_info, LineInfo::BYTES),
            (&mut self.core_relos, CoreRelo::BYTES),
        ];
        for (sections, record_bytes) in kinds {
            let start = body.len();
            if !sections.is_empty() {
                write(&mut body, order, sections, record_bytes);
            }
            places.extend([start as u32, (body.len() - start) as u32]);
        }
        let mut out = Vec::with_capacity(HEADER_CORE_BYTES as usize + body.len());
        order.put_u16(&mut out, MAGIC);
        out.extend([1, 0]);
        order.put_u32(&mut out, HEADER_CORE_BYTES);
        places.into_iter().for_each(|place| order.put_u32(&mut out, place));
        out.extend(body);
        out
    }
}

fn push(sections: &mut Sections, section_off: u32, record: Vec<u32>) {
    match sections.iter_mut().find(|(name, _)| *name == section_off) {
        Some((_, records)) => records.push(record),
        None => sections.push((section_off, vec![record])),
    }
}

fn write(body: &mut Vec<u8>, order: ByteOrder, sections: &mut Sections, record_bytes: usize) {
    order.put_u32(body, record_bytes as u32);
    for (name, records) in sections {
        records.sort_by_key(|words| words[0]);
        order.put_u32(body, *name);
        order.put_u32(body, records.len() as u32);
        records.iter().flatten().for_each(|&word| order.put_u32(body, word));
    }
}
