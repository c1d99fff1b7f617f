//! Linux's maps and its JIT, by bpf(2).

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use skep_isa::uapi::{Cmd, ProgType};
use skep_vm::{Errno, MapSpec};

use crate::bpf::Attr;
use crate::cases::{Case, Operation};
use crate::clock::Timer;

/// A map of the kernel.
pub(crate) struct KernelMap {
    fd: OwnedFd,
    positions: Option<Positions>,
}

impl KernelMap {
    pub(crate) fn create(spec: &MapSpec) -> Result<Self, Errno> {
        let attr = Attr::new().u32(0, spec.map_type.0).u32(4, spec.key_size).u32(8, spec.value_size);
        let fd = attr.u32(12, spec.max_entries).u32(16, spec.map_flags).open(Cmd::MAP_CREATE)?;
        let is_ring = spec.key_size == 0;
        let positions = if is_ring { Some(Positions::of(&fd)?) } else { None };
        Ok(Self { fd, positions })
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        let attr = Attr::new().u32(0, self.fd.as_raw_fd() as u32).u64(8, key.as_ptr().addr() as u64);
        attr.u64(16, value.as_ptr().addr() as u64).bpf(Cmd::MAP_UPDATE_ELEM).map(drop)
    }
}

/// A program of the kernel that does what a case says.
pub(crate) struct KernelProgram(OwnedFd);

impl KernelProgram {
    pub(crate) fn load(case: &Case, map: &KernelMap, iterations: u32) -> Result<Self, Errno> {
        let mut insns = case.insns(iterations);
        for insn in &mut insns {
            // `BPF_PSEUDO_MAP_IDX` becomes `BPF_PSEUDO_MAP_FD`.
            if insn.code == 0x18 && insn.regs >> 4 == 5 {
                (insn.regs, insn.imm) = (insn.regs & 0xf | 1 << 4, map.fd.as_raw_fd());
            }
        }
        let bytes: Vec<u8> = insns.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        let mut log = vec![0u8; 1 << 16];
        let attr = |log: &mut Vec<u8>, level: u32| {
            let attr = Attr::new().u32(0, ProgType::SCHED_CLS.0).u32(4, insns.len() as u32);
            let attr = attr.u64(8, bytes.as_ptr().addr() as u64).u64(16, c"GPL".as_ptr().addr() as u64);
            let (at, len) = if level == 0 { (0, 0) } else { (log.as_mut_ptr().addr() as u64, log.len()) };
            attr.u32(24, level).u32(28, len as u32).u64(32, at).open(Cmd::PROG_LOAD)
        };
        attr(&mut log, 0).map(Self).inspect_err(|_| {
            // The reason is in the log.
            let _ = attr(&mut log, 1);
            let text = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = text.trim_end_matches(['\0', '\n']).lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(5)..].join("\n"));
        })
    }

    /// Runs it once; answers nanoseconds.
    pub(crate) fn run(&self, case: &Case, map: &KernelMap) -> Result<f64, Errno> {
        let packet = [0u8; 64];
        let attr = Attr::new().u32(0, self.0.as_raw_fd() as u32).u32(8, packet.len() as u32);
        let mut attr = attr.u64(16, packet.as_ptr().addr() as u64).u32(32, 1);
        const RETVAL: usize = 4;
        let timer = Timer::start();
        attr.bpf(Cmd::PROG_TEST_RUN)?;
        let time = timer.ns();
        assert_eq!(attr.word(RETVAL), 0, "the benchmark's program answers 0");
        if case.operation == Operation::Reserve
            && let Some(positions) = &map.positions
        {
            positions.consume();
        }
        Ok(time)
    }
}

/// The pages of a ring buffer that hold what its consumer and its producers have reached.
struct Positions {
    consumer: &'static AtomicU64,
    producer: &'static AtomicU64,
}

const PAGE: usize = 4096;

impl Positions {
    fn of(fd: &OwnedFd) -> Result<Self, Errno> {
        let map = |prot, off| {
            // SAFETY: a new mapping, placed by the kernel, aliases nothing of ours.
            let at = unsafe {
                libc::mmap(std::ptr::null_mut(), PAGE, prot, libc::MAP_SHARED, fd.as_raw_fd(), off)
            };
            if at == libc::MAP_FAILED {
                return Err(Errno::ENOMEM);
            }
            // SAFETY: the page begins with the position, is only accessed atomically, and stays mapped to the end.
            Ok(unsafe { AtomicU64::from_ptr(at.cast()) })
        };
        let consumer = map(libc::PROT_READ | libc::PROT_WRITE, 0)?;
        Ok(Self { consumer, producer: map(libc::PROT_READ, PAGE as i64)? })
    }

    /// Makes all room free again.
    fn consume(&self) {
        self.consumer.store(self.producer.load(Ordering::Acquire), Ordering::Release);
    }
}
