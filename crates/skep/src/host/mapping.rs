//! Maps a file read-only: the one place of this crate with `unsafe`.
#![expect(unsafe_code, reason = "mapping a file is unsafe because others may change it")]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Maps the whole file, read-only, and private: Linux shows its types to no other mapping (`btf_sysfs_vmlinux_mmap`).
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only kernel-generated type files are mapped, which never change or shrink while the kernel runs.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}
