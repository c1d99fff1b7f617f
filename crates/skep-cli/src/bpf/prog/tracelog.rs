//! `prog tracelog`: the lines that programs print.

use std::ops::ControlFlow;

use rustix::event::{PollFd, PollFlags, poll};
use skep::runtime::{Command, Event, Reply};

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;

/// Follows `bpf_trace_printk` of all programs until interrupted, or prints what a program's own stream holds.
pub(crate) fn tracelog(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    for (name, stream) in [("stdout", 1), ("stderr", 2)] {
        if words.keyword(name) {
            return print_stream(shell, words, stream);
        }
    }
    words.end()?;
    let mut lines = shell.runtime()?.printk()?;
    loop {
        lines.drain(&mut |event| {
            if let Event::Record { data, .. } = event {
                shell.json.bytes(data);
                shell.json.text(format_args!("\n"));
            }
            ControlFlow::Continue(())
        })?;
        shell.json.flush();
        let mut fds = [PollFd::from_borrowed_fd(lines.as_fd(), PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::file("trace_pipe", &e.into())),
        }
    }
}

fn print_stream(shell: &mut Shell, words: &mut Words<'_>, stream: u32) -> Outcome {
    let selected = select::prog(shell, words)?;
    words.end()?;
    let runtime = shell.runtime()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let command = Command::ProgStreamRead { prog: selected.handle.fd(), stream, buffer: &mut buffer };
        match runtime.bpf(command)? {
            Reply::Count(bytes) if bytes > 0 => shell.json.bytes(&buffer[..bytes as usize]),
            _ => return Ok(()),
        }
    }
}
