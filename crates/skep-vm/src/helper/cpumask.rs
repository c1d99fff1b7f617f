//! Kernel functions on sets of processors (`kernel/bpf/cpumask.c`). Processors are those that are possible here.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Call, HelperResult, Stop, argument, errno};
use crate::{Errno, masks};

/// Bits of the processors, as words: little-endian bytes would be others on big-endian machines.
type Words = Vec<u64>;

fn processors() -> u32 {
    crate::clock::possible_cpus().max(1)
}

fn word_count() -> usize {
    processors().div_ceil(u64::BITS) as usize
}

/// The bits of the last word that stand for processors.
fn last_word() -> u64 {
    match processors() % u64::BITS {
        0 => u64::MAX,
        rest => (1 << rest) - 1,
    }
}

fn to_words(bytes: &[u8]) -> Words {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// A set that an argument points to, the program's or the kernel's own.
fn set(call: &mut Call<'_, '_>, arg: usize) -> Result<Words, Box<Stop>> {
    let mut words = to_words(&call.bytes(arg, word_count() * 8)?);
    if let Some(last) = words.last_mut() {
        *last &= last_word();
    }
    Ok(words)
}

/// Changes the set of an argument, which is the program's own.
fn change<T>(call: &Call<'_, '_>, arg: usize, change: impl FnOnce(&mut Words) -> T) -> Result<T, Box<Stop>> {
    let addr = call.args[arg];
    let on_bytes = |bytes: &mut [u8]| {
        let mut words = to_words(bytes);
        let changed = change(&mut words);
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        changed
    };
    let changed = masks::known().and_then(|masks| masks.change(addr, word_count() * 8, on_bytes));
    changed.ok_or_else(|| argument(format!("{addr:#x} is no `struct bpf_cpumask`")))
}

/// The first processor of a set from one on; as many as there are when there is none.
fn first_from(words: &[u64], from: u32) -> u32 {
    let is_in = |cpu: &u32| words[(cpu / u64::BITS) as usize] >> (cpu % u64::BITS) & 1 == 1;
    (from..processors()).find(is_in).unwrap_or_else(processors)
}

pub(super) fn create(_: &mut Call<'_, '_>) -> HelperResult {
    Ok(masks::create().unwrap_or(0))
}

pub(super) fn acquire(call: &mut Call<'_, '_>) -> HelperResult {
    let addr = call.args[0];
    let known = masks::known().is_some_and(|masks| masks.acquire(addr));
    if known { Ok(addr) } else { Err(argument(format!("{addr:#x} is no `struct bpf_cpumask`"))) }
}

pub(super) fn release(call: &mut Call<'_, '_>) -> HelperResult {
    let addr = call.args[0];
    let known = masks::known().is_some_and(|masks| masks.release(addr));
    if known { Ok(0) } else { Err(argument(format!("{addr:#x} is no `struct bpf_cpumask`"))) }
}

pub(super) fn first(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(first_from(&set(call, 0)?, 0).into())
}

pub(super) fn first_zero(call: &mut Call<'_, '_>) -> HelperResult {
    let inverse: Words = set(call, 0)?.iter().map(|word| !word).collect();
    Ok(first_from(&inverse, 0).into())
}

pub(super) fn first_and(call: &mut Call<'_, '_>) -> HelperResult {
    let both = combine(&set(call, 0)?, &set(call, 1)?, |a, b| a & b);
    Ok(first_from(&both, 0).into())
}

/// Sets or clears one processor's bit; answers whether it was set. A number of no processor is ignored.
fn put_bit(call: &Call<'_, '_>, value: bool) -> Result<bool, Box<Stop>> {
    let cpu = call.u32(0);
    if cpu >= processors() {
        return Ok(false);
    }
    change(call, 1, |words| {
        let (word, bit) = (&mut words[(cpu / u64::BITS) as usize], 1 << (cpu % u64::BITS));
        let was_set = *word & bit != 0;
        *word = if value { *word | bit } else { *word & !bit };
        was_set
    })
}

pub(super) fn set_cpu(call: &mut Call<'_, '_>) -> HelperResult {
    put_bit(call, true).map(|_| 0)
}

pub(super) fn clear_cpu(call: &mut Call<'_, '_>) -> HelperResult {
    put_bit(call, false).map(|_| 0)
}

pub(super) fn test_and_set_cpu(call: &mut Call<'_, '_>) -> HelperResult {
    put_bit(call, true).map(u64::from)
}

pub(super) fn test_and_clear_cpu(call: &mut Call<'_, '_>) -> HelperResult {
    put_bit(call, false).map(u64::from)
}

pub(super) fn test_cpu(call: &mut Call<'_, '_>) -> HelperResult {
    let cpu = call.u32(0);
    let words = set(call, 1)?;
    Ok((cpu < processors() && first_from(&words, cpu) == cpu).into())
}

pub(super) fn set_all(call: &mut Call<'_, '_>) -> HelperResult {
    change(call, 0, |words| {
        words.fill(u64::MAX);
        words.last_mut().map(|last| *last = last_word())
    })?;
    Ok(0)
}

pub(super) fn clear(call: &mut Call<'_, '_>) -> HelperResult {
    change(call, 0, |words| words.fill(0)).map(|()| 0)
}

fn combine(a: &[u64], b: &[u64], op: fn(u64, u64) -> u64) -> Words {
    a.iter().zip(b).map(|(a, b)| op(*a, *b)).collect()
}

/// Stores what comes of two sets; answers whether anything is in it.
fn store_both(call: &mut Call<'_, '_>, op: fn(u64, u64) -> u64) -> Result<bool, Box<Stop>> {
    let words = combine(&set(call, 1)?, &set(call, 2)?, op);
    let any = words.iter().any(|word| *word != 0);
    change(call, 0, |target| *target = words)?;
    Ok(any)
}

pub(super) fn and(call: &mut Call<'_, '_>) -> HelperResult {
    store_both(call, |a, b| a & b).map(u64::from)
}

pub(super) fn or(call: &mut Call<'_, '_>) -> HelperResult {
    store_both(call, |a, b| a | b).map(|_| 0)
}

pub(super) fn xor(call: &mut Call<'_, '_>) -> HelperResult {
    store_both(call, |a, b| a ^ b).map(|_| 0)
}

pub(super) fn copy(call: &mut Call<'_, '_>) -> HelperResult {
    let words = set(call, 1)?;
    change(call, 0, |target| *target = words).map(|()| 0)
}

pub(super) fn equal(call: &mut Call<'_, '_>) -> HelperResult {
    Ok((set(call, 0)? == set(call, 1)?).into())
}

pub(super) fn intersects(call: &mut Call<'_, '_>) -> HelperResult {
    let both = combine(&set(call, 0)?, &set(call, 1)?, |a, b| a & b);
    Ok(both.iter().any(|word| *word != 0).into())
}

pub(super) fn subset(call: &mut Call<'_, '_>) -> HelperResult {
    let outside = combine(&set(call, 0)?, &set(call, 1)?, |a, b| a & !b);
    Ok(outside.iter().all(|word| *word == 0).into())
}

pub(super) fn empty(call: &mut Call<'_, '_>) -> HelperResult {
    Ok((weigh(&set(call, 0)?) == 0).into())
}

pub(super) fn full(call: &mut Call<'_, '_>) -> HelperResult {
    Ok((weigh(&set(call, 0)?) == processors()).into())
}

pub(super) fn weight(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(weigh(&set(call, 0)?).into())
}

fn weigh(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

pub(super) fn any_distribute(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(distribute(&set(call, 0)?))
}

pub(super) fn any_and_distribute(call: &mut Call<'_, '_>) -> HelperResult {
    let both = combine(&set(call, 0)?, &set(call, 1)?, |a, b| a & b);
    Ok(distribute(&both))
}

/// The processor of a set behind the one that was answered last, the first behind the last.
fn distribute(words: &[u64]) -> u64 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let next = match first_from(words, LAST.load(Ordering::Relaxed) + 1) {
        cpu if cpu < processors() => cpu,
        _ => first_from(words, 0),
    };
    if next < processors() {
        LAST.store(next, Ordering::Relaxed);
    }
    next.into()
}

/// `bpf_cpumask_populate(set, source, size)`: takes the bits as they are.
pub(super) fn populate(call: &mut Call<'_, '_>) -> HelperResult {
    let len = word_count() * 8;
    if call.u32(2) < len as u32 {
        return errno(Errno::EACCES);
    }
    let words = to_words(&call.bytes(1, len)?);
    change(call, 0, |target| *target = words).map(|()| 0)
}
