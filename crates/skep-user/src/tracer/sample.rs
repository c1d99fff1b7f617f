//! Samples: looking at a thread whenever it has used another period of processor time.
//!
//! A [`Ticker`] interrupts the tracer's wait. At each tick the clocks of all threads are read; one that has used up a period
//! and is running is stopped, looked at, and goes on. A thread that sleeps is left asleep and sampled when it runs again,
//! because stopping it would end some system calls early. One that gets into such a call between the look and the stop makes
//! the call again, as if nothing had been ([`repeats`]).

use std::io;

use super::{Tid, Tracee, Tracer};
use crate::procfs;
use crate::sys::ptrace::{self, Registers, reg};
use crate::sys::time::{Ticker, clock_ns};

/// What keeps the time of a session.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    ticker: Option<Ticker>,
    /// When breakpoints were looked after last.
    repaired_ns: u64,
}

/// Time between two looks after the breakpoints.
const REPAIR_NS: u64 = 250_000_000;

impl Sampler {
    /// No more ticks.
    pub(super) fn stop(&mut self) {
        self.ticker = None;
    }
}

/// Where a thread is on its way to its next samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled {
    /// Processor time at which each of the periods is over next; empty before the first look.
    next: Vec<u64>,
    /// The periods that are over.
    due: Vec<u64>,
}

/// Samples that a thread may be behind; the others are lost, as those of a timer that comes late.
const MOST_BEHIND: u64 = 16;

impl Sampled {
    /// The thread has used this much; is a sample due?
    fn advance(&mut self, used_ns: u64, periods: &[u64]) -> bool {
        if self.next.len() != periods.len() {
            self.next = periods.iter().map(|period| used_ns + period).collect();
        }
        for (next, &period) in self.next.iter_mut().zip(periods) {
            if *next <= used_ns {
                *next = (*next + period).max(used_ns.saturating_sub(period * MOST_BEHIND));
                if !self.due.contains(&period) {
                    self.due.push(period);
                }
            }
        }
        !self.due.is_empty()
    }
}

impl Tracer {
    /// Begins to tick, if anybody wants samples.
    pub(super) fn start_sampling(&mut self) {
        let breakpoints = (!self.interest.sites.is_empty()).then_some(REPAIR_NS);
        if let Some(shortest) = self.interest.periods.iter().copied().chain(breakpoints).min() {
            // Without a timer there are no samples, as the output shows.
            self.sampler.ticker = Ticker::start(shortest).ok();
        }
    }

    /// A tick: stops the threads that are due, and now and then looks after the breakpoints.
    pub(super) fn tick(&mut self) {
        if self.observer.is_none() {
            return;
        }
        self.look_at_clocks();
        let now = clock_ns(libc::CLOCK_MONOTONIC);
        if !self.interest.sites.is_empty() && now >= self.sampler.repaired_ns + REPAIR_NS {
            self.sampler.repaired_ns = now;
            let count = self.spaces.repair();
            if let Some(observer) = self.observer.as_deref_mut().filter(|_| count > 0) {
                observer.repaired(count);
            }
        }
    }

    fn look_at_clocks(&mut self) {
        for (&tid, tracee) in &mut self.tracees {
            if is_watched(tracee)
                && let Some(used) = procfs::used_ns(tid)
                && tracee.sampled.advance(used, &self.interest.periods)
                && procfs::is_running(tid)
            {
                let _ = ptrace::interrupt(tid);
            }
        }
    }

    /// A thread has stopped because we asked it to.
    pub(super) fn at_interrupt(&mut self, tid: Tid) {
        let due = self.tracees.get_mut(&tid).map(|tracee| std::mem::take(&mut tracee.sampled.due));
        if let Some(due) = due.filter(|due| !due.is_empty())
            && let Ok(regs) = ptrace::registers(tid)
        {
            for period in due {
                self.observe(tid, |observer, tracee| observer.sampled(&mut tracee.task, &regs, period));
            }
            let _ = repeat(tid, &regs);
        }
        self.resume(tid, 0);
    }
}

/// Is it a thread whose time counts: begun, and not the launcher of the command?
fn is_watched(tracee: &Tracee) -> bool {
    !tracee.held && !tracee.quiet && !tracee.exited
}

/// Has a thread a call made again that our interruption ended, and nothing else?
fn repeat(tid: Tid, regs: &Registers) -> io::Result<()> {
    if repeats(regs) && !procfs::is_signalled(tid) {
        let mut again = *regs;
        again[reg::RAX] = regs[reg::ORIG_RAX];
        again[reg::RIP] -= SYSCALL_BYTES;
        ptrace::set_registers(tid, &again)?;
    }
    Ok(())
}

/// Bytes of the instruction `syscall`.
const SYSCALL_BYTES: u64 = 2;

/// Is the thread behind a call that the kernel ends when its thread is stopped, instead of making it again (signal(7), "on
/// Linux, even in the absence of signal handlers")?
fn repeats(regs: &Registers) -> bool {
    const CALLS: [i64; 9] = [
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_io_getevents,
        libc::SYS_io_uring_enter,
        libc::SYS_recvmmsg,
    ];
    let interrupted = i64::from(-libc::EINTR).cast_unsigned();
    regs[reg::RAX] == interrupted && CALLS.contains(&regs[reg::ORIG_RAX].cast_signed())
}

#[cfg(test)]
mod tests {
    use super::Sampled;

    #[test]
    fn samples_come_once_a_period() {
        let mut sampled = Sampled::default();
        let mut count = 0;
        // Looks at uneven times: as many samples as periods, but never two at one look.
        for used in [0, 9, 11, 19, 25, 31, 60, 61, 62, 63] {
            if sampled.advance(used, &[10]) {
                count += 1;
                assert_eq!(std::mem::take(&mut sampled.due), [10]);
            }
        }
        assert_eq!(count, 6);
        // A thread that was not looked at for long does not make up for all of it.
        let behind = (0..100).filter(|_| {
            let due = sampled.advance(10_000, &[10]);
            sampled.due.clear();
            due
        });
        assert_eq!(behind.count(), 18);
    }
}
