//! The world as programs see it while a traced thread is stopped.

use std::fs::File;
use std::os::unix::fs::FileExt;

use skep_vm::{Env, Errno};

use crate::kernel::{KernelMemory, Object, ObjectKind};
use crate::output::Printk;
use crate::procfs;
use crate::sys::{Tid, memory, process};
use crate::task::Task;

/// What helpers ask for, answered for one stopped thread.
pub(crate) struct World<'a> {
    pub(crate) task: &'a mut Task,
    pub(crate) memory: &'a mut KernelMemory,
    pub(crate) printk: &'a Printk,
    pub(crate) cookie: u64,
}

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
        Object { kind: ObjectKind::Task, tid: self.task.tid }.addr()
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

    fn task_pt_regs(&mut self, task: u64) -> u64 {
        match Object::at(task) {
            Some((Object { kind: ObjectKind::Task, tid }, 0)) => {
                Object { kind: ObjectKind::Regs, tid }.addr()
            }
            _ => 0,
        }
    }
}
