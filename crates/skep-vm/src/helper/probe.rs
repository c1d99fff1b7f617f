//! Helpers that read memory which may not be there: of the traced process, of the kernel, or the program's own.
//!
//! Kernel addresses are asked of the world, but programs read their own stack, map values and globals by the same helpers;
//! these are tried first. A destination that cannot be filled becomes zero, as the kernel leaves it.

use super::{Call, HelperResult, errno, status};
use crate::env::KERNEL_HALF;
use crate::machine::Machine;
use crate::{Errno, Reason};

/// Whose memory is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Kernel,
    User,
    /// Told by the address, as the old helpers do.
    Either,
}

impl Whose {
    /// Decides by the address what the helper's name does not.
    fn at(self, addr: u64) -> Self {
        match self {
            Self::Either if addr >= KERNEL_HALF => Self::Kernel,
            Self::Either => Self::User,
            known => known,
        }
    }
}

fn read(machine: &mut Machine<'_>, from: Whose, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
    if out.is_empty() && from == Whose::Kernel {
        return look(machine, addr);
    }
    if from != Whose::User && machine.space.read(addr, out).is_ok() {
        return Ok(());
    }
    match from.at(addr) {
        Whose::User => machine.env.read_user(addr, out),
        _ => machine.env.read_kernel(addr, out).map_err(|e| outside(addr, e)),
    }
}

/// Reads nothing: the address counts all the same.
fn look(machine: &mut Machine<'_>, addr: u64) -> Result<(), Errno> {
    if addr >= KERNEL_HALF || machine.space.readable_from(addr) > 0 {
        return Ok(());
    }
    machine.env.read_kernel(addr, &mut [0]).map_err(|e| outside(addr, e))
}

/// What is no address of the kernel's is `ERANGE` (`copy_from_kernel_nofault`).
pub(super) fn outside(addr: u64, e: Errno) -> Errno {
    if addr < KERNEL_HALF && e == Errno::EFAULT { Errno::ERANGE } else { e }
}

/// Reads a string; answers its length with the NUL, which is made when the string is longer than `out`.
fn read_str(machine: &mut Machine<'_>, from: Whose, addr: u64, out: &mut [u8]) -> Result<usize, Errno> {
    let own = if from == Whose::User { 0 } else { machine.space.readable_from(addr) };
    let len = if own > 0 {
        read_own_str(machine, addr, own, out)?
    } else if from.at(addr) == Whose::User {
        machine.env.read_user_str(addr, out)?
    } else {
        machine.env.read_kernel_str(addr, out).map_err(|e| outside(addr, e))?
    };
    if len == out.len()
        && let Some(last) = out.last_mut()
    {
        *last = 0;
    }
    Ok(len)
}

fn read_own_str(machine: &mut Machine<'_>, addr: u64, reach: u64, out: &mut [u8]) -> Result<usize, Errno> {
    let len = reach.min(out.len() as u64) as usize;
    machine.space.read(addr, &mut out[..len]).map_err(|_| Errno::EFAULT)?;
    match out[..len].iter().position(|byte| *byte == 0) {
        Some(nul) => Ok(nul + 1),
        None if len == out.len() => Ok(len),
        None => Err(Errno::EFAULT),
    }
}

/// Reads a string of the traced process as [`read_str`] does.
pub(super) fn user_text(machine: &mut Machine<'_>, addr: u64, out: &mut [u8]) -> Result<usize, Errno> {
    read_str(machine, Whose::User, addr, out)
}

/// The same of kernel memory or the program's own.
pub(super) fn kernel_text(machine: &mut Machine<'_>, addr: u64, out: &mut [u8]) -> Result<usize, Errno> {
    read_str(machine, Whose::Kernel, addr, out)
}

/// A string of kernel memory or the program's own, for `%s`; `max` counts the NUL, which is not answered.
pub(super) fn kernel_string(machine: &mut Machine<'_>, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
    string(machine, Whose::Kernel, addr, max)
}

/// A string of the traced process, for `%pus`.
pub(super) fn user_string(machine: &mut Machine<'_>, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
    string(machine, Whose::User, addr, max)
}

fn string(machine: &mut Machine<'_>, from: Whose, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let mut out = vec![0; max];
    let len = read_str(machine, from, addr, &mut out)?;
    out.truncate(len.saturating_sub(1));
    Ok(out)
}

/// Bytes of kernel memory or the program's own.
pub(super) fn kernel_bytes(machine: &mut Machine<'_>, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
    read(machine, Whose::Kernel, addr, out)
}

/// Reads on behalf of `bpf_probe_read*(dst, size, src)` by `read`, and stores what came of it.
fn fill(
    call: &mut Call<'_, '_>,
    read: impl FnOnce(&mut Machine<'_>, u64, &mut [u8]) -> Result<(), Errno>,
) -> HelperResult {
    let [dst, _, src, ..] = call.args;
    let size = call.u32(1) as usize;
    call.machine.writable(dst, size as u64)?;
    let result = with_buffer(size, |out| {
        let result = read(call.machine, src, out);
        if result.is_err() {
            out.fill(0);
        }
        call.machine.write(dst, out)?;
        Ok(result)
    })?;
    status(result)
}

/// A zeroed buffer, on the stack while it is small.
fn with_buffer<T>(size: usize, f: impl FnOnce(&mut [u8]) -> Result<T, Reason>) -> Result<T, Reason> {
    let mut small = [0; 256];
    if size <= small.len() { f(&mut small[..size]) } else { f(&mut vec![0; size]) }
}

pub(super) fn read_any(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, |machine, src, out| read(machine, Whose::Either, src, out))
}

pub(super) fn read_user(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, |machine, src, out| machine.env.read_user(src, out))
}

pub(super) fn read_kernel(call: &mut Call<'_, '_>) -> HelperResult {
    fill(call, |machine, src, out| read(machine, Whose::Kernel, src, out))
}

pub(super) fn copy_from_user_task(call: &mut Call<'_, '_>) -> HelperResult {
    let [_, _, _, task, flags] = call.args;
    match (flags, call.u32(1)) {
        (0, 0) => Ok(0),
        (0, _) => fill(call, |machine, src, out| machine.env.read_task_user(task, src, out)),
        _ => errno(Errno::EINVAL),
    }
}

/// Only the string itself is stored: what was behind it in the destination stays.
fn fill_str(call: &mut Call<'_, '_>, from: Whose) -> HelperResult {
    let [dst, _, src, ..] = call.args;
    let size = call.u32(1) as usize;
    call.machine.writable(dst, size as u64)?;
    if size == 0 {
        return Ok(0);
    }
    let result = with_buffer(size, |out| {
        let result = read_str(call.machine, from, src, out);
        if result.is_err() {
            out.fill(0);
        }
        let stored = result.unwrap_or(size);
        call.machine.write(dst, &out[..stored])?;
        Ok(result)
    })?;
    Ok(result.map_or_else(Errno::to_reg, |len| len as u64))
}

pub(super) fn read_any_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill_str(call, Whose::Either)
}

pub(super) fn read_user_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill_str(call, Whose::User)
}

pub(super) fn read_kernel_str(call: &mut Call<'_, '_>) -> HelperResult {
    fill_str(call, Whose::Kernel)
}

pub(super) fn write_user(call: &mut Call<'_, '_>) -> HelperResult {
    let data = call.bytes(1, call.u32(2) as usize)?;
    status(call.machine.env.write_user(call.args[0], &data))
}
