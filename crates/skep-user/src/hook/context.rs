//! The contexts that programs are given, byte by byte as the kernel lays them out.

use super::layout::{HEADER, Layout};
use crate::sys::Tid;
use crate::sys::ptrace::{Registers, reg};
use crate::tracer::Call;

/// Where the bytes of a session lie in the context of a probe.
pub(crate) const SESSION_COOKIE: u64 = reg::PT_REGS as u64 * 8;

/// A context: kept between events, so that none is allocated for each.
#[derive(Debug, Default)]
pub(crate) struct Context {
    bytes: Vec<u8>,
}

impl Context {
    /// The bytes, for the program.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn header(&mut self, bytes: usize, tid: Tid) {
        self.bytes.clear();
        self.bytes.resize(bytes, 0);
        self.put(4, &tid.to_ne_bytes()); // common_pid
    }

    fn put(&mut self, offset: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// The entry of a system call: its number, and from byte 16 on its arguments (`struct syscall_trace_enter`; the
    /// records of `raw_syscalls/sys_enter` have the same layout).
    pub(crate) fn enter(&mut self, tid: Tid, call: &Call) {
        self.header(16 + 6 * 8, tid);
        self.put(HEADER, &call.nr.to_ne_bytes());
        for (n, argument) in call.args.iter().enumerate() {
            self.put(16 + n * 8, &argument.to_ne_bytes());
        }
    }

    /// The return of a system call: its number and result (`struct syscall_trace_exit`).
    pub(crate) fn ret(&mut self, tid: Tid, call: &Call, ret: i64) {
        self.header(24, tid);
        self.put(HEADER, &call.nr.to_ne_bytes());
        self.put(16, &ret.to_ne_bytes());
    }

    /// The arguments of a raw tracepoint.
    pub(crate) fn arguments(&mut self, arguments: &[u64]) {
        self.bytes.clear();
        self.bytes.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
    }

    /// The registers (`struct pt_regs`), and behind them the eight bytes of a session.
    pub(crate) fn registers(&mut self, regs: &Registers, session: u64) {
        self.arguments(&regs[..reg::PT_REGS]);
        self.bytes.extend(session.to_ne_bytes());
    }

    /// The registers where a system call's function begins, whose argument points to those of the caller.
    pub(crate) fn function_entry(&mut self, caller: u64) {
        self.function_registers(reg::RDI, caller);
    }

    /// The registers where it has returned.
    pub(crate) fn function_return(&mut self, ret: i64) {
        self.function_registers(reg::RAX, ret.cast_unsigned());
    }

    /// Registers of which one is known.
    fn function_registers(&mut self, known: usize, value: u64) {
        let mut regs = [0; reg::PT_REGS];
        regs[known] = value;
        self.arguments(&regs);
    }

    /// The registers, the period, and an address that a clock does not have (`struct bpf_perf_event_data`).
    pub(crate) fn sample(&mut self, regs: &Registers, period_ns: u64) {
        self.registers(regs, period_ns);
        self.bytes.extend(0u64.to_ne_bytes());
    }

    /// Takes over the registers and the session's bytes that the program has changed.
    pub(crate) fn changed_registers(&self, regs: &mut Registers, session: &mut u64) {
        let places = regs[..reg::PT_REGS].iter_mut().chain([session]);
        for (place, bytes) in places.zip(self.bytes.chunks_exact(8)) {
            *place = u64::from_ne_bytes(bytes.try_into().expect("invariant: chunks of eight"));
        }
    }

    /// Begins the record of a tracepoint with fields of its own.
    pub(crate) fn record<'a>(&'a mut self, layout: &'a Layout, tid: Tid) -> RecordWriter<'a> {
        self.header(layout.bytes, tid);
        RecordWriter { context: self, layout }
    }
}

/// Writes the fields of a record. One that this kernel's record does not have is left out.
pub(crate) struct RecordWriter<'a> {
    context: &'a mut Context,
    layout: &'a Layout,
}

impl RecordWriter<'_> {
    /// A number, cut to the field's size.
    pub(crate) fn number(&mut self, name: &str, value: i64) -> &mut Self {
        if let Some(place) = self.layout.place(name) {
            let bytes = value.to_ne_bytes();
            self.context.put(place.offset, &bytes[..place.bytes.min(8)]);
        }
        self
    }

    /// A string: in its array, or behind the record with length and offset in the field (`__data_loc`).
    pub(crate) fn text(&mut self, name: &str, data_loc: &str, text: &[u8]) -> &mut Self {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let text = &text[..end];
        if let Some(place) = self.layout.place(data_loc) {
            let at = self.context.bytes.len();
            let location = ((text.len() + 1) << 16 | at) as u32;
            self.context.put(place.offset, &location.to_ne_bytes());
            self.context.bytes.extend_from_slice(text);
            self.context.bytes.push(0);
        } else if let Some(place) = self.layout.place(name) {
            let bytes = text.len().min(place.bytes.saturating_sub(1));
            self.context.put(place.offset, &text[..bytes]);
        }
        self
    }
}
