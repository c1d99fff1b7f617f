//! Loads, stores and copies that may race: atomic, relaxed, of any alignment.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A read-modify-write operation of an atomic instruction; all of them answer the old value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rmw {
    Add,
    Or,
    And,
    Xor,
    Xchg,
    /// Stores the operand if memory holds this.
    Cmpxchg(u64),
}

/// An unsigned integer that programs load and store.
pub(crate) trait Word: Copy + 'static {
    /// Bytes it takes.
    const BYTES: u64;

    /// Reads it.
    ///
    /// # Safety
    /// `BYTES` bytes from `addr` on are mapped, readable, initialised, and only accessed atomically by other threads.
    unsafe fn load(addr: u64) -> Self;

    /// Writes it.
    ///
    /// # Safety
    /// As for `load`, and writable.
    unsafe fn store(self, addr: u64);

    /// Reads, modifies and writes it as one step; answers what was there.
    ///
    /// # Safety
    /// As for `store`.
    unsafe fn rmw(self, addr: u64, op: Rmw) -> Self;

    /// Zero-extends.
    fn widen(self) -> u64;

    /// Sign-extends.
    fn widen_signed(self) -> u64;

    /// Keeps the low bits.
    fn cut(value: u64) -> Self;

    /// Reads it from the first bytes.
    fn from_bytes(bytes: [u8; 8]) -> Self;

    /// Its bytes come first.
    fn to_bytes(self) -> [u8; 8];
}

/// Serialises the rare read-modify-write operations on misaligned addresses, which no atomic type can do.
static MISALIGNED: Mutex<()> = Mutex::new(());

fn apply(old: u64, operand: u64, op: Rmw) -> u64 {
    match op {
        Rmw::Add => old.wrapping_add(operand),
        Rmw::Or => old | operand,
        Rmw::And => old & operand,
        Rmw::Xor => old ^ operand,
        Rmw::Xchg => operand,
        Rmw::Cmpxchg(expected) if expected == old => operand,
        Rmw::Cmpxchg(_) => old,
    }
}

/// By itself, so that functions around the usual way need no stack.
///
/// # Safety
/// As for [`Word::load`].
#[inline(never)]
unsafe fn load_misaligned<T: Word>(addr: u64) -> T {
    let mut bytes = [0; 8];
    // SAFETY: as the caller says.
    unsafe { copy_out(addr, &mut bytes[..T::BYTES as usize]) };
    T::from_bytes(bytes)
}

/// # Safety
/// As for [`Word::store`].
#[inline(never)]
unsafe fn store_misaligned<T: Word>(addr: u64, value: T) {
    let bytes = value.to_bytes();
    // SAFETY: as the caller says.
    unsafe { copy_in(addr, &bytes[..T::BYTES as usize]) };
}

macro_rules! word {
    ($ty:ident, $signed:ident, $atomic:ident) => {
        impl Word for $ty {
            const BYTES: u64 = size_of::<$ty>() as u64;

            #[inline(always)]
            unsafe fn load(addr: u64) -> Self {
                let at = ptr::with_exposed_provenance_mut::<$ty>(addr as usize);
                if at.is_aligned() {
                    // SAFETY: the caller vouches for the bytes; alignment has just been checked.
                    return unsafe { $atomic::from_ptr(at) }.load(Ordering::Relaxed);
                }
                // SAFETY: the caller vouches for the bytes.
                unsafe { load_misaligned::<Self>(addr) }
            }

            #[inline(always)]
            unsafe fn store(self, addr: u64) {
                let at = ptr::with_exposed_provenance_mut::<$ty>(addr as usize);
                if at.is_aligned() {
                    // SAFETY: the caller vouches for the bytes; alignment has just been checked.
                    unsafe { $atomic::from_ptr(at) }.store(self, Ordering::Relaxed);
                } else {
                    // SAFETY: the caller vouches for the bytes.
                    unsafe { store_misaligned(addr, self) };
                }
            }

            unsafe fn rmw(self, addr: u64, op: Rmw) -> Self {
                let at = ptr::with_exposed_provenance_mut::<$ty>(addr as usize);
                if !at.is_aligned() {
                    let _one_at_a_time = MISALIGNED.lock().unwrap_or_else(|e| e.into_inner());
                    // SAFETY: the caller vouches for the bytes.
                    let old = unsafe { Self::load(addr) };
                    // SAFETY: the caller vouches for the bytes.
                    unsafe { Self::cut(apply(old.widen(), self.widen(), op)).store(addr) };
                    return old;
                }
                // SAFETY: the caller vouches for the bytes; alignment has just been checked.
                let cell = unsafe { $atomic::from_ptr(at) };
                match op {
                    Rmw::Add => cell.fetch_add(self, Ordering::SeqCst),
                    Rmw::Or => cell.fetch_or(self, Ordering::SeqCst),
                    Rmw::And => cell.fetch_and(self, Ordering::SeqCst),
                    Rmw::Xor => cell.fetch_xor(self, Ordering::SeqCst),
                    Rmw::Xchg => cell.swap(self, Ordering::SeqCst),
                    Rmw::Cmpxchg(expected) => {
                        let expected = Self::cut(expected);
                        let (ok, fail) = (Ordering::SeqCst, Ordering::SeqCst);
                        cell.compare_exchange(expected, self, ok, fail).unwrap_or_else(|old| old)
                    }
                }
            }

            #[inline(always)]
            fn widen(self) -> u64 {
                self.into()
            }

            #[inline(always)]
            fn widen_signed(self) -> u64 {
                self as $signed as i64 as u64
            }

            #[inline(always)]
            fn cut(value: u64) -> Self {
                value as $ty
            }

            fn from_bytes(bytes: [u8; 8]) -> Self {
                let mut own = [0; size_of::<$ty>()];
                own.copy_from_slice(&bytes[..size_of::<$ty>()]);
                <$ty>::from_ne_bytes(own)
            }

            fn to_bytes(self) -> [u8; 8] {
                let mut bytes = [0; 8];
                bytes[..size_of::<$ty>()].copy_from_slice(&self.to_ne_bytes());
                bytes
            }
        }
    };
}

word!(u8, i8, AtomicU8);
word!(u16, i16, AtomicU16);
word!(u32, i32, AtomicU32);
word!(u64, i64, AtomicU64);

/// Copies from memory that may change meanwhile.
///
/// # Safety
/// `out.len()` bytes from `addr` on are mapped, readable, initialised, and only accessed atomically by other threads.
#[inline]
pub(crate) unsafe fn copy_out(addr: u64, out: &mut [u8]) {
    let out = ptr::from_mut(out) as *mut [MaybeUninit<u8>];
    // SAFETY: the same bytes; what is written is initialised.
    let out = unsafe { &mut *out };
    // SAFETY: as the caller says.
    unsafe { copy_out_to(addr, out) }
}

/// Appends so many bytes of memory that may change meanwhile.
///
/// # Safety
/// As for [`copy_out`].
#[inline]
pub(super) unsafe fn append_out(addr: u64, len: usize, out: &mut Vec<u8>) {
    out.reserve(len);
    // SAFETY: as the caller says.
    unsafe { copy_out_to(addr, &mut out.spare_capacity_mut()[..len]) };
    // SAFETY: these bytes have just been written.
    unsafe { out.set_len(out.len() + len) };
}

/// # Safety
/// As for [`copy_out`]. All of `out` is written.
#[inline]
unsafe fn copy_out_to(addr: u64, out: &mut [MaybeUninit<u8>]) {
    let mut at = addr;
    let mut rest = out;
    while !at.is_multiple_of(8) && !rest.is_empty() {
        // SAFETY: `at` is inside the range that the caller vouches for.
        rest[0].write(unsafe { byte(at) }.load(Ordering::Relaxed));
        at += 1;
        rest = &mut rest[1..];
    }
    let (words, rest) = rest.as_chunks_mut::<8>();
    for word in words {
        // SAFETY: `at` is aligned and eight bytes of the caller's range are left.
        word.write_copy_of_slice(&unsafe { u64::load(at) }.to_ne_bytes());
        at += 8;
    }
    let (halves, rest) = rest.as_chunks_mut::<4>();
    for half in halves {
        // SAFETY: `at` is aligned and four bytes of the caller's range are left.
        half.write_copy_of_slice(&unsafe { u32::load(at) }.to_ne_bytes());
        at += 4;
    }
    for slot in rest {
        // SAFETY: `at` is inside the range that the caller vouches for.
        slot.write(unsafe { byte(at) }.load(Ordering::Relaxed));
        at += 1;
    }
}

/// Copies to memory that others may read meanwhile.
///
/// # Safety
/// As for [`copy_out`], and writable.
#[inline]
pub(super) unsafe fn copy_in(addr: u64, data: &[u8]) {
    // What most keys and values are.
    if let Ok(word) = <[u8; 8]>::try_from(data)
        && addr.is_multiple_of(8)
    {
        // SAFETY: `addr` is aligned, and these are the bytes that the caller vouches for.
        unsafe { u64::from_ne_bytes(word).store(addr) };
        return;
    }
    let mut at = addr;
    let mut rest = data;
    while !at.is_multiple_of(8) && !rest.is_empty() {
        // SAFETY: `at` is inside the range that the caller vouches for.
        unsafe { byte(at) }.store(rest[0], Ordering::Relaxed);
        at += 1;
        rest = &rest[1..];
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        // SAFETY: `at` is aligned and eight bytes of the caller's range are left.
        unsafe { u64::from_ne_bytes(*word).store(at) };
        at += 8;
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        // SAFETY: `at` is aligned and four bytes of the caller's range are left.
        unsafe { u32::from_ne_bytes(*half).store(at) };
        at += 4;
    }
    for value in rest {
        // SAFETY: `at` is inside the range that the caller vouches for.
        unsafe { byte(at) }.store(*value, Ordering::Relaxed);
        at += 1;
    }
}

/// One byte as a shared cell.
///
/// # Safety
/// The byte is mapped, initialised and only accessed atomically by other threads while the reference is used.
unsafe fn byte<'a>(addr: u64) -> &'a AtomicU8 {
    // SAFETY: the caller vouches for the byte; bytes are always aligned.
    unsafe { AtomicU8::from_ptr(ptr::with_exposed_provenance_mut(addr as usize)) }
}
