//! `skep verify --log`: the analysis in the format of the kernel's log.

use std::io::{self, Write as _};

use skep::{Error, Result};
use skep_verifier::log::{Level, Recording};
use skep_verifier::{Report, Subject};

/// Verifies a program while its log goes to stdout.
pub(super) fn to_stdout(subject: &Subject<'_>, program: usize, level: Level) -> Result<Report> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let sink = |text: &str| {
        if written.is_ok() {
            written = out.write_all(text.as_bytes());
        }
    };
    let recording = Recording { level: Some(level), sink: Some(Box::new(sink)), ..Recording::default() };
    let (report, _) = subject.verify_recorded(program, recording);
    written.and_then(|()| out.flush()).map_err(|e| Error::file("stdout".as_ref(), e))?;
    Ok(report)
}

/// Verifies a program and gives its log.
pub(super) fn to_text(subject: &Subject<'_>, program: usize, level: Level) -> (Report, String) {
    let mut text = String::new();
    let recording = Recording {
        level: Some(level),
        sink: Some(Box::new(|piece: &str| text.push_str(piece))),
        ..Recording::default()
    };
    let (report, _) = subject.verify_recorded(program, recording);
    (report, text)
}
