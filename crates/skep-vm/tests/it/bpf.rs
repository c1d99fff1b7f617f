//! bpf(2), raw: to ask Linux what it would answer.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper below this crate")]

use std::os::fd::{FromRawFd, OwnedFd};

use skep_isa::uapi::Cmd;
use skep_vm::Errno;

/// Bytes of the attribute: all that the commands used here look at.
const BYTES: usize = 120;

/// `union bpf_attr` of the commands used here: words at byte offsets.
#[repr(C, align(8))]
pub(crate) struct Attr([u8; BYTES]);

impl Attr {
    pub(crate) fn new() -> Self {
        Self([0; BYTES])
    }

    pub(crate) fn u32(mut self, off: usize, value: u32) -> Self {
        self.0[off..off + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub(crate) fn u64(mut self, off: usize, value: u64) -> Self {
        self.0[off..off + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub(crate) fn bpf(&mut self, cmd: Cmd) -> Result<i32, Errno> {
        let size = self.0.len();
        // SAFETY: the attribute is large enough for each command used, and the buffers it names outlive the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, cmd.0, self.0.as_mut_ptr(), size) };
        if result >= 0 {
            return Ok(result as i32);
        }
        Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)))
    }

    /// Runs a command that answers a descriptor.
    pub(crate) fn open(mut self, cmd: Cmd) -> Result<OwnedFd, Errno> {
        let fd = self.bpf(cmd)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Four bytes of what the kernel left here.
    pub(crate) fn word(&self, off: usize) -> u32 {
        u32::from_ne_bytes(*self.0[off..].first_chunk().expect("the test reads inside"))
    }
}
