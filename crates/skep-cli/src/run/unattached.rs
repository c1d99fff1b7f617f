//! Programs that nothing makes run: which ones, and what would.

use skep::object::AttachPoint;
use skep::{Error, Loaded, LoadedProgram};
use skep_isa::uapi::ProgType;

use super::packets::runs_on_packets;
use crate::term;

/// Says which programs run nowhere, because nobody says where.
pub(super) fn tell(loaded: &Loaded) {
    let open: Vec<_> = loaded.programs.iter().flatten().filter(|program| program.lacks_target()).collect();
    if let Some(first) = open.first() {
        let names: Vec<&str> = open.iter().map(|program| program.linked.name.as_str()).collect();
        let (name, section) = (&first.linked.name, &first.linked.section);
        term::note(format_args!(
            "not attached, because their sections name no target: {} (`--attach {name}={section}{}`)",
            names.join(", "),
            target(&first.linked.attach)
        ));
    }
}

/// What is behind a section's kind when it names its target.
fn target(point: &AttachPoint) -> &'static str {
    match point {
        AttachPoint::Uprobe { .. } => ":PATH:FUNCTION",
        AttachPoint::UprobeMulti { .. } => ":PATH:PATTERN",
        AttachPoint::Usdt { .. } => ":PATH:PROVIDER:NAME",
        AttachPoint::Kprobe { .. } => "/FUNCTION",
        AttachPoint::KprobeMulti { .. } => "/PATTERN",
        AttachPoint::Ksyscall { .. } => "/CALL",
        _ => "/NAME",
    }
}

/// Why there is nothing to wait for.
pub(super) fn nothing(loaded: &Loaded) -> Error {
    let programs: Vec<_> = loaded.programs.iter().flatten().collect();
    if programs.is_empty() {
        let message = "every program of the object is left out, by `--without` or by `?` before its section";
        return Error::usage(message, "`--attach PROGRAM=SECTION` loads one and attaches it");
    }
    let named =
        |program: &&LoadedProgram| format!("`{}` in `{}`", program.linked.name, program.linked.section);
    let list: Vec<String> = programs.iter().map(named).collect();
    let all = |test: fn(ProgType) -> bool| programs.iter().all(|program| test(program.linked.prog_type));
    let hint = if all(runs_on_packets) {
        "run it on packets: `--in CAPTURE` or `--device NAME`"
    } else if all(|prog_type| prog_type == ProgType::SYSCALL) {
        "it runs when it is called: `skep prog run FILE`"
    } else {
        "sections such as `tracepoint/syscalls/sys_enter_openat` do, or say where with `--attach PROGRAM=SECTION`"
    };
    Error::usage(format!("no program of the object names a hook to attach to: {}", list.join(", ")), hint)
}
