//! Operations on maps as compiled code calls them: by the map's address, with addresses of key and value.

use std::ptr;

use super::records;
use super::thunk::Run;
use crate::Errno;
use crate::map::{Map, update};
use crate::memory::{Word, copy_out};

/// What is done with a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jit) enum Operation {
    /// `bpf_map_lookup_elem`.
    Find,
    /// `bpf_map_update_elem`.
    Update,
    /// `bpf_map_delete_elem`.
    Delete,
    /// The first, of the value of this processor, which the run knows.
    FindHere,
    /// The second, the same.
    UpdateHere,
    /// The second, of a map [`of words`](Map::is_of_words).
    UpdateWord,
    /// `bpf_ringbuf_reserve`.
    Reserve,
}

impl Operation {
    /// Longest key and value.
    pub(in crate::jit) const MAX_BYTES: usize = 64;

    /// Arguments behind the map.
    pub(in crate::jit) fn arguments(self) -> usize {
        match self {
            Self::Find | Self::FindHere | Self::Delete => 1,
            Self::Reserve => 2,
            Self::Update | Self::UpdateHere | Self::UpdateWord => 3,
        }
    }

    /// Is the run its first argument?
    pub(in crate::jit) fn takes_run(self) -> bool {
        matches!(self, Self::FindHere | Self::UpdateHere | Self::Reserve)
    }

    /// The address of its function, as a constant of the code.
    pub(in crate::jit) fn address(self) -> i64 {
        let at = match self {
            Self::Find => find as *const (),
            Self::Update => put as *const (),
            Self::Delete => delete as *const (),
            Self::FindHere => find_here as *const (),
            Self::UpdateHere => put_here as *const (),
            Self::UpdateWord => put_word as *const (),
            Self::Reserve => records::reserve as *const (),
        };
        at.expose_provenance() as i64
    }
}

/// The map that compiled code names.
///
/// # Safety
/// `map` is a constant of compiled code, whose program holds the map.
pub(super) unsafe fn named<'m>(map: u64) -> &'m Map {
    // SAFETY: the program that runs holds the map, and outlives the call.
    unsafe { &*ptr::with_exposed_provenance(map as usize) }
}

/// Copies a key or a value, and hands it on.
///
/// # Safety
/// The verifier has proved that there are so many readable bytes; other threads access them atomically.
#[inline(always)]
unsafe fn with_copy<T>(addr: u64, len: usize, f: impl FnOnce(&[u8]) -> T) -> T {
    match len {
        4 => {
            // SAFETY: as the caller says.
            let word = unsafe { u32::load(addr) };
            f(&word.to_ne_bytes())
        }
        8 => {
            // SAFETY: as the caller says.
            let word = unsafe { u64::load(addr) };
            f(&word.to_ne_bytes())
        }
        _ => {
            let mut bytes = [0; Operation::MAX_BYTES];
            // SAFETY: as the caller says.
            unsafe { copy_out(addr, &mut bytes[..len]) };
            f(&bytes[..len])
        }
    }
}

fn status(result: Result<(), Errno>) -> u64 {
    result.map_or_else(Errno::to_reg, |()| 0)
}

/// # Safety
/// `map` and `key` come from compiled code.
#[inline(always)]
unsafe fn find_of(map: u64, key: u64, cpu: u32) -> u64 {
    // SAFETY: compiled code names a map of its program.
    let map = unsafe { named(map) };
    // SAFETY: the verifier has proved the key.
    unsafe { with_copy(key, map.spec().key_size as usize, |key| map.value_addr(key, cpu)) }.unwrap_or(0)
}

unsafe extern "C" fn find(map: u64, key: u64) -> u64 {
    // SAFETY: the arguments are compiled code's.
    unsafe { find_of(map, key, 0) }
}

unsafe extern "C" fn find_here(run: Run, map: u64, key: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    let cpu = unsafe { &mut *run }.cpu();
    // SAFETY: the arguments are compiled code's.
    unsafe { find_of(map, key, cpu) }
}

unsafe extern "C" fn put(map: u64, key: u64, value: u64, flags: u64) -> u64 {
    // SAFETY: the arguments are compiled code's.
    unsafe { put_of(map, key, value, flags, 0) }
}

unsafe extern "C" fn put_word(map: u64, key: u64, value: u64, flags: u64) -> u64 {
    // SAFETY: compiled code names a map of its program.
    let words = unsafe { named(map) };
    // SAFETY: the verifier has proved the key.
    let index = unsafe { u32::load(key) };
    match words.layout() {
        Some(layout) if index < layout.entries && flags & !update::EXIST == 0 => {
            let at = layout.base + u64::from(index) * layout.stride as u64;
            // SAFETY: the verifier has proved the value, and the element is one of the map.
            unsafe { copy_word(value, at, words.spec().value_size) };
            0
        }
        // SAFETY: the arguments are compiled code's.
        _ => unsafe { put_of(map, key, value, flags, 0) },
    }
}

/// # Safety
/// There are so many bytes, 4 or 8, at both addresses, accessed atomically by other threads.
#[inline(always)]
unsafe fn copy_word(from: u64, to: u64, bytes: u32) {
    if bytes == 4 {
        // SAFETY: as the caller says.
        let word = unsafe { u32::load(from) };
        // SAFETY: as the caller says.
        unsafe { word.store(to) };
    } else {
        // SAFETY: as the caller says.
        let word = unsafe { u64::load(from) };
        // SAFETY: as the caller says.
        unsafe { word.store(to) };
    }
}

unsafe extern "C" fn put_here(run: Run, map: u64, key: u64, value: u64, flags: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    let cpu = unsafe { &mut *run }.cpu();
    // SAFETY: the arguments are compiled code's.
    unsafe { put_of(map, key, value, flags, cpu) }
}

/// # Safety
/// `map`, `key` and `value` come from compiled code.
#[inline(always)]
unsafe fn put_of(map: u64, key: u64, value: u64, flags: u64, cpu: u32) -> u64 {
    // SAFETY: compiled code names a map of its program.
    let map = unsafe { named(map) };
    let spec = map.spec();
    if flags & update::LOCK != 0 && spec.spin_lock_off.is_none() {
        return Errno::EINVAL.to_reg();
    }
    let (key_size, value_size) = (spec.key_size as usize, spec.value_size as usize);
    let with_key = |key: &[u8]| {
        // SAFETY: the verifier has proved the value.
        unsafe { with_copy(value, value_size, |value| map.put(key, value, flags, cpu)) }
    };
    // SAFETY: the verifier has proved the key.
    status(unsafe { with_copy(key, key_size, with_key) })
}

unsafe extern "C" fn delete(map: u64, key: u64) -> u64 {
    // SAFETY: compiled code names a map of its program.
    let map = unsafe { named(map) };
    // SAFETY: the verifier has proved the key.
    status(unsafe { with_copy(key, map.spec().key_size as usize, |key| map.elements().delete(key)) })
}
