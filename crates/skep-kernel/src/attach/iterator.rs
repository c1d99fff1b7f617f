//! Iterators: programs that run for each of something, when their link is read.

use std::os::fd::{AsRawFd as _, OwnedFd};

use skep_isa::uapi::AttachType;
use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, AttachTarget, Error, Fd, Result};

use super::{link, target};

/// `BPF_CGROUP_ITER_DESCENDANTS_PRE`: a group, then those below it.
const DESCENDANTS_FIRST: u32 = 2;

/// Makes an iterator, over everything or over what the options name: the elements of a map, a cgroup and those below it
/// (`flags` is the order, `BPF_CGROUP_ITER_SELF_ONLY` 1 and on), the tasks of a process.
pub(super) fn attach(prog: Fd, options: &AttachOptions) -> Result<OwnedFd> {
    let over = |info: &[u32]| {
        let info: Vec<u8> = info.iter().flat_map(|word| word.to_ne_bytes()).collect();
        link(prog, Fd(0), AttachType::TRACE_ITER, 0, LinkData::Iter { info: &info })
    };
    match (&options.target, options.process) {
        (Some(AttachTarget::Map(map)), _) => over(&[map.0.cast_unsigned()]),
        (Some(AttachTarget::Cgroup(path)), _) => {
            let group = target::open(path)?;
            let order = if options.flags == 0 { DESCENDANTS_FIRST } else { options.flags };
            over(&[order, group.as_raw_fd().cast_unsigned(), 0, 0])
        }
        (Some(_), _) => Err(Error::os(libc::EINVAL, "iterators go over maps, cgroups and processes")),
        // Threads of the process: the thread's id, the process's, no descriptor.
        (None, Some(pid)) => over(&[0, pid, 0]),
        (None, None) => link(prog, Fd(0), AttachType::TRACE_ITER, 0, LinkData::None).map_err(|e| match e.errno() {
            libc::EINVAL | libc::EBADF => e.hint(
                "iterators over elements need a map, those over control groups a group: `skep iter pin OBJ FILE map MAP` or \
                 `cgroup DIR`",
            ),
            _ => e,
        }),
    }
}
