//! Helpers that walk stacks.

use super::{Call, HelperResult, argument, errno};
use crate::Errno;
use crate::map::{MAX_STACK_DEPTH, StackTraces};

/// Frames to leave out at the inner end (`BPF_F_SKIP_FIELD_MASK`).
const SKIP: u64 = 0xff;
const USER_STACK: u64 = 1 << 8;
const FAST_STACK_CMP: u64 = 1 << 9;
const REUSE_STACKID: u64 = 1 << 10;
const USER_BUILD_ID: u64 = 1 << 11;

/// The return addresses that flags ask for, at most `depth`; none where as many are left out as there are.
fn frames(call: &mut Call<'_, '_>, task: Option<u64>, flags: u64, depth: usize) -> Result<Vec<u64>, Errno> {
    let mut frames = Vec::new();
    // The task that runs is asked for like any other.
    let task = task.filter(|&task| task != call.machine.env.current_task());
    match (task, flags & USER_STACK != 0) {
        (None, true) => call.machine.env.user_stack(&mut frames)?,
        (None, false) => call.machine.env.kernel_stack(&mut frames)?,
        (Some(task), true) => call.machine.env.task_user_stack(task, &mut frames)?,
        (Some(_), false) => return Err(Errno::EOPNOTSUPP),
    }
    let skip = (flags & SKIP) as usize;
    if frames.len() < skip {
        return Err(Errno::EFAULT);
    }
    frames.drain(..skip);
    frames.truncate(depth.min(MAX_STACK_DEPTH as usize));
    Ok(frames)
}

/// `bpf_get_stackid(ctx, map, flags)`: the number of this stack in the map.
pub(super) fn get_stackid(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(1)?;
    let flags = call.args[2];
    let traces = map.stack_traces().ok_or_else(|| argument("the map is no stack trace map"))?;
    if flags & !(SKIP | USER_STACK | FAST_STACK_CMP | REUSE_STACKID) != 0 {
        return errno(Errno::EINVAL);
    }
    let result = frames(call, None, flags, StackTraces::depth(map.spec()))
        .and_then(|frames| if frames.is_empty() { Err(Errno::EFAULT) } else { Ok(frames) })
        .and_then(|frames| traces.insert(&frames, flags & FAST_STACK_CMP != 0, flags & REUSE_STACKID != 0));
    Ok(result.map_or_else(Errno::to_reg, u64::from))
}

/// `bpf_get_stack(ctx, buf, size, flags)`: the bytes stored; the rest of the buffer becomes zero.
pub(super) fn get_stack(call: &mut Call<'_, '_>) -> HelperResult {
    store_stack(call, None)
}

/// `bpf_get_task_stack(task, buf, size, flags)`.
pub(super) fn get_task_stack(call: &mut Call<'_, '_>) -> HelperResult {
    let task = call.args[0];
    store_stack(call, Some(task))
}

fn store_stack(call: &mut Call<'_, '_>, task: Option<u64>) -> HelperResult {
    let size = call.u32(2) as usize;
    let flags = call.args[3];
    call.machine.writable(call.args[1], size as u64)?;
    let unknown = flags & !(SKIP | USER_STACK | USER_BUILD_ID) != 0;
    // Build ids need the traced process's files; without them the kernel answers `EINVAL` too.
    let result = if unknown || flags & USER_BUILD_ID != 0 || !size.is_multiple_of(8) {
        Err(Errno::EINVAL)
    } else {
        frames(call, task, flags, size / 8)
    };
    let mut out: Vec<u8> = result.iter().flatten().flat_map(|frame| frame.to_ne_bytes()).collect();
    let stored = out.len() as u64;
    out.resize(size, 0);
    call.store(1, &out)?;
    Ok(result.map_or_else(Errno::to_reg, |_| stored))
}

/// The branches that the processor recorded: none, as on processors that record none.
pub(super) fn get_branch_snapshot(_: &mut Call<'_, '_>) -> HelperResult {
    errno(Errno::ENOENT)
}
