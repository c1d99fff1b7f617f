//! An explanation as text: what failed with its source line, what is known, the way there, what to do.

use std::fmt::{self, Write as _};

use super::{Explanation, Location, Stop};

/// What is written around parts of a text to colour them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    error: &'static str,
    frame: &'static str,
    help: &'static str,
    strong: &'static str,
    end: &'static str,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Self = Self { error: "", frame: "", help: "", strong: "", end: "" };
    /// The colours of terminals.
    pub const TERMINAL: Self = Self {
        error: "\x1b[1;31m",
        frame: "\x1b[34m",
        help: "\x1b[1;36m",
        strong: "\x1b[1m",
        end: "\x1b[0m",
    };
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Paint::PLAIN))
    }
}

impl Explanation {
    /// The explanation with colours, or without; several lines, each ended.
    pub fn text(&self, paint: &Paint) -> String {
        let mut out = String::new();
        let written = self.write(&mut out, paint);
        written.expect("invariant: a string takes any text");
        out
    }

    fn write(&self, out: &mut String, paint: &Paint) -> fmt::Result {
        let Paint { error, frame, help, strong, end } = paint;
        writeln!(out, "{error}rejected{end}{strong}: {}{end}", self.summary)?;
        writeln!(out, "  {frame}-->{end} {}", self.place())?;
        if let Some(location) = &self.location {
            excerpt(out, location, paint)?;
        }
        writeln!(out, "   {frame}={end} verifier: {}", self.message)?;
        for note in &self.notes {
            writeln!(out, "   {frame}={end} {note}")?;
        }
        self.write_path(out, paint)?;
        if let Some(remedy) = &self.remedy {
            writeln!(out, "{help}help{end}: {remedy}")?;
        }
        Ok(())
    }

    /// `file.bpf.c:12:7, in \`count\`, instruction 5: r0 = *(u32 *)(r0 +0)`.
    fn place(&self) -> String {
        let mut parts = Vec::new();
        if let Some(location) = &self.location {
            parts.extend(location.position());
        }
        if let Some(function) = &self.function {
            parts.push(format!("in `{function}`"));
        }
        parts.push(match &self.insn_text {
            Some(text) => format!("instruction {}: {text}", self.insn),
            None => format!("instruction {}", self.insn),
        });
        parts.join(", ")
    }

    fn write_path(&self, out: &mut String, paint: &Paint) -> fmt::Result {
        let Paint { frame, strong, end, .. } = paint;
        if self.path.is_empty() {
            return Ok(());
        }
        writeln!(out, "   {frame}={end} the way there:")?;
        if self.omitted > 0 {
            writeln!(out, "       … {} earlier branches", self.omitted)?;
        }
        let position = |stop: &Stop| {
            let position = stop.location.as_ref().and_then(Location::position);
            position.unwrap_or_else(|| format!("instruction {}", stop.insn))
        };
        let widest = self.path.iter().map(|stop| position(stop).chars().count()).max().unwrap_or(0);
        for stop in &self.path {
            let text = stop.location.as_ref().map_or("", |location| location.text.trim());
            let (on, off) = if stop.concerns { (*strong, *end) } else { ("", "") };
            writeln!(out, "       {:widest$}  {on}{text}{off}", position(stop))?;
            writeln!(out, "       {:widest$}    {frame}^{end} {}", "", stop.what)?;
        }
        Ok(())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some(position) => write!(f, "{position}: `{}`", self.text.trim()),
            None => write!(f, "`{}`", self.text.trim()),
        }
    }
}

impl Location {
    /// `file:line:column`, as far as it is known.
    fn position(&self) -> Option<String> {
        let (file, line) = (self.file.as_ref()?, self.line?);
        Some(match self.column {
            0 => format!("{file}:{line}"),
            column => format!("{file}:{line}:{column}"),
        })
    }
}

/// The source line under its number, with a mark below the column.
fn excerpt(out: &mut String, location: &Location, paint: &Paint) -> fmt::Result {
    let Paint { error, frame, end, .. } = paint;
    let text = location.text.trim_end();
    let indent = text.len() - text.trim_start().len();
    let number = location.line.map_or(String::new(), |line| line.to_string());
    let gutter = " ".repeat(number.len().max(2));
    writeln!(out, " {gutter} {frame}|{end}")?;
    writeln!(out, " {frame}{number:>2} |{end} {}", text.trim_start())?;
    let column = (location.column as usize).checked_sub(1 + indent);
    if let Some(column) = column.filter(|column| indent + column < text.len()) {
        // What stands before the mark is repeated as blanks, tabs as tabs.
        let before: String =
            text[indent..].chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(out, " {gutter} {frame}|{end} {before}{error}^{end}")?;
    }
    Ok(())
}
