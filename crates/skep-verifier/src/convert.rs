//! What Linux makes of loads of context fields (`convert_ctx_accesses`): it loads from a structure of its own, whose field may
//! be shorter than the one that programs see. A load of a part that is no shorter than the kernel's field gives all of that,
//! wherever in the field the part lies; a shorter part is cut out, as memory would give it.

use skep_isa::uapi::ProgType;
use skep_isa::{Insn, Op, decode};

use crate::facts::{Facts, Region};

/// Fields of `struct __sk_buff` and `struct bpf_sk_lookup` of four bytes, and how many the kernel's have.
const SKB: [(i64, i64); 9] =
    [(4, 1), (12, 2), (16, 2), (24, 2), (28, 2), (44, 2), (88, 2), (164, 2), (176, 2)];
const SK_LOOKUP: [(i64, i64); 3] = [(8, 2), (12, 2), (60, 2)];
const FIELD_BYTES: i64 = 4;

fn fields(prog_type: ProgType) -> &'static [(i64, i64)] {
    match prog_type {
        ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::SOCKET_FILTER
        | ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::SK_SKB => &SKB,
        ProgType::SK_LOOKUP => &SK_LOOKUP,
        _ => &[],
    }
}

/// Makes loads of such parts loads of their field's beginning.
pub(crate) fn convert(insns: &mut [Insn], prog_type: ProgType, facts: &Facts) {
    let fields = fields(prog_type);
    if fields.is_empty() {
        return;
    }
    for (slot, insn) in insns.iter_mut().enumerate() {
        let Some(access) = facts.access(slot).filter(|access| access.region == Region::Context) else {
            continue;
        };
        let Some(bytes) = load_bytes(*insn).filter(|_| access.min == access.max) else { continue };
        let inside = |(start, _): &&(i64, i64)| (*start..start + FIELD_BYTES).contains(&access.min);
        if let Some((start, own)) = fields.iter().find(inside)
            && (*own..FIELD_BYTES).contains(&bytes)
        {
            insn.off -= (access.min - start) as i16;
        }
    }
}

/// Bytes of a load from memory.
fn load_bytes(insn: Insn) -> Option<i64> {
    match decode(&[insn], 0) {
        Ok(Op::Load { size, .. }) => Some(i64::from(size.bytes())),
        _ => None,
    }
}
