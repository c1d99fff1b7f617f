//! Helpers that only pass on what the world says: clocks, identity, signals.

use super::{Call, HelperResult, argument, errno, status};
use crate::Errno;

pub(super) fn ktime_ns(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.ktime_ns())
}

pub(super) fn ktime_boot_ns(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.ktime_boot_ns())
}

pub(super) fn ktime_coarse_ns(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.ktime_coarse_ns())
}

pub(super) fn ktime_tai_ns(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.ktime_tai_ns())
}

pub(super) fn jiffies64(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.jiffies64())
}

pub(super) fn random(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.random().into())
}

pub(super) fn cpu(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.cpu().into())
}

pub(super) fn numa_node(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.numa_node().into())
}

pub(super) fn pid_tgid(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.pid_tgid())
}

pub(super) fn uid_gid(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.uid_gid())
}

/// Fills the buffer: the name, cut so that a NUL has room, and zeros.
pub(super) fn comm(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(1) as usize;
    call.machine.writable(call.args[0], size as u64)?;
    let comm = call.machine.env.comm();
    let mut out = vec![0; size];
    let name = comm.iter().take_while(|byte| **byte != 0).count().min(size.saturating_sub(1));
    out[..name].copy_from_slice(&comm[..name]);
    call.store(0, &out)?;
    Ok(0)
}

pub(super) fn current_task(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.current_task())
}

pub(super) fn task_pt_regs(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.task_pt_regs(call.args[0]))
}

pub(super) fn cgroup_id(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.cgroup_id())
}

pub(super) fn ancestor_cgroup_id(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.ancestor_cgroup_id(call.u32(0) as i32))
}

/// `bpf_current_task_under_cgroup(map, index)`: 1 when the task is in that group or below it.
pub(super) fn task_under_cgroup(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let cgroups = map.cgroups().ok_or_else(|| argument("the map is no cgroup array"))?;
    match cgroups.get(call.u32(1)) {
        Ok(id) => Ok(call.machine.env.under_cgroup(id).into()),
        Err(e) => errno(e),
    }
}

/// Fills a `struct bpf_pidns_info`, with zeros when there is nothing to say.
pub(super) fn ns_pid_tgid(call: &mut Call<'_, '_>) -> HelperResult {
    let [dev, ino, ..] = call.args;
    let size = call.u32(3) as usize;
    call.machine.writable(call.args[2], size as u64)?;
    let known = size == 8 && u32::try_from(dev).is_ok();
    let found = if known { call.machine.env.ns_pid_tgid(dev, ino) } else { Err(Errno::EINVAL) };
    let mut out = vec![0; size];
    if let (Ok((pid, tgid)), Some((first, second))) = (found, out.split_at_mut_checked(4)) {
        first.copy_from_slice(&pid.to_ne_bytes());
        second.copy_from_slice(&tgid.to_ne_bytes());
    }
    call.store(2, &out)?;
    status(found.map(drop))
}

pub(super) fn attach_cookie(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.attach_cookie())
}

pub(super) fn func_ip(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.func_ip())
}

pub(super) fn func_arg(call: &mut Call<'_, '_>) -> HelperResult {
    let value = call.machine.env.func_arg(call.u32(1));
    store_value(call, 2, value)
}

pub(super) fn func_ret(call: &mut Call<'_, '_>) -> HelperResult {
    let value = call.machine.env.func_ret();
    store_value(call, 1, value)
}

fn store_value(call: &mut Call<'_, '_>, arg: usize, value: Result<u64, Errno>) -> HelperResult {
    call.machine.writable(call.args[arg], 8)?;
    match value {
        Ok(value) => call.store(arg, &value.to_ne_bytes()).map(|()| 0),
        Err(e) => errno(e),
    }
}

pub(super) fn func_arg_count(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.func_arg_count().map_or_else(Errno::to_reg, u64::from))
}

pub(super) fn per_cpu_ptr(call: &mut Call<'_, '_>) -> HelperResult {
    let cpu = call.u32(1);
    Ok(call.machine.env.per_cpu(call.args[0], cpu))
}

pub(super) fn this_cpu_ptr(call: &mut Call<'_, '_>) -> HelperResult {
    let cpu = call.machine.cpu();
    Ok(call.machine.env.per_cpu(call.args[0], cpu))
}

pub(super) fn send_signal(call: &mut Call<'_, '_>) -> HelperResult {
    signal(call, false)
}

pub(super) fn send_signal_thread(call: &mut Call<'_, '_>) -> HelperResult {
    signal(call, true)
}

fn signal(call: &mut Call<'_, '_>, thread: bool) -> HelperResult {
    const LAST: u32 = 64;
    match call.u32(0) {
        signal @ 0..=LAST => status(call.machine.env.send_signal(signal, thread)),
        _ => errno(Errno::EINVAL),
    }
}
