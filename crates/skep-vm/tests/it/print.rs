//! What `bpf_trace_printk`, `bpf_trace_vprintk` and `bpf_snprintf` make of formats, and which they refuse.

use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::uapi::MapType;
use skep_isa::{Imm64, Op, Reg};
use skep_vm::env::KERNEL_HALF;
use skep_vm::{Env, Errno, Map, MapSpec};

use crate::build::{call, mov, prepare};

/// A world with some kernel and user memory, which keeps the lines printed.
#[derive(Default)]
struct World {
    lines: Vec<String>,
}

const KERNEL_STRING: u64 = KERNEL_HALF + 0x1000;
const USER_STRING: u64 = 0x5000;
const IP: u64 = KERNEL_HALF + 0x2000;
const MISSING: u64 = KERNEL_HALF + 0x9000;

fn copy(from: &[u8], buf: &mut [u8]) -> Result<(), Errno> {
    buf.fill(0);
    let len = from.len().min(buf.len());
    buf[..len].copy_from_slice(&from[..len]);
    Ok(())
}

impl Env for World {
    fn trace_printk(&mut self, line: &[u8]) {
        self.lines.push(String::from_utf8_lossy(line).into_owned());
    }

    fn read_kernel(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        match addr {
            KERNEL_STRING => copy(b"kernel", buf),
            IP => copy(&[127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0xa], buf),
            _ => Err(Errno::EFAULT),
        }
    }

    fn read_user(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        if addr == USER_STRING { copy(b"user", buf) } else { Err(Errno::EFAULT) }
    }

    fn symbol(&mut self, addr: u64) -> Option<String> {
        (addr == KERNEL_STRING).then(|| "start_kernel+0x10".to_owned())
    }
}

/// A read-only string of a program.
fn text(bytes: &[u8]) -> Arc<Map> {
    let map = Map::create(MapSpec::new(MapType::ARRAY, ".rodata", 4, bytes.len() as u32, 1));
    let map = map.expect("the test's map is valid");
    map.update(&[0; 4], bytes, 0).expect("its element exists");
    map
}

fn address(dst: Reg) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::MapIdxValue { idx: 0, off: 0 } }
}

fn value(dst: Reg, value: u64) -> Op {
    Op::LoadImm64 { dst, imm: Imm64::Value(value) }
}

/// Prints with `bpf_trace_printk`; answers the line or the error.
fn print(format: &str, args: &[u64]) -> Result<String, Errno> {
    let mut format = format.as_bytes().to_vec();
    format.push(0);
    let mut program = vec![address(Reg::R1), mov(Reg::R2, format.len() as i32)];
    program.extend([Reg::R3, Reg::R4, Reg::R5].iter().zip(args).map(|(reg, arg)| value(*reg, *arg)));
    program.extend([call(id::bpf_trace_printk), Op::Exit]);
    let mut world = World::default();
    let program = prepare(&program, &[text(&format)]).expect("the test prepares");
    let result = program.run(&mut [], &mut world).expect("the test runs") as i64;
    match (result, world.lines.pop()) {
        (len, Some(line)) if len >= 0 => {
            assert_eq!(len as usize, line.len());
            Ok(line)
        }
        (negative, None) => Err(Errno(-negative as i32)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn formats_as_the_kernel() {
    let check = |format: &str, arg: u64, expected: &str| {
        assert_eq!(print(format, &[arg]).as_deref(), Ok(expected), "{format}");
    };
    check("plain", 0, "plain");
    check("%d%%", 5, "5%");
    check("%d", u64::MAX, "-1");
    check("%u", u64::MAX, "4294967295");
    check("%i", 1 << 32, "0");
    check("%ld %%", (-3i64) as u64, "-3 %");
    check("%llu", u64::MAX, "18446744073709551615");
    check("%lx", 0xfeed_0000_beef, "feed0000beef");
    check("%X", 0xbeef, "BEEF");
    check("[%5d]", 42, "[   42]");
    check("[%-5d]", 42, "[42   ]");
    check("[%05d]", (-42i64) as u64, "[-0042]");
    check("[%+d]", 42, "[+42]");
    check("[% d]", 42, "[ 42]");
    check("%c", u64::from(b'x'), "x");
    check("[%4c]", u64::from(b'x'), "[   x]");
    check("%s", KERNEL_STRING, "kernel");
    check("[%8s]", KERNEL_STRING, "[  kernel]");
    check("%s", MISSING, "");
    check("%pks", KERNEL_STRING, "kernel");
    check("%pus!", USER_STRING, "user!");
    check("%pus", MISSING, "");
    check("%p", 0x1234, "0000000000001234");
    check("%px", KERNEL_HALF, "8000000000000000");
    check("%pK", 0x10, "0000000000000010");
    check("%pB", KERNEL_STRING, "start_kernel+0x10");
    check("%ps", 0x10, "0x10");
    check("%pI4", IP, "127.0.0.1");
    check("%pi4", IP, "127.000.000.001");
    check("%pI6", IP, "7f00:0001:0000:0000:0000:0000:fe80:000a");
    check("%pi6", IP, "7f0000010000000000000000fe80000a");
    check("%pI4", MISSING, "0.0.0.0");
    check("ü %d\n", 1, "ü 1\n");
}

#[test]
fn refuses_what_the_kernel_refuses() {
    let check = |format: &str| assert_eq!(print(format, &[1, 2, 3]), Err(Errno::EINVAL), "{format}");
    for format in
        ["%", "%f", "%n", "%lld %d %d %d", "%sx", "%p2", "%pI5", "%hd", "%lls", "%l", "\u{1}", "%*d", "%.3d"]
    {
        check(format);
    }
}

#[test]
fn snprintf_cuts_and_counts() {
    let check = |size: i32, expected: &[u8], result: u64| {
        let format = text(b"%s-%d\0");
        let program = [
            value(Reg::R1, KERNEL_STRING),
            Op::Store {
                size: skep_isa::Size::DW,
                base: Reg::R10,
                off: -16,
                src: skep_isa::Operand::Reg(Reg::R1),
            },
            crate::build::store(Reg::R10, -8, 7),
            crate::build::mov_reg(Reg::R1, Reg::R6),
            mov(Reg::R2, size),
            address(Reg::R3),
            crate::build::mov_reg(Reg::R4, Reg::R10),
            crate::build::add(Reg::R4, -16),
            mov(Reg::R5, 16),
            call(id::bpf_snprintf),
            Op::Exit,
        ];
        let program = [&[crate::build::mov_reg(Reg::R6, Reg::R1)], &program[..]].concat();
        let mut context = [0xee; 12];
        let program = prepare(&program, &[format]).expect("the test prepares");
        assert_eq!(program.run(&mut context, &mut World::default()), Ok(result));
        assert_eq!(&context[..expected.len()], expected);
        assert!(context[expected.len()..].iter().all(|byte| *byte == 0xee));
    };
    check(12, b"kernel-7\0", 9);
    check(9, b"kernel-7\0", 9);
    check(5, b"kern\0", 9);
    check(1, b"\0", 9);
    check(0, b"", 9);
}
