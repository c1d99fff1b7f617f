//! Clocks and the processor.

/// Nanoseconds of a clock (`CLOCK_*`).
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is live; the clocks asked for exist on every kernel that has ptrace seizing.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Clock ticks per second, the unit of times in /proc.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: plain numbers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}
