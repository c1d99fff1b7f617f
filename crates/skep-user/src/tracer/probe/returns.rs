//! Functions that a thread is in and whose return somebody wants to see.
//!
//! A function is known by its stack slot: where its return address is stored. It is back when the thread gets to that address
//! with the stack pointer just above the slot. A function that was left in another way (longjmp(3), an exception) is known
//! to be gone when the thread is seen above its slot; only slots of the same stack can tell, and a thread may have several.

use super::SiteId;

/// Slots farther away than this are of another stack.
const STACK_BYTES: u64 = 8 << 20;

/// Functions that a thread may be in at a time. One more forgets the oldest.
const DEPTH: usize = 1 << 16;

/// A function on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) site: SiteId,
    /// Where the function begins.
    pub(super) address: u64,
    /// Where its return address is stored.
    pub(super) slot: u64,
    pub(super) return_address: u64,
    pub(super) session: u64,
}

/// The functions that a thread is in, outermost first.
#[derive(Clone, Debug, Default)]
pub(in crate::tracer) struct Returns(Vec<Pending>);

impl Returns {
    /// A function has been entered.
    pub(super) fn enter(&mut self, entered: Pending) {
        // Whatever was below this slot is gone; so is the same function at the same slot, which was jumped out of before.
        let is_gone = |known: &mut Pending| {
            is_below(known.slot, entered.slot) || (known.slot == entered.slot && known.site == entered.site)
        };
        while self.0.pop_if(is_gone).is_some() {}
        if self.0.len() == DEPTH {
            self.0.remove(0);
        }
        self.0.push(entered);
    }

    /// The thread is at a return address with this stack pointer: the functions that have returned, innermost first. There
    /// are several when one ended by jumping to the next.
    pub(super) fn back(&mut self, address: u64, stack_pointer: u64) -> Vec<Pending> {
        let slot = stack_pointer.wrapping_sub(8);
        let is_back = |known: &Pending| known.slot == slot && known.return_address == address;
        let mut back = Vec::new();
        while let Some(gone) = self.0.pop_if(|known| is_back(known) || is_below(known.slot, slot)) {
            back.extend(Some(gone).filter(is_back));
        }
        if back.is_empty() {
            // Functions of another stack may have been entered since.
            back.extend(self.0.iter().rev().copied().filter(is_back));
            self.0.retain(|known| !is_back(known));
        }
        back
    }

    /// The thread executes another program.
    pub(in crate::tracer) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Does a slot lie below another one of the same stack?
fn is_below(slot: u64, other: u64) -> bool {
    slot < other && other - slot < STACK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHIND: u64 = 0x40_1005;

    fn pending(site: SiteId, slot: u64) -> Pending {
        Pending { site, address: 0x40_2000, slot, return_address: BEHIND, session: 0 }
    }

    fn back(returns: &mut Returns, slot: u64) -> Vec<SiteId> {
        returns.back(BEHIND, slot + 8).iter().map(|pending| pending.site).collect()
    }

    #[test]
    fn recursion_returns_in_order() {
        let mut returns = Returns::default();
        for slot in [0x7000, 0x6f00, 0x6e00] {
            returns.enter(pending(1, slot));
        }
        assert_eq!(back(&mut returns, 0x6d00), [0; 0]);
        for slot in [0x6e00, 0x6f00, 0x7000] {
            assert_eq!(back(&mut returns, slot), [1]);
        }
        assert_eq!(back(&mut returns, 0x7000), [0; 0]);
    }

    #[test]
    fn a_jump_to_another_function_returns_both() {
        let mut returns = Returns::default();
        returns.enter(pending(1, 0x7000));
        returns.enter(pending(2, 0x7000));
        assert_eq!(back(&mut returns, 0x7000), [2, 1]);
    }

    #[test]
    fn functions_that_were_jumped_out_of_are_forgotten() {
        let mut returns = Returns::default();
        returns.enter(pending(1, 0x7000));
        returns.enter(pending(2, 0x6f00));
        returns.enter(pending(1, 0x6e00));
        // A longjmp out of the inner two, and the outer one returns.
        assert_eq!(back(&mut returns, 0x7000), [1]);
        assert!(returns.0.is_empty());
        // A longjmp out of a function that is called again from the same place.
        returns.enter(pending(1, 0x7000));
        returns.enter(pending(1, 0x7000));
        assert_eq!(back(&mut returns, 0x7000), [1]);
    }

    #[test]
    fn other_stacks_are_left_alone() {
        let mut returns = Returns::default();
        returns.enter(pending(1, 0x7000));
        returns.enter(pending(2, 0x7fff_0000_0000));
        assert_eq!(back(&mut returns, 0x7fff_0000_0000), [2]);
        assert_eq!(back(&mut returns, 0x7000), [1]);
    }
}
