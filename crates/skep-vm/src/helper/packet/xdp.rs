//! Helpers on XDP frames.

use super::super::{Call, HelperResult, errno, status};

pub(in crate::helper) fn adjust_head(call: &mut Call<'_, '_>) -> HelperResult {
    let offset = call.u32(1) as i32;
    let result = call.xdp()?.xdp_adjust_head(offset);
    call.moved(result)
}

pub(in crate::helper) fn adjust_tail(call: &mut Call<'_, '_>) -> HelperResult {
    let offset = call.u32(1) as i32;
    let result = call.xdp()?.xdp_adjust_tail(offset);
    call.moved(result)
}

pub(in crate::helper) fn adjust_meta(call: &mut Call<'_, '_>) -> HelperResult {
    let offset = call.u32(1) as i32;
    let result = call.xdp()?.xdp_adjust_meta(offset);
    call.moved(result)
}

/// `bpf_xdp_pull_data(ctx, len)`, a kernel function.
pub(in crate::helper) fn pull_data(call: &mut Call<'_, '_>) -> HelperResult {
    let len = call.u32(1) as usize;
    let result = call.xdp()?.xdp_pull_data(len);
    call.moved(result)
}

pub(in crate::helper) fn buffer_len(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.xdp()?.len() as u64)
}

/// `bpf_xdp_load_bytes(ctx, offset, buf, len)`.
pub(in crate::helper) fn load_bytes(call: &mut Call<'_, '_>) -> HelperResult {
    let (off, len) = (call.u32(1) as usize, call.u32(3) as usize);
    call.machine.writable(call.args[2], len as u64)?;
    let mut bytes = vec![0; len];
    match call.xdp()?.xdp_load(off, &mut bytes) {
        Ok(()) => call.store(2, &bytes).map(|()| 0),
        Err(e) => errno(e),
    }
}

/// `bpf_xdp_store_bytes(ctx, offset, buf, len)`.
pub(in crate::helper) fn store_bytes(call: &mut Call<'_, '_>) -> HelperResult {
    let (off, len) = (call.u32(1) as usize, call.u32(3) as usize);
    let bytes = call.bytes(2, len)?;
    status(call.xdp()?.xdp_store(off, &bytes))
}
