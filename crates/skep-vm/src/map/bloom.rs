//! Bloom filters (`kernel/bpf/bloom_filter.c`): values that were pushed are always found, others hardly ever.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Elements, MapSpec};
use crate::Errno;
use crate::memory::Arena;

pub(super) struct Bloom {
    /// Costs memory where values have been pushed.
    bits: Arena,
    /// The number of bits, a power of two, less one.
    mask: u64,
    hashes: u64,
    seed: RandomState,
}

/// Hashes of a value when the map does not say how many.
const DEFAULT_HASHES: u64 = 5;

impl Bloom {
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let hashes = if spec.map_extra == 0 { DEFAULT_HASHES } else { spec.map_extra };
        // 7 bits for 5 hashes keep false answers below one in two hundred; more than 2^32 bits serve nobody.
        let wanted = u64::from(spec.max_entries) * hashes / 5 * 7;
        let bits = wanted.clamp(64, 1 << 32).next_power_of_two();
        Ok(Self { bits: Arena::new(bits as usize / 8)?, mask: bits - 1, hashes, seed: RandomState::new() })
    }

    /// Word and bit of each hash of a value: two hashes, mixed by counting, do for all.
    fn places(&self, value: &[u8]) -> impl Iterator<Item = (&AtomicU32, u32)> + '_ {
        let first = self.seed.hash_one(value);
        let second = self.seed.hash_one(first) | 1;
        (0..self.hashes).map(move |n| {
            let bit = first.wrapping_add(n.wrapping_mul(second)) & self.mask;
            (self.bits.u32((bit / 32) as usize * 4), 1 << (bit % 32))
        })
    }
}

impl Elements for Bloom {
    fn push(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.places(value).for_each(|(word, bit)| {
            word.fetch_or(bit, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Is this value there?
    fn peek(&self, value: &mut [u8]) -> Result<(), Errno> {
        let found = self.places(value).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0);
        if found { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn pop(&self, _value: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn put(&self, _key: &[u8], _value: &[u8], _flags: u64, _cpu: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn read(&self, _key: &[u8], value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        self.peek(value)
    }

    fn write(&self, _key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.push(value, flags)
    }

    fn next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}
