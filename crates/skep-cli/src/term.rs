//! Messages to the person at the terminal, all on stderr.

use std::fmt;
use std::io::IsTerminal as _;

/// May this stream be coloured? Only a terminal, and only when `NO_COLOR` is unset or empty.
fn coloured(is_terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_terminal && !forbidden && !dumb
}

/// Does a person read stdout?
pub(crate) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// May stdout be coloured?
pub(crate) fn stdout_coloured() -> bool {
    coloured(std::io::stdout().is_terminal())
}

/// `error: …`, and `hint: …` where there is advice.
pub(crate) fn error(error: &skep::Error) {
    line("error", "31", format_args!("{error}"));
    if let Some(hint) = error.hint() {
        line("hint", "36", format_args!("{hint}"));
    }
}

/// `warning: …`: something that changes what the output means.
pub(crate) fn warning(message: fmt::Arguments<'_>) {
    line("warning", "33", message);
}

/// `skep: …`: which way was taken.
pub(crate) fn note(message: fmt::Arguments<'_>) {
    line("skep", "2", message);
}

fn line(label: &str, colour: &str, message: fmt::Arguments<'_>) {
    if coloured(std::io::stderr().is_terminal()) {
        eprintln!("\x1b[{colour}m{label}:\x1b[0m {message}");
    } else {
        eprintln!("{label}: {message}");
    }
}

/// A line that a program wrote with `bpf_printk`, as it is.
pub(crate) fn line_of_program(text: &[u8]) {
    eprintln!("{}", String::from_utf8_lossy(text));
}

/// `error: …` and `hint: …` of a message that is there already.
pub(crate) fn failure(message: &str, hint: Option<&str>) {
    line("error", "31", format_args!("{message}"));
    if let Some(hint) = hint {
        line("hint", "36", format_args!("{hint}"));
    }
}
