//! The clocks of the machine, and the processor that this thread is on.
#![expect(unsafe_code, reason = "the C library knows the processor without asking the kernel")]

use std::sync::OnceLock;

use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

/// The clocks that helpers read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Monotonic,
    Real,
    Boot,
    Coarse,
    Tai,
}

/// Nanoseconds of a clock.
pub(crate) fn read(clock: Clock) -> u64 {
    let now = match clock {
        Clock::Monotonic => clock_gettime(ClockId::Monotonic),
        Clock::Real => clock_gettime(ClockId::Realtime),
        Clock::Boot => clock_gettime(ClockId::Boottime),
        Clock::Coarse => clock_gettime(ClockId::MonotonicCoarse),
        // Linux has had it since 3.10; without it, real time is at most a minute off.
        Clock::Tai => {
            clock_gettime_dynamic(DynamicClockId::Tai).unwrap_or_else(|_| clock_gettime(ClockId::Realtime))
        }
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Processors that there can be, numbered from 0 (`/sys/devices/system/cpu/possible`, such as `0-7`).
pub fn possible_cpus() -> u32 {
    static CPUS: OnceLock<u32> = OnceLock::new();
    *CPUS.get_or_init(|| {
        let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        let last = text.trim().rsplit(['-', ',']).next().and_then(|n| n.parse::<u32>().ok());
        let online = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        last.map_or_else(online, |last| last + 1)
    })
}

/// Processor and memory node of the calling thread; both may be stale when this returns, as in the kernel's own vDSO.
pub(crate) fn current_cpu() -> (u32, u32) {
    // SAFETY: it takes nothing and touches nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    (u32::try_from(cpu).unwrap_or(0), 0)
}
