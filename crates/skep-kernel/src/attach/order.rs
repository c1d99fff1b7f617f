//! The order of a hook's programs, in the words of `BPF_LINK_CREATE`.

use skep_runtime::command::LinkData;
use skep_runtime::{AttachOptions, Neighbour, Order};

/// `BPF_F_BEFORE`, `BPF_F_AFTER`: of the one that is named, or of all.
const F_BEFORE: u32 = 1 << 3;
const F_AFTER: u32 = 1 << 4;
/// `BPF_F_ID`: an id names it, not a descriptor. `BPF_F_LINK`: it is a link, not a program.
const F_ID: u32 = 1 << 5;
const F_LINK: u32 = 1 << 13;

/// Flags, and whom they refer to. Without an order this is nothing, as kernels without orders want it.
pub(super) fn of(options: &AttachOptions) -> (u32, LinkData<'static>) {
    let (side, neighbour) = match options.order {
        Order::First => (F_BEFORE, None),
        Order::Last => (F_AFTER, None),
        Order::Before(neighbour) => (F_BEFORE, Some(neighbour)),
        Order::After(neighbour) => (F_AFTER, Some(neighbour)),
        _ => (0, None),
    };
    let (kind, to) = match neighbour {
        None => (0, 0),
        Some(Neighbour::Program(fd)) => (0, fd.0.cast_unsigned()),
        Some(Neighbour::Link(fd)) => (F_LINK, fd.0.cast_unsigned()),
        Some(Neighbour::ProgramId(id)) => (F_ID, id),
        Some(Neighbour::LinkId(id)) => (F_LINK | F_ID, id),
    };
    (side | kind, LinkData::Relative { to, revision: options.revision })
}
