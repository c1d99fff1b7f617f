//! Kinds of synthetic objects, and their addresses.

use crate::sys::Tid;

/// What an object is; the thread or process it belongs to is apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ObjectKind {
    /// `task_struct`.
    Task,
    /// `cred`.
    Cred,
    /// `nsproxy`.
    NsProxy,
    /// A namespace.
    Namespace(Namespace),
    /// `pid`.
    Pid,
    /// `signal_struct` of a process.
    Signal,
    /// `mm_struct` of a process.
    Mm,
    /// `file`: what a process executes.
    ExeFile,
    /// `dentry` of a component of the executable's path, counted from the file name up.
    Dentry(u8),
    /// The name of that component.
    DentryName(u8),
    /// `css_set`.
    CssSet,
    /// `cgroup`.
    Cgroup,
    /// `kernfs_node` of that cgroup.
    Kernfs,
    /// Its name.
    KernfsName,
    /// `pt_regs`.
    Regs,
    /// `linux_binprm`.
    Binprm,
    /// The file name that is executed.
    ExecName,
    /// `kernel_siginfo`.
    SigInfo,
}

/// Namespaces by the name that /proc gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Namespace {
    Mnt,
    Pid,
    Net,
    Uts,
    Ipc,
    Cgroup,
    User,
    Time,
}

impl Namespace {
    /// All of them, in the order of their codes in addresses.
    const ALL: [Self; 8] =
        [Self::Mnt, Self::Pid, Self::Net, Self::Uts, Self::Ipc, Self::Cgroup, Self::User, Self::Time];

    /// The name in `/proc/TID/ns`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mnt => "mnt",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
        }
    }

    /// The kernel's structure.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Mnt => "mnt_namespace",
            Self::Pid => "pid_namespace",
            Self::Net => "net",
            Self::Uts => "uts_namespace",
            Self::Ipc => "ipc_namespace",
            Self::Cgroup => "cgroup_namespace",
            Self::User => "user_namespace",
            Self::Time => "time_namespace",
        }
    }
}

/// Components of a path that have their own codes.
pub(super) const MAX_DEPTH: u8 = 32;

/// Kinds without a number of their own, in the order of their codes.
const PLAIN: [ObjectKind; 15] = [
    ObjectKind::Task,
    ObjectKind::Cred,
    ObjectKind::NsProxy,
    ObjectKind::Pid,
    ObjectKind::Signal,
    ObjectKind::Mm,
    ObjectKind::ExeFile,
    ObjectKind::CssSet,
    ObjectKind::Cgroup,
    ObjectKind::Kernfs,
    ObjectKind::KernfsName,
    ObjectKind::Regs,
    ObjectKind::Binprm,
    ObjectKind::ExecName,
    ObjectKind::SigInfo,
];
const NAMESPACES: u64 = 32;
const DENTRIES: u64 = 64;
const DENTRY_NAMES: u64 = 128;

impl ObjectKind {
    fn code(self) -> u64 {
        match self {
            Self::Namespace(namespace) => NAMESPACES + namespace as u64,
            Self::Dentry(depth) => DENTRIES + u64::from(depth),
            Self::DentryName(depth) => DENTRY_NAMES + u64::from(depth),
            plain => PLAIN.iter().position(|&kind| kind == plain).map_or(0, |at| at as u64),
        }
    }

    fn of_code(code: u64) -> Option<Self> {
        let depth = |base: u64| u8::try_from(code - base).ok().filter(|&depth| depth < MAX_DEPTH);
        match code {
            DENTRY_NAMES.. => depth(DENTRY_NAMES).map(Self::DentryName),
            DENTRIES.. => depth(DENTRIES).map(Self::Dentry),
            NAMESPACES.. => Namespace::ALL.get((code - NAMESPACES) as usize).copied().map(Self::Namespace),
            _ => PLAIN.get(code as usize).copied(),
        }
    }
}

/// One synthetic object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    /// The thread it belongs to; the thread group's leader for what all threads share.
    pub(crate) tid: Tid,
}

const BASE: u64 = 0xffff_8000_0000_0000;
const KIND_SHIFT: u32 = 38;
const TID_SHIFT: u32 = 16;
/// The kernel's largest pid is 2^22.
const TID_MASK: u64 = (1 << (KIND_SHIFT - TID_SHIFT)) - 1;
const OFFSET_MASK: u64 = (1 << TID_SHIFT) - 1;

impl Object {
    /// The `task_struct` of a thread.
    pub(crate) fn task(tid: Tid) -> Self {
        Self { kind: ObjectKind::Task, tid }
    }

    /// The same, if there is such a thread.
    pub(crate) fn existing_task(pid: u32) -> Option<Self> {
        let tid = Tid::try_from(pid).ok().filter(|tid| *tid > 0)?;
        std::fs::exists(format!("/proc/{tid}")).unwrap_or(false).then(|| Self::task(tid))
    }

    /// Where the object begins.
    pub(crate) fn addr(self) -> u64 {
        BASE | self.kind.code() << KIND_SHIFT | (self.tid.cast_unsigned() as u64 & TID_MASK) << TID_SHIFT
    }

    /// The object at an address, and the offset in it.
    pub(crate) fn at(addr: u64) -> Option<(Self, usize)> {
        let rest = addr.checked_sub(BASE)?;
        let kind = ObjectKind::of_code(rest >> KIND_SHIFT)?;
        Some((Self { kind, tid: (rest >> TID_SHIFT & TID_MASK) as Tid }, (rest & OFFSET_MASK) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_objects() {
        let kinds = PLAIN
            .into_iter()
            .chain(Namespace::ALL.map(ObjectKind::Namespace))
            .chain((0..MAX_DEPTH).map(ObjectKind::Dentry))
            .chain((0..MAX_DEPTH).map(ObjectKind::DentryName));
        for kind in kinds {
            for tid in [0, 1, 4_194_303] {
                let object = Object { kind, tid };
                assert_eq!(Object::at(object.addr()), Some((object, 0)));
                assert_eq!(Object::at(object.addr() + 65_535), Some((object, 65_535)));
            }
        }
        for addr in [0, 0x7fff_ffff_f000, BASE - 1, BASE | 31 << KIND_SHIFT, u64::MAX] {
            assert_eq!(Object::at(addr), None, "{addr:#x}");
        }
    }
}
