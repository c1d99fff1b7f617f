//! Helpers that format text.

use super::format::format;
use super::{Call, HelperResult, errno, status};
use crate::Errno;

/// Text of one `bpf_trace_printk`, with its NUL (`MAX_BPRINTF_BUF`).
const MAX_LINE: usize = 1024;

/// Arguments of the helpers that take an array of them (`MAX_BPRINTF_VARARGS`).
const MAX_ARGS: u32 = 12;

/// `bpf_trace_printk(fmt, size, …)`: three arguments at most.
pub(super) fn trace_printk(call: &mut Call<'_, '_>) -> HelperResult {
    let [_, _, a, b, c] = call.args;
    print(call, &[a, b, c])
}

/// `bpf_trace_vprintk(fmt, size, args, len)`.
pub(super) fn trace_vprintk(call: &mut Call<'_, '_>) -> HelperResult {
    match arguments(call, 2)? {
        Some(args) => print(call, &args),
        None => errno(Errno::EINVAL),
    }
}

/// Prints a line; answers its length.
fn print(call: &mut Call<'_, '_>, args: &[u64]) -> HelperResult {
    let text = call.bytes(0, call.u32(1) as usize)?;
    let Some(end) = text.iter().position(|byte| *byte == 0) else { return errno(Errno::EINVAL) };
    match format(call.machine, &text[..end], args, MAX_LINE) {
        Ok(line) => {
            call.machine.env.trace_printk(&line[..line.len().min(MAX_LINE - 1)]);
            Ok(line.len() as u64)
        }
        Err(e) => errno(e),
    }
}

/// `bpf_snprintf(str, size, fmt, args, len)`: answers the length of the whole text with its NUL.
pub(super) fn snprintf(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(1) as usize;
    let Some(args) = arguments(call, 3)? else { return errno(Errno::EINVAL) };
    let text = call.machine.read_str(call.args[2], MAX_FORMAT)?;
    call.machine.writable(call.args[0], size as u64)?;
    let mut out = match format(call.machine, &text, &args, size) {
        Ok(out) => out,
        Err(e) => return errno(e),
    };
    let whole = out.len() as u64 + 1;
    if size > 0 {
        out.truncate(size - 1);
        out.push(0);
        call.store(0, &out)?;
    }
    Ok(whole)
}

/// `bpf_seq_printf(m, fmt, fmt_size, data, len)`: the file of an iterator is the world's, whoever `m` is.
pub(super) fn seq_printf(call: &mut Call<'_, '_>) -> HelperResult {
    let Some(args) = arguments(call, 3)? else { return errno(Errno::EINVAL) };
    let text = call.bytes(1, call.u32(2) as usize)?;
    let Some(end) = text.iter().position(|byte| *byte == 0) else { return errno(Errno::EINVAL) };
    match format(call.machine, &text[..end], &args, MAX_FORMAT) {
        Ok(line) => status(call.machine.env.seq_write(&line)),
        Err(e) => errno(e),
    }
}

/// `bpf_seq_write(m, data, len)`.
pub(super) fn seq_write(call: &mut Call<'_, '_>) -> HelperResult {
    let bytes = call.bytes(1, call.u32(2) as usize)?;
    status(call.machine.env.seq_write(&bytes))
}

/// `bpf_snprintf_btf(str, size, ptr, ptr_size, flags)`: answers the length of the whole text without its NUL.
pub(super) fn snprintf_btf(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(1) as usize;
    call.machine.writable(call.args[0], size as u64)?;
    let mut text = match typed(call, 2)? {
        Ok(text) => text,
        Err(e) => return errno(e),
    };
    let whole = text.len() as u64;
    if size > 0 {
        text.truncate(size - 1);
        text.push(0);
        call.store(0, &text)?;
    }
    Ok(whole)
}

/// `bpf_seq_printf_btf(m, ptr, ptr_size, flags)`: that there is no room for it is the iterator's to see.
pub(super) fn seq_printf_btf(call: &mut Call<'_, '_>) -> HelperResult {
    match typed(call, 1)? {
        Ok(text) => {
            let _ = call.machine.env.seq_write(&text);
            Ok(0)
        }
        Err(e) => errno(e),
    }
}

/// The text of what a `struct btf_ptr` points to; its size and flags are the next arguments.
fn typed(call: &mut Call<'_, '_>, arg: usize) -> Result<Result<Vec<u8>, Errno>, Box<super::Stop>> {
    const ALL_FLAGS: u64 = 0xf;
    let pointer = call.bytes(arg, call.u32(arg + 1) as usize)?;
    let flags = call.args[arg + 2];
    if flags & !ALL_FLAGS != 0 || pointer.len() != 16 {
        return Ok(Err(Errno::EINVAL));
    }
    let (addr, id) = (word(&pointer[..8]), word(&pointer[8..12]) as u32);
    if id == 0 || id > i32::MAX as u32 {
        return Ok(Err(Errno::EINVAL));
    }
    let Some(bytes) = call.machine.env.type_bytes(id) else { return Ok(Err(Errno::ENOENT)) };
    let mut value = vec![0; bytes];
    let read = super::probe::kernel_bytes(call.machine, addr, &mut value);
    Ok(read.and_then(|()| call.machine.env.typed_text(id, &value, flags)))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Longest format string looked at; a verified program's lies in a read-only map and ends there.
const MAX_FORMAT: usize = 1 << 16;

/// An array of arguments and its length in bytes; `None` when the length is not one of an array that may be given.
fn arguments(call: &mut Call<'_, '_>, arg: usize) -> Result<Option<Vec<u64>>, Box<super::Stop>> {
    let len = call.u32(arg + 1);
    if !len.is_multiple_of(8) || len > MAX_ARGS * 8 || (len > 0 && call.args[arg] == 0) {
        return Ok(None);
    }
    let bytes = call.bytes(arg, len as usize)?;
    Ok(Some(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
}
