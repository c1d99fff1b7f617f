//! The memory that programs see, and the only place of this crate that touches it by address.
//!
//! Programs use real addresses of this process. [`Arena`] is memory that maps hand out; it stays mapped as long as anybody
//! holds it. [`Space`] is what one run may reach: its stack, its context and windows into arenas. Every access of a program,
//! and every access of a helper on a program's behalf, goes through a `Space` and is checked there; what is outside of all
//! windows is [`Denied`], never touched.
//!
//! Several threads may run programs on the same maps, and user-side calls run beside them, so arenas are read and written by
//! relaxed atomic operations only (Linux gives no stronger promise on map values). A misaligned access is done bytewise.
#![expect(unsafe_code, reason = "programs address memory by number")]

mod arena;
mod raw;
mod records;
mod space;

pub(crate) use arena::Arena;
pub(crate) use raw::{Rmw, Word, copy_out};
pub(crate) use records::LentRecord;
pub(crate) use space::{
    ASKED, Denied, FRAME_BYTES, Keyed, MAX_FRAMES, PacketView, Space, Stack, Window, Windows,
};
