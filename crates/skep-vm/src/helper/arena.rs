//! Kernel functions on the pages of an arena.

use super::{Call, HelperResult, argument};

/// `bpf_arena_alloc_pages(arena, address, count, node, flags)`: the address of the first page, or null.
pub(super) fn alloc_pages(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let pages = map.pages().ok_or_else(|| argument("the map is no arena"))?;
    let (at, count, flags) = (call.args[1], call.u32(2), call.args[4]);
    // One page costs as much as several instructions.
    call.machine.charge(u64::from(count))?;
    let found = if flags != 0 || count == 0 { None } else { pages.allocate(at, count) };
    Ok(found.unwrap_or(0))
}

/// `bpf_arena_free_pages(arena, address, count)`.
pub(super) fn free_pages(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let pages = map.pages().ok_or_else(|| argument("the map is no arena"))?;
    let count = call.u32(2);
    call.machine.charge(u64::from(count))?;
    pages.free(call.args[1], count);
    Ok(0)
}
