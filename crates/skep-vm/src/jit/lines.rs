//! Jumps stay inside lines of 32 bytes (x86-64).
//!
//! Many processors (Intel's from Skylake to Comet Lake: "Mitigations for Jump Conditional Code Erratum", 2019) do not keep the
//! decoded form of a line where a jump touches its end, so that a small loop takes half as long again by where it happens to
//! stand. Where that would be so, instructions that do nothing are put before the jump, or before the comparison that it is
//! decoded with. Code that refers to itself otherwise than by jumps with four bytes of distance is left as it is.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};

use super::translate::Body;

/// Bytes of a line.
const LINE: usize = 32;

/// One instruction, or bytes of it.
struct Part {
    start: usize,
    len: usize,
    /// Where it goes, if that is in this code.
    target: Option<usize>,
    /// Is it a jump, a call or a return?
    jumps: bool,
    /// Is it decoded together with a conditional jump behind it?
    joins: bool,
}

/// The same code with jumps inside lines.
pub(super) fn keep_jumps_inside(body: Body) -> Body {
    moved(&body).unwrap_or(body)
}

fn moved(body: &Body) -> Option<Body> {
    let parts = parts(body)?;
    let places = places(&parts);
    let mut code = Vec::with_capacity(places.last()? + LINE);
    for (part, place) in parts.iter().zip(&places) {
        fill(&mut code, *place);
        code.extend_from_slice(&body.code[part.start..part.start + part.len]);
        if let Some(target) = part.target {
            let at = parts.binary_search_by_key(&target, |part| part.start).ok()?;
            let distance = i32::try_from(places[at] as i64 - code.len() as i64).ok()?;
            *code.last_chunk_mut()? = distance.to_le_bytes();
        }
    }
    let place_of = |offset: u32| {
        let at = parts.partition_point(|part| part.start <= offset as usize).checked_sub(1)?;
        u32::try_from(places[at] + (offset as usize - parts[at].start)).ok()
    };
    let references = body.references.iter().map(|(offset, kind, addend, referent)| {
        place_of(*offset).map(|place| (place, *kind, *addend, *referent))
    });
    Some(Body { code, align: body.align.max(LINE as u32), references: references.collect::<Option<_>>()? })
}

/// The instructions; `None` when there is something that cannot be moved.
fn parts(body: &Body) -> Option<Vec<Part>> {
    let mut decoder = Decoder::with_ip(64, &body.code, 0, DecoderOptions::NONE);
    let mut parts: Vec<Part> = Vec::new();
    while decoder.can_decode() {
        let insn = decoder.decode();
        if insn.code() == Code::INVALID || insn.is_ip_rel_memory_operand() {
            return None;
        }
        let (start, len) = (insn.ip() as usize, insn.len());
        let is_referred =
            body.references.iter().any(|(at, ..)| (start..start + len).contains(&(*at as usize)));
        let is_near = insn.op0_kind() == OpKind::NearBranch64 && !is_referred;
        // A distance of one byte may not reach any more.
        if is_near && len < 5 {
            return None;
        }
        let conditional = insn.flow_control() == FlowControl::ConditionalBranch;
        if let Some(before) = parts.last_mut() {
            before.joins &= conditional;
        }
        parts.push(Part {
            start,
            len,
            target: is_near.then(|| insn.near_branch64() as usize),
            jumps: insn.flow_control() != FlowControl::Next,
            joins: may_join(&insn),
        });
    }
    parts.last_mut()?.joins = false;
    Some(parts)
}

/// Is it one of those that processors join with a conditional jump behind them?
fn may_join(insn: &Instruction) -> bool {
    use Mnemonic::{Add, And, Cmp, Dec, Inc, Sub, Test};
    matches!(insn.mnemonic(), Cmp | Test | Add | Sub | And | Inc | Dec)
}

/// Where each instruction goes.
fn places(parts: &[Part]) -> Vec<usize> {
    let mut places = Vec::with_capacity(parts.len());
    let mut at = 0usize;
    for (number, part) in parts.iter().enumerate() {
        let behind = if part.joins { parts[number + 1].len } else { 0 };
        let touches_end = at / LINE != (at + part.len + behind) / LINE;
        if (part.jumps || part.joins) && touches_end && part.len + behind < LINE {
            at = at.next_multiple_of(LINE);
        }
        places.push(at);
        at += part.len;
    }
    places
}

/// Instructions that do nothing, by length (Intel's manual, volume 2, `NOP`).
const NOTHING: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

/// Goes on at a place.
fn fill(code: &mut Vec<u8>, place: usize) {
    while code.len() < place {
        let len = (place - code.len()).min(NOTHING.len());
        code.extend_from_slice(NOTHING[len - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` instructions of three bytes, `cmp edi, esi`, and a jump of six bytes to a place.
    fn counted(count: usize, to: usize) -> Vec<u8> {
        let mut code = [0x48, 0x01, 0xf7].repeat(count);
        code.extend([0x39, 0xf7, 0x0f, 0x85]);
        let distance = to as i32 - (code.len() as i32 + 4);
        code.extend(distance.to_le_bytes());
        code.push(0xc3);
        code
    }

    #[test]
    fn jumps_touch_no_end_and_go_where_they_went() {
        for count in 0..24 {
            let body = Body { code: counted(count, 0), align: 16, references: Vec::new() };
            let moved = keep_jumps_inside(body);
            assert_eq!(moved.align, 32);
            let parts = parts(&moved).expect("it is code");
            for (number, part) in parts.iter().enumerate().filter(|(_, part)| part.jumps || part.joins) {
                let end = part.start + part.len + if part.joins { parts[number + 1].len } else { 0 };
                assert_eq!(part.start / LINE, end / LINE, "{count}: {:x?}", moved.code);
                assert!(part.target.is_none_or(|target| target == 0));
            }
        }
    }

    #[test]
    fn jumps_of_a_byte_are_left_alone() {
        let mut code = [0x48, 0x01, 0xf7].repeat(10);
        code.extend([0x75, 0xe0, 0xc3]);
        let body = keep_jumps_inside(Body { code: code.clone(), align: 16, references: Vec::new() });
        assert_eq!((body.code, body.align), (code, 16));
    }
}
