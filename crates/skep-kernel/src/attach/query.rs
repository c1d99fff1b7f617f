//! What a hook has attached.

use std::os::fd::AsRawFd as _;

use skep_isa::uapi::AttachType;
use skep_runtime::{AttachTarget, Attached, Command, Error, Fd, Hook, Reply, Result};

use super::{device, target};
use crate::load;

/// Room for programs at first; more is made where it takes more.
const PROGRAMS: usize = 64;

/// Asks a hook.
pub(crate) fn query(target: &AttachTarget, attach_type: AttachType) -> Result<Hook> {
    match target {
        AttachTarget::Device(name) => ask(Fd(device::index(name)?), attach_type),
        AttachTarget::Cgroup(path) | AttachTarget::NetNs(path) => {
            let file = target::open(path)?;
            ask(Fd(file.as_raw_fd()), attach_type)
        }
        AttachTarget::Map(map) => ask(*map, attach_type),
        _ => Err(Error::unsupported(
            "the kernel tells what is at devices, cgroups, network namespaces and maps only",
        )),
    }
}

fn ask(target: Fd, attach_type: AttachType) -> Result<Hook> {
    let mut room = PROGRAMS;
    loop {
        match ask_for(target, attach_type, room) {
            Err(e) if e.errno() == libc::ENOSPC => room *= 2,
            result => return result,
        }
    }
}

fn ask_for(target: Fd, attach_type: AttachType, room: usize) -> Result<Hook> {
    let (mut prog_ids, mut link_ids) = (vec![0; room], vec![0; room]);
    let mut ask = |link_ids: &mut [u32]| {
        let prog_ids = &mut prog_ids[..];
        load::command(Command::ProgQuery { target, attach_type, flags: 0, prog_ids, link_ids })
    };
    // Kernels before 6.6 know no links here, and refuse to be asked for them.
    let reply = match ask(&mut link_ids) {
        Err(e) if matches!(e.errno(), libc::E2BIG | libc::EINVAL) => ask(&mut [])?,
        reply => reply?,
    };
    let Reply::Query { count, flags, revision } = reply else {
        return Err(Error::os(libc::EINVAL, format!("expected what a hook has, got {reply:?}")));
    };
    let programs = prog_ids.iter().zip(&link_ids).take(count as usize);
    let programs = programs.map(|(&prog_id, &link_id)| Attached { prog_id, link_id }).collect();
    Ok(Hook { programs, flags, revision })
}
