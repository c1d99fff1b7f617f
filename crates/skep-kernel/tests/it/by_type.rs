//! Hooks that are named by the kernel's types: functions, security decisions, tracepoints with types.

use skep_btf::{Btf, Kind};
use skep_isa::uapi::{AttachType, ProgType};
use skep_isa::{AluOp, Insn, Op, Operand, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::{ProgLoad, TestRun};
use skep_runtime::{AttachOptions, Command, Program, SharedRuntime};

use crate::asm::{GET_CURRENT_PID_TGID, alu, call, leave, load, mov_reg, only_in, slots, unless};
use crate::hooks::{count_and_answer, counted, counted_at_last, counter};
use crate::tracing::Cat;
use crate::{kernel, unless_refused};

/// The kernel's number of a type, or `None` with a printed reason.
pub(crate) fn type_of(name: &str, kind: Kind) -> Option<u32> {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("skipped: the kernel's types are not to be had");
        return None;
    };
    let id =
        Btf::parse(std::sync::Arc::new(bytes)).expect("the kernel's types are well-formed").find(name, kind);
    if id.is_none() {
        eprintln!("skipped: the kernel has no `{name}`");
    }
    id.map(|id| id.0)
}

pub(crate) fn program(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    attach_type: AttachType,
    attach_btf_id: u32,
    code: &[Insn],
) -> Option<Program> {
    let spec = ProgLoad {
        expected_attach_type: Some(attach_type),
        attach_btf_id,
        ..ProgLoad::new(prog_type, "by_type", code, "GPL")
    };
    unless_refused(Program::load(kernel, &spec))
}

/// A program at a function that a write goes through runs once for each.
fn check(prog_type: ProgType, attach_type: AttachType, function: &str, cookie: u64) {
    let Some(kernel) = kernel() else { return };
    let Some(id) = type_of(function, Kind::Func) else { return };
    let mut cat = Cat::start();
    let map = counter(&kernel);
    let code = only_in(cat.pid(), &count_and_answer(map.fd(), 0));
    let Some(program) = program(&kernel, prog_type, attach_type, id, &code) else { return };
    let point = AttachPoint::Btf { attach_type: Some(attach_type), name: Some(function.to_owned()) };
    let options = AttachOptions { cookie, ..AttachOptions::default() };
    let Some(link) = unless_refused(program.attach(&point, &options)) else { return };
    let before = counted(&map);
    cat.poke();
    assert!(counted_at_last(&map, before + 1) > before, "`{function}` runs it");
    drop(link);
    cat.poke();
    let after = counted(&map);
    cat.poke();
    assert_eq!(counted(&map), after, "a dropped link detaches");
}

#[test]
fn fentry() {
    check(ProgType::TRACING, AttachType::TRACE_FENTRY, "vfs_write", 0);
}

#[test]
fn fexit_with_a_cookie() {
    check(ProgType::TRACING, AttachType::TRACE_FEXIT, "vfs_write", 7);
}

#[test]
fn fmod_ret() {
    check(ProgType::TRACING, AttachType::MODIFY_RETURN, "security_file_permission", 0);
}

#[test]
fn lsm() {
    check(ProgType::LSM, AttachType::LSM_MAC, "bpf_lsm_file_permission", 0);
}

#[test]
fn tracepoints_with_types() {
    let Some(kernel) = kernel() else { return };
    let Some(id) = type_of("btf_trace_sys_enter", Kind::Typedef) else { return };
    let mut cat = Cat::start();
    let map = counter(&kernel);
    let code = only_in(cat.pid(), &count_and_answer(map.fd(), 0));
    let Some(program) = program(&kernel, ProgType::TRACING, AttachType::TRACE_RAW_TP, id, &code) else {
        return;
    };
    let point = AttachPoint::BtfTracepoint { name: "sys_enter".to_owned() };
    let Some(_link) = unless_refused(program.attach(&point, &AttachOptions::default())) else { return };
    cat.poke();
    assert!(counted_at_last(&map, 1) > 0);
}

#[test]
fn writable_tracepoints() {
    let Some(kernel) = kernel() else { return };
    // In this thread only: other tests run programs, too. What it writes is the errno of a test run.
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let code = slots(&[
        mov_reg(Reg::R6, Reg::R1),
        call(GET_CURRENT_PID_TGID),
        alu(AluOp::And, Reg::R0, i32::MAX),
        unless(Reg::R0, thread, 2),
        load(Size::DW, Reg::R1, Reg::R6, 0),
        Op::Store { size: Size::W, base: Reg::R1, off: 0, src: Operand::Imm(-libc::EXDEV) },
        leave()[0],
        leave()[1],
    ]);
    let spec = ProgLoad::new(ProgType::RAW_TRACEPOINT_WRITABLE, "writes", &code, "GPL");
    let Some(writes) = unless_refused(Program::load(&kernel, &spec)) else { return };
    let point = AttachPoint::RawTracepoint { name: "bpf_test_finish".to_owned(), writable: true };
    let Some(link) = unless_refused(writes.attach(&point, &AttachOptions::default())) else { return };

    let code = slots(&leave());
    let filter = Program::load(&kernel, &ProgLoad::new(ProgType::SOCKET_FILTER, "runs", &code, "GPL"));
    let filter = filter.expect("it is safe");
    let run = || {
        let run = TestRun { data_in: &[0; 32], repeat: 1, ..TestRun::default() };
        kernel.bpf(Command::ProgTestRun { prog: filter.fd(), run })
    };
    assert_eq!(run().expect_err("the other program says so").errno(), libc::EXDEV);
    drop(link);
    run().expect("nobody objects");
}
