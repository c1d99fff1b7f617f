//! perf_event_open(2) and the ioctls that tie programs to perf events.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// The part of `struct perf_event_attr` that is used here (`PERF_ATTR_SIZE_VER5`, 112 bytes; Linux 4.1).
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(crate) struct PerfAttr {
    pub(crate) kind: u32,
    pub(crate) size: u32,
    pub(crate) config: u64,
    pub(crate) sample_period: u64,
    pub(crate) sample_type: u64,
    pub(crate) read_format: u64,
    /// Bit fields; bit 10 is `freq`.
    pub(crate) flags: u64,
    pub(crate) wakeup_events: u32,
    pub(crate) bp_type: u32,
    /// For uprobes and kprobes: address of the path or function name.
    pub(crate) config1: u64,
    /// For uprobes and kprobes: offset.
    pub(crate) config2: u64,
    pub(crate) branch_sample_type: u64,
    pub(crate) sample_regs_user: u64,
    pub(crate) sample_stack_user: u32,
    pub(crate) clockid: i32,
    pub(crate) sample_regs_intr: u64,
    pub(crate) aux_watermark: u32,
    pub(crate) sample_max_stack: u16,
    pub(crate) reserved: u16,
}

/// Types of what is counted: `PERF_TYPE_HARDWARE`, `PERF_TYPE_SOFTWARE`, `PERF_TYPE_HW_CACHE`, `PERF_TYPE_RAW`.
pub(crate) const COUNTED: &[u32] = &[0, 1, 3, 4];
/// `PERF_TYPE_TRACEPOINT`.
pub(crate) const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_TYPE_SOFTWARE`.
pub(crate) const TYPE_SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_BPF_OUTPUT`.
pub(crate) const SW_BPF_OUTPUT: u64 = 10;
/// `PERF_SAMPLE_RAW`.
pub(crate) const SAMPLE_RAW: u64 = 1 << 10;

/// `freq`: the period is a frequency.
pub(crate) const FLAG_FREQUENCY: u64 = 1 << 10;
/// `inherit`: children are counted, too.
pub(crate) const FLAG_INHERIT: u64 = 1 << 1;

const FLAG_FD_CLOEXEC: u64 = 1 << 3;
const IOC_ENABLE: libc::Ioctl = 0x2400;
const IOC_SET_BPF: libc::Ioctl = 0x4004_2408;

/// Opens an event of process `pid` (-1: all) on processor `cpu` (-1: all).
pub(crate) fn open(attr: &PerfAttr, pid: i32, cpu: i32) -> io::Result<OwnedFd> {
    let attr = PerfAttr { size: u32::try_from(size_of::<PerfAttr>()).unwrap_or(0), ..attr.clone() };
    // SAFETY: the attribute is as long as its size says; addresses in it lead to strings that the caller keeps alive.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, -1, FLAG_FD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Lets an event count.
pub(crate) fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    ioctl(event, IOC_ENABLE, 0)
}

/// Runs a program on an event; it stays for as long as the event.
pub(crate) fn set_program(event: BorrowedFd<'_>, program: i32) -> io::Result<()> {
    ioctl(event, IOC_SET_BPF, program)
}

fn ioctl(event: BorrowedFd<'_>, request: libc::Ioctl, argument: i32) -> io::Result<()> {
    // SAFETY: both requests take a number, not an address.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
