//! Why a program was refused, in the terms of its source.
//!
//! An instruction that has no meaning on this machine was replaced, when it was linked, by the call of a helper that does not
//! exist; the verifier refuses that only where the program can come there. So what its log says of such a call is said here
//! of what is missing.

use skep_obj::{Linked, LinkedProgram, Target};
use skep_runtime::ErrorKind;
use skep_verifier::explain::{self, Paint};
use skep_verifier::linked::Subject;

use super::programs;
use crate::Error;

/// Lines of a log that is not understood.
const LAST_LINES: usize = 12;

/// The error with the program it happened in.
pub(super) fn in_program(program: &LinkedProgram, error: skep_runtime::Error) -> Error {
    error.context(format_args!("section `{}`: program `{}`", program.section, program.name)).into()
}

/// A refusal of the verifier, with what is missing where that is the reason, and else with the end of its log. That the object's
/// types were not taken may be why.
pub(super) fn explained(
    program: &LinkedProgram,
    linked: &Linked,
    types: Option<&skep_runtime::Error>,
    error: skep_runtime::Error,
) -> Error {
    let error = if error.kind() == ErrorKind::Rejected { of_log(program, linked, &error) } else { error };
    let error = match types {
        Some(refused) if error.advice().is_none() => {
            error.hint(format!("it is loaded without all of the object's types, which may be why: {refused}"))
        }
        _ => error,
    };
    in_program(program, error)
}

fn of_log(program: &LinkedProgram, linked: &Linked, error: &skep_runtime::Error) -> skep_runtime::Error {
    let log = error.to_string();
    match missing(program, linked, &log) {
        Some(reason) => skep_runtime::Error::rejected(error.errno(), reason)
            .hint("ask first whether it is there, as with `bpf_core_field_exists`, or run another kernel"),
        None => skep_runtime::Error::rejected(error.errno(), in_words(program, linked, &log)),
    }
}

/// What the call of a helper that does not exist stands for, if that is what the verifier refuses.
fn missing(program: &LinkedProgram, linked: &Linked, log: &str) -> Option<String> {
    let refused = last_insn(log)?;
    let line = log.lines().rev().find(|line| line.contains("unknown") || line.contains("invalid func"))?;
    let what = match (program.poison(refused), map_of(line)) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(map)) => {
            let name = linked.maps.get(map).map_or("", |map| map.name.as_str());
            format!("map `{name}` is used, but was not to be created")
        }
        (None, None) => return None,
    };
    Some(format!("{}{what}", place(program, refused)))
}

/// The map that a line about an unknown helper (`invalid func unknown#2147418112`) stands for.
fn map_of(line: &str) -> Option<usize> {
    let digits = line.rsplit('#').next()?;
    let number: i64 = digits.trim().parse().ok()?;
    programs::missing_map(i32::try_from(number).ok()?)
}

/// The number of the last instruction in a log: `12: (85) call unknown#195896080`.
fn last_insn(log: &str) -> Option<usize> {
    log.lines().rev().find_map(|line| {
        let (number, rest) = line.trim_start().split_once(": ")?;
        rest.starts_with('(').then(|| number.parse().ok())?
    })
}

/// Where an instruction is, in front of what is to be said of it.
fn place(program: &LinkedProgram, insn: usize) -> String {
    match program.source_line(insn) {
        Some(line) => format!("instruction {insn} (`{}:{}`): ", line.file, line.line),
        None => format!("instruction {insn}: "),
    }
}

/// What the log says, in terms of the source; the end of the log where it is of an unknown kind.
fn in_words(program: &LinkedProgram, linked: &Linked, log: &str) -> String {
    let target = Target::default();
    let facts = linked
        .programs
        .iter()
        .position(|other| other.name == program.name)
        .map(|number| Subject::new(linked, &target).facts(number))
        .unwrap_or_default();
    match explain::explain(log, None, &facts) {
        Some(explanation) => {
            let text = explanation.text(&Paint::default());
            format!("the verifier refuses it\n{}", text.trim_end())
        }
        None => format!("the verifier refuses it\n{}", end_of(log)),
    }
}

/// The last lines of a log, without its statistics.
fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("processed ")).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_instruction_of_a_log_is_found() {
        let log = "0: R1=ctx() R10=fp0\n; int f(void *ctx) @ f.c:3\n0: (b7) r0 = 0 ; R0_w=0\n\
                   1: (85) call unknown#195896080\ninvalid func unknown#195896080\nprocessed 2 insns";
        assert_eq!(last_insn(log), Some(1));
        assert_eq!(last_insn("func#0 @0\nreg type unsupported"), None);
    }

    #[test]
    fn poison_of_maps_is_told_by_its_number() {
        assert_eq!(map_of("invalid func unknown#2147418115"), Some(3));
        assert_eq!(map_of("invalid func unknown#195896080"), None);
    }
}
