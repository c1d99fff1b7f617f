//! Helpers that call back, hand out records, change programs, or read memory that may be missing.

use std::ops::ControlFlow;
use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::uapi::MapType;
use skep_isa::{AluOp, Imm64, JmpOp, Op, Operand, Reg, Size};
use skep_vm::env::KERNEL_HALF;
use skep_vm::map::PerfEvent;
use skep_vm::{Env, Errno, Map, MapSpec, NoEnv, Reason};

use crate::build::{add, call, load, load_map, mov, mov_reg, prepare, run, run_in, store};

fn map(map_type: MapType, key: u32, value: u32, entries: u32) -> Arc<Map> {
    Map::create(MapSpec::new(map_type, "m", key, value, entries)).expect("the test's map is valid")
}

fn func(dst: Reg, off: i32) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::Func(off) }
}

fn add_reg(dst: Reg, src: Reg) -> Op {
    Op::Alu { wide: true, op: AluOp::Add, dst, src: Operand::Reg(src) }
}

fn jump(op: JmpOp, dst: Reg, imm: i32, off: i16) -> Op {
    Op::Jump { wide: true, op, dst, src: Operand::Imm(imm), off }
}

/// `bpf_loop` over a callback that adds its index to a sum on the caller's stack and stops at `stop`.
fn sum_loop(rounds: i32, flags: i32, stop: i32) -> Vec<Op> {
    vec![
        store(Reg::R10, -8, 0),
        mov(Reg::R1, rounds),
        func(Reg::R2, 9),
        mov_reg(Reg::R3, Reg::R10),
        add(Reg::R3, -8),
        mov(Reg::R4, flags),
        call(id::bpf_loop),
        load(Reg::R1, Reg::R10, -8),
        Op::Alu { wide: true, op: AluOp::Lsh, dst: Reg::R1, src: Operand::Imm(32) },
        add_reg(Reg::R0, Reg::R1),
        Op::Exit,
        // The callback: r1 is the index, r2 points to the sum.
        load(Reg::R3, Reg::R2, 0),
        add_reg(Reg::R3, Reg::R1),
        Op::Store { size: Size::DW, base: Reg::R2, off: 0, src: Operand::Reg(Reg::R3) },
        mov(Reg::R0, 0),
        jump(JmpOp::Ne, Reg::R1, stop, 1),
        mov(Reg::R0, 1),
        Op::Exit,
    ]
}

#[test]
fn loops_call_back() {
    assert_eq!(run(&sum_loop(10, 0, -1), &[]), Ok(45 << 32 | 10));
    assert_eq!(run(&sum_loop(10, 0, 3), &[]), Ok(6 << 32 | 4));
    assert_eq!(run(&sum_loop(0, 0, -1), &[]), Ok(0));
    assert_eq!(run(&sum_loop(10, 1, -1), &[]), Ok(Errno::EINVAL.to_reg()));
    assert_eq!(run(&sum_loop((8 << 20) + 1, 0, -1), &[]), Ok(Errno::E2BIG.to_reg()));
}

/// A task whose stack has two frames.
struct TwoFrames;

impl Env for TwoFrames {
    fn current_task(&mut self) -> u64 {
        KERNEL_HALF | 64
    }

    fn user_stack(&mut self, out: &mut Vec<u64>) -> Result<(), Errno> {
        out.extend([0x1000, 0x2000]);
        Ok(())
    }
}

#[test]
fn as_many_frames_may_be_left_out_as_there_are() {
    const USER_STACK: i32 = 1 << 8;
    let check = |helper: u32, task: u64, flags: i32, expected: u64| {
        let program = [
            Op::LoadImm64 { dst: Reg::R1, imm: Imm64::Value(task) },
            mov_reg(Reg::R2, Reg::R10),
            add(Reg::R2, -32),
            mov(Reg::R3, 32),
            mov(Reg::R4, flags),
            call(helper),
            Op::Exit,
        ];
        assert_eq!(run_in(&program, &[], &mut TwoFrames), Ok(expected), "{helper} {flags:#x}");
    };
    for (left_out, expected) in [(0, 16), (1, 8), (2, 0), (3, Errno::EFAULT.to_reg())] {
        check(id::bpf_get_stack, 0, USER_STACK | left_out, expected);
        check(id::bpf_get_task_stack, KERNEL_HALF | 64, USER_STACK | left_out, expected);
    }
    check(id::bpf_get_task_stack, KERNEL_HALF | 128, USER_STACK, Errno::EOPNOTSUPP.to_reg());
}

#[test]
fn walks_visit_every_element() {
    let program = |flags| {
        vec![
            store(Reg::R10, -8, 0),
            load_map(Reg::R1, 0),
            func(Reg::R2, 7),
            mov_reg(Reg::R3, Reg::R10),
            add(Reg::R3, -8),
            mov(Reg::R4, flags),
            call(id::bpf_for_each_map_elem),
            load(Reg::R0, Reg::R10, -8),
            Op::Exit,
            // The callback: r2 points to the key, r3 to the value, r4 to the sum.
            Op::Load { size: Size::W, signed: false, dst: Reg::R5, base: Reg::R2, off: 0 },
            load(Reg::R1, Reg::R3, 0),
            add_reg(Reg::R5, Reg::R1),
            load(Reg::R1, Reg::R4, 0),
            add_reg(Reg::R5, Reg::R1),
            Op::Store { size: Size::DW, base: Reg::R4, off: 0, src: Operand::Reg(Reg::R5) },
            mov(Reg::R0, 0),
            Op::Exit,
        ]
    };
    for map_type in [MapType::ARRAY, MapType::HASH, MapType::LRU_HASH] {
        let map = map(map_type, 4, 8, 4);
        for n in 0..4u32 {
            map.update(&n.to_ne_bytes(), &u64::from(n * 100).to_ne_bytes(), 0).expect("there is room");
        }
        assert_eq!(run(&program(0), &[map]), Ok(606), "{map_type}");
    }
    let ring = map(MapType::RINGBUF, 0, 0, 4096);
    assert!(matches!(run(&program(0), &[ring]).unwrap_err().reason, Reason::Argument { .. }));
}

#[test]
fn ring_buffer_records_arrive_in_order() {
    let ring = map(MapType::RINGBUF, 0, 0, 4096);
    let submit = |value: i32, end: u32| {
        [
            load_map(Reg::R1, 0),
            mov(Reg::R2, 24),
            mov(Reg::R3, 0),
            call(id::bpf_ringbuf_reserve),
            jump(JmpOp::Eq, Reg::R0, 0, 6),
            store(Reg::R0, 0, value),
            store(Reg::R0, 16, value + 1),
            mov_reg(Reg::R1, Reg::R0),
            mov(Reg::R2, 0),
            call(end),
            mov(Reg::R0, 1),
            Op::Exit,
        ]
    };
    let records = || {
        let mut records = Vec::new();
        ring.ring().expect("it is one").drain(&mut |data| {
            records.push((data.len(), data[0], data[16]));
            ControlFlow::Continue(())
        });
        records
    };
    assert_eq!(run(&submit(5, id::bpf_ringbuf_submit), &[Arc::clone(&ring)]), Ok(1));
    assert_eq!(run(&submit(6, id::bpf_ringbuf_discard), &[Arc::clone(&ring)]), Ok(1));
    assert_eq!(run(&submit(7, id::bpf_ringbuf_submit), &[Arc::clone(&ring)]), Ok(1));
    assert_eq!(records(), [(24, 5, 6), (24, 7, 8)]);
    // 4096 / 32 records fit but one; then they are lost, until somebody reads.
    let ran: u64 =
        (0..200).map(|n| run(&submit(n, id::bpf_ringbuf_submit), &[Arc::clone(&ring)]).unwrap()).sum();
    assert_eq!(ran, 127);
    assert_eq!(ring.ring().expect("it is one").take_lost(), 73);
    assert_eq!(records().len(), 127);
    assert_eq!(run(&submit(1, id::bpf_ringbuf_submit), &[Arc::clone(&ring)]), Ok(1));
    // A record that a program forgets, or faults on, does not stop the buffer.
    let forget =
        [load_map(Reg::R1, 0), mov(Reg::R2, 8), mov(Reg::R3, 0), call(id::bpf_ringbuf_reserve), Op::Exit];
    assert!(run(&forget, &[Arc::clone(&ring)]).is_ok());
    assert_eq!(records(), [(24, 1, 2)]);
}

#[test]
fn records_are_out_of_reach_once_submitted() {
    let ring = map(MapType::RINGBUF, 0, 0, 4096);
    let program = |off: i16, after: bool| {
        let write = store(Reg::R6, off, 1);
        let submit = [mov_reg(Reg::R1, Reg::R6), mov(Reg::R2, 0), call(id::bpf_ringbuf_submit)];
        let mut program =
            vec![load_map(Reg::R1, 0), mov(Reg::R2, 16), mov(Reg::R3, 0), call(id::bpf_ringbuf_reserve)];
        program.extend([mov_reg(Reg::R6, Reg::R0), store(Reg::R6, 0, 1)]);
        if !after {
            program.push(write);
        }
        program.extend(submit);
        program.extend([write, Op::Exit]);
        run(&program, &[Arc::clone(&ring)]).map_err(|fault| fault.insn)
    };
    assert_eq!(program(0, true), Err(10));
    assert_eq!(program(16, false), Err(7));
    assert_eq!(program(-8, false), Err(7));
}

#[test]
fn perf_records_arrive_by_processor() {
    let perf = map(MapType::PERF_EVENT_ARRAY, 4, 4, 64);
    let output = |flags: u64| {
        let program = [
            store(Reg::R10, -8, 9),
            load_map(Reg::R2, 0),
            Op::LoadImm64 { dst: Reg::R3, imm: Imm64::Value(flags) },
            mov_reg(Reg::R4, Reg::R10),
            add(Reg::R4, -8),
            mov(Reg::R5, 5),
            call(id::bpf_perf_event_output),
            Op::Exit,
        ];
        run_in(&program, &[Arc::clone(&perf)], &mut OnCpu(1)).map(|r0| -(r0 as i64) as i32)
    };
    let cpus = perf.spec().cpus;
    const CURRENT: u64 = 0xffff_ffff;
    assert_eq!(output(CURRENT), Ok(Errno::ENOENT.0));
    perf.perf().expect("it is one").open(64);
    assert_eq!(output(CURRENT), Ok(0));
    assert_eq!(output(64), Ok(Errno::E2BIG.0));
    assert_eq!(output(1 << 32), Ok(Errno::EINVAL.0));
    let here = 1 % cpus;
    assert_eq!(output(here.into()), Ok(0));
    assert_eq!(output(CURRENT), Ok(0));
    assert_eq!(output(CURRENT), Ok(0));
    assert_eq!(output(CURRENT), Ok(Errno::ENOSPC.0));
    let mut records = 0;
    let mut lost = 0;
    perf.perf().expect("it is one").drain(&mut |event| {
        match event {
            PerfEvent::Record { cpu, data } => {
                assert_eq!((cpu, data), (here, &[9, 0, 0, 0, 0][..]));
                records += 1;
            }
            PerfEvent::Lost { cpu, count } => {
                assert_eq!((cpu, records), (here, 4));
                lost += count;
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!((records, lost), (4, 1));
}

/// A world on one processor.
struct OnCpu(u32);

impl Env for OnCpu {
    fn cpu(&mut self) -> u32 {
        self.0
    }
}

#[test]
fn tail_calls_replace_the_program() {
    let programs = map(MapType::PROG_ARRAY, 4, 4, 2);
    let jump_to = |index: i32| {
        vec![
            mov_reg(Reg::R6, Reg::R1),
            load(Reg::R7, Reg::R6, 0),
            add(Reg::R7, 1),
            Op::Store { size: Size::DW, base: Reg::R6, off: 0, src: Operand::Reg(Reg::R7) },
            load_map(Reg::R2, 0),
            mov(Reg::R3, index),
            call(id::bpf_tail_call),
            mov(Reg::R0, 77),
            Op::Exit,
        ]
    };
    let last = prepare(&[mov(Reg::R0, 42), Op::Exit], &[]).expect("the test prepares");
    programs.set_program(1, Arc::new(last), 0).expect("there is room");
    assert_eq!(run(&jump_to(1), &[Arc::clone(&programs)]), Ok(42));
    assert_eq!(run(&jump_to(0), &[Arc::clone(&programs)]), Ok(77));
    // A program that calls itself: 33 times, then it goes on behind the call.
    let endless = Arc::new(prepare(&jump_to(0), &[Arc::clone(&programs)]).expect("the test prepares"));
    programs.set_program(0, Arc::clone(&endless), 0).expect("there is room");
    let mut context = [0; 8];
    assert_eq!(endless.run(&mut context, &mut NoEnv), Ok(77));
    assert_eq!(u64::from_ne_bytes(context), 34);
    assert_eq!(programs.delete(&[0; 4]), Ok(()));
}

#[test]
fn inner_maps_are_reached() {
    let inner = map(MapType::ARRAY, 4, 8, 1);
    inner.update(&[0; 4], &7u64.to_ne_bytes(), 0).expect("its element exists");
    let spec = MapSpec::new(MapType::HASH_OF_MAPS, "outer", 8, 4, 4).inner(Arc::clone(&inner));
    let outer = Map::create(spec).expect("the test's map is valid");
    outer.set_inner(&3u64.to_ne_bytes(), inner, 0).expect("it fits");
    let lookup = |key: i32| {
        let key_arg = [mov_reg(Reg::R2, Reg::R10), add(Reg::R2, -8), call(id::bpf_map_lookup_elem)];
        let mut program = vec![store(Reg::R10, -8, key), load_map(Reg::R1, 0)];
        program.extend(key_arg);
        program.extend([jump(JmpOp::Ne, Reg::R0, 0, 1), Op::Exit]);
        program.extend([mov_reg(Reg::R1, Reg::R0), store(Reg::R10, -8, 0)]);
        program.extend(key_arg);
        program.extend([load(Reg::R0, Reg::R0, 0), Op::Exit]);
        run(&program, &[Arc::clone(&outer)])
    };
    assert_eq!(lookup(3), Ok(7));
    assert_eq!(lookup(4), Ok(0));
    assert_eq!(outer.set_inner(&[0; 8], map(MapType::ARRAY, 4, 8, 2), 0), Err(Errno::EINVAL));
}

/// A world where some addresses can be read.
struct Memory;

impl Env for Memory {
    fn read_user(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let text = b"/etc/os-release\0";
        let off = addr.checked_sub(0x1000).ok_or(Errno::EFAULT)? as usize;
        let from =
            text.get(off..off + buf.len().min(text.len() - off.min(text.len()))).ok_or(Errno::EFAULT)?;
        buf.fill(b'?');
        buf[..from.len()].copy_from_slice(from);
        Ok(())
    }

    fn read_kernel(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        if addr != KERNEL_HALF {
            return Err(Errno::EFAULT);
        }
        buf.fill(0x11);
        Ok(())
    }
}

/// Reads by a probe helper into 16 bytes of ones on the stack; answers the result and the bytes.
fn probe(helper: u32, size: i32, from: u64) -> (i64, [u8; 16]) {
    let program = [
        mov_reg(Reg::R6, Reg::R1),
        store(Reg::R6, 0, -1),
        store(Reg::R6, 8, -1),
        mov_reg(Reg::R1, Reg::R6),
        mov(Reg::R2, size),
        Op::LoadImm64 { dst: Reg::R3, imm: Imm64::Value(from) },
        call(helper),
        Op::Exit,
    ];
    let mut context = [0; 16];
    let program = prepare(&program, &[]).expect("the test prepares");
    let r0 = program.run(&mut context, &mut Memory).expect("the test runs");
    (r0 as i64, context)
}

#[test]
fn probes_read_or_leave_zeros() {
    let filled = |bytes: &[u8], rest: u8| {
        let mut all = [rest; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        all
    };
    let fault = -i64::from(Errno::EFAULT.0);
    assert_eq!(probe(id::bpf_probe_read_user, 4, 0x1000), (0, filled(b"/etc", 0xff)));
    assert_eq!(probe(id::bpf_probe_read_user, 4, 0x10), (fault, filled(&[0; 4], 0xff)));
    assert_eq!(probe(id::bpf_probe_read_user_str, 8, 0x1000), (8, filled(b"/etc/os\0", 0xff)));
    assert_eq!(probe(id::bpf_probe_read_user_str, 16, 0x1008), (8, filled(b"release\0", 0xff)));
    assert_eq!(probe(id::bpf_probe_read_user_str, 8, 0x10), (fault, filled(&[0; 8], 0xff)));
    assert_eq!(probe(id::bpf_probe_read_kernel, 8, KERNEL_HALF), (0, filled(&[0x11; 8], 0xff)));
    let outside = -i64::from(Errno::ERANGE.0);
    assert_eq!(probe(id::bpf_probe_read_kernel, 8, 0x1000), (outside, filled(&[0; 8], 0xff)));
    assert_eq!(probe(id::bpf_probe_read_kernel, 0, 0x1000), (outside, filled(&[], 0xff)));
    assert_eq!(probe(id::bpf_probe_read_kernel, 0, KERNEL_HALF), (0, filled(&[], 0xff)));
    assert_eq!(probe(id::bpf_probe_read, 4, 0x1000), (0, filled(b"/etc", 0xff)));
    assert_eq!(probe(id::bpf_probe_read, 4, KERNEL_HALF), (0, filled(&[0x11; 4], 0xff)));
}

#[test]
fn probes_read_the_programs_own_memory() {
    let program = |helper: u32| {
        [
            store(Reg::R10, -8, 0x4142),
            mov_reg(Reg::R1, Reg::R10),
            add(Reg::R1, -16),
            mov(Reg::R2, 8),
            mov_reg(Reg::R3, Reg::R10),
            add(Reg::R3, -8),
            call(helper),
            load(Reg::R0, Reg::R10, -16),
            Op::Exit,
        ]
    };
    assert_eq!(run(&program(id::bpf_probe_read_kernel), &[]), Ok(0x4142));
    assert_eq!(run(&program(id::bpf_probe_read_kernel_str), &[]), Ok(0x4142));
    assert_eq!(run(&program(id::bpf_probe_read), &[]), Ok(0x4142));
}

#[test]
fn loads_of_kernel_memory_never_fault() {
    let program = |addr: u64| {
        let addr = Op::LoadImm64 { dst: Reg::R1, imm: Imm64::Value(addr) };
        run_in(&[addr, load(Reg::R0, Reg::R1, 0), Op::Exit], &[], &mut Memory)
    };
    assert_eq!(program(KERNEL_HALF), Ok(0x1111_1111_1111_1111));
    assert_eq!(program(KERNEL_HALF + 8), Ok(0));
    assert!(matches!(program(0x1000).unwrap_err().reason, Reason::Load { addr: 0x1000, size: 8 }));
}

#[test]
fn numbers_are_read_from_text() {
    let check = |helper: u32, text: &str, flags: i32, result: i64, number: i64| {
        let mut context = [0; 40];
        context[..text.len()].copy_from_slice(text.as_bytes());
        let program = [
            mov(Reg::R2, text.len() as i32),
            mov(Reg::R3, flags),
            mov_reg(Reg::R4, Reg::R1),
            add(Reg::R4, 32),
            call(helper),
            Op::Exit,
        ];
        let program = prepare(&program, &[]).expect("the test prepares");
        assert_eq!(program.run(&mut context, &mut NoEnv).map(|r0| r0 as i64), Ok(result), "{text}");
        assert_eq!(context[32..], number.to_ne_bytes(), "{text}");
    };
    let (einval, erange) = (-i64::from(Errno::EINVAL.0), -i64::from(Errno::ERANGE.0));
    check(id::bpf_strtol, "42", 0, 2, 42);
    check(id::bpf_strtol, "  -42x", 10, 5, -42);
    check(id::bpf_strtol, "0x1f", 0, 4, 31);
    check(id::bpf_strtol, "0x1f", 16, 4, 31);
    check(id::bpf_strtol, "017", 0, 3, 15);
    check(id::bpf_strtol, "17", 8, 2, 15);
    check(id::bpf_strtol, "x", 0, einval, 0);
    check(id::bpf_strtol, "-", 0, einval, 0);
    check(id::bpf_strtol, "1", 7, einval, 0);
    check(id::bpf_strtol, "9223372036854775808", 0, erange, 0);
    check(id::bpf_strtol, "-9223372036854775808", 0, 20, i64::MIN);
    check(id::bpf_strtoul, "18446744073709551615", 0, 20, -1);
    check(id::bpf_strtoul, "18446744073709551616", 0, erange, 0);
    check(id::bpf_strtoul, "-1", 0, einval, 0);
}

#[test]
fn dynptrs_keep_their_bounds() {
    let check = |offset: i32, len: i32, expected: i64| {
        let program = [
            mov_reg(Reg::R6, Reg::R1),
            store(Reg::R6, 0, 0x5151),
            mov(Reg::R2, 8),
            mov(Reg::R3, 0),
            mov_reg(Reg::R4, Reg::R10),
            add(Reg::R4, -16),
            call(id::bpf_dynptr_from_mem),
            mov_reg(Reg::R1, Reg::R10),
            add(Reg::R1, -24),
            mov(Reg::R2, len),
            mov_reg(Reg::R3, Reg::R10),
            add(Reg::R3, -16),
            mov(Reg::R4, offset),
            mov(Reg::R5, 0),
            call(id::bpf_dynptr_read),
            jump(JmpOp::Ne, Reg::R0, 0, 1),
            load(Reg::R0, Reg::R10, -24),
            Op::Exit,
        ];
        assert_eq!(run(&program, &[]).map(|r0| r0 as i64), Ok(expected), "{offset} {len}");
    };
    check(0, 8, 0x5151);
    check(1, 4, 0x51);
    check(1, 8, -i64::from(Errno::E2BIG.0));
    check(9, 0, -i64::from(Errno::E2BIG.0));
}

#[test]
fn unserved_helpers_are_refused_by_name() {
    let refused = |helper: u32| prepare(&[call(helper), Op::Exit], &[]).unwrap_err().to_string();
    assert_eq!(
        refused(id::bpf_sock_map_update),
        "instruction 0: helper `bpf_sock_map_update` is not served in user space: it needs the kernel's hooks on data that \
         sockets send and receive"
    );
    for helper in skep_isa::helper::ALL {
        if let Err(refusal) = skep_vm::helper::is_served(helper.id) {
            assert_ne!(refusal.needs, "the kernel", "`{}` says what it needs", helper.name);
        }
    }
    assert_eq!(refused(9999), "instruction 0: there is no helper of number 9999");
}

#[test]
fn packets_are_loaded_where_there_are_any() {
    struct Packet;
    impl Env for Packet {
        fn load_packet(&mut self, off: i64, buf: &mut [u8]) -> Result<(), Errno> {
            let packet: [u8; 6] = [1, 2, 3, 4, 5, 6];
            let from = usize::try_from(off).ok().and_then(|off| packet.get(off..off + buf.len()));
            buf.copy_from_slice(from.ok_or(Errno::EFAULT)?);
            Ok(())
        }
    }
    let program = |imm| [mov(Reg::R0, 9), Op::LoadAbs { size: Size::H, imm }, Op::Exit];
    assert_eq!(run_in(&program(2), &[], &mut Packet), Ok(0x0304));
    assert_eq!(run_in(&program(5), &[], &mut Packet), Ok(0));
    assert!(matches!(run(&program(2), &[]).unwrap_err().reason, Reason::Unsupported(_)));
    let index = [mov(Reg::R2, 3), Op::LoadInd { size: Size::B, src: Reg::R2, imm: 1 }, Op::Exit];
    assert_eq!(run_in(&index, &[], &mut Packet), Ok(5));
}

/// Calls a kernel function by name: the resolver answers the same for every number.
fn run_kfunc(name: &'static str, ops: &[Op], context: &mut [u8]) -> Result<u64, Box<skep_vm::Fault>> {
    struct Named(&'static str);
    impl skep_vm::Resolve for Named {
        fn map(&self, _: skep_vm::MapRef) -> Option<Arc<Map>> {
            None
        }

        fn kfunc(&self, _: i32, fd_idx: i16) -> Option<String> {
            Some(if fd_idx == 0 { self.0 } else { "bpf_iter_num_next" }.to_owned())
        }
    }
    let info = skep_vm::ProgramInfo::new("test", skep_isa::uapi::ProgType::RAW_TRACEPOINT);
    let program = skep_vm::Program::prepare(&crate::build::slots(ops), &Named(name), info);
    program.expect("the test prepares").run(context, &mut Memory)
}

#[test]
fn numbers_are_iterated() {
    let kfunc = |fd_idx| Op::Call(skep_isa::CallTarget::Kfunc { btf_id: 1, fd_idx });
    let sum = |start: i32, end: i32| {
        let iterator = [mov_reg(Reg::R1, Reg::R10), add(Reg::R1, -8)];
        let mut program = vec![mov(Reg::R7, 0)];
        program.extend(iterator);
        program.extend([mov(Reg::R2, start), mov(Reg::R3, end), kfunc(0), mov_reg(Reg::R8, Reg::R0)]);
        program.extend(iterator);
        program.extend([kfunc(1), jump(JmpOp::Eq, Reg::R0, 0, 3)]);
        program.push(Op::Load { size: Size::W, signed: true, dst: Reg::R1, base: Reg::R0, off: 0 });
        program.extend([add_reg(Reg::R7, Reg::R1), Op::Ja { long: false, off: -7 }]);
        program.extend([mov_reg(Reg::R0, Reg::R7), add_reg(Reg::R0, Reg::R8), Op::Exit]);
        run_kfunc("bpf_iter_num_new", &program, &mut []).map(|r0| r0 as i64)
    };
    assert_eq!(sum(0, 10), Ok(45));
    assert_eq!(sum(-3, 3), Ok(-3));
    assert_eq!(sum(5, 5), Ok(0));
    assert_eq!(sum(5, 4), Ok(-i64::from(Errno::EINVAL.0)));
    assert_eq!(sum(0, (8 << 20) + 1), Ok(-i64::from(Errno::E2BIG.0)));
}

#[test]
fn strings_are_searched() {
    let check = |name: &'static str, second: u64, expected: i64| {
        let mut context = *b"/etc/os-release\0release\0________";
        let second = if second == 0 {
            vec![mov_reg(Reg::R2, Reg::R1), add(Reg::R2, 16)]
        } else {
            vec![Op::LoadImm64 { dst: Reg::R2, imm: Imm64::Value(second) }]
        };
        let call = Op::Call(skep_isa::CallTarget::Kfunc { btf_id: 1, fd_idx: 0 });
        let program = [&second[..], &[call, Op::Exit]].concat();
        assert_eq!(run_kfunc(name, &program, &mut context).map(|r0| r0 as i64), Ok(expected), "{name}");
    };
    check("bpf_strlen", 1, 15);
    check("bpf_strnlen", 4, 4);
    check("bpf_strnlen", 15, 15);
    check("bpf_strnlen", 100, 15);
    check("bpf_strchr", b'e'.into(), 1);
    check("bpf_strrchr", b'/'.into(), 4);
    check("bpf_strchr", b'x'.into(), -i64::from(Errno::ENOENT.0));
    check("bpf_strstr", 0, 8);
    check("bpf_strcmp", 0, -1);
    // No address of the kernel's, and one where it has nothing.
    check("bpf_strcmp", 0x1000, -i64::from(Errno::ERANGE.0));
    check("bpf_strcmp", 0xffff_f000_0000_0000, -i64::from(Errno::EFAULT.0));
}
