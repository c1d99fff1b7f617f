//! Hooks beside tracepoints: probes in user space, sampled events, iterators, kernel functions.

use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{AluOp, JmpOp, Op, Operand, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, ErrorKind, Fd, Map, Program, Sampling, SamplingRate, SharedRuntime};

use crate::asm::{alu, call, leave, load_map, mov, mov_reg, slots};
use crate::tracing::Cat;
use crate::{kernel, unless_refused};

const MAP_LOOKUP_ELEM: u32 = 1;

/// An array of one number, and operations that count in it and answer `verdict`.
pub(crate) fn counter(kernel: &SharedRuntime) -> Map {
    Map::create(kernel, &MapCreate::new(MapType::ARRAY, "count", 4, 8, 1), 1).expect("an array")
}

pub(crate) fn count_and_answer(map: Fd, verdict: i32) -> Vec<Op> {
    vec![
        Op::Store { size: Size::W, base: Reg::R10, off: -4, src: Operand::Imm(0) },
        load_map(Reg::R1, map),
        mov_reg(Reg::R2, Reg::R10),
        alu(AluOp::Add, Reg::R2, -4),
        call(MAP_LOOKUP_ELEM),
        Op::Jump { wide: true, op: JmpOp::Eq, dst: Reg::R0, src: Operand::Imm(0), off: 2 },
        mov(Reg::R1, 1),
        Op::Atomic {
            size: Size::DW,
            op: skep_isa::AtomicOp::Add { fetch: false },
            base: Reg::R0,
            off: 0,
            src: Reg::R1,
        },
        mov(Reg::R0, verdict),
        Op::Exit,
    ]
}

pub(crate) fn counted(map: &Map) -> u64 {
    let value = map.lookup(&[0; 4]).expect("arrays can be read").expect("it has one element");
    u64::from_ne_bytes(value.try_into().expect("eight bytes"))
}

/// The count once it is `expected`, or after ten seconds: what a function writes arrives before it returns.
pub(crate) fn counted_at_last(map: &Map, expected: u64) -> u64 {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while counted(map) < expected && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    counted(map)
}

fn counting(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    attach: Option<AttachType>,
    map: &Map,
) -> Option<Program> {
    let code = slots(&count_and_answer(map.fd(), 0));
    let spec = ProgLoad { expected_attach_type: attach, ..ProgLoad::new(prog_type, "counts", &code, "GPL") };
    unless_refused(Program::load(kernel, &spec))
}

/// A probe of the kernel that counts in one process.
fn counting_in(cat: &Cat, kernel: &SharedRuntime, attach: Option<AttachType>, map: &Map) -> Program {
    let code = crate::asm::only_in(cat.pid(), &count_and_answer(map.fd(), 0));
    let spec =
        ProgLoad { expected_attach_type: attach, ..ProgLoad::new(ProgType::KPROBE, "counts", &code, "GPL") };
    Program::load(kernel, &spec).expect("it is safe")
}

fn in_cat(cat: &Cat) -> AttachOptions {
    AttachOptions { process: Some(cat.pid()), ..AttachOptions::default() }
}

fn libc_function(symbol: &str, ret: bool) -> AttachPoint {
    let path = Some("libc.so.6".to_owned());
    AttachPoint::Uprobe { path, symbol: Some(symbol.to_owned()), offset: 0, ret }
}

#[test]
fn functions_of_libraries_are_probed() {
    let Some(kernel) = kernel() else { return };
    for ret in [false, true] {
        let mut cat = Cat::start();
        // It has loaded its libraries when it answers.
        cat.poke();
        let map = counter(&kernel);
        let Some(program) = counting(&kernel, ProgType::KPROBE, None, &map) else { return };
        let link = unless_refused(program.attach(&libc_function("write", ret), &in_cat(&cat)));
        let Some(_link) = link else { return };
        cat.poke();
        cat.poke();
        assert_eq!(counted_at_last(&map, 2), 2, "return: {ret}");
    }
}

/// One write runs a program on functions of the C library so often.
fn check_many(attach: AttachType, pattern: &str, session: bool, expected: u64) {
    let Some(kernel) = kernel() else { return };
    let mut cat = Cat::start();
    cat.poke();
    let map = counter(&kernel);
    let Some(program) = counting(&kernel, ProgType::KPROBE, Some(attach), &map) else { return };
    let (path, pattern) = (Some("libc.so.6".to_owned()), Some(pattern.to_owned()));
    let point = AttachPoint::UprobeMulti { path, pattern, ret: false, session };
    let Some(_link) = crate::packets::unless_younger(attach, program.attach(&point, &in_cat(&cat))) else {
        return;
    };
    cat.poke();
    assert_eq!(counted_at_last(&map, expected), expected);
}

#[test]
fn many_functions_are_probed_by_one_link() {
    check_many(AttachType::TRACE_UPROBE_MULTI, "writ?", false, 1);
}

/// Once where it begins, and once where it returns.
#[test]
fn functions_have_sessions() {
    check_many(AttachType::TRACE_UPROBE_SESSION, "write", true, 2);
}

#[test]
fn what_is_not_there_is_named() {
    let Some(kernel) = kernel() else { return };
    let map = counter(&kernel);
    let Some(program) = counting(&kernel, ProgType::KPROBE, None, &map) else { return };
    let failure = |point: AttachPoint| {
        program.attach(&point, &AttachOptions::default()).expect_err("there is no such place")
    };
    let missing = failure(libc_function("no_such_function", false));
    assert!(missing.to_string().contains("no function `no_such_function`"), "{missing}");
    let path = Some("libnothing.so.9".to_owned());
    let missing = failure(AttachPoint::Uprobe { path, symbol: None, offset: 1, ret: false });
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let open = failure(AttachPoint::Kprobe { function: None, offset: 0, ret: false });
    assert!(open.advice().is_some_and(|advice| advice.contains("name it in the section")), "{open}");
}

#[test]
fn clocks_run_programs() {
    let Some(kernel) = kernel() else { return };
    let map = counter(&kernel);
    let Some(program) = counting(&kernel, ProgType::PERF_EVENT, None, &map) else { return };
    let mut busy =
        std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
    let options = AttachOptions {
        process: Some(busy.id()),
        // `PERF_COUNT_SW_CPU_CLOCK`
        sampling: Some(Sampling { kind: 1, config: 0, rate: SamplingRate::FrequencyHz(999) }),
        ..AttachOptions::default()
    };
    let link = unless_refused(program.attach(&AttachPoint::PerfEvent { sampling: None }, &options));
    std::thread::sleep(std::time::Duration::from_millis(300));
    busy.kill().expect("it is ours");
    busy.wait().expect("it is ours");
    if link.is_some() {
        assert!(counted(&map) > 3, "{} samples", counted(&map));
    }
}

#[test]
fn kernel_functions_are_probed() {
    let Some(kernel) = kernel() else { return };
    let mut cat = Cat::start();
    let map = counter(&kernel);
    let program = counting_in(&cat, &kernel, None, &map);
    for ret in [false, true] {
        let point = AttachPoint::Ksyscall { name: Some("write".to_owned()), ret };
        let Some(_link) = unless_refused(program.attach(&point, &AttachOptions::default())) else { return };
        cat.poke();
        assert_eq!(counted_at_last(&map, 1 + u64::from(ret)), 1 + u64::from(ret));
    }
}

#[test]
fn many_kernel_functions_are_probed_by_one_link() {
    let Some(kernel) = kernel() else { return };
    let mut cat = Cat::start();
    let map = counter(&kernel);
    let program = counting_in(&cat, &kernel, Some(AttachType::TRACE_KPROBE_MULTI), &map);
    let point =
        AttachPoint::KprobeMulti { pattern: Some("ksys_writ?".to_owned()), ret: false, session: false };
    let Some(_link) = unless_refused(program.attach(&point, &AttachOptions::default())) else { return };
    cat.poke();
    assert_eq!(counted(&map), 1);
}

#[test]
fn kernel_functions_have_sessions() {
    let Some(kernel) = kernel() else { return };
    let mut cat = Cat::start();
    let map = counter(&kernel);
    let program = counting_in(&cat, &kernel, Some(AttachType::TRACE_KPROBE_SESSION), &map);
    let point =
        AttachPoint::KprobeMulti { pattern: Some("ksys_writ?".to_owned()), ret: false, session: true };
    let link = program.attach(&point, &AttachOptions::default());
    let attach_type = AttachType::TRACE_KPROBE_SESSION;
    let Some(_link) = crate::packets::unless_younger(attach_type, link) else { return };
    cat.poke();
    assert_eq!(counted_at_last(&map, 2), 2, "at entry and on return");
}

#[test]
fn raw_tracepoints_are_named() {
    let Some(kernel) = kernel() else { return };
    let code = slots(&leave());
    let spec = ProgLoad::new(ProgType::RAW_TRACEPOINT, "p", &code, "GPL");
    let program = Program::load(&kernel, &spec).expect("it is safe");
    let at = |name: &str| {
        let point = AttachPoint::RawTracepoint { name: name.to_owned(), writable: false };
        program.attach(&point, &AttachOptions::default())
    };
    unless_refused(at("sched_process_exec"));
    let missing = at("sched_process_frob").expect_err("there is none");
    assert!(missing.to_string().contains("`sched_process_frob`"), "{missing}");
}
