//! What C calls a value, and where in the source an instruction is.

use super::history::{Event, History};
use super::{Facts, Function, Location};
use crate::log::read::Path;

/// The function that an instruction belongs to.
pub(super) fn function(facts: &Facts, insn: u32) -> Option<&Function> {
    facts.functions.iter().rev().find(|function| function.insn <= insn)
}

/// The source line of a step or, where none was reached, of an instruction.
pub(super) fn location(path: &Path, facts: &Facts, step: Option<usize>, insn: u32) -> Option<Location> {
    let known = facts.lines[..facts.lines.partition_point(|line| line.insn <= insn)].last();
    // Line 0 is code that the compiler made up.
    let known = known.filter(|line| line.line > 0);
    if let Some(line) = known {
        return Some(Location {
            file: Some(line.file.clone()),
            line: Some(line.line),
            column: line.column,
            text: line.text.clone(),
        });
    }
    let source = path.source(step?)?;
    let (file, line) = source.place.clone().filter(|(_, line)| *line > 0).unzip();
    Some(Location { file, line, column: 0, text: source.text.clone() })
}

/// The name of the variable that has a value, where a line of the path that makes it says so.
///
/// The nearest assignment counts, of what happened to the value last on its line; and it counts only if the failing line
/// uses that name, or if it is the call itself whose result is assigned.
pub(super) fn variable(
    path: &Path,
    facts: &Facts,
    history: &History,
    failed: Option<usize>,
) -> Option<String> {
    let used_at = failed.map(|step| line_text(path, facts, step)).unwrap_or_default();
    let uses = |name: &str| identifiers(&used_at).any(|word| word == name);
    let mut later = String::new();
    for moment in history.moments.iter().rev() {
        if let Event::Passed(argument) = moment.event {
            let callee = path.steps.get(moment.step + 1).and_then(|step| function(facts, step.insn));
            if let Some(name) = parameter(callee, argument) {
                return Some(name);
            }
        }
        let line = line_text(path, facts, moment.step);
        let is_last_of_line = line != std::mem::replace(&mut later, line.clone());
        let Some((name, value)) = assigned(&line) else { continue };
        let made_here = match &moment.event {
            Event::Returned(callee) => value.contains(callee.trim_start_matches("bpf_")),
            Event::Loaded(_) | Event::Computed | Event::Copied | Event::Constant => {
                is_last_of_line && uses(&name)
            }
            _ => false,
        };
        if made_here {
            return Some(name);
        }
    }
    let entry = path.steps.first().and_then(|step| function(facts, step.insn));
    parameter(entry, history.argument?)
}

fn parameter(function: Option<&Function>, argument: u8) -> Option<String> {
    let name = function?.params.get(usize::from(argument).checked_sub(1)?)?;
    (!name.is_empty()).then(|| name.clone())
}

/// The text of a step's source line.
pub(super) fn line_text(path: &Path, facts: &Facts, step: usize) -> String {
    let insn = path.steps.get(step).map_or(0, |step| step.insn);
    location(path, facts, Some(step), insn).map_or(String::new(), |location| location.text)
}

/// The variable and the value of `type name = value;`.
fn assigned(line: &str) -> Option<(String, &str)> {
    let at = line.find('=')?;
    let (left, right) = (&line[..at], &line[at + 1..]);
    if right.starts_with('=') || left.ends_with(['=', '!', '<', '>']) {
        return None;
    }
    let left = left.trim_end_matches(['+', '-', '*', '/', '%', '&', '|', '^', ' ', '<', '>']);
    // Members, elements, calls and conditions are not variables.
    if left.contains(['(', '[', '.', ',']) || left.contains("->") {
        return None;
    }
    let name = identifiers(left).last()?;
    left.trim_end().ends_with(name).then(|| (name.to_owned(), right))
}

/// The words of a line that could be names.
fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !part(c))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let name = |line| assigned(line).map(|(name, _)| name);
        assert_eq!(name("struct iphdr *ip = data + sizeof(*eth);").as_deref(), Some("ip"));
        assert_eq!(name("value = bpf_map_lookup_elem(&m, &key);").as_deref(), Some("value"));
        assert_eq!(name("len += 4;").as_deref(), Some("len"));
        assert_eq!(name("if (a == b)"), None);
        assert_eq!(name("p->len = 3;"), None);
        assert_eq!(name("a[i] = 3;"), None);
        assert_eq!(name("if ((p = next()))"), None);
        assert_eq!(name("if (a <= b)"), None);
        assert_eq!(name("return x;"), None);
    }
}
