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
