//! The kernel's JIT, by test runs of an XDP program, where it lets us.

use std::os::fd::{AsRawFd, OwnedFd};

use skep_isa::Insn;
use skep_isa::uapi::{Cmd, ProgType};

#[path = "../../tests/it/bpf.rs"]
mod bpf;

use crate::MEMORY;
use crate::engine::Engine;
use bpf::Attr;

/// Runs in one call; the kernel looks after signals and other tasks in between.
const REPEAT: u32 = 500;

/// A program in the kernel.
pub(crate) struct InKernel {
    program: OwnedFd,
    memory: Vec<u8>,
}

impl InKernel {
    /// Loads a program; says why it cannot.
    pub(crate) fn load(insns: &[Insn]) -> Option<Self> {
        let license = c"GPL";
        let attr = Attr::new().u32(0, ProgType::XDP.0).u32(4, insns.len() as u32);
        let attr = attr.u64(8, insns.as_ptr().addr() as u64).u64(16, license.as_ptr().addr() as u64);
        match attr.open(Cmd::PROG_LOAD) {
            Ok(program) => Some(Self { program, memory: vec![0; MEMORY] }),
            Err(errno) => {
                eprintln!("kernel: loading answers {errno:?}");
                None
            }
        }
    }

    /// Runs it so often; answers the result and the average time that the kernel took, in nanoseconds.
    fn run(&mut self, repeat: u32, out: &mut [u8]) -> Result<(u64, f64), String> {
        let attr = Attr::new().u32(0, self.program.as_raw_fd() as u32).u32(8, self.memory.len() as u32);
        let attr = attr.u64(16, self.memory.as_ptr().addr() as u64).u32(32, repeat);
        // To an address, the kernel copies everything, whatever the room.
        let to = if out.is_empty() { 0 } else { out.as_mut_ptr().addr() as u64 };
        let mut attr = attr.u32(12, out.len() as u32).u64(24, to);
        attr.bpf(Cmd::PROG_TEST_RUN).map_err(|errno| format!("test run: {errno:?}"))?;
        Ok((attr.word(4).into(), f64::from(attr.word(36))))
    }
}

impl Engine for InKernel {
    fn name(&self) -> &'static str {
        "kernel, packet"
    }

    fn check(&mut self, memory: &[u8]) -> Result<(u64, Vec<u8>), String> {
        self.memory.copy_from_slice(memory);
        let mut out = vec![0; MEMORY];
        let (result, _) = self.run(1, &mut out)?;
        Ok((result, out))
    }

    fn time(&mut self) -> Result<f64, String> {
        Ok(self.run(REPEAT, &mut [])?.1)
    }
}
