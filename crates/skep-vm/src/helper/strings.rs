//! Kernel functions on strings (`kernel/bpf/helpers.c`): of the kernel's memory and of maps, up to 65536 bytes long.

use super::{Call, HelperResult, errno, probe};
use crate::Errno;
use crate::machine::Machine;

/// Longest string looked at (`XATTR_SIZE_MAX`).
const MAX_STRING: usize = 1 << 16;

/// A string of an argument; `E2BIG` when it does not end.
fn string(machine: &mut Machine<'_>, addr: u64) -> Result<Vec<u8>, Errno> {
    let text = start_of(machine, addr, MAX_STRING - 1)?;
    if text.len() == MAX_STRING - 1 { Err(Errno::E2BIG) } else { Ok(text) }
}

/// At most so many bytes of a string; what is no memory of the kernel's is `ERANGE`.
fn start_of(machine: &mut Machine<'_>, addr: u64, most: usize) -> Result<Vec<u8>, Errno> {
    probe::kernel_string(machine, addr, most + 1).map_err(|e| probe::outside(addr, e))
}

/// The bytes of a string that are among its first `count`; for none, nothing is read.
fn first_bytes(machine: &mut Machine<'_>, addr: u64, count: u64) -> Result<Vec<u8>, Errno> {
    let count = (count as usize).min(MAX_STRING);
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut text = start_of(machine, addr, count)?;
    text.truncate(count);
    Ok(text)
}

/// A place in a string, or an error; a missing thing is `ENOENT`.
fn place(found: Result<Option<usize>, Errno>) -> HelperResult {
    Ok(found.and_then(|found| found.ok_or(Errno::ENOENT)).map_or_else(Errno::to_reg, |n| n as u64))
}

pub(super) fn strlen(call: &mut Call<'_, '_>) -> HelperResult {
    find(call, |text| Some(text.len()))
}

pub(super) fn strnlen(call: &mut Call<'_, '_>) -> HelperResult {
    let limit = (call.args[1] as usize).min(MAX_STRING);
    let text = start_of(call.machine, call.args[0], limit);
    place(text.map(|text| Some(text.len().min(limit))))
}

pub(super) fn strchr(call: &mut Call<'_, '_>) -> HelperResult {
    find_byte(call, |text, wanted| text.iter().position(|byte| *byte == wanted))
}

pub(super) fn strrchr(call: &mut Call<'_, '_>) -> HelperResult {
    find_byte(call, |text, wanted| text.iter().rposition(|byte| *byte == wanted))
}

/// `bpf_strchrnul(text, c)`: the end is found where nothing else is.
pub(super) fn strchrnul(call: &mut Call<'_, '_>) -> HelperResult {
    let or_end = |text: &[u8], wanted| text.iter().position(|byte| *byte == wanted).or(Some(text.len()));
    find_byte(call, or_end)
}

/// `bpf_strnchr(text, count, c)`: the NUL counts among the bytes.
pub(super) fn strnchr(call: &mut Call<'_, '_>) -> HelperResult {
    let (count, wanted) = (call.args[1] as usize, call.args[2] as u8);
    let find = |mut text: Vec<u8>| {
        text.push(0);
        text.iter().take(count).position(|byte| *byte == wanted)
    };
    place(first_bytes(call.machine, call.args[0], call.args[1]).map(find))
}

/// Where something is in the string of the first argument.
fn find(call: &mut Call<'_, '_>, find: impl FnOnce(&[u8]) -> Option<usize>) -> HelperResult {
    place(string(call.machine, call.args[0]).map(|text| find(&text)))
}

/// Where the byte of the second argument is; the end is a NUL.
fn find_byte(call: &mut Call<'_, '_>, position: impl FnOnce(&[u8], u8) -> Option<usize>) -> HelperResult {
    match call.args[1] as u8 {
        0 => find(call, |text| Some(text.len())),
        wanted => find(call, |text| position(text, wanted)),
    }
}

pub(super) fn strcmp(call: &mut Call<'_, '_>) -> HelperResult {
    compare(call, |text| text)
}

/// `bpf_strcasecmp(a, b)`: capital letters of ASCII count as small ones.
pub(super) fn strcasecmp(call: &mut Call<'_, '_>) -> HelperResult {
    compare(call, |text| text.to_ascii_lowercase())
}

/// Compares two strings as `form` makes them.
fn compare(call: &mut Call<'_, '_>, form: impl Fn(Vec<u8>) -> Vec<u8>) -> HelperResult {
    let (first, second) = (string(call.machine, call.args[0]), string(call.machine, call.args[1]));
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(form(first).cmp(&form(second)) as i64 as u64),
        (Err(e), _) | (_, Err(e)) => errno(e),
    }
}

pub(super) fn strstr(call: &mut Call<'_, '_>) -> HelperResult {
    let text = string(call.machine, call.args[0]);
    find_part(call, text)
}

/// `bpf_strnstr(text, part, len)`: only the first `len` bytes of the text are looked at.
pub(super) fn strnstr(call: &mut Call<'_, '_>) -> HelperResult {
    let text = first_bytes(call.machine, call.args[0], call.args[2]);
    find_part(call, text)
}

/// Where the string of the second argument is in a text.
fn find_part(call: &mut Call<'_, '_>, text: Result<Vec<u8>, Errno>) -> HelperResult {
    let part = string(call.machine, call.args[1]);
    let find = |text: Vec<u8>, part: Vec<u8>| match part.len() {
        0 => Some(0),
        len => text.windows(len).position(|window| window == part),
    };
    place(text.and_then(|text| Ok(find(text, part?))))
}

/// `bpf_strspn(text, accept)`: how many bytes from the start are all among `accept`.
pub(super) fn strspn(call: &mut Call<'_, '_>) -> HelperResult {
    span(call, true)
}

/// `bpf_strcspn(text, reject)`: how many bytes from the start are none of `reject`.
pub(super) fn strcspn(call: &mut Call<'_, '_>) -> HelperResult {
    span(call, false)
}

fn span(call: &mut Call<'_, '_>, among: bool) -> HelperResult {
    let (text, set) = (string(call.machine, call.args[0]), string(call.machine, call.args[1]));
    let count = |text: Vec<u8>, set: Vec<u8>| {
        text.iter().position(|byte| set.contains(byte) != among).unwrap_or(text.len())
    };
    place(text.and_then(|text| Ok(Some(count(text, set?)))))
}
