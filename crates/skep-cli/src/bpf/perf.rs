//! `skep perf`: programs that processes hold on perf events and raw tracepoints by a descriptor.

use std::fs;

use skep::runtime::{Command, Reply, SharedRuntime};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// Room for a name; file names are the longest.
const NAME: usize = 4096;
/// What the kernel answers for a descriptor that attaches nothing.
const ENOTSUPP: i32 = 524;

/// What a descriptor attaches (`enum bpf_task_fd_type`), and what its name is called.
const KINDS: [(&str, &str); 6] = [
    ("raw_tracepoint", "tracepoint"),
    ("tracepoint", "tracepoint"),
    ("kprobe", "func"),
    ("kretprobe", "func"),
    ("uprobe", "filename"),
    ("uretprobe", "filename"),
];

/// `perf show`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.end()?;
    let runtime = shell.runtime()?;
    can_ask(&runtime)?;
    if shell.is_json() {
        shell.json.begin_array();
    }
    let mut hidden = 0;
    for pid in numbers("/proc").unwrap_or_default() {
        match numbers(&format!("/proc/{pid}/fd")) {
            Ok(fds) => fds.into_iter().for_each(|fd| descriptor(shell, &runtime, pid, fd)),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => hidden += 1,
            // The process has ended.
            Err(_) => {}
        }
    }
    if shell.is_json() {
        shell.json.end_array();
    }
    if hidden > 0 {
        crate::term::warning(format_args!("the descriptors of {hidden} processes may not be read"));
    }
    Ok(())
}

/// A descriptor that attaches nothing is told apart from a kernel that does not answer, or not to us.
fn can_ask(runtime: &SharedRuntime) -> Outcome {
    let root = fs::File::open("/").map_err(|e| Failure::file("/", &e))?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&root).cast_unsigned();
    match runtime.bpf(Command::TaskFdQuery { pid: std::process::id(), fd, buffer: &mut [0; 256] }) {
        Err(e) if e.errno() != ENOTSUPP => Err(e.into()),
        _ => Ok(()),
    }
}

fn descriptor(shell: &mut Shell, runtime: &SharedRuntime, pid: u32, fd: u32) {
    let mut buffer = [0; NAME];
    let answer = runtime.bpf(Command::TaskFdQuery { pid, fd, buffer: &mut buffer });
    let Ok(Reply::TaskFd { prog_id, fd_type, probe_offset, probe_addr, .. }) = answer else { return };
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(NAME);
    let name = String::from_utf8_lossy(&buffer[..end]);
    let kind = KINDS.get(fd_type as usize);
    let is_kernel_probe = matches!(fd_type, 2 | 3);
    let is_probe = fd_type >= 2;
    let json = &mut shell.json;
    if shell.options.json {
        json.begin_object();
        json.unsigned_field("pid", pid);
        json.unsigned_field("fd", fd);
        json.unsigned_field("prog_id", prog_id);
        if let Some((kind, named)) = kind {
            json.string_field("fd_type", kind);
            if is_kernel_probe && name.is_empty() {
                json.unsigned_field("addr", probe_addr);
            } else {
                json.string_field(named, &name);
                if is_probe {
                    json.unsigned_field("offset", probe_offset);
                }
            }
        }
        json.end_object();
        return;
    }
    json.text(format_args!("pid {pid}  fd {fd}: prog_id {prog_id}  "));
    match kind {
        Some((kind, _)) if !is_probe => json.text(format_args!("{kind}  {name}\n")),
        Some((kind, _)) if is_kernel_probe && name.is_empty() => {
            json.text(format_args!("{kind}  addr {probe_addr}\n"));
        }
        Some((kind, named)) => json.text(format_args!("{kind}  {named} {name}  offset {probe_offset}\n")),
        None => {}
    }
}

/// The entries of a directory that are numbers.
fn numbers(path: &str) -> std::io::Result<Vec<u32>> {
    let entries = fs::read_dir(path)?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}
