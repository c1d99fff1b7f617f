//! Clocks, and interruptions at even intervals.

use std::{io, ptr};

use super::check;

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

/// Sends the thread that started it a signal at even intervals, which does nothing but interrupt its wait.
#[derive(Debug)]
pub(crate) struct Ticker(libc::timer_t);

impl Ticker {
    /// Ticks every so many nanoseconds, for the calling thread.
    pub(crate) fn start(interval_ns: u64) -> io::Result<Self> {
        let signal = libc::SIGRTMIN() + 4;
        super::signal::interrupt_by(signal);
        // SAFETY: zeroed bytes are a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // SAFETY: plain numbers.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both are live.
        check(i64::from(unsafe {
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
        }))?;
        let ticker = Self(timer);
        let interval = libc::timespec {
            tv_sec: (interval_ns / 1_000_000_000).cast_signed(),
            tv_nsec: (interval_ns % 1_000_000_000).cast_signed(),
        };
        let times = libc::itimerspec { it_interval: interval, it_value: interval };
        // SAFETY: the timer is ours, and `times` is live.
        check(i64::from(unsafe { libc::timer_settime(ticker.0, 0, &raw const times, ptr::null_mut()) }))?;
        Ok(ticker)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // SAFETY: the timer is ours.
        unsafe { libc::timer_delete(self.0) };
    }
}
