//! One run: the memory it may reach, the world it asks, and what it holds and must give back.

use std::sync::Arc;

use crate::env::KERNEL_HALF;
use crate::map::{Entry, Map, Reservation};
use crate::memory::{Arena, Denied, Space, Stack, Window, Word};
use crate::packet::Packet;
use crate::program::{Input, Program};
use crate::{Env, Errno, Fault, Reason};

/// Where fields of a structure at address 0 end.
const NULL_END: u64 = 1 << 16;

/// No processor has this number, and no process and thread together.
pub(crate) const UNASKED_CPU: u32 = u32::MAX;
pub(crate) const UNASKED_TASK: u64 = u64::MAX;

/// State of a run, shared by the functions and programs that take part in it.
pub(crate) struct Machine<'a> {
    pub(crate) space: Space<'a>,
    pub(crate) env: &'a mut (dyn Env + 'a),
    /// The processor, once somebody has asked; [`UNASKED_CPU`] before.
    pub(crate) cpu: u32,
    /// Process and thread, the same; [`UNASKED_TASK`] before.
    pub(crate) pid_tgid: u64,
    /// Instructions left.
    pub(crate) budget: u64,
    /// Tail calls made.
    pub(crate) tail_calls: u32,
    /// Inner maps that the program has looked up; held to the end of the run, as RCU would.
    pub(crate) inner_maps: Vec<Arc<Map>>,
    /// Ring buffer records not yet submitted, by the address that the program knows.
    pub(crate) reservations: Vec<(u64, Arc<Map>, Reservation)>,
    /// Addresses of records lent, such as sockets.
    pub(crate) records: Vec<u64>,
    /// Addresses of spin locks held.
    pub(crate) locks: Vec<u64>,
    /// The packet that the program runs on.
    pub(crate) packet: Option<&'a mut Packet>,
    /// Is the program verified? Then its loads go wrong only where the kernel's would.
    verified: bool,
    /// The program whose compiled code runs; null while none does.
    pub(crate) native_program: *const Program,
    /// The slot of the instruction by which compiled code calls a thunk.
    pub(crate) native_slot: u32,
    /// The program that compiled code is left for.
    pub(crate) tail_target: Option<Arc<Program>>,
    /// Why compiled code was left.
    pub(crate) stopped: Option<Box<Fault>>,
}

impl<'a> Machine<'a> {
    /// Runs a program from its first instruction, and gives back what it forgot to.
    pub(crate) fn run(
        program: &'a Program,
        input: &'a mut Input<'_>,
        stack: &'a mut Stack,
        env: &'a mut dyn Env,
    ) -> Result<u64, Box<Fault>> {
        let ([r2, r3, r4, r5], map) = (input.args, input.map);
        let mut machine = Machine::new(program, input.lend(), stack, env);
        machine.begin(map);
        let result = machine.execute(program, 0, [machine.space.context(), r2, r3, r4, r5]);
        machine.end(result)
    }

    /// The same in compiled code.
    pub(crate) fn run_native(
        program: &'a Program,
        input: &'a mut Input<'_>,
        env: &'a mut dyn Env,
    ) -> Result<u64, Box<Fault>> {
        let mut stack = Stack::new();
        // Everything that compiled code has on the native stack lies below this.
        let end = (&raw const stack).expose_provenance() as u64;
        let ([r2, r3, r4, r5], map) = (input.args, input.map);
        let mut machine = Machine::new(program, input.lend(), &mut stack, env);
        machine.begin(map);
        machine.space.begin_native(end);
        let result = machine.execute_native(program, [machine.space.context(), r2, r3, r4, r5]);
        machine.end(result)
    }

    // Where it is called, so that a run is made where it stays.
    #[inline(always)]
    fn new(program: &'a Program, input: Input<'a>, stack: &'a mut Stack, env: &'a mut dyn Env) -> Self {
        Machine {
            space: Space::new(stack, program.windows(), input.ctx),
            env,
            cpu: UNASKED_CPU,
            pid_tgid: UNASKED_TASK,
            budget: program.info().budget,
            tail_calls: 0,
            inner_maps: Vec::new(),
            reservations: Vec::new(),
            records: Vec::new(),
            locks: Vec::new(),
            packet: input.packet,
            verified: program.is_verified(),
            native_program: std::ptr::null(),
            native_slot: 0,
            tail_target: None,
            stopped: None,
        }
    }

    /// Shows the program its packet, and the map that it is run for.
    #[inline]
    fn begin(&mut self, map: Option<&Arc<Map>>) {
        if let Some(map) = map {
            self.hold_map(Arc::clone(map));
        }
        if let Some(packet) = self.packet.as_deref() {
            self.space.set_packet(&packet.view());
        }
    }

    /// Makes a map known that the program does not refer to, and its values reachable.
    pub(crate) fn hold_map(&mut self, map: Arc<Map>) {
        if !self.inner_maps.iter().any(|known| Arc::ptr_eq(known, &map)) {
            map.windows().into_iter().for_each(|window| self.space.lend(window));
            self.inner_maps.push(map);
        }
    }

    /// Ends the run.
    #[inline(always)]
    fn end(&mut self, result: Result<u64, Box<Fault>>) -> Result<u64, Box<Fault>> {
        self.clean_up();
        result.or_else(caught)
    }

    /// A verified program holds nothing at its end; one that was stopped may.
    #[inline]
    fn clean_up(&mut self) {
        if !self.reservations.is_empty() || !self.locks.is_empty() {
            self.give_back();
        }
    }

    #[cold]
    fn give_back(&mut self) {
        for (_, map, record) in self.reservations.drain(..) {
            if let Some(ring) = map.ring() {
                ring.commit(record, 0, true);
            }
        }
        for lock in std::mem::take(&mut self.locks) {
            // The lock was reachable when it was taken, and values stay mapped.
            let _ = self.space.store::<u32>(0, lock, 0);
        }
    }

    /// What ended the run, and what the address is next to.
    #[cold]
    pub(crate) fn fault(&self, program: &Program, insn: usize, reason: Reason) -> Box<Fault> {
        let in_map = |addr| {
            let windows =
                program.maps().iter().flat_map(|map| map.windows().into_iter().map(move |w| (map, w)));
            windows.filter_map(|(map, window)| window.near(addr, &map.spec().name)).next()
        };
        let place = reason.address().and_then(|addr| self.space.near(addr).or_else(|| in_map(addr)));
        Box::new(Fault { program: program.info().name.clone(), insn, reason, place })
    }

    /// Takes something off the budget, for work that is done on the program's behalf.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Reason> {
        self.budget = self.budget.checked_sub(cost).ok_or(Reason::Budget)?;
        Ok(())
    }

    /// Loads from kernel memory, which only the world can read. What cannot be read is zero, as the kernel's exception
    /// table makes it; but only in the kernel's half, because elsewhere it is a mistake worth knowing. Of verified programs it
    /// is none: pointers in the kernel's structures may be null, and are followed.
    #[cold]
    #[inline(never)]
    pub(crate) fn load_elsewhere<T: Word>(&mut self, addr: u64) -> Result<T, Reason> {
        let mut bytes = [0; 8];
        let size = T::BYTES as usize;
        match self.env.read_kernel(addr, &mut bytes[..size]) {
            Ok(()) => Ok(T::from_bytes(bytes)),
            Err(_) if addr >= KERNEL_HALF || (self.verified && addr < NULL_END) => Ok(T::cut(0)),
            Err(_) => Err(Reason::Load { addr, size: T::BYTES }),
        }
    }

    /// Copies out what a program points a helper at: its own memory, or kernel memory that it may read.
    pub(crate) fn read(&mut self, addr: u64, out: &mut [u8]) -> Result<(), Reason> {
        if self.space.read(addr, out).is_ok() {
            return Ok(());
        }
        let size = out.len() as u64;
        self.env.read_kernel(addr, out).map_err(|_| Reason::Load { addr, size })
    }

    /// Copies `len` bytes out into a buffer of its own.
    pub(crate) fn read_vec(&mut self, addr: u64, len: usize) -> Result<Vec<u8>, Reason> {
        // The check comes first, so that a wild length costs no memory.
        let reachable = self.space.reachable(addr, len as u64, false).is_ok();
        if !reachable && len > 1 << 16 {
            return Err(Reason::Load { addr, size: len as u64 });
        }
        let mut out = vec![0; len];
        self.read(addr, &mut out)?;
        Ok(out)
    }

    /// Copies `len` bytes out and hands them on; small ones cost no allocation.
    pub(crate) fn with_bytes<T>(
        &mut self,
        addr: u64,
        len: usize,
        f: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Result<T, Reason> {
        const SMALL: usize = 64;
        if len > SMALL {
            let data = self.read_vec(addr, len)?;
            return Ok(f(self, &data));
        }
        let mut small = [0; SMALL];
        self.read(addr, &mut small[..len])?;
        Ok(f(self, &small[..len]))
    }

    /// Reads a string up to its NUL (not included) or `max` bytes.
    pub(crate) fn read_str(&mut self, addr: u64, max: usize) -> Result<Vec<u8>, Reason> {
        let mut out = Vec::new();
        while out.len() < max {
            let mut byte = [0];
            self.read(addr + out.len() as u64, &mut byte)?;
            if byte[0] == 0 {
                break;
            }
            out.push(byte[0]);
        }
        Ok(out)
    }

    /// Copies in where a program points a helper to.
    pub(crate) fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Reason> {
        self.space.write(addr, data).map_err(|Denied| Reason::Store { addr, size: data.len() as u64 })
    }

    /// Checks that a helper may write there, before it does anything.
    pub(crate) fn writable(&mut self, addr: u64, size: u64) -> Result<(), Reason> {
        self.space.reachable(addr, size, true).map_err(|Denied| Reason::Store { addr, size })
    }

    /// Reserves a record and lends it to the program; answers its address.
    pub(crate) fn reserve(&mut self, map: &Arc<Map>, len: u64) -> Option<u64> {
        let ring = map.ring()?;
        let record = ring.reserve(len)?;
        let window: Window = ring.window(record);
        let addr = window.start();
        self.space.lend(window);
        self.reservations.push((addr, Arc::clone(map), record));
        Some(addr)
    }

    /// Lends a copy of bytes to the program, which it may read; answers its address.
    pub(crate) fn lend_record(&mut self, bytes: &[u8]) -> Result<u64, Reason> {
        let memory = Arena::new(bytes.len()).map_err(|e| Reason::Unsupported(format!("a record: {e}")))?;
        let memory = Arc::new(memory);
        memory.write(0, bytes);
        let window = Window::cells(&memory, 0, 1, bytes.len(), bytes.len()).read_only();
        let addr = window.start();
        self.space.lend(window);
        self.records.push(addr);
        Ok(addr)
    }

    /// Takes a lent record back; false when there is none of this address.
    pub(crate) fn return_record(&mut self, addr: u64) -> bool {
        let known = self.records.iter().position(|known| *known == addr);
        if let Some(n) = known {
            self.records.swap_remove(n);
            self.space.take_back(addr);
        }
        known.is_some()
    }

    /// Submits or discards a record; false when there is none of this address.
    pub(crate) fn commit(&mut self, addr: u64, flags: u64, discard: bool) -> bool {
        let Some(n) = self.reservations.iter().position(|(known, ..)| *known == addr) else { return false };
        let (addr, map, record) = self.reservations.swap_remove(n);
        self.space.take_back(addr);
        if let Some(ring) = map.ring() {
            ring.commit(record, flags, discard);
        }
        true
    }

    /// The processor of this event, the same for all of the run; numbers out of range come round.
    #[inline]
    pub(crate) fn cpu(&mut self) -> u32 {
        if self.cpu == UNASKED_CPU { self.ask_cpu() } else { self.cpu }
    }

    #[inline(never)]
    fn ask_cpu(&mut self) -> u32 {
        let (cpu, cpus) = (self.env.cpu(), crate::clock::possible_cpus().max(1));
        self.cpu = if cpu < cpus { cpu } else { cpu % cpus };
        self.cpu
    }

    /// The process and thread that the event is of: one for all of the run.
    #[inline]
    pub(crate) fn pid_tgid(&mut self) -> u64 {
        if self.pid_tgid == UNASKED_TASK {
            self.pid_tgid = self.env.pid_tgid();
        }
        self.pid_tgid
    }

    /// Packet bytes for `LD_ABS`, in the order of the network; `None` when the packet is too short.
    pub(crate) fn load_packet(&mut self, off: i64, size: usize) -> Result<Option<u64>, Reason> {
        let mut bytes = [0; 8];
        if let Some(packet) = self.packet.as_deref() {
            let loaded = packet.load(off, &mut bytes[8 - size..]);
            return Ok(loaded.map(|()| u64::from_be_bytes(bytes)));
        }
        match self.env.load_packet(off, &mut bytes[8 - size..]) {
            Ok(()) => Ok(Some(u64::from_be_bytes(bytes))),
            Err(Errno::EOPNOTSUPP) => {
                let what = "loads from a packet (`LD_ABS` or `LD_IND`), which this hook does not have";
                Err(Reason::Unsupported(what.to_owned()))
            }
            Err(_) => Ok(None),
        }
    }
}

/// An exception ends a run as a fault would, but is none.
#[cold]
fn caught(fault: Box<Fault>) -> Result<u64, Box<Fault>> {
    match fault.reason {
        Reason::Thrown(result) => Ok(result),
        _ => Err(fault),
    }
}

/// Runs a function of a program on the element of a map that an address lies in, without a context: what a timer does.
pub(crate) fn run_later(
    program: &Program,
    function: usize,
    map: &Arc<Map>,
    addr: u64,
    env: &mut dyn Env,
) -> Result<u64, Box<Fault>> {
    let Some(entry) = map.elements().entry_at(addr) else { return Ok(0) };
    let mut stack = Stack::new();
    let mut machine = Machine::new(program, Input::default(), &mut stack, env);
    if !program.maps().iter().any(|known| Arc::ptr_eq(known, map)) {
        machine.hold_map(Arc::clone(map));
    }
    let (key, value) = match entry {
        Entry::Keyed { key, value } => (key, value),
        Entry::Indexed { index, value } => (machine.space.lend_index(index), value),
    };
    let result = machine.execute(program, function, [map.handle(), key, value, 0, 0]);
    machine.clean_up();
    result.or_else(caught)
}
