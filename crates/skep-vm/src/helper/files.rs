//! Helpers that look at what processes have mapped and opened.

use super::{Call, HelperResult, errno};
use crate::Errno;

/// `bpf_find_vma(task, addr, function, ctx, flags)`: calls a function with what is mapped at an address.
pub(super) fn find_vma(call: &mut Call<'_, '_>) -> HelperResult {
    let [task, addr, _, context, flags] = call.args;
    let function = call.function(2)?;
    if flags != 0 {
        return errno(Errno::EINVAL);
    }
    let vma = match call.machine.env.find_vma(task, addr) {
        Ok(vma) => vma,
        Err(e) => return errno(e),
    };
    let called = call.callback(function, [task, vma, context, 0, 0]);
    call.machine.env.forget_vma(vma);
    called.map(|_| 0)
}

/// `bpf_d_path(path, buf, size)`: answers the length with the NUL. The kernel writes the path to the end of the buffer first,
/// and what lies between is left as it was.
pub(super) fn d_path(call: &mut Call<'_, '_>) -> HelperResult {
    let size = call.u32(2) as usize;
    call.machine.writable(call.args[1], size as u64)?;
    if size == 0 {
        return Ok(0);
    }
    let mut path = match call.machine.env.file_path(call.args[0]) {
        Ok(path) => path,
        Err(e) => return errno(e),
    };
    path.push(0);
    let Some(behind) = size.checked_sub(path.len()) else { return errno(Errno::ENAMETOOLONG) };
    call.machine.write(call.args[1] + behind as u64, &path)?;
    call.store(1, &path)?;
    Ok(path.len() as u64)
}
