//! Records of ring buffers that compiled code reserves and gives back without a thunk.
//!
//! The run knows them by the address of their map, which the program keeps: they are given back before the program is left.

use super::direct::named;
use super::thunk::Run;
use crate::machine::Machine;
use crate::map::Reservation;
use crate::memory::LentRecord;

/// Gives a record back to its map.
fn commit(record: LentRecord, flags: u64, discard: bool) {
    // SAFETY: a record is of a map of the program that runs, or of one that waits for it.
    let map = unsafe { named(record.owner) };
    if let Some(ring) = map.ring() {
        ring.commit(Reservation::at(record.position, record.len), flags, discard);
    }
}

/// `bpf_ringbuf_reserve`.
pub(super) unsafe extern "C" fn reserve(run: Run, map: u64, len: u64, flags: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    let machine = unsafe { &mut *run };
    let owner = map;
    // SAFETY: compiled code names a map of its program.
    let map = unsafe { named(map) };
    let Some(ring) = map.ring().filter(|_| flags == 0) else { return 0 };
    let Some(reservation) = ring.reserve(len) else { return 0 };
    let start = ring.address(reservation);
    let record = LentRecord { start, len: reservation.len(), owner, position: reservation.position() };
    // SAFETY: nobody else uses the record until it is given back, and the program keeps the map until then.
    unsafe { machine.space.lend_record(record) };
    start
}

/// `bpf_ringbuf_submit`.
pub(super) unsafe extern "C" fn submit(run: Run, address: u64, flags: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    give_back(unsafe { &mut *run }, address, flags, false);
    0
}

/// `bpf_ringbuf_discard`.
pub(super) unsafe extern "C" fn discard(run: Run, address: u64, flags: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    give_back(unsafe { &mut *run }, address, flags, true);
    0
}

#[inline]
fn give_back(machine: &mut Machine<'_>, address: u64, flags: u64, discard: bool) {
    match machine.space.take_record(address) {
        Some(record) => commit(record, flags, discard),
        None => give_back_other(machine, address, flags, discard),
    }
}

/// What a thunk has reserved, where the map was not known.
#[cold]
fn give_back_other(machine: &mut Machine<'_>, address: u64, flags: u64, discard: bool) {
    let known = machine.commit(address, flags, discard);
    debug_assert!(known, "invariant: verified programs give back what they have reserved");
}

/// Discards what was reserved since there were so many records: a program that is left in the middle keeps nothing.
pub(in crate::jit) fn discard_since(machine: &mut Machine<'_>, before: usize) {
    while machine.space.records().len() > before {
        let Some(start) = machine.space.records().iter().last().map(|record| record.start) else { return };
        if let Some(record) = machine.space.take_record(start) {
            commit(record, 0, true);
        }
    }
}
