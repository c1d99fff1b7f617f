//! Kernel functions that fill a part of a dynptr: with a byte, from another dynptr, from memory that may not be there.
//!
//! The order of checks is the kernel's (`kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`): what is in one piece is
//! filled at once; elsewhere bounds come first, then what is read, and whether it may be written last.

use super::dynptr::{Dynptr, dynptr, load, save};
use super::{Call, HelperResult, errno, probe, status};
use crate::Errno;
use crate::machine::Machine;

/// A part in one piece that may be written.
fn writable_piece(call: &Call<'_, '_>, of: Dynptr, offset: u32, len: u32) -> Option<u64> {
    if of.refuses() { None } else { of.piece(call, offset, len) }
}

/// `bpf_dynptr_memset(ptr, offset, len, value)`.
pub(super) fn memset(call: &mut Call<'_, '_>) -> HelperResult {
    let (offset, len, value) = (call.u32(1), call.u32(2), call.args[3] as u8);
    let target = dynptr(call, 0)?;
    if !target.writable() {
        return errno(Errno::EINVAL);
    }
    if !target.holds(offset, len) {
        return errno(Errno::E2BIG);
    }
    if len == 0 {
        return Ok(0);
    }
    status(save(call, target, offset, &vec![value; len as usize], 0)?)
}

/// `bpf_dynptr_copy(dst, dst_offset, src, src_offset, len)`.
pub(super) fn copy(call: &mut Call<'_, '_>) -> HelperResult {
    let (to, from, len) = (call.u32(1), call.u32(3), call.u32(4));
    let (target, source) = (dynptr(call, 0)?, dynptr(call, 2)?);
    let readable = source.piece(call, from, len).is_some();
    let writable = writable_piece(call, target, to, len).is_some();
    let neither = !readable && !writable;
    if neither && !(target.holds(to, len) && source.holds(from, len)) {
        return errno(Errno::E2BIG);
    }
    if neither && len == 0 {
        return Ok(0);
    }
    match load(call, source, from, len)? {
        Ok(data) => status(save(call, target, to, &data, 0)?),
        Err(e) => errno(e),
    }
}

/// What is answered for bytes that were read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Zero,
    /// How many they are, for strings.
    Count,
}

/// Fills a part on behalf of `bpf_*_dynptr(ptr, offset, len, src)`. `read` says how much of a buffer it has filled; where it
/// fails, `blank` bytes of what is in one piece become zero.
fn fill(
    call: &mut Call<'_, '_>,
    answer: Answer,
    blank: u32,
    read: impl FnOnce(&mut Machine<'_>, u64, &mut [u8]) -> Result<usize, Errno>,
) -> HelperResult {
    let (offset, len, src) = (call.u32(1), call.u32(2), call.args[3]);
    let target = dynptr(call, 0)?;
    if !target.holds(offset, len) {
        return errno(Errno::E2BIG);
    }
    let piece = writable_piece(call, target, offset, len);
    if len == 0 && (piece.is_none() || answer == Answer::Count) {
        return Ok(0);
    }
    let mut bytes = vec![0; len as usize];
    match read(call.machine, src, &mut bytes) {
        Ok(count) => {
            let saved = save(call, target, offset, &bytes[..count], 0)?;
            let answered = if answer == Answer::Count { count as u64 } else { 0 };
            Ok(saved.map_or_else(Errno::to_reg, |()| answered))
        }
        Err(e) => {
            if let Some(piece) = piece {
                call.machine.write(piece, &vec![0; blank.min(len) as usize])?;
            }
            errno(e)
        }
    }
}

pub(super) fn probe_user(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, Answer::Zero, 0, |machine, src, out| machine.env.read_user(src, out).map(|()| out.len()))
}

pub(super) fn probe_kernel(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, Answer::Zero, 0, |machine, src, out| {
        probe::kernel_bytes(machine, src, out).map(|()| out.len())
    })
}

pub(super) fn probe_user_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, Answer::Count, 0, probe::user_text)
}

pub(super) fn probe_kernel_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, Answer::Count, 1, probe::kernel_text)
}

pub(super) fn copy_from_user(call: &mut Call<'_, '_>) -> HelperResult {
    let read =
        |machine: &mut Machine<'_>, src, out: &mut [u8]| machine.env.read_user(src, out).map(|()| out.len());
    fill(call, Answer::Zero, u32::MAX, read)
}

pub(super) fn copy_from_user_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, Answer::Count, 0, probe::user_text)
}

/// The fifth argument is the task.
pub(super) fn copy_from_user_task(call: &mut Call<'_, '_>) -> HelperResult {
    let task = call.args[4];
    fill(call, Answer::Zero, 0, |machine, src, out| {
        machine.env.read_task_user(task, src, out).map(|()| out.len())
    })
}
