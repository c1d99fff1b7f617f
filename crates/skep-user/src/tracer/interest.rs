//! What the attached programs want to see, and so what the tracer has to stop for.

use super::probe::Site;

/// A set of system call numbers of the x86-64 table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallSet {
    words: [u64; CallSet::LIMIT as usize / 64],
}

impl CallSet {
    /// One more than the largest number that a set can hold.
    pub(crate) const LIMIT: u32 = 1024;

    /// Every number.
    pub(crate) const ALL: Self = Self { words: [u64::MAX; Self::LIMIT as usize / 64] };

    /// The set of some numbers.
    #[cfg(test)]
    pub(crate) fn of(numbers: &[u32]) -> Self {
        let mut set = Self::default();
        numbers.iter().for_each(|&nr| set.insert(nr));
        set
    }

    /// Adds a number; those beyond the limit do not exist.
    pub(crate) fn insert(&mut self, nr: u32) {
        if let Some(word) = self.words.get_mut(nr as usize / 64) {
            *word |= 1 << (nr % 64);
        }
    }

    /// Is a number in the set?
    pub(crate) fn contains(&self, nr: u64) -> bool {
        self.words.get((nr / 64) as usize).is_some_and(|word| word & 1 << (nr % 64) != 0)
    }

    /// Is it empty?
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Is every number in it?
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// What is in either set.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut words = self.words;
        words.iter_mut().zip(other.words).for_each(|(word, more)| *word |= more);
        Self { words }
    }

    /// The members as half-open ranges, ascending.
    pub(crate) fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for nr in (0..Self::LIMIT).filter(|&nr| self.contains(u64::from(nr))) {
            match ranges.last_mut() {
                Some((_, end)) if *end == nr => *end += 1,
                _ => ranges.push((nr, nr + 1)),
            }
        }
        ranges
    }
}

/// Everything the tracer may have to stop for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    /// System calls to stop at on entry.
    pub(crate) enter: CallSet,
    /// System calls to stop at on exit.
    pub(crate) exit: CallSet,
    /// System calls after which what is kept of a thread may no longer be true.
    pub(crate) watch: CallSet,
    /// Also 32-bit and x32 calls, whatever their number.
    pub(crate) foreign: bool,
    /// The ends of threads.
    pub(crate) exits: bool,
    /// Signals before they are delivered.
    pub(crate) signals: bool,
    /// Places in files.
    pub(crate) sites: Vec<Site>,
    /// Nanoseconds of processor time between two samples, for each of those who want samples.
    pub(crate) periods: Vec<u64>,
}

impl Interest {
    /// The calls that need any stop at all.
    pub(crate) fn calls(&self) -> CallSet {
        self.enter.union(&self.exit).union(&self.watch)
    }
}
