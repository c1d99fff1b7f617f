//! Programs of a scoped runtime see a command and its children, and nobody else.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{AluOp, Imm64, Op, Operand, Reg, Size};
use skep_kernel::KernelRuntime;
use skep_obj::AttachPoint;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, ErrorKind, Link, Map, Program, Scope, SessionState, SharedRuntime};

use crate::asm::{alu, call, leave, load_map, mov, mov_reg, slots};
use crate::{kernel, unless_refused};

const MAP_UPDATE_ELEM: u32 = 2;
const GET_CURRENT_PID_TGID: u32 = 14;

/// A program on `execve` that notes the process, in a hash.
fn note_execs(kernel: &SharedRuntime) -> Option<(Map, Link)> {
    let seen = Map::create(kernel, &MapCreate::new(MapType::HASH, "seen", 4, 4, 1024), 1).expect("a hash");
    let mut code = slots(&[
        call(GET_CURRENT_PID_TGID),
        alu(AluOp::Rsh, Reg::R0, 32),
        Op::Store { size: Size::W, base: Reg::R10, off: -4, src: Operand::Reg(Reg::R0) },
        Op::Store { size: Size::W, base: Reg::R10, off: -8, src: Operand::Imm(1) },
        load_map(Reg::R1, seen.fd()),
        mov_reg(Reg::R2, Reg::R10),
        alu(AluOp::Add, Reg::R2, -4),
        mov_reg(Reg::R3, Reg::R10),
        alu(AluOp::Add, Reg::R3, -8),
        mov(Reg::R4, 0),
        call(MAP_UPDATE_ELEM),
    ]);
    code.extend(slots(&leave()));
    let spec = ProgLoad::new(ProgType::TRACEPOINT, "execs", &code, "GPL");
    let program = Program::load(kernel, &spec).expect("it is safe");
    let point =
        AttachPoint::Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_execve".to_owned() };
    let link = unless_refused(program.attach(&point, &AttachOptions::default()))?;
    Some((seen, link))
}

fn count(map: &Map) -> usize {
    let mut count = 0;
    map.for_each(&mut |_, _| count += 1).expect("a hash can be read");
    count
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn scoped() -> Option<SharedRuntime> {
    kernel().map(|_| -> SharedRuntime { Arc::new(KernelRuntime::scoped()) })
}

/// Executes something that is not in the scope.
fn exec_elsewhere() {
    assert!(Command::new("true").status().expect("there is a `true`").success());
}

#[test]
fn a_command_is_seen_with_its_children() {
    let Some(kernel) = scoped() else { return };
    let Some((seen, _link)) = note_execs(&kernel) else { return };
    exec_elsewhere();
    assert_eq!(count(&seen), 0, "nobody is in scope before the session");

    // The shell, two children, and a grandchild that outlives them.
    let script = "/bin/true; (sh -c '/bin/sleep 0.3; exit 3' &) ; exit 7";
    let mut session = kernel.start(Scope::Command(words(&["sh", "-c", script]))).expect("it starts");
    exec_elsewhere();
    let ended = session.wait(Some(Duration::from_secs(20))).expect("it can be waited for");
    assert_eq!(ended, SessionState::Ended { code: Some(7), signal: None });
    assert_eq!(count(&seen), 4, "`sh`, `true`, `sh`, `sleep`");

    session.release().expect("it is released");
    exec_elsewhere();
    assert_eq!(count(&seen), 4);
}

#[test]
fn a_process_is_seen_from_the_start_of_the_session() {
    let Some(kernel) = scoped() else { return };
    let Some((seen, _link)) = note_execs(&kernel) else { return };
    let mut shell = Command::new("sh")
        .args(["-c", "read go; /bin/true; /bin/true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut session = kernel.start(Scope::Process(shell.id())).expect("it is running");
    exec_elsewhere();
    assert_eq!(session.wait(Some(Duration::from_millis(20))).expect("it runs"), SessionState::Running);
    drop(shell.stdin.take());
    shell.wait().expect("it ends");
    let ended = session.wait(Some(Duration::from_secs(20))).expect("it can be waited for");
    assert_eq!(ended, SessionState::Ended { code: None, signal: None });
    assert_eq!(count(&seen), 2);
}

#[test]
fn what_cannot_be_started_is_said() {
    let Some(kernel) = scoped() else { return };
    let start = |scope| kernel.start(scope).err().expect("it cannot be started");
    let missing = start(Scope::Command(words(&["no-such-command"])));
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("`no-such-command`"), "{missing}");
    let directory = start(Scope::Command(words(&["/tmp"])));
    assert_eq!(directory.kind(), ErrorKind::Denied, "{directory}");
    assert_eq!(start(Scope::Process(u32::MAX)).kind(), ErrorKind::NotFound);
    assert_eq!(start(Scope::Machine).kind(), ErrorKind::Invalid);
}

#[test]
fn a_refusal_speaks_of_the_program_alone() {
    let Some(kernel) = scoped() else { return };
    let code = slots(&[mov_reg(Reg::R0, Reg::R3), Op::Exit]);
    let spec = ProgLoad::new(ProgType::RAW_TRACEPOINT, "unset", &code, "GPL");
    let refusal = Program::load(&kernel, &spec).expect_err("r3 holds nothing").to_string();
    assert!(refusal.contains("0: (bf) r0 = r3"), "{refusal}");
}

#[test]
fn packets_are_not_filtered() {
    let Some(kernel) = scoped() else { return };
    let code = slots(&[Op::LoadImm64 { dst: Reg::R0, imm: Imm64::Value(42) }, Op::Exit]);
    let spec = ProgLoad::new(ProgType::SOCKET_FILTER, "all", &code, "GPL");
    let program = Program::load(&kernel, &spec).expect("it is safe");
    let run = skep_runtime::command::TestRun { data_in: &[0; 32], repeat: 1, ..Default::default() };
    let reply = kernel.bpf(skep_runtime::Command::ProgTestRun { prog: program.fd(), run }).expect("it runs");
    assert!(matches!(reply, skep_runtime::Reply::TestRun { retval: 42, .. }), "{reply:?}");
}
