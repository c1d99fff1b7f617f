//! What the user runtime needs: no privileges, but the right to trace one's own processes.

use skep_isa::uapi::{MapType, ProgType};
use skep_user::{Config, UserRuntime};

use super::machine::{exists, read};
use super::{Area, Finding, State, first_line};
use crate::features::Prober;

/// Tries the runtime, and looks at what it uses.
pub(super) fn findings() -> Vec<Finding> {
    let runtime = match UserRuntime::new(Config::default()) {
        Ok(runtime) => runtime,
        Err(e) => {
            let broken = Finding::new(Area::UserRuntime, "start", State::Missing, first_line(&e.to_string()));
            return vec![broken.hint("report it")];
        }
    };
    let prober = Prober::new(&runtime);
    let mut findings: Vec<Finding> = [
        ("tracepoint", ProgType::TRACEPOINT, "`SEC(\"tp/syscalls/…\")` of a command and its children"),
        ("probe", ProgType::KPROBE, "`SEC(\"uprobe/…\")`, `SEC(\"usdt/…\")` in a command and its children"),
        ("packet", ProgType::XDP, "`SEC(\"xdp\")`, `SEC(\"tc\")` and their like on captures and devices"),
    ]
    .into_iter()
    .map(|(name, prog_type, detail)| {
        Finding::of_support(Area::UserRuntime, name, prober.prog_type(prog_type), detail)
    })
    .collect();
    let maps = MapType::ALL.iter().filter(|&&map_type| prober.map_type(map_type).is_yes()).count();
    findings.push(Finding::new(Area::UserRuntime, "maps", State::when(maps > 0), format!("{maps} types")));
    findings.push(tracing());
    let seccomp =
        exists("/proc/sys/kernel/seccomp/actions_avail", "every system call stops, which is slower");
    findings.push(Finding::of_support(
        Area::UserRuntime,
        "seccomp",
        seccomp,
        "only system calls that are asked for stop",
    ));
    let tap = exists("/dev/net/tun", "no `--device` by TAP");
    findings.push(Finding::of_support(Area::UserRuntime, "tun", tap, "live packets by `--device`"));
    findings
}

/// May processes trace their children, and others?
fn tracing() -> Finding {
    let finding = |state, detail: &str| Finding::new(Area::UserRuntime, "ptrace", state, detail);
    match read("/proc/sys/kernel/yama/ptrace_scope").trim() {
        "1" => finding(
            State::Good,
            "commands that `skep` starts; `-p PID` needs root or `kernel.yama.ptrace_scope` 0",
        ),
        "2" => finding(State::Good, "with CAP_SYS_PTRACE only (`kernel.yama.ptrace_scope` is 2)"),
        "3" => finding(State::Missing, "`kernel.yama.ptrace_scope` is 3, until the machine boots again")
            .hint("set it to 1 at boot"),
        _ => finding(State::Good, "commands that `skep` starts, and processes of the same user"),
    }
}
