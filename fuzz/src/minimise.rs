//! Makes a failing program smaller: instructions become no-ops or go, as long as it still fails.

use skep_isa::{Insn, Reg};

use crate::generate::Made;

/// `goto +0`, which does nothing.
const NOTHING: Insn = Insn::new(0x05, Reg::R0, Reg::R0, 0, 0);

/// Attempts, so that a large program does not take all day.
const ATTEMPTS: usize = 4000;

/// The smallest program found that `fails` as the given one does.
pub fn minimise(made: &Made, fails: &mut dyn FnMut(&Made) -> bool) -> Made {
    let mut smallest = made.clone();
    let mut attempts = 0;
    loop {
        let before = smallest.insns.clone();
        for at in (0..smallest.insns.len()).rev() {
            for candidate in [without(&smallest, at), silenced(&smallest, at)].into_iter().flatten() {
                attempts += 1;
                if attempts > ATTEMPTS {
                    return smallest;
                }
                if fails(&candidate) {
                    smallest = candidate;
                    break;
                }
            }
        }
        if smallest.insns == before {
            return smallest;
        }
    }
}

/// The instruction does nothing; `None` where it does nothing already.
fn silenced(made: &Made, at: usize) -> Option<Made> {
    let mut silenced = made.clone();
    let insn = silenced.insns.get_mut(at)?;
    if *insn == NOTHING {
        return None;
    }
    *insn = NOTHING;
    Some(silenced)
}

/// The slot is gone, and jumps over it are shorter by one.
fn without(made: &Made, at: usize) -> Option<Made> {
    let mut shorter = made.clone();
    if at >= shorter.insns.len() {
        return None;
    }
    shorter.insns.remove(at);
    for (slot, insn) in shorter.insns.iter_mut().enumerate() {
        let from = if slot >= at { slot + 1 } else { slot } as i64;
        let crosses = |offset: i64| {
            let to = from + 1 + offset;
            (from < at as i64 && to > at as i64) || (from > at as i64 && to <= at as i64)
        };
        let class = insn.code & 7;
        let is_call = insn.code == 0x85;
        let is_function = insn.code == 0x18 && insn.src() == Reg(4);
        if (class == 5 || class == 6) && !is_call && insn.code != 0x95 {
            if crosses(insn.off.into()) {
                insn.off -= insn.off.signum();
            }
        } else if ((is_call && insn.src() == Reg(1)) || is_function) && crosses(insn.imm.into()) {
            insn.imm -= insn.imm.signum();
        }
    }
    Some(shorter)
}
