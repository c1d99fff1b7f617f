//! Helpers give what Linux's give: the same program runs in the kernel and here, and its result and the bytes that it
//! left in a map are compared.
//!
//! Needs the right to load and run programs in the kernel; without it the test says so and passes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::uapi::{Cmd, MapType, ProgType};
use skep_isa::{Imm64, Op, Operand, Reg, Size};
use skep_vm::map::flags;
use skep_vm::{Errno, Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo};

use crate::bpf::Attr;
use crate::build::{call, mov, slots};

/// Bytes of each map's only value.
const BYTES: usize = 256;
/// Where arguments lie in the writable one.
const ARGS: u32 = 192;

/// A map in the kernel and one here, with the same bytes.
struct Twin {
    kernel: OwnedFd,
    ours: Arc<Map>,
}

impl Twin {
    fn new(content: &[u8], map_flags: u32) -> Result<Self, Errno> {
        let attr = Attr::new().u32(0, MapType::ARRAY.0).u32(4, 4).u32(8, BYTES as u32).u32(12, 1);
        let kernel = attr.u32(16, map_flags).open(Cmd::MAP_CREATE)?;
        let spec = MapSpec::new(MapType::ARRAY, "twin", 4, BYTES as u32, 1).flags(map_flags);
        let twin = Self { kernel, ours: Map::create(spec).expect("the test's map is valid") };
        let mut value = [0; BYTES];
        value[..content.len()].copy_from_slice(content);
        twin.kernel_element(Cmd::MAP_UPDATE_ELEM, &mut value)?;
        twin.ours.update(&[0; 4], &value, 0)?;
        if map_flags != 0 {
            Attr::new().u32(0, twin.kernel.as_raw_fd() as u32).bpf(Cmd::MAP_FREEZE)?;
        }
        Ok(twin)
    }

    fn kernel_element(&self, cmd: Cmd, value: &mut [u8; BYTES]) -> Result<(), Errno> {
        let key = [0u8; 4];
        let attr = Attr::new().u32(0, self.kernel.as_raw_fd() as u32).u64(8, key.as_ptr().addr() as u64);
        attr.u64(16, value.as_mut_ptr().addr() as u64).bpf(cmd).map(drop)
    }

    /// The address of a byte, as both sides' loaders make it from the descriptor.
    fn at(&self, dst: Reg, off: u32) -> Op {
        Op::LoadImm64 { dst, imm: Imm64::MapFdValue { fd: self.kernel.as_raw_fd(), off } }
    }
}

/// A read-only text, and room for results and arguments.
struct Lab {
    text: Twin,
    room: Twin,
}

impl Lab {
    fn new(text: &[u8], room: &[u8]) -> Result<Self, Errno> {
        Ok(Self { text: Twin::new(text, flags::RDONLY_PROG)?, room: Twin::new(room, 0)? })
    }

    /// Runs on both sides and compares.
    fn compare(&self, what: &str, ops: &[Op]) {
        let insns = slots(ops);
        let license = c"GPL";
        let attr = Attr::new().u32(0, ProgType::SCHED_CLS.0).u32(4, insns.len() as u32);
        let attr = attr.u64(8, insns.as_ptr().addr() as u64).u64(16, license.as_ptr().addr() as u64);
        let prog =
            attr.open(Cmd::PROG_LOAD).unwrap_or_else(|e| panic!("{what}: the kernel loads it not: {e}"));
        let packet = [0u8; 64];
        let attr = Attr::new().u32(0, prog.as_raw_fd() as u32).u32(8, packet.len() as u32);
        let mut run = attr.u64(16, packet.as_ptr().addr() as u64);
        run.bpf(Cmd::PROG_TEST_RUN).expect("the kernel runs what it loads");
        let mut theirs = [0; BYTES];
        self.room.kernel_element(Cmd::MAP_LOOKUP_ELEM, &mut theirs).expect("the element exists");

        let find = |reference| {
            let twin = [&self.text, &self.room];
            let twin = twin.into_iter().find(|twin| MapRef::Fd(twin.kernel.as_raw_fd()) == reference);
            twin.map(|twin| Arc::clone(&twin.ours))
        };
        let info = ProgramInfo::new(what, ProgType::SCHED_CLS);
        let program = Program::prepare(&insns, &find, info).expect("what the kernel loads can be prepared");
        let r0 = program.run(&mut [0; 192], &mut NoEnv).expect("what the kernel accepts does not fault");
        let mut ours = [0; BYTES];
        self.room.ours.lookup(&[0; 4], &mut ours, 0).expect("the element exists");

        assert_eq!(r0 as u32 as i32, run.word(4) as i32, "{what}: our result is left, the kernel's right");
        let [ours, theirs] = [ours, theirs].map(|bytes| bytes[..ARGS as usize].escape_ascii().to_string());
        assert_eq!(ours, theirs, "{what}: ours is left, the kernel's right");
    }
}

/// May this process run programs in the kernel?
fn permitted(test: &str) -> bool {
    let probe = Lab::new(b"", b"");
    if let Err(e) = &probe {
        println!("skipped: {test} compares with the kernel, which answers bpf(2) with: {e}");
    }
    probe.is_ok()
}

#[test]
fn numbers_and_sums() {
    if !permitted("numbers_and_sums") {
        return;
    }
    let texts =
        ["42", " -7x", "0x1fz", "017", "08", "0x", "0", "-0", "", "-", "99999999999999999999", "\t+3"];
    for text in texts {
        for helper in [id::bpf_strtol, id::bpf_strtoul] {
            for base in [0, 8, 10, 16, 2, 32] {
                let lab = Lab::new(text.as_bytes(), &[0xee; 16]).expect("it was permitted");
                let program = [
                    lab.text.at(Reg::R1, 0),
                    mov(Reg::R2, text.len().max(1) as i32),
                    mov(Reg::R3, base),
                    lab.room.at(Reg::R4, 0),
                    call(helper),
                    Op::Exit,
                ];
                lab.compare(&format!("{helper} {text:?} {base}"), &program);
            }
        }
    }
    for (from, to, seed) in [(0, 16, 0), (16, 0, 7), (16, 16, 1), (4, 8, -1), (0, 0, 5)] {
        let lab =
            Lab::new(b"", b"0123456789abcdef\xff\xff\xff\xffghijklmnopqrstuvwxyz").expect("it was permitted");
        let program = [
            lab.room.at(Reg::R1, 0),
            mov(Reg::R2, from),
            lab.room.at(Reg::R3, 16),
            mov(Reg::R4, to),
            mov(Reg::R5, seed),
            call(id::bpf_csum_diff),
            Op::Exit,
        ];
        lab.compare(&format!("csum_diff {from} {to} {seed}"), &program);
    }
}

#[test]
fn strings_compare() {
    if !permitted("strings_compare") {
        return;
    }
    for (first, second) in
        [("abc", "abc"), ("abc", "abd"), ("abd", "abc"), ("ab", "abc"), ("abc", "ab"), ("\u{e9}", "a")]
    {
        for size in [1, 2, 3, 8] {
            let lab = Lab::new(second.as_bytes(), first.as_bytes()).expect("it was permitted");
            let program = [
                lab.room.at(Reg::R1, 0),
                mov(Reg::R2, size),
                lab.text.at(Reg::R3, 0),
                call(id::bpf_strncmp),
                Op::Exit,
            ];
            lab.compare(&format!("strncmp {first} {second} {size}"), &program);
        }
    }
}

#[test]
fn formats_come_out_alike() {
    if !permitted("formats_come_out_alike") {
        return;
    }
    let formats = [
        "plain %%",
        "%d %i",
        "%u|%x|%X",
        "%ld %lu",
        "%lld %llu %llx",
        "[%5d][%-5d]",
        "[%05d][%+d]",
        "[% d][%012lx]",
        "%c%c",
        "[%3c][%-3c]",
        "%s!",
        "[%20s][%-12s]",
        "%s %s %s",
        "%pks",
        "%pI4 %pi4",
        "%pI6",
        "%pi6",
        "%ps %pS",
        "%-08d|%0-8d|%+05d",
        "%i%%%i",
        "%5%",
        "%",
        "%f",
        "%d %d %d %d",
        "%sx",
        "%p2",
        "%hd",
        "%lls",
        "%*d",
        "%.3d",
        "\u{fc} %d",
    ];
    for format in formats {
        for (first, size) in [(42u64, 64), (u64::MAX, 16), (1 << 31, 1), (0x1_0000_0041, 100)] {
            let mut text = vec![0; 128];
            text[..format.len()].copy_from_slice(format.as_bytes());
            text[96..105].copy_from_slice(b"\x7f\x00\x00\x01world");
            let lab = Lab::new(&text, &[0xee; 128]).expect("it was permitted");
            // Conversions that take an address get the text's; the others get numbers.
            let address =
                ["s", "ks", "I4", "i4", "I6", "i6"].iter().any(|end| format.contains(&format!("%p{end}")))
                    || format.contains('s');
            let address = address && !format.contains("%ps");
            let mut program = Vec::new();
            for n in 0..3 {
                let off = if format.contains("%pI") || format.contains("%pi") { 96 } else { 100 };
                let value = if address {
                    lab.text.at(Reg::R1, off)
                } else {
                    let number = if format.contains("%ps") { n } else { first.wrapping_sub(n * 3) };
                    Op::LoadImm64 { dst: Reg::R1, imm: Imm64::Value(number) }
                };
                let slot = (ARGS + n as u32 * 8) as i16;
                program.extend([value, lab.room.at(Reg::R2, 0)]);
                let src = Operand::Reg(Reg::R1);
                program.push(Op::Store { size: Size::DW, base: Reg::R2, off: slot, src });
            }
            program.extend([
                lab.room.at(Reg::R1, 0),
                mov(Reg::R2, size),
                lab.text.at(Reg::R3, 0),
                lab.room.at(Reg::R4, ARGS),
                mov(Reg::R5, 24),
                call(id::bpf_snprintf),
                Op::Exit,
            ]);
            lab.compare_format(format, &program);
        }
    }
}

impl Lab {
    /// The verifier refuses bad formats when it loads; then ours must answer `EINVAL`.
    fn compare_format(&self, format: &str, ops: &[Op]) {
        let insns = slots(ops);
        let attr = Attr::new().u32(0, ProgType::SCHED_CLS.0).u32(4, insns.len() as u32);
        let attr = attr.u64(8, insns.as_ptr().addr() as u64).u64(16, c"GPL".as_ptr().addr() as u64);
        if attr.open(Cmd::PROG_LOAD).is_ok() {
            return self.compare(format, ops);
        }
        let find = |reference| {
            let twin =
                if MapRef::Fd(self.text.kernel.as_raw_fd()) == reference { &self.text } else { &self.room };
            Some(Arc::clone(&twin.ours))
        };
        let program = Program::prepare(&insns, &find, ProgramInfo::new(format, ProgType::SCHED_CLS));
        let r0 = program.expect("it is well formed").run(&mut [0; 192], &mut NoEnv);
        assert_eq!(r0, Ok(Errno::EINVAL.to_reg()), "{format}: the kernel refuses it");
    }
}
