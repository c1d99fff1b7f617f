//! Commands passed on, and programs loaded: with a log only where the kernel refuses, as large as the kernel makes it.

use skep_isa::uapi::{Cmd, ProgType};
use skep_runtime::codec::{Attr, Log};
use skep_runtime::command::{ProgLoad, TestRun};
use skep_runtime::{Command, Error, ErrorKind, Fd, Reply, Result};

use crate::info::arrays;
use crate::losses::Counted;
use crate::scope::Filter;
use crate::sys::{bpf, errno};
use crate::{attach, explain};

/// Room for the verifier's log, for more than most logs have, and how far it grows; the kernel takes no more (`UINT_MAX >> 2`).
/// A program of a few instructions, as those that find out what there is, has a short log.
const LOG_BYTES: usize = 16 << 20;
const LOG_BYTES_MIN: usize = 64 << 10;
const LOG_BYTES_A_INSN: usize = 8 << 10;
const LOG_BYTES_MAX: usize = (u32::MAX >> 2) as usize;

/// Passes a command on.
pub(crate) fn command(mut command: Command<'_>) -> Result<Reply> {
    if let Command::ObjGetInfo { fd, info, arrays } = &command {
        arrays::check(*fd, info, arrays)?;
    }
    let mut attr = Attr::encode(&mut command, None)?;
    let returned = bpf::bpf(&mut attr);
    match (returned, attr.cmd()) {
        (Ok(returned), _) => Ok(attr.reply(returned)),
        // The end of the map, told together with its last elements.
        (Err(e), Cmd::MAP_LOOKUP_BATCH | Cmd::MAP_LOOKUP_AND_DELETE_BATCH) if errno(&e) == libc::ENOENT => {
            match attr.reply(0) {
                Reply::Batch { count, .. } => Ok(Reply::Batch { count, end: true }),
                other => Ok(other),
            }
        }
        (Err(e), cmd) => {
            drop(attr);
            Err(match command {
                Command::ObjPin { path, .. } | Command::ObjGet { path } => explain::pin(cmd, path, &e),
                Command::MapCreate(spec) => explain::map(spec, &e),
                Command::BtfLoad { data, token } => types_refused(data, token, explain::command(cmd, &e)),
                _ => explain::command(cmd, &e),
            })
        }
    }
}

/// A refusal of types with the kernel's reason, the last line of its log.
fn types_refused(data: &[u8], token: Option<Fd>, error: Error) -> Error {
    let mut buffer = vec![0; data.len().saturating_mul(8).clamp(LOG_BYTES_MIN, LOG_BYTES)];
    let mut command = Command::BtfLoad { data, token };
    let log = Log { level: 1, buffer: &mut buffer };
    // Types that are taken now are given back at once: they were refused before.
    if let Ok(reply) = Attr::encode(&mut command, Some(log)).and_then(|mut attr| match bpf::bpf(&mut attr) {
        Ok(returned) => Ok(attr.reply(returned)),
        Err(e) => Err(explain::command(attr.cmd(), &e)),
    }) {
        drop(attach::owned(reply));
    }
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(0);
    let log = String::from_utf8_lossy(&buffer[..end]);
    // A type that is described to its end has nothing said against it.
    let is_reason = |line: &&str| line.rsplit(' ').next().is_some_and(|word| !word.contains('='));
    match log.trim_end().lines().next_back().filter(is_reason) {
        Some(line) => Error::os(error.errno(), format!("the kernel refuses the types: {line}")),
        None => error,
    }
}

/// Runs a program once or many times.
///
/// Linux writes the context of a `syscall` program where it came from. Here that is lent for reading, so the kernel gets a copy,
/// and what it leaves there goes to `ctx_out`, as in the user runtime.
pub(crate) fn test_run(prog: Fd, run: TestRun<'_>) -> Result<Reply> {
    if run.ctx_in.is_empty() || prog_type(prog)? != ProgType::SYSCALL {
        return command(Command::ProgTestRun { prog, run });
    }
    let mut context = run.ctx_in.to_vec();
    let ctx_out = run.ctx_out;
    let run = TestRun { ctx_in: &[], ctx_out: &mut context, ..run };
    let mut command = Command::ProgTestRun { prog, run };
    let mut attr = Attr::encode(&mut command, None)?;
    attr.context_in_place();
    let reply = match bpf::bpf(&mut attr) {
        Ok(returned) => attr.reply(returned),
        Err(e) => return Err(explain::command(attr.cmd(), &e)),
    };
    if ctx_out.is_empty() {
        return Ok(reply);
    }
    let Some(room) = ctx_out.get_mut(..context.len()) else {
        return Err(Error::os(
            libc::ENOSPC,
            format!("there is no room for a context of {} bytes", context.len()),
        ));
    };
    room.copy_from_slice(&context);
    Ok(match reply {
        Reply::TestRun { retval, duration_ns, data_size_out, .. } => {
            Reply::TestRun { retval, duration_ns, data_size_out, ctx_size_out: context.len() as u32 }
        }
        other => other,
    })
}

/// The type of a loaded program, which its information begins with.
fn prog_type(prog: Fd) -> Result<ProgType> {
    let mut info = [0; 4];
    command(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut [] })?;
    Ok(ProgType(u32::from_ne_bytes(info)))
}

/// Loads a program that counts its losses and, where it is one that sees processes, sees only what `filter` lets through.
///
/// A refusal speaks of the program as it was given: when the kernel takes it so, it goes without the counting, but not without
/// the filter.
pub(crate) fn changed_program(
    spec: &ProgLoad<'_>,
    counted: Option<&Counted>,
    filter: Option<&Filter>,
) -> Result<Reply> {
    let counting = counted.map_or_else(|| spec.clone(), |counted| counted.spec(spec));
    let restricted = filter.and_then(|filter| filter.restrict(&counting));
    let changed =
        restricted.as_ref().map_or_else(|| counting.clone(), |restricted| restricted.spec(&counting));
    match attempt(&changed, None) {
        Err(e) if may_have_log(&e) => {}
        result => return result,
    }
    let as_given = explained(spec)?;
    let Some(restricted) = filter.and_then(|filter| filter.restrict(spec)) else { return Ok(as_given) };
    drop(attach::owned(as_given)?);
    explained(&restricted.spec(spec))
        .map_err(|e| e.hint("it is accepted without the filter for a command: `-a` traces the whole machine"))
}

/// Loads a program; when the kernel refuses it, once more with a log.
pub(crate) fn program(spec: &ProgLoad<'_>) -> Result<Reply> {
    changed_program(spec, None, None)
}

/// The verifier refuses with many errors, `ENOENT` and `EFAULT` among them; a system call that was disturbed says nothing.
fn may_have_log(error: &Error) -> bool {
    error.kind() != ErrorKind::Busy
}

/// Loads a program with a log. Where the log is longer than it mostly is, that is one load more: kernels before 6.4 do not say
/// how long, and take more of them.
fn explained(spec: &ProgLoad<'_>) -> Result<Reply> {
    let mut bytes = spec.insns.len().saturating_mul(LOG_BYTES_A_INSN).clamp(LOG_BYTES_MIN, LOG_BYTES);
    loop {
        // The system gives memory as it is written to, so a short log has little.
        let mut buffer = vec![0; bytes];
        let mut wanted = 0;
        let log = Log { level: spec.log_level.max(1), buffer: &mut buffer };
        match attempt(spec, Some((log, &mut wanted))) {
            Ok(reply) => return Ok(reply),
            Err(e) if e.errno() == libc::ENOSPC && bytes < LOG_BYTES_MAX => {
                let wanted = usize::try_from(wanted).unwrap_or(0);
                let next = if wanted > bytes { wanted } else { bytes.saturating_mul(4) };
                bytes = next.min(LOG_BYTES_MAX);
            }
            Err(e) => return Err(with_log(e, spec, &buffer)),
        }
    }
}

/// Loads a program; beside a log goes what the kernel says of its length.
fn attempt(spec: &ProgLoad<'_>, log: Option<(Log<'_>, &mut u32)>) -> Result<Reply> {
    let mut command = Command::ProgLoad(spec);
    let (log, wanted) = log.unzip();
    let mut attr = Attr::encode(&mut command, log)?;
    let returned = bpf::bpf(&mut attr);
    if let Some(wanted) = wanted {
        *wanted = attr.log_true_size();
    }
    match returned {
        Ok(returned) => Ok(attr.reply(returned)),
        Err(e) => Err(explain::command(attr.cmd(), &e)),
    }
}

/// A refusal with the verifier's reason, if it gave one.
fn with_log(error: Error, spec: &ProgLoad<'_>, buffer: &[u8]) -> Error {
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    let log = String::from_utf8_lossy(&buffer[..end]);
    match log.trim_end() {
        "" => explain::without_log(error, spec.prog_type),
        log => Error::rejected(error.errno(), log),
    }
}
