//! Helpers that hand records to user space, and take them from there.

use super::{Call, HelperResult, argument, errno, status};
use crate::Errno;
use crate::map::ring::{FORCE_WAKEUP, NO_WAKEUP};

/// `bpf_perf_event_output(ctx, map, flags, data, size)`. On packets, the flags' upper half asks for so many bytes of it behind
/// the data.
pub(super) fn perf_event_output(call: &mut Call<'_, '_>) -> HelperResult {
    const PACKET_LEN: u64 = 0xf_ffff << 32;
    let map = call.map(1)?;
    let [_, _, flags, data, len] = call.args;
    let cpu = call.machine.cpu();
    let perf = map.perf().ok_or_else(|| argument("the map is no perf event array"))?;
    let Some(packet) = call.machine.packet.as_deref() else {
        return status(call.machine.with_bytes(data, len as usize, |_, data| perf.output(flags, cpu, data))?);
    };
    let wanted = ((flags & PACKET_LEN) >> 32) as usize;
    if wanted > packet.len() {
        return errno(Errno::EFAULT);
    }
    let mut bytes = Vec::new();
    packet.append_data(&mut bytes);
    let mut record = call.machine.read_vec(data, len as usize)?;
    record.extend_from_slice(&bytes[..wanted]);
    status(perf.output(flags & !PACKET_LEN, cpu, &record))
}

pub(super) fn ringbuf_output(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let [_, data, len, flags, _] = call.args;
    let ring = map.ring().ok_or_else(|| argument("the map is no ring buffer"))?;
    status(call.machine.with_bytes(data, len as usize, |_, data| ring.output(data, flags))?)
}

pub(super) fn ringbuf_reserve(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let [_, size, flags, ..] = call.args;
    if flags != 0 {
        return Ok(0);
    }
    Ok(call.machine.reserve(&map, size).unwrap_or(0))
}

pub(super) fn ringbuf_submit(call: &mut Call<'_, '_>) -> HelperResult {
    commit(call, false)
}

pub(super) fn ringbuf_discard(call: &mut Call<'_, '_>) -> HelperResult {
    commit(call, true)
}

fn commit(call: &mut Call<'_, '_>, discard: bool) -> HelperResult {
    let [addr, flags, ..] = call.args;
    if call.machine.commit(addr, flags, discard) {
        return Ok(0);
    }
    Err(argument(format!("{addr:#x} is no reserved record")))
}

pub(super) fn ringbuf_query(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let ring = map.ring().ok_or_else(|| argument("the map is no ring buffer"))?;
    Ok(ring.query(call.args[1]))
}

/// Calls a function with a dynptr and a context for each record from user space, until it answers 1 or there is none left.
/// Answers the number of records.
pub(super) fn user_ringbuf_drain(call: &mut Call<'_, '_>) -> HelperResult {
    /// What one call takes at most (`BPF_MAX_USER_RINGBUF_SAMPLES`).
    const MAX_RECORDS: u64 = 128 * 1024;

    let map = call.map(0)?;
    let function = call.function(1)?;
    let [_, _, context, flags, _] = call.args;
    if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
        return errno(Errno::EINVAL);
    }
    let ring = map.user_ring().ok_or_else(|| argument("the map is no user ring buffer"))?;
    let Some(draining) = ring.begin_drain() else { return errno(Errno::EBUSY) };
    let mut records = 0;
    while records < MAX_RECORDS {
        let Some(sample) = draining.next() else { break };
        let window = draining.window(sample);
        let data = window.start();
        call.machine.space.lend(window);
        let dynptr = call.machine.space.lend_dynptr(super::dynptr::read_only(data, sample.len));
        let answer = call.callback(function, [dynptr, context, 0, 0, 0]);
        call.machine.space.take_back(data);
        draining.release(sample);
        records += 1;
        if answer? != 0 {
            break;
        }
    }
    draining.end(records, flags);
    Ok(records)
}
