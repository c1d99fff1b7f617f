//! What each synthetic object holds.

use std::os::unix::ffi::OsStrExt;

use super::KernelMemory;
use super::image::Image;
use super::object::{MAX_DEPTH, Namespace, Object, ObjectKind};
use crate::procfs::{self, Stat, Status};
use crate::sys::time::{clock_ns, ticks_per_second};
use crate::sys::{Tid, ptrace};

/// The kernel's priority of nice 0, and of the first non-real-time level (`include/linux/sched/prio.h`).
const DEFAULT_PRIO: i64 = 120;
const MAX_RT_PRIO: i64 = 100;
/// `task_struct.flags`: getting shut down, kernel thread (`include/linux/sched.h`).
const PF_EXITING: u32 = 0x4;
const PF_KTHREAD: u32 = 0x0020_0000;

fn addr(kind: ObjectKind, tid: Tid) -> u64 {
    Object { kind, tid }.addr()
}

fn signed(value: i64) -> u64 {
    value.cast_unsigned()
}

fn ticks_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / ticks_per_second())
}

impl KernelMemory {
    /// Makes the bytes of an object from what /proc says now; `None` when this kernel's types do not have it.
    pub(super) fn make_image(&mut self, object: Object) -> Option<Vec<u8>> {
        let tid = object.tid;
        match object.kind {
            ObjectKind::Task => self.task(tid),
            ObjectKind::Cred => self.cred(tid),
            ObjectKind::NsProxy => self.nsproxy(tid),
            ObjectKind::Namespace(namespace) => self.namespace(namespace, tid),
            ObjectKind::Pid => self.pid(tid),
            ObjectKind::Signal => self.signal(tid),
            ObjectKind::Mm => self.mm(tid),
            ObjectKind::ExeFile => self.exe_file(tid),
            ObjectKind::Dentry(depth) => self.dentry(tid, depth),
            ObjectKind::DentryName(depth) => string(&path_component(tid, depth)?.0),
            ObjectKind::CssSet => self.css_set(tid),
            ObjectKind::Cgroup => self.cgroup(tid),
            ObjectKind::Kernfs => self.kernfs(tid),
            ObjectKind::KernfsName => string(&procfs::cgroup_name(tid)?),
            ObjectKind::Regs => self.regs(tid),
            ObjectKind::Binprm => self.binprm(tid),
            ObjectKind::ExecName => string(self.known.get(&tid)?.exec_name.as_ref()?),
            ObjectKind::SigInfo => self.siginfo(tid),
        }
    }

    fn task(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let known = self.known.get(&tid).cloned().unwrap_or_default();
        let stat = Stat::read(tid).unwrap_or_default();
        let status = Status::read(tid).unwrap_or_default();
        let tgid = if status.tgid == 0 { tid } else { status.tgid };
        let (started, booted) = known.started_ns.unwrap_or_else(|| start_times(&stat));
        let mut image = Image::new(&mut self.types, "task_struct", 0)?;
        image.set("pid", signed(tid.into()));
        image.set("tgid", signed(tgid.into()));
        image.write("comm", if tid == 0 { b"swapper/0" } else { &stat.comm[..stat.comm.len().min(15)] });
        image.set("real_parent", addr(ObjectKind::Task, stat.ppid));
        image.set("parent", addr(ObjectKind::Task, stat.ppid));
        image.set("group_leader", addr(ObjectKind::Task, tgid));
        image.set("start_time", started);
        image.set("real_start_time", booted);
        image.set("start_boottime", booted);
        image.set("exit_code", signed(known.exit_code.unwrap_or(0).into()));
        image.set("exit_signal", signed(stat.exit_signal.into()));
        let exiting = if known.exit_code.is_some() { PF_EXITING } else { 0 };
        image.set("flags", (stat.flags | exiting).into());
        task_scheduling(&mut image, &stat, &status);
        task_neighbours(&mut image, tid, tgid, stat.flags & PF_KTHREAD != 0);
        if let Some(uid) = procfs::login_uid(tid) {
            image.set("loginuid.val", uid.into());
        }
        if let Some(session) = procfs::session_id(tid) {
            image.set("sessionid", session.into());
        }
        Some(image.finish())
    }

    fn cred(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let status = Status::read(tid).unwrap_or_default();
        let mut image = Image::new(&mut self.types, "cred", 0)?;
        for (path, uid) in ["uid.val", "euid.val", "suid.val", "fsuid.val"].into_iter().zip(status.uids) {
            image.set(path, uid.into());
        }
        for (path, gid) in ["gid.val", "egid.val", "sgid.val", "fsgid.val"].into_iter().zip(status.gids) {
            image.set(path, gid.into());
        }
        let sets = ["cap_inheritable", "cap_permitted", "cap_effective", "cap_bset", "cap_ambient"];
        for (path, set) in sets.into_iter().zip(status.capabilities) {
            image.set(path, set);
        }
        image.set("user_ns", addr(ObjectKind::Namespace(Namespace::User), tid));
        Some(image.finish())
    }

    fn nsproxy(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let mut image = Image::new(&mut self.types, "nsproxy", 0)?;
        for (path, namespace) in [
            ("uts_ns", Namespace::Uts),
            ("ipc_ns", Namespace::Ipc),
            ("mnt_ns", Namespace::Mnt),
            ("pid_ns_for_children", Namespace::Pid),
            ("net_ns", Namespace::Net),
            ("time_ns", Namespace::Time),
            ("cgroup_ns", Namespace::Cgroup),
        ] {
            image.set(path, addr(ObjectKind::Namespace(namespace), tid));
        }
        Some(image.finish())
    }

    fn namespace(&mut self, namespace: Namespace, tid: Tid) -> Option<Vec<u8>> {
        let inum = procfs::namespace(tid, namespace.name()).unwrap_or(0);
        let mut image = Image::new(&mut self.types, namespace.type_name(), 0)?;
        image.set("ns.inum", inum.into());
        match namespace {
            Namespace::Pid => {
                let depth = Status::read(tid).map_or(1, |status| status.ns_tids.len());
                image.set("level", depth.saturating_sub(1) as u64);
            }
            Namespace::Uts => {
                let names = rustix::system::uname();
                image.write("name.sysname", names.sysname().to_bytes());
                image.write("name.nodename", names.nodename().to_bytes());
                image.write("name.release", names.release().to_bytes());
                image.write("name.version", names.version().to_bytes());
                image.write("name.machine", names.machine().to_bytes());
                image.write("name.domainname", names.domainname().to_bytes());
            }
            _ => {}
        }
        Some(image.finish())
    }

    /// `struct pid` ends with one `upid` for each namespace it is seen in.
    fn pid(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let mut numbers = Status::read(tid).unwrap_or_default().ns_tids;
        if numbers.is_empty() {
            numbers.push(tid);
        }
        let upid = self.types.size("upid")?;
        let (nr, ns) = (self.types.place("upid", "nr")?, self.types.place("upid", "ns")?);
        let mut image = Image::new(&mut self.types, "pid", numbers.len() * upid)?;
        image.set("level", numbers.len() as u64 - 1);
        image.set("count.refs.counter", 1);
        let first = image.offset("numbers")?;
        for (level, number) in numbers.iter().enumerate() {
            image.write_at(first + level * upid + nr.offset, &number.to_ne_bytes());
        }
        // Only the innermost namespace can be found from /proc.
        let innermost = first + (numbers.len() - 1) * upid;
        let namespace = addr(ObjectKind::Namespace(Namespace::Pid), tid);
        image.write_at(innermost + ns.offset, &namespace.to_ne_bytes());
        Some(image.finish())
    }

    fn signal(&mut self, tgid: Tid) -> Option<Vec<u8>> {
        let stat = Stat::read(tgid).unwrap_or_default();
        let mut image = Image::new(&mut self.types, "signal_struct", 0)?;
        image.set("nr_threads", stat.threads.into());
        image.set("live.counter", stat.threads.into());
        image.set("leader", u64::from(stat.session == tgid));
        if let Some(score) = procfs::oom_score_adj(tgid) {
            image.set("oom_score_adj", signed(score));
        }
        if let Some(pids) = image.offset("pids") {
            // `enum pid_type`: pid, tgid, pgid, sid.
            for (index, pid) in [tgid, tgid, stat.pgrp, stat.session].into_iter().enumerate() {
                image.write_at(pids + index * 8, &addr(ObjectKind::Pid, pid).to_ne_bytes());
            }
        }
        Some(image.finish())
    }

    fn mm(&mut self, tgid: Tid) -> Option<Vec<u8>> {
        let memory = Stat::read(tgid).unwrap_or_default().memory;
        let mut image = Image::new(&mut self.types, "mm_struct", 0)?;
        for (path, value) in [
            ("start_code", memory.start_code),
            ("end_code", memory.end_code),
            ("start_stack", memory.start_stack),
            ("start_data", memory.start_data),
            ("end_data", memory.end_data),
            ("start_brk", memory.start_brk),
            ("arg_start", memory.arg_start),
            ("arg_end", memory.arg_end),
            ("env_start", memory.env_start),
            ("env_end", memory.env_end),
            ("owner", addr(ObjectKind::Task, tgid)),
            ("exe_file", addr(ObjectKind::ExeFile, tgid)),
        ] {
            image.set(path, value);
        }
        Some(image.finish())
    }

    fn exe_file(&mut self, tgid: Tid) -> Option<Vec<u8>> {
        let mut image = Image::new(&mut self.types, "file", 0)?;
        let dentry = addr(ObjectKind::Dentry(0), tgid);
        image.set("f_path.dentry", dentry);
        image.set("__f_path.dentry", dentry);
        Some(image.finish())
    }

    /// Components of the executable's path point to the one above; the root points to itself.
    fn dentry(&mut self, tgid: Tid, depth: u8) -> Option<Vec<u8>> {
        let (name, root) = path_component(tgid, depth)?;
        let mut image = Image::new(&mut self.types, "dentry", 0)?;
        let parent = if root { depth } else { depth + 1 };
        image.set("d_parent", addr(ObjectKind::Dentry(parent.min(MAX_DEPTH - 1)), tgid));
        image.set("d_name.name", addr(ObjectKind::DentryName(depth), tgid));
        image.set("d_name.len", name.len() as u64);
        image.write("d_iname", &name[..name.len().min(31)]);
        image.write("d_shortname.string", &name[..name.len().min(31)]);
        Some(image.finish())
    }

    fn css_set(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let mut image = Image::new(&mut self.types, "css_set", 0)?;
        image.set("dfl_cgrp", addr(ObjectKind::Cgroup, tid));
        Some(image.finish())
    }

    fn cgroup(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let level = procfs::cgroup_level(tid).unwrap_or(0);
        let mut image = Image::new(&mut self.types, "cgroup", 0)?;
        image.set("kn", addr(ObjectKind::Kernfs, tid));
        image.set("level", level);
        Some(image.finish())
    }

    fn kernfs(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let id = procfs::cgroup_id(tid).unwrap_or(0);
        let mut image = Image::new(&mut self.types, "kernfs_node", 0)?;
        image.set("id", id);
        image.set("name", addr(ObjectKind::KernfsName, tid));
        Some(image.finish())
    }

    /// `struct pt_regs` is how the first registers of `PTRACE_GETREGS` lie in the kernel.
    fn regs(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let registers = ptrace::registers(tid).ok()?;
        let mut image = Image::new(&mut self.types, "pt_regs", 0)?;
        for (index, register) in registers.iter().enumerate() {
            image.write_at(index * 8, &register.to_ne_bytes());
        }
        Some(image.finish())
    }

    fn binprm(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let mut image = Image::new(&mut self.types, "linux_binprm", 0)?;
        let name = addr(ObjectKind::ExecName, tid);
        image.set("filename", name);
        image.set("interp", name);
        image.set("file", addr(ObjectKind::ExeFile, tid));
        image.set("mm", addr(ObjectKind::Mm, tid));
        image.set("cred", addr(ObjectKind::Cred, tid));
        Some(image.finish())
    }

    fn siginfo(&mut self, tid: Tid) -> Option<Vec<u8>> {
        let info = ptrace::signal_info(tid).ok()?;
        let mut image = Image::new(&mut self.types, "kernel_siginfo", 0)?;
        image.set("si_signo", signed(info.signal.into()));
        image.set("si_errno", signed(info.errno.into()));
        image.set("si_code", signed(info.code.into()));
        image.set("_sifields._kill._pid", signed(info.pid.into()));
        Some(image.finish())
    }
}

fn task_scheduling(image: &mut Image<'_>, stat: &Stat, status: &Status) {
    image.set("utime", ticks_ns(stat.utime));
    image.set("stime", ticks_ns(stat.stime));
    image.set("se.sum_exec_runtime", ticks_ns(stat.utime + stat.stime));
    image.set("se.exec_start", clock_ns(libc::CLOCK_MONOTONIC));
    image.set("prio", signed(stat.priority + MAX_RT_PRIO));
    image.set("normal_prio", signed(stat.priority + MAX_RT_PRIO));
    image.set("static_prio", signed(stat.nice + DEFAULT_PRIO));
    image.set("rt_priority", stat.rt_priority.into());
    image.set("policy", stat.policy.into());
    image.set("min_flt", stat.min_flt);
    image.set("maj_flt", stat.maj_flt);
    image.set("nvcsw", status.voluntary_switches);
    image.set("nivcsw", status.involuntary_switches);
    image.set("on_cpu", 1);
    image.set("nr_cpus_allowed", status.allowed_cpus);
    for path in ["thread_info.cpu", "cpu", "recent_used_cpu", "wake_cpu"] {
        image.set(path, stat.processor.into());
    }
}

fn task_neighbours(image: &mut Image<'_>, tid: Tid, tgid: Tid, kernel_thread: bool) {
    image.set("cred", addr(ObjectKind::Cred, tid));
    image.set("real_cred", addr(ObjectKind::Cred, tid));
    image.set("nsproxy", addr(ObjectKind::NsProxy, tid));
    image.set("thread_pid", addr(ObjectKind::Pid, tid));
    image.set("signal", addr(ObjectKind::Signal, tgid));
    image.set("cgroups", addr(ObjectKind::CssSet, tid));
    if !kernel_thread && tid != 0 {
        image.set("mm", addr(ObjectKind::Mm, tgid));
        image.set("active_mm", addr(ObjectKind::Mm, tgid));
    }
}

/// When a thread began, on the monotonic and on the boot-time clock, as exact as /proc is (a clock tick).
fn start_times(stat: &Stat) -> (u64, u64) {
    let booted = ticks_ns(stat.start_time);
    let suspended = clock_ns(libc::CLOCK_BOOTTIME).saturating_sub(clock_ns(libc::CLOCK_MONOTONIC));
    (booted.saturating_sub(suspended), booted)
}

/// A string with its terminator.
fn string(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = text.to_vec();
    bytes.push(0);
    Some(bytes)
}

/// A component of the executable's path, counted from the file name up, and whether it is the root.
fn path_component(tid: Tid, depth: u8) -> Option<(Vec<u8>, bool)> {
    let path = procfs::executable(tid)?;
    let component = path.iter().rev().nth(depth.into())?;
    Some((component.as_bytes().to_vec(), component == "/"))
}
