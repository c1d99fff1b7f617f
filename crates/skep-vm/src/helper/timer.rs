//! Helpers and kernel functions on timers and work queues in map values.

use std::sync::Arc;

use super::{Call, HelperResult, Stop, argument, errno, status};
use crate::Errno;
use crate::clock::Clock;
use crate::timer::Timer;

/// Bytes of `struct bpf_timer` and `struct bpf_wq`.
const BYTES: u64 = 16;

/// `bpf_timer_init(timer, map, clock)`.
pub(super) fn init(call: &mut Call<'_, '_>) -> HelperResult {
    /// Numbers of clocks (`include/uapi/linux/time.h`).
    const REALTIME: u64 = 0;
    const MONOTONIC: u64 = 1;
    const BOOTTIME: u64 = 7;
    match call.args[2] {
        REALTIME => make(call, Clock::Real),
        MONOTONIC => make(call, Clock::Monotonic),
        BOOTTIME => make(call, Clock::Boot),
        _ => errno(Errno::EINVAL),
    }
}

/// `bpf_wq_init(wq, map, flags)`.
pub(super) fn work_init(call: &mut Call<'_, '_>) -> HelperResult {
    if call.args[2] != 0 {
        return errno(Errno::EINVAL);
    }
    make(call, Clock::Monotonic)
}

fn make(call: &mut Call<'_, '_>, clock: Clock) -> HelperResult {
    let addr = call.args[0];
    call.machine.writable(addr, BYTES)?;
    let map = call.map(1)?;
    let timers = map.elements().timers().filter(|_| map.elements().entry_at(addr).is_some());
    let timers = timers.ok_or_else(|| argument("the map has no timer at this address"))?;
    status(timers.make(&map, addr, clock))
}

/// The timer of the first argument, in one of the maps that the program knows.
fn find(call: &mut Call<'_, '_>) -> Result<Option<Arc<Timer>>, Box<Stop>> {
    let addr = call.args[0];
    call.machine.writable(addr, BYTES)?;
    let mut maps = call.program.maps().iter().chain(&call.machine.inner_maps);
    Ok(maps.find_map(|map| map.elements().timers()?.get(addr)))
}

/// `bpf_timer_set_callback(timer, function)`.
pub(super) fn set_callback(call: &mut Call<'_, '_>) -> HelperResult {
    let Some(timer) = find(call)? else { return errno(Errno::EINVAL) };
    let function = call.function(1)?;
    let Some(program) = call.program.shared() else {
        return Err(argument(
            "the program is run by one who does not share it, so it cannot be called later",
        ));
    };
    timer.set_callback(program, function, call.machine.env.later());
    Ok(0)
}

/// `bpf_wq_set_callback_impl(wq, function, flags, aux)`.
pub(super) fn work_set_callback(call: &mut Call<'_, '_>) -> HelperResult {
    if call.args[2] != 0 { errno(Errno::EINVAL) } else { set_callback(call) }
}

/// `bpf_timer_start(timer, nanoseconds, flags)`; there is no processor to pin it to.
pub(super) fn start(call: &mut Call<'_, '_>) -> HelperResult {
    const ABSOLUTE: u64 = 1;
    const PIN_CPU: u64 = 2;
    let [_, ns, flags, ..] = call.args;
    if flags & !(ABSOLUTE | PIN_CPU) != 0 {
        return errno(Errno::EINVAL);
    }
    match find(call)? {
        Some(timer) => status(timer.start(ns, flags & ABSOLUTE != 0)),
        None => errno(Errno::EINVAL),
    }
}

/// `bpf_wq_start(wq, flags)`.
pub(super) fn work_start(call: &mut Call<'_, '_>) -> HelperResult {
    if call.args[1] != 0 {
        return errno(Errno::EINVAL);
    }
    match find(call)? {
        Some(timer) => status(timer.start(0, false)),
        None => errno(Errno::EINVAL),
    }
}

/// `bpf_timer_cancel(timer)`: 1 when it was armed.
pub(super) fn cancel(call: &mut Call<'_, '_>) -> HelperResult {
    match find(call)? {
        Some(timer) => Ok(timer.cancel().map_or_else(Errno::to_reg, u64::from)),
        None => errno(Errno::EINVAL),
    }
}
