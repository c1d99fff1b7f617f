//! A first program, verified for the sake of the next one's time.

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{Insn, Reg};

use crate::{Input, MapInfo, Report, Target};

/// Makes the names of the target's types known, verifies a small program as two types and forgets the verdicts, see [`Subject::warm_up`](crate::Subject::warm_up).
pub(crate) fn warm_up(target: &Target) {
    let types = target.btf.iter().chain(target.modules.iter().map(|(_, btf)| btf));
    types.for_each(|btf| btf.index_names());
    // A socket filter may not read packets directly: both verdicts.
    for prog_type in [ProgType::SCHED_CLS, ProgType::SOCKET_FILTER] {
        verify_first(prog_type, target);
    }
}

fn verify_first(prog_type: ProgType, target: &Target) -> Report {
    let maps = [MapInfo::new("", MapType::ARRAY, 4, 64, 1)];
    crate::verify(&Input::new("warm_up", prog_type, &PROGRAM, &maps, target))
}

const R0: Reg = Reg(0);
const R1: Reg = Reg(1);
const R2: Reg = Reg(2);
const R3: Reg = Reg(3);
const R6: Reg = Reg(6);
const R7: Reg = Reg(7);
const R8: Reg = Reg(8);
const R9: Reg = Reg(9);
const R10: Reg = Reg(10);

/// Reads a packet, looks a map up, counts in it, loops, calls a function.
static PROGRAM: [Insn; 36] = [
    Insn::new(0xbf, R6, R1, 0, 0),     // r6 = r1
    Insn::new(0x61, R2, R6, 80, 0),    // r2 = skb->data_end
    Insn::new(0x61, R1, R6, 76, 0),    // r1 = skb->data
    Insn::new(0xbf, R3, R1, 0, 0),     // r3 = r1
    Insn::new(0x07, R3, R0, 0, 14),    // r3 += 14
    Insn::new(0x2d, R3, R2, 24, 0),    // if r3 > r2 goto out
    Insn::new(0x69, R7, R1, 12, 0),    // r7 = *(u16 *)(r1 + 12)
    Insn::new(0x7b, R10, R7, -16, 0),  // *(u64 *)(r10 - 16) = r7
    Insn::new(0x62, R10, R0, -4, 0),   // *(u32 *)(r10 - 4) = 0
    Insn::new(0xbf, R2, R10, 0, 0),    // r2 = r10
    Insn::new(0x07, R2, R0, 0, -4),    // r2 += -4
    Insn::new(0x18, R1, Reg(5), 0, 0), // r1 = the map
    Insn::new(0, R0, R0, 0, 0),        //
    Insn::new(0x85, R0, R0, 0, 1),     // call bpf_map_lookup_elem
    Insn::new(0x15, R0, R0, 15, 0),    // if r0 == 0 goto out
    Insn::new(0xbf, R8, R0, 0, 0),     // r8 = r0
    Insn::new(0x79, R1, R10, -16, 0),  // r1 = *(u64 *)(r10 - 16)
    Insn::new(0x57, R1, R0, 0, 31),    // r1 &= 31
    Insn::new(0x0f, R8, R1, 0, 0),     // r8 += r1
    Insn::new(0x71, R2, R8, 8, 0),     // r2 = *(u8 *)(r8 + 8)
    Insn::new(0xb7, R1, R0, 0, 1),     // r1 = 1
    Insn::new(0xdb, R0, R1, 0, 0),     // lock *(u64 *)(r0 + 0) += r1
    Insn::new(0xb7, R9, R0, 0, 0),     // r9 = 0
    Insn::new(0x85, R0, R0, 0, 5),     // again: call bpf_ktime_get_ns
    Insn::new(0x07, R9, R0, 0, 1),     // r9 += 1
    Insn::new(0xa5, R9, R0, -3, 3),    // if r9 < 3 goto again
    Insn::new(0x25, R0, R0, 1, 100),   // if r0 > 100 goto +1
    Insn::new(0xbf, R7, R0, 0, 0),     // r7 = r0
    Insn::new(0xbf, R1, R7, 0, 0),     // r1 = r7
    Insn::new(0x85, R0, Reg(1), 0, 2), // call twice
    Insn::new(0xb7, R0, R0, 0, 0),     // out: r0 = 0
    Insn::new(0x95, R0, R0, 0, 0),     // exit
    Insn::new(0xbf, R0, R1, 0, 0),     // twice: r0 = r1
    Insn::new(0x67, R0, R0, 0, 1),     // r0 <<= 1
    Insn::new(0x55, R0, R0, 0, 7),     // if r0 != 7 goto +0
    Insn::new(0x95, R0, R0, 0, 0),     // exit
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn one_type_walks_all_of_it_and_another_is_rejected() {
        let whole = verify_first(ProgType::SCHED_CLS, &Target::default());
        let Outcome::Accept(_) = whole.outcome else { panic!("{:?}", whole.outcome) };
        assert!(whole.stats.insns_processed as usize > PROGRAM.len(), "{:?}", whole.stats);
        let refused = verify_first(ProgType::SOCKET_FILTER, &Target::default());
        let Outcome::Reject(rejection) = refused.outcome else { panic!("{:?}", refused.outcome) };
        assert!(rejection.message.contains("invalid bpf_context access"), "{rejection}");
    }
}
