//! Signal dispositions, and what of them a started command must not inherit.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Signals this process ignores for its own sake and a command must find at their default: bit `n` is signal `n`.
///
/// Rust programs ignore SIGPIPE from the start.
static OURS: AtomicU64 = AtomicU64::new(1 << libc::SIGPIPE);

/// Ignores a signal, and remembers to undo that in commands, unless it was ignored before.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: ignoring a signal runs no code of ours.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before != libc::SIG_IGN {
        OURS.fetch_or(1 << signal, Ordering::Relaxed);
    }
}

/// In a child that becomes a command: gives back the dispositions it would have had without us.
pub(super) fn restore_for_command() {
    let ours = OURS.load(Ordering::Relaxed);
    for signal in (1..64).filter(|n| ours & (1 << n) != 0) {
        // SAFETY: async-signal-safe, and the default disposition runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Is the signal ignored now?
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks for the disposition only; `action` is large enough.
    unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed bytes are a valid `sigaction`, whether or not the kernel filled it in.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Calls `handler` on a signal; the handler must be async-signal-safe. Interrupted calls go on afterwards.
pub(crate) fn handle(signal: i32, handler: extern "C" fn(i32)) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroed bytes are a valid `sigaction`.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler has the signature that an action without `SA_SIGINFO` wants.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

/// Makes a signal do nothing but interrupt the system call that its thread waits in.
pub(super) fn interrupt_by(signal: i32) {
    extern "C" fn nothing(_: i32) {}
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeroed bytes are a valid `sigaction`.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    // SAFETY: the handler has the signature that an action without `SA_SIGINFO` wants.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

/// Where [`relay`] writes.
static RELAY: AtomicI32 = AtomicI32::new(-1);

/// Sets the descriptor that [`relay`] writes to; it must stay open as long as signals are handled.
pub(crate) fn relay_to(fd: BorrowedFd<'_>) {
    RELAY.store(fd.as_raw_fd(), Ordering::Relaxed);
}

/// A signal handler that writes the signal's number as a byte.
pub(crate) extern "C" fn relay(signal: i32) {
    let byte = signal as u8;
    // SAFETY: async-signal-safe; one byte of live memory. A full or closed connection loses nothing that matters.
    unsafe {
        libc::send(
            RELAY.load(Ordering::Relaxed),
            (&raw const byte).cast(),
            1,
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
}
