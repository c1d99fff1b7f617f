//! Test runs of programs whose context is all they get: raw tracepoints, system calls, socket look-up.

use skep_runtime::command::TestRun;
use skep_runtime::{Error, Reply, Result};
use skep_vm::Errno;

use super::{World, context_in, finish, invalid, is_zero, repeated, word};
use crate::objects::Prog;

/// Arguments that a tracepoint has at most (`MAX_BPF_FUNC_ARGS`), eight bytes each.
const MAX_RAW_CONTEXT: usize = 12 * 8;

/// Run on a given processor (`BPF_F_TEST_RUN_ON_CPU`).
const ON_CPU: u32 = 1;

pub(super) fn raw_tracepoint(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    let plain = run.data_in.is_empty() && run.data_out.is_empty() && run.ctx_out.is_empty();
    if !plain || run.repeat != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "raw tracepoints take nothing but a context in test runs"));
    }
    if run.ctx_in.len() > MAX_RAW_CONTEXT || (run.flags & ON_CPU == 0 && run.cpu != 0) {
        return Err(invalid(
            prog,
            "the context has more than twelve arguments, or a processor is given without its flag",
        ));
    }
    if run.flags & ON_CPU != 0 && !world.run_on(run.cpu) {
        return Err(Error::os(Errno::ENXIO.0, format!("there is no processor {}", run.cpu)));
    }
    let mut context = run.ctx_in.to_vec();
    let outcome = repeated(1, || prog.code.run(&mut context, world))?;
    finish(run, &[], None, &outcome)
}

/// The context is read and written. Linux writes it where it came from; here that is lent for reading, so `ctx_out` takes it.
pub(super) fn syscall(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    let plain = run.data_in.is_empty() && run.data_out.is_empty();
    if !plain || run.repeat != 0 || run.flags != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "system call programs take nothing but a context in test runs"));
    }
    if run.ctx_in.len() > usize::from(u16::MAX) {
        return Err(invalid(prog, "the context has more than 65535 bytes"));
    }
    let mut context = run.ctx_in.to_vec();
    let outcome = repeated(1, || prog.code.run(&mut context, world))?;
    finish(run, &[], Some(&context), &outcome)
}

/// `struct bpf_sk_lookup`.
mod lookup {
    pub(super) const BYTES: usize = 72;
    pub(super) const FAMILY: usize = 8;
    pub(super) const PROTOCOL: usize = 12;
    pub(super) const REMOTE_IP4: usize = 16;
    pub(super) const REMOTE_IP6: usize = 20;
    pub(super) const BEHIND_REMOTE_PORT: usize = 38;
    pub(super) const LOCAL_IP4: usize = 40;
    pub(super) const LOCAL_IP6: usize = 44;
    pub(super) const LOCAL_PORT: usize = 60;
    pub(super) const BEHIND_PORT: usize = 64;
}

pub(super) fn socket_lookup(prog: &Prog, run: TestRun<'_>, world: &mut World) -> Result<Reply> {
    if run.flags != 0 || run.cpu != 0 || run.batch_size != 0 {
        return Err(invalid(prog, "socket look-up takes no flags in test runs"));
    }
    if !run.data_in.is_empty() || !run.data_out.is_empty() {
        return Err(invalid(prog, "socket look-up takes no data"));
    }
    let Some(mut context) = context_in(&run, lookup::BYTES)? else {
        return Err(invalid(prog, "socket look-up needs a context"));
    };
    if !is_zero(&context[..lookup::FAMILY]) || !is_zero(&context[lookup::BEHIND_PORT..]) {
        return Err(invalid(prog, "the context names a socket or a device"));
    }
    if word(&context, lookup::LOCAL_PORT) > u16::MAX.into() {
        return Err(Error::os(Errno::ERANGE.0, "the local port has more than 16 bits"));
    }
    let mut seen = seen(&context)?;
    let outcome = repeated(run.repeat, || prog.code.run(&mut seen, world))?;
    // Anything but a refusal goes on to the usual look-up.
    let outcome = super::Outcome { retval: u32::from(outcome.retval != 0), ..outcome };
    context[..lookup::FAMILY].fill(0);
    finish(run, &[], Some(&context), &outcome)
}

/// The context as the program sees it: addresses of the other family are zero.
fn seen(given: &[u8]) -> Result<Vec<u8>> {
    const AF_INET: u32 = 2;
    const AF_INET6: u32 = 10;
    let mut seen = given.to_vec();
    for field in [lookup::FAMILY, lookup::PROTOCOL] {
        let low = word(given, field) as u16;
        seen[field..field + 4].copy_from_slice(&u32::from(low).to_ne_bytes());
    }
    seen[lookup::BEHIND_REMOTE_PORT..lookup::LOCAL_IP4].fill(0);
    match word(&seen, lookup::FAMILY) {
        AF_INET => [lookup::REMOTE_IP6, lookup::LOCAL_IP6].iter().for_each(|at| seen[*at..at + 16].fill(0)),
        AF_INET6 => [lookup::REMOTE_IP4, lookup::LOCAL_IP4].iter().for_each(|at| seen[*at..at + 4].fill(0)),
        _ => return Err(Error::os(Errno::EAFNOSUPPORT.0, "the family is neither IPv4 nor IPv6")),
    }
    Ok(seen)
}
