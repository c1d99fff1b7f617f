//! Dynptrs: a pointer with its bounds, in 16 opaque bytes on the program's stack.
//!
//! They are laid out as the kernel's `struct bpf_dynptr_kern`. What unverified bytes say is believed only as far as the
//! run's memory allows: a forged dynptr reaches nothing that a forged pointer would not.

use super::{Call, HelperResult, errno, status};
use crate::Errno;
use crate::packet::Form;

const READ_ONLY: u32 = 1 << 31;
const TYPE_SHIFT: u32 = 28;
const LOCAL: u32 = 1;
const RINGBUF: u32 = 2;
/// Packets: `data` is their context then, because the data itself may move.
const SKB: u32 = 3;
const XDP: u32 = 4;
/// Largest memory of a dynptr (`DYNPTR_MAX_SIZE`), and the bits of its size.
const MAX_SIZE: u32 = (1 << 24) - 1;

/// What the 16 bytes say.
#[derive(Clone, Copy)]
pub(super) struct Dynptr {
    data: u64,
    /// Size, type, and whether it may be written.
    size: u32,
    offset: u32,
}

impl Dynptr {
    const NULL: Self = Self { data: 0, size: 0, offset: 0 };

    fn new(data: u64, kind: u32, size: u32) -> Self {
        Self { data, size: size | kind << TYPE_SHIFT, offset: 0 }
    }

    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.data.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.offset.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_ne_bytes(bytes);
        let (data, size, offset) = (both as u64, (both >> 64) as u32, (both >> 96) as u32);
        if cfg!(target_endian = "little") {
            return Self { data, size, offset };
        }
        Self { data: (both >> 64) as u64, size: (both >> 32) as u32, offset: both as u32 }
    }

    pub(super) fn writable(self) -> bool {
        self.size & READ_ONLY == 0
    }

    /// Does it stand for a packet?
    fn is_packet(self) -> bool {
        matches!(self.size >> TYPE_SHIFT & 7, SKB | XDP)
    }

    /// Is it null, or not to be written?
    pub(super) fn refuses(self) -> bool {
        self.data == 0 || !self.writable()
    }

    /// Has it this part? A null one has no bytes.
    pub(super) fn holds(self, offset: u32, len: u32) -> bool {
        let size = self.size & MAX_SIZE;
        len <= size && offset <= size - len
    }

    /// The address of a part that is in one piece, if the dynptr has it.
    pub(super) fn piece(self, call: &Call<'_, '_>, offset: u32, len: u32) -> Option<u64> {
        let place = self.part(offset, len).ok()?;
        if !self.is_packet() {
            return Some(place);
        }
        call.machine.packet.as_deref()?.linear_addr(place as usize, len as usize)
    }

    /// The address of a part, if the dynptr has it; of a packet, its place.
    fn part(self, offset: u32, len: u32) -> Result<u64, Errno> {
        let size = self.size & MAX_SIZE;
        if self.data == 0 {
            return Err(Errno::EINVAL);
        }
        if len > size || offset > size - len {
            return Err(Errno::E2BIG);
        }
        let base = if self.is_packet() { 0 } else { self.data };
        Ok(base.wrapping_add(self.offset.into()).wrapping_add(offset.into()))
    }
}

/// The bytes of a dynptr to memory that programs only read.
pub(super) fn read_only(data: u64, len: u32) -> [u8; 16] {
    Dynptr::new(data, LOCAL, len | READ_ONLY).to_bytes()
}

pub(super) fn dynptr(call: &mut Call<'_, '_>, arg: usize) -> Result<Dynptr, Box<super::Stop>> {
    let mut bytes = [0; 16];
    call.machine.read(call.args[arg], &mut bytes)?;
    Ok(Dynptr::from_bytes(bytes))
}

/// `bpf_dynptr_from_mem(data, size, flags, ptr)`.
pub(super) fn from_mem(call: &mut Call<'_, '_>) -> HelperResult {
    let [data, _, flags, ..] = call.args;
    let size = call.u32(1);
    let result = match (size, flags) {
        (size, _) if size > MAX_SIZE => Err(Errno::E2BIG),
        (_, 0) => Ok(Dynptr::new(data, LOCAL, size)),
        _ => Err(Errno::EINVAL),
    };
    call.store(3, &result.unwrap_or(Dynptr::NULL).to_bytes())?;
    status(result.map(drop))
}

/// Bytes of a part, if it can be read.
pub(super) fn load(
    call: &mut Call<'_, '_>,
    source: Dynptr,
    offset: u32,
    len: u32,
) -> Result<Result<Vec<u8>, Errno>, Box<super::Stop>> {
    match source.part(offset, len) {
        Ok(off) if source.is_packet() => Ok(packet_bytes(call, off, len)),
        Ok(addr) => Ok(Ok(call.machine.read_vec(addr, len as usize)?)),
        Err(e) => Ok(Err(e)),
    }
}

/// Writes a part, if it may be written; the flags are those of packets.
pub(super) fn save(
    call: &mut Call<'_, '_>,
    target: Dynptr,
    offset: u32,
    data: &[u8],
    flags: u64,
) -> Result<Result<(), Errno>, Box<super::Stop>> {
    if target.refuses() {
        return Ok(Err(Errno::EINVAL));
    }
    match target.part(offset, data.len() as u32) {
        Ok(off) if target.is_packet() => Ok(super::packet::store(call, off as usize, data, flags)),
        Ok(addr) => Ok(Ok(call.machine.write(addr, data)?)),
        Err(e) => Ok(Err(e)),
    }
}

/// `bpf_dynptr_read(dst, len, src, offset, flags)`.
pub(super) fn read(call: &mut Call<'_, '_>) -> HelperResult {
    let (len, offset, flags) = (call.u32(1), call.u32(3), call.args[4]);
    let source = dynptr(call, 2)?;
    if source.data == 0 || flags != 0 {
        return errno(Errno::EINVAL);
    }
    match load(call, source, offset, len)? {
        Ok(data) => call.store(0, &data).map(|()| 0),
        Err(e) => errno(e),
    }
}

/// `bpf_dynptr_write(dst, offset, src, len, flags)`.
pub(super) fn write(call: &mut Call<'_, '_>) -> HelperResult {
    let (offset, len, flags) = (call.u32(1), call.u32(3), call.args[4]);
    let target = dynptr(call, 0)?;
    if target.refuses() || (flags != 0 && !target.is_packet()) {
        return errno(Errno::EINVAL);
    }
    if let Err(e) = target.part(offset, len) {
        return errno(e);
    }
    let data = call.bytes(2, len as usize)?;
    status(save(call, target, offset, &data, flags)?)
}

/// `bpf_dynptr_data(ptr, offset, len)`: the address of a part, or null.
pub(super) fn data(call: &mut Call<'_, '_>) -> HelperResult {
    let (offset, len) = (call.u32(1), call.u32(2));
    let source = dynptr(call, 0)?;
    if !source.writable() || source.is_packet() {
        return Ok(0);
    }
    Ok(source.part(offset, len).unwrap_or(0))
}

/// Bytes of the packet.
fn packet_bytes(call: &mut Call<'_, '_>, off: u64, len: u32) -> Result<Vec<u8>, Errno> {
    let packet = call.machine.packet.as_deref().ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; len as usize];
    match packet.form() {
        Form::Xdp => packet.xdp_load(off as usize, &mut bytes)?,
        Form::Skb => packet.read(off as usize, &mut bytes).ok_or(Errno::EFAULT)?,
    }
    Ok(bytes)
}

/// `bpf_dynptr_from_skb(skb, flags, ptr)` and `bpf_dynptr_from_xdp(xdp, flags, ptr)`.
pub(super) fn from_packet(call: &mut Call<'_, '_>) -> HelperResult {
    let [context, flags, ..] = call.args;
    let Some(packet) = call.machine.packet.as_deref() else {
        return Err(super::argument("the program has no packet"));
    };
    let made = match flags {
        0 => {
            let kind = if packet.form() == Form::Xdp { XDP } else { SKB };
            let read_only = if packet.is_writable() { 0 } else { READ_ONLY };
            let size = (packet.len() as u32).min(MAX_SIZE) | read_only;
            Ok(Dynptr::new(context, kind, size))
        }
        _ => Err(Errno::EINVAL),
    };
    call.store(2, &made.unwrap_or(Dynptr::NULL).to_bytes())?;
    status(made.map(drop))
}

/// `bpf_ringbuf_reserve_dynptr(map, size, flags, ptr)`. The dynptr is null when there is no room.
pub(super) fn ringbuf_reserve(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let (size, flags) = (call.u32(1), call.args[2]);
    call.machine.writable(call.args[3], 16)?;
    let result = match (flags, size) {
        (0, 0..=MAX_SIZE) => call.machine.reserve(&map, size.into()).ok_or(Errno::EINVAL),
        (0, _) => Err(Errno::E2BIG),
        _ => Err(Errno::EINVAL),
    };
    let made = result.map_or(Dynptr::NULL, |addr| Dynptr::new(addr, RINGBUF, size));
    call.store(3, &made.to_bytes())?;
    status(result.map(drop))
}

pub(super) fn ringbuf_submit(call: &mut Call<'_, '_>) -> HelperResult {
    commit(call, false)
}

pub(super) fn ringbuf_discard(call: &mut Call<'_, '_>) -> HelperResult {
    commit(call, true)
}

/// A null dynptr, of a reservation that failed, has nothing to give back.
fn commit(call: &mut Call<'_, '_>, discard: bool) -> HelperResult {
    let source = dynptr(call, 0)?;
    if source.data != 0 && !call.machine.commit(source.data, call.args[1], discard) {
        return Err(super::argument("the dynptr is of no reserved record"));
    }
    call.store(0, &Dynptr::NULL.to_bytes())?;
    Ok(0)
}

/// `bpf_dynptr_adjust(ptr, start, end)`: narrows it to that part.
pub(super) fn adjust(call: &mut Call<'_, '_>) -> HelperResult {
    let (start, end) = (call.u32(1), call.u32(2));
    let whole = dynptr(call, 0)?;
    let size = whole.size & MAX_SIZE;
    if whole.data == 0 || start > end {
        return errno(Errno::EINVAL);
    }
    if end > size {
        return errno(Errno::ERANGE);
    }
    let size = whole.size & !MAX_SIZE | (end - start);
    let part = Dynptr { size, offset: whole.offset.wrapping_add(start), ..whole };
    call.store(0, &part.to_bytes()).map(|()| 0)
}

pub(super) fn is_null(call: &mut Call<'_, '_>) -> HelperResult {
    Ok((dynptr(call, 0)?.data == 0).into())
}

/// A null dynptr is not read-only.
pub(super) fn is_read_only(call: &mut Call<'_, '_>) -> HelperResult {
    let source = dynptr(call, 0)?;
    Ok((source.data != 0 && !source.writable()).into())
}

pub(super) fn size(call: &mut Call<'_, '_>) -> HelperResult {
    let source = dynptr(call, 0)?;
    if source.data == 0 { errno(Errno::EINVAL) } else { Ok((source.size & MAX_SIZE).into()) }
}

/// `bpf_dynptr_clone(ptr, copy)`.
pub(super) fn clone(call: &mut Call<'_, '_>) -> HelperResult {
    let source = dynptr(call, 0)?;
    let null = source.data == 0;
    call.store(1, &if null { Dynptr::NULL } else { source }.to_bytes())?;
    if null { errno(Errno::EINVAL) } else { Ok(0) }
}

/// `bpf_dynptr_slice(ptr, offset, buffer, size)`: the address of a part, or null. What is not in one piece, as fragments of a
/// packet are not, is copied into the buffer.
pub(super) fn slice(call: &mut Call<'_, '_>) -> HelperResult {
    let (offset, len) = (call.u32(1), call.u32(3));
    let source = dynptr(call, 0)?;
    let Ok(place) = source.part(offset, len) else { return Ok(0) };
    if !source.is_packet() {
        return Ok(place);
    }
    let packet = call.machine.packet.as_deref();
    if let Some(addr) = packet.and_then(|packet| packet.linear_addr(place as usize, len as usize)) {
        return Ok(addr);
    }
    let buffer = call.args[2];
    match packet_bytes(call, place, len) {
        Ok(bytes) if buffer != 0 => call.store(2, &bytes).map(|()| buffer),
        _ => Ok(0),
    }
}

/// `bpf_dynptr_slice_rdwr`: null for a read-only dynptr.
pub(super) fn slice_writable(call: &mut Call<'_, '_>) -> HelperResult {
    if dynptr(call, 0)?.writable() { slice(call) } else { Ok(0) }
}
