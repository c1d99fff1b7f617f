//! Commands passed on, and programs loaded: with a log only where the kernel refuses, as large as the kernel makes it.

use skep_isa::uapi::Cmd;
use skep_runtime::codec::{Attr, Log};
use skep_runtime::command::ProgLoad;
use skep_runtime::{Command, Error, ErrorKind, Reply, Result};

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
