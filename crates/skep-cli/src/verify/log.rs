//! `skep verify --log`: the analysis in the format of the kernel's log.

use std::io::{self, Write as _};

use skep::{Error, Result};
use skep_verifier::Subject;
use skep_verifier::log::{Level, Recording};

/// Verifies a program while its log goes to stdout, under a title where there are several.
pub(super) fn to_stdout(
    title: Option<&str>,
    subject: &Subject<'_>,
    program: usize,
    level: Level,
) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = title.map_or(Ok(()), |title| writeln!(out, "{title}"));
    let sink = |text: &str| {
        if written.is_ok() {
            written = out.write_all(text.as_bytes());
        }
    };
    let recording = Recording { level: Some(level), sink: Some(Box::new(sink)), ..Recording::default() };
    subject.verify_recorded(program, recording);
    written.and_then(|()| out.flush()).map_err(|e| Error::file("stdout".as_ref(), e))
}

/// Verifies a program and gives its log.
pub(super) fn to_text(subject: &Subject<'_>, program: usize, level: Level) -> String {
    let mut text = String::new();
    let recording = Recording {
        level: Some(level),
        sink: Some(Box::new(|piece: &str| text.push_str(piece))),
        ..Recording::default()
    };
    subject.verify_recorded(program, recording);
    text
}
