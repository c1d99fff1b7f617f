//! Sets of processors that programs own: `struct bpf_cpumask`, counted references.
//!
//! They lie in one mapping that stays to the end of the process, because maps keep their addresses from run to run. What
//! was freed stays readable, as it does in the kernel for a grace period. Programs only read them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::memory::{Arena, Window};

/// Bytes of bits, for the most processors that Linux can have (`CONFIG_NR_CPUS` of 8192).
pub(crate) const MASK_BYTES: usize = 1024;
/// From one to the next; behind the bits is what the structure has behind them.
const STRIDE: usize = MASK_BYTES + 64;
/// As many as there may be at a time.
const COUNT: usize = 1 << 15;

/// All of them.
pub(crate) struct Masks {
    arena: Arc<Arena>,
    window: Window,
    owned: Mutex<Owned>,
}

#[derive(Default)]
struct Owned {
    /// References to each that has ever been used; 0 for those that are free.
    references: Vec<u32>,
    free: Vec<usize>,
}

static MASKS: OnceLock<Option<Masks>> = OnceLock::new();

/// Those that there are; nothing when none was ever made.
pub(crate) fn known() -> Option<&'static Masks> {
    MASKS.get()?.as_ref()
}

/// A new one of no processors; `None` when there is no memory.
pub(crate) fn create() -> Option<u64> {
    MASKS.get_or_init(Masks::new).as_ref()?.create()
}

/// Gives back a reference that a pointer of a map has had; pointers to other things are none of ours.
pub(crate) fn let_go(addr: u64) {
    if let Some(masks) = known() {
        masks.release(addr);
    }
}

impl Masks {
    fn new() -> Option<Self> {
        let arena = Arc::new(Arena::new(COUNT * STRIDE).ok()?);
        let window = Window::cells(&arena, 0, COUNT, STRIDE, STRIDE).read_only();
        Some(Self { arena, window, owned: Mutex::default() })
    }

    /// What programs may read.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self) -> Option<u64> {
        let mut owned = self.owned();
        let n = match owned.free.pop() {
            Some(n) => n,
            None if owned.references.len() < COUNT => {
                owned.references.push(0);
                owned.references.len() - 1
            }
            None => return None,
        };
        owned.references[n] = 1;
        self.arena.zero(n * STRIDE, STRIDE);
        Some(self.arena.base() + (n * STRIDE) as u64)
    }

    /// The number of the mask that begins at an address.
    fn number(&self, addr: u64) -> Option<usize> {
        let off = usize::try_from(addr.checked_sub(self.arena.base())?).ok()?;
        (off.is_multiple_of(STRIDE) && off < COUNT * STRIDE).then_some(off / STRIDE)
    }

    /// Takes one more reference; false when there is no such mask.
    pub(crate) fn acquire(&self, addr: u64) -> bool {
        let number = self.number(addr);
        let mut owned = self.owned();
        let references = number.and_then(|n| owned.references.get_mut(n)).filter(|count| **count > 0);
        references.map(|count| *count += 1).is_some()
    }

    /// Gives one back; false when there is no such mask.
    pub(crate) fn release(&self, addr: u64) -> bool {
        let number = self.number(addr);
        let mut owned = self.owned();
        let references = number.and_then(|n| owned.references.get_mut(n)).filter(|count| **count > 0);
        let Some(count) = references else { return false };
        *count -= 1;
        if *count == 0 {
            owned.free.extend(number);
        }
        true
    }

    /// Changes the bits of a mask by `change`, one at a time of those who change some; nothing when there is no such mask.
    pub(crate) fn change<T>(
        &self,
        addr: u64,
        bytes: usize,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> Option<T> {
        let number = self.number(addr)?;
        let owned = self.owned();
        owned.references.get(number).filter(|count| **count > 0)?;
        let mut bits = vec![0; bytes.min(MASK_BYTES)];
        self.arena.read(number * STRIDE, &mut bits);
        let changed = change(&mut bits);
        self.arena.write(number * STRIDE, &bits);
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_counted() {
        let first = create().expect("memory");
        let masks = known().expect("one was made");
        assert!(masks.acquire(first) && masks.release(first));
        assert_eq!(masks.change(first, 8, |bits| bits[0] = 5), Some(()));
        assert_eq!(masks.change(first, 8, |bits| bits[0]), Some(5));
        assert!(!masks.acquire(first + 8), "it begins elsewhere");
        assert!(masks.release(first));
        assert!(!masks.release(first), "it is free");
        assert_eq!(masks.change(first, 8, |bits| bits[0]), None);
    }
}
