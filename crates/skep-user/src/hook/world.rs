//! The world as programs see it while a traced thread is stopped.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use skep_vm::{Env, Errno};

use super::context::SESSION_COOKIE;
use crate::kernel::{KernelMemory, Object, ObjectKind};
use crate::output::Printk;
use crate::packets;
use crate::procfs;
use crate::runtime::Diagnostics;
use crate::sys::ptrace::{self, Registers, reg};
use crate::sys::{Tid, memory, process};
use crate::task::Task;
use crate::tracer::Hit;

/// What helpers ask for, answered for one stopped thread.
pub(crate) struct World<'a> {
    pub(crate) task: &'a mut Task,
    pub(crate) memory: &'a mut KernelMemory,
    pub(crate) printk: &'a Arc<Printk>,
    pub(crate) diagnostics: Option<&'a Diagnostics>,
    pub(crate) cookie: u64,
    /// The probe that the thread is at, if it is at one.
    pub(crate) probe: Option<&'a mut Probe>,
}

/// What programs may ask of a probe.
#[derive(Debug)]
pub(crate) struct Probe {
    regs: Registers,
    /// The probed place.
    address: u64,
    ret: bool,
    before_frame: bool,
}

impl Probe {
    /// What is known of a hit.
    pub(crate) fn of(hit: &Hit<'_>) -> Self {
        Self { regs: *hit.regs, address: hit.address, ret: hit.ret, before_frame: hit.before_frame }
    }
}

/// Frames of a stack that are followed, as many as the kernel's `perf_event_max_stack`.
const MAX_FRAMES: usize = 127;

/// Addresses of the kernel's half; the upper half of the address space.
const KERNEL_HALF: u64 = 1 << 63;
const PAGE: u64 = 4096;

/// Reads memory of a traced process; all or nothing. Where a container forbids the direct way, /proc is the other one.
fn read_process(tid: Tid, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
    match memory::read(tid, addr, buf) {
        Ok(bytes) if bytes == buf.len() => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            let file = File::open(format!("/proc/{tid}/mem")).map_err(|_| Errno::EFAULT)?;
            file.read_exact_at(buf, addr).map_err(|_| Errno::EFAULT)
        }
        _ => Err(Errno::EFAULT),
    }
}

impl Env for World<'_> {
    fn pid_tgid(&mut self) -> u64 {
        (self.task.tgid.cast_unsigned() as u64) << 32 | self.task.tid.cast_unsigned() as u64
    }

    fn uid_gid(&mut self) -> u64 {
        let status = self.task.status();
        u64::from(status.gids[0]) << 32 | u64::from(status.uids[0])
    }

    fn comm(&mut self) -> [u8; 16] {
        self.task.comm()
    }

    fn current_task(&mut self) -> u64 {
        Object::task(self.task.tid).addr()
    }

    fn task_from_pid(&mut self, pid: u32) -> u64 {
        Object::existing_task(pid).map_or(0, Object::addr)
    }

    fn cgroup_id(&mut self) -> u64 {
        procfs::cgroup_id(self.task.tid).unwrap_or(0)
    }

    fn ancestor_cgroup_id(&mut self, level: i32) -> u64 {
        usize::try_from(level)
            .ok()
            .and_then(|level| procfs::ancestor_cgroup_id(self.task.tid, level))
            .unwrap_or(0)
    }

    fn ns_pid_tgid(&mut self, dev: u64, ino: u64) -> Result<(u32, u32), Errno> {
        use std::os::linux::fs::MetadataExt as _;
        let namespace =
            std::fs::metadata(format!("/proc/{}/ns/pid", self.task.tid)).map_err(|_| Errno::EINVAL)?;
        if namespace.st_ino() != ino || namespace.st_dev() != dev {
            return Err(Errno::EINVAL);
        }
        let status = self.task.status();
        match (status.ns_tids.last(), status.ns_tgids.last()) {
            (Some(tid), Some(tgid)) => Ok((tid.cast_unsigned(), tgid.cast_unsigned())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_user(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        if buf.is_empty() {
            return Ok(());
        }
        if addr >= KERNEL_HALF {
            return Err(Errno::EFAULT);
        }
        read_process(self.task.tid, addr, buf)
    }

    fn read_user_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let at = addr.wrapping_add(done as u64);
            // Up to the end of a page: the next one may be missing.
            let piece = (PAGE - at % PAGE).min((buf.len() - done) as u64) as usize;
            let part = &mut buf[done..done + piece];
            self.read_user(at, part)?;
            if let Some(nul) = part.iter().position(|&byte| byte == 0) {
                return Ok(done + nul + 1);
            }
            done += piece;
        }
        Ok(done)
    }

    fn write_user(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        if addr >= KERNEL_HALF {
            return Err(Errno::EPERM);
        }
        match memory::write(self.task.tid, addr, data) {
            Ok(bytes) if bytes == data.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    fn read_task_user(&mut self, task: u64, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        match Object::at(task) {
            Some((Object { kind: ObjectKind::Task, tid }, 0)) => read_process(tid, addr, buf),
            _ => Err(Errno::EFAULT),
        }
    }

    fn read_kernel(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        self.memory.read(addr, buf)
    }

    fn read_kernel_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.memory.read_str(addr, buf)
    }

    fn type_bytes(&mut self, id: u32) -> Option<usize> {
        self.memory.type_bytes(id)
    }

    fn typed_text(&mut self, id: u32, value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.memory.typed_text(id, value, flags)
    }

    fn find_vma(&mut self, task: u64, addr: u64) -> Result<u64, Errno> {
        self.memory.find_vma(task, addr)
    }

    fn forget_vma(&mut self, vma: u64) {
        self.memory.forget_vma(vma);
    }

    fn trace_printk(&mut self, line: &[u8]) {
        let comm = self.task.comm();
        let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
        self.printk.push(&comm[..end], self.task.tid, line);
    }

    fn send_signal(&mut self, signal: u32, thread: bool) -> Result<(), Errno> {
        let signal = i32::try_from(signal).map_err(|_| Errno::EINVAL)?;
        let target = thread.then_some(self.task.tid);
        process::send_signal(self.task.tgid, target, signal)
            .map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))
    }

    fn attach_cookie(&mut self) -> u64 {
        self.cookie
    }

    fn session_is_return(&mut self) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.ret)
    }

    fn session_cookie(&mut self) -> Option<u64> {
        self.probe.as_ref().map(|_| SESSION_COOKIE)
    }

    fn func_ip(&mut self) -> u64 {
        self.probe.as_ref().map_or(0, |probe| probe.address)
    }

    /// By frame pointers, as the kernel does (`perf_callchain_user`).
    fn user_stack(&mut self, out: &mut Vec<u64>) -> Result<(), Errno> {
        let (regs, before_frame) = match &self.probe {
            Some(probe) => (probe.regs, probe.before_frame && !probe.ret),
            None => (ptrace::registers(self.task.tid).map_err(|_| Errno::EFAULT)?, false),
        };
        out.push(regs[reg::RIP]);
        let mut words = [0; 16];
        let word = |words: &[u8; 16], at: usize| {
            u64::from_ne_bytes(words[at..at + 8].try_into().expect("invariant: eight bytes of sixteen"))
        };
        // The caller's address is not in a frame yet.
        if before_frame && self.read_user(regs[reg::RSP], &mut words[..8]).is_ok() {
            out.push(word(&words, 0));
        }
        let mut frame = regs[reg::RBP];
        while out.len() < MAX_FRAMES && self.read_user(frame, &mut words).is_ok() {
            out.push(word(&words, 8));
            frame = word(&words, 0);
        }
        Ok(())
    }

    fn task_pt_regs(&mut self, task: u64) -> u64 {
        match Object::at(task) {
            Some((Object { kind: ObjectKind::Task, tid }, 0)) => {
                Object { kind: ObjectKind::Regs, tid }.addr()
            }
            _ => 0,
        }
    }

    /// A timer runs when nobody is traced to have caused it: this process is the current one.
    fn later(&mut self) -> Box<dyn Env + Send> {
        Box::new(packets::World::new(self.memory.types(), Arc::clone(self.printk), self.diagnostics.cloned()))
    }
}
