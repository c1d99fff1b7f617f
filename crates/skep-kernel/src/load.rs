//! Commands passed on, and programs loaded: with a log only where the kernel refuses, as large as the kernel makes it.

use skep_isa::uapi::{Cmd, ProgType};
use skep_runtime::codec::{Attr, Log};
use skep_runtime::command::{ProgLoad, TestRun};
use skep_runtime::{Command, Error, ErrorKind, Fd, Reply, Result};

use crate::explain;
use crate::info::arrays;
use crate::losses::Counted;
use crate::scope::Filter;
use crate::sys::{bpf, errno};

/// Where the verifier's log begins, and how far it grows; the kernel takes no more (`UINT_MAX >> 2`).
const LOG_BYTES: usize = 64 << 10;
const LOG_BYTES_MAX: usize = (u32::MAX >> 2) as usize;

/// Passes a command on.
pub(crate) fn command(mut command: Command<'_>) -> Result<Reply> {
    let pinned = match &command {
        Command::ObjPin { path, .. } | Command::ObjGet { path } => Some(path.to_path_buf()),
        _ => None,
    };
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
        (Err(e), cmd) => Err(match pinned {
            Some(path) => explain::pin(cmd, &path, &e),
            None => explain::command(cmd, &e),
        }),
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
    // Length and address of the context that goes out become those of the one that goes in.
    let bytes = attr.bytes_mut();
    for (from, to) in [(44..48, 40), (56..64, 48)] {
        bytes.copy_within(from.clone(), to);
        bytes[from].fill(0);
    }
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
pub(crate) fn counted_program(
    spec: &ProgLoad<'_>,
    counted: &Counted,
    filter: Option<&Filter>,
) -> Result<Reply> {
    let counted = counted.spec(spec);
    match filter.and_then(|filter| filter.restrict(&counted)) {
        Some(restricted) => attempt(&restricted.spec(&counted), None),
        None => attempt(&counted, None),
    }
}

/// Loads a program that sees only what `filter` lets through, where it is one that sees processes.
///
/// A refusal speaks of the program as it was given, without what the filter has put in front.
pub(crate) fn filtered_program(spec: &ProgLoad<'_>, filter: &Filter) -> Result<Reply> {
    let Some(restricted) = filter.restrict(spec) else { return program(spec) };
    let with_filter = restricted.spec(spec);
    match attempt(&with_filter, None) {
        Err(e) if may_have_log(&e) => {}
        result => return result,
    }
    match program(spec) {
        Ok(Reply::Fd(fd)) => {
            bpf::close(fd.0);
            program(&with_filter).map_err(|e| {
                e.hint("it is accepted without the filter for a command: `-a` traces the whole machine")
            })
        }
        refusal => refusal,
    }
}

/// Loads a program; when the kernel refuses it, once more with a log.
pub(crate) fn program(spec: &ProgLoad<'_>) -> Result<Reply> {
    match attempt(spec, None) {
        Err(e) if may_have_log(&e) => with_growing_log(spec),
        result => result,
    }
}

/// The verifier refuses with many errors, `ENOENT` and `EFAULT` among them; a system call that was disturbed says nothing.
fn may_have_log(error: &Error) -> bool {
    error.kind() != ErrorKind::Busy
}

fn with_growing_log(spec: &ProgLoad<'_>) -> Result<Reply> {
    let mut bytes = LOG_BYTES;
    loop {
        let mut buffer = vec![0; bytes];
        match attempt(spec, Some(Log { level: spec.log_level.max(1), buffer: &mut buffer })) {
            Ok(reply) => return Ok(reply),
            Err(e) if e.errno() == libc::ENOSPC && bytes < LOG_BYTES_MAX => {
                bytes = bytes.saturating_mul(4).min(LOG_BYTES_MAX);
            }
            Err(e) => return Err(with_log(e, spec, &buffer)),
        }
    }
}

fn attempt(spec: &ProgLoad<'_>, log: Option<Log<'_>>) -> Result<Reply> {
    let mut command = Command::ProgLoad(spec);
    let mut attr = Attr::encode(&mut command, log)?;
    match bpf::bpf(&mut attr) {
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
