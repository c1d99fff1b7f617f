//! Records of ring buffers that compiled code reserves and gives back without a thunk.
//!
//! The run knows them by the address of their map, which the program keeps: they are given back before the program is left.

use std::ptr;

use super::direct::named;
use super::thunk::Run;
use crate::machine::Machine;
use crate::map::{Map, Reservation};

/// A record, and the ring buffer that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Where its first byte is.
    address: u64,
    map: *const Map,
    reservation: Reservation,
}

impl Record {
    fn commit(self, flags: u64, discard: bool) {
        // SAFETY: a record is of a map of the program that runs, or of one that waits for it.
        let map = unsafe { &*self.map };
        if let Some(ring) = map.ring() {
            ring.commit(self.reservation, flags, discard);
        }
    }
}

/// `bpf_ringbuf_reserve`.
pub(super) unsafe extern "C" fn reserve(run: Run, map: u64, len: u64, flags: u64) -> u64 {
    // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
    let machine = unsafe { &mut *run };
    // SAFETY: compiled code names a map of its program.
    let map = unsafe { named(map) };
    let Some(ring) = map.ring().filter(|_| flags == 0) else { return 0 };
    let Some(reservation) = ring.reserve(len) else { return 0 };
    let address = ring.address(reservation);
    // SAFETY: nobody else uses the record until it is given back, and the program keeps the map until then.
    unsafe { machine.space.lend_record(address, reservation.len()) };
    machine.native_records.push(Record { address, map: ptr::from_ref(map), reservation });
    address
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

fn give_back(machine: &mut Machine<'_>, address: u64, flags: u64, discard: bool) {
    let Some(at) = machine.native_records.iter().rposition(|record| record.address == address) else {
        // Reserved by a thunk, where the map was not known.
        let known = machine.commit(address, flags, discard);
        debug_assert!(known, "invariant: verified programs give back what they have reserved");
        return;
    };
    let record = machine.native_records.swap_remove(at);
    machine.space.take_record_back(address);
    record.commit(flags, discard);
}

/// Discards what was reserved since there were so many records: a program that is left in the middle keeps nothing.
pub(in crate::jit) fn discard_since(machine: &mut Machine<'_>, before: usize) {
    while machine.native_records.len() > before {
        let Some(record) = machine.native_records.pop() else { return };
        machine.space.take_record_back(record.address);
        record.commit(0, true);
    }
}
