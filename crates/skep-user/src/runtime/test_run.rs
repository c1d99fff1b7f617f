//! `BPF_PROG_TEST_RUN`: running a program on data and a context that the caller makes up, with the limits and errors of
//! Linux (`net/bpf/test_run.c`).
//!
//! Each family of program types has a file; what they share is here. A program that does what it must not, which verified
//! programs do not, ends the command with `EFAULT` and says what happened.

mod flow;
mod netfilter;
mod plain;
mod skb;
mod tracing;
mod xdp;

use std::time::Instant;

use skep_isa::uapi::ProgType;
use skep_runtime::command::TestRun;
use skep_runtime::{Error, Fd, Reply, Result};
use skep_vm::{Errno, Fault};

use super::{UserRuntime, of_errno};
use crate::objects::Prog;
use crate::packets::World;

/// Bytes of a page, which bound a test's data.
const PAGE_BYTES: usize = 4096;

/// What a run leaves beside data and context.
struct Outcome {
    retval: u32,
    duration_ns: u32,
}

impl UserRuntime {
    pub(super) fn test_run(&self, prog: Fd, run: TestRun<'_>) -> Result<Reply> {
        let prog = self.objects.prog(prog)?;
        prog.code.maps().iter().for_each(|map| map.begin_run());
        let mut world = self.world();
        match prog.spec.prog_type {
            ProgType::XDP => xdp::run(&prog, run, &mut world),
            ProgType::FLOW_DISSECTOR => flow::run(&prog, run, &mut world),
            ProgType::RAW_TRACEPOINT => plain::raw_tracepoint(&prog, run, &mut world),
            ProgType::NETFILTER => netfilter::run(&prog, run, &mut world),
            ProgType::SYSCALL => plain::syscall(&prog, run, &mut world),
            ProgType::SK_LOOKUP => plain::socket_lookup(&prog, run, &mut world),
            ProgType::TRACING => self.test_functions(&prog, run, &mut world),
            ProgType::SCHED_CLS
            | ProgType::SCHED_ACT
            | ProgType::SOCKET_FILTER
            | ProgType::CGROUP_SKB
            | ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_XMIT
            | ProgType::LWT_SEG6LOCAL => skb::run(&prog, run, &mut world),
            other => Err(Error::os(
                Errno::ENOTSUPP.0,
                format!("programs of type `{other}` have no test run, in Linux neither"),
            )),
        }
    }
}

/// Runs a program so many times; answers what it returned last, and the average time.
fn repeated(repeat: u32, mut once: impl FnMut() -> Result<u64, Box<Fault>>) -> Result<Outcome> {
    let repeat = repeat.max(1);
    let start = Instant::now();
    let mut retval = 0;
    for _ in 0..repeat {
        retval = once().map_err(faulted)? as u32;
    }
    let average = start.elapsed().as_nanos() / u128::from(repeat);
    Ok(Outcome { retval, duration_ns: u32::try_from(average).unwrap_or(u32::MAX) })
}

fn faulted(fault: Box<Fault>) -> Error {
    Error::os(Errno::EFAULT.0, fault.to_string())
}

fn invalid(prog: &Prog, what: &str) -> Error {
    Error::os(Errno::EINVAL.0, format!("program `{}`: {what}", prog.spec.name))
}

/// A context of `size` bytes from what the caller gives; `None` when neither in nor out is asked for.
fn context_in(run: &TestRun<'_>, size: usize) -> Result<Option<Vec<u8>>> {
    if run.ctx_in.is_empty() && run.ctx_out.is_empty() {
        return Ok(None);
    }
    let given = run.ctx_in;
    let tail = given.get(size..).unwrap_or_default();
    if given.len() > PAGE_BYTES || tail.iter().any(|byte| *byte != 0) {
        return Err(Error::os(Errno::E2BIG.0, format!("the context has more than {size} bytes")));
    }
    let mut context = given[..given.len().min(size)].to_vec();
    context.resize(size, 0);
    Ok(Some(context))
}

/// Hands data and context out, as far as the caller has room.
fn finish(run: TestRun<'_>, data: &[u8], context: Option<&[u8]>, outcome: &Outcome) -> Result<Reply> {
    let copied = run.data_out.len().min(data.len());
    run.data_out[..copied].copy_from_slice(&data[..copied]);
    if !run.data_out.is_empty() && copied < data.len() {
        return Err(no_room("data", data.len()));
    }
    let context = context.unwrap_or_default();
    if !run.ctx_out.is_empty() {
        let copied = run.ctx_out.len().min(context.len());
        run.ctx_out[..copied].copy_from_slice(&context[..copied]);
        if copied < context.len() {
            return Err(no_room("the context", context.len()));
        }
    }
    Ok(Reply::TestRun {
        retval: outcome.retval,
        duration_ns: outcome.duration_ns,
        data_size_out: data.len() as u32,
        ctx_size_out: context.len() as u32,
    })
}

fn no_room(what: &str, len: usize) -> Error {
    Error::os(Errno::ENOSPC.0, format!("there is no room for {what} of {len} bytes"))
}

/// Are these bytes zero?
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A number of four bytes.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn no_memory(errno: Errno) -> Error {
    of_errno(errno)
}
