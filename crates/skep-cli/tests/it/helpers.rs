//! Helpers answer what Linux's answer: each row of a table is a small program, run in the kernel and in user space by the same
//! `BPF_PROG_TEST_RUN`, and everything that comes out is compared: result or errno, packet, context, a map.
//!
//! Needs the right to run programs in the kernel; without it the tests say so and pass. A helper that both serve and that no
//! row calls must be in [`ELSEWHERE`], with the reason.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use skep::runtime::command::{MapCreate, ProgLoad, TestRun};
use skep::runtime::{Map, Program, SharedRuntime};
use skep_isa::asm::assemble;
use skep_isa::helper;
use skep_isa::uapi::{AttachType, MapType, ProgType};

use crate::harness::skip;

mod contexts;
mod sequences;
mod table;

use table::{ELSEWHERE, ROWS};

/// One program and what it runs on.
struct Row {
    prog_type: ProgType,
    /// Packets; each is tried.
    packets: &'static [Packet],
    /// What the program does, between a prologue (`r6` is the context, `r9` 256 bytes of a map) and an epilogue that keeps
    /// `r0` and the context's fields. `{}` stands for each of the values, `{0}` to `{3}` for the parts of a value.
    body: &'static str,
    values: &'static [&'static str],
}

/// What a program is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    Ipv4,
    Ipv6,
    Vlan,
    Arp,
    /// An Ethernet header and nothing else.
    Short,
    /// More than one page.
    Long,
}

const VALUE_BYTES: usize = 256;

impl Packet {
    fn bytes(self) -> Vec<u8> {
        let link = |proto: [u8; 2]| [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &proto].concat();
        let ipv4 = [
            0x45, 0, 0, 84, 0, 1, 0, 0, 64, 17, 0x66, 0x55, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 53, 0,
            64, 0xab, 0xcd,
        ];
        let ipv6 =
            [&[0x60, 0, 0, 0, 0, 40, 6, 64][..], &[0xfd; 16], &[0xfe; 16], &[0x1f, 0x90, 0, 80]].concat();
        let filled = |mut bytes: Vec<u8>, len: usize| {
            let from = bytes.len();
            bytes.extend((from..len).map(|n| n as u8));
            bytes
        };
        match self {
            Self::Ipv4 => filled([link([8, 0]), ipv4.to_vec()].concat(), 98),
            Self::Ipv6 => filled([link([0x86, 0xdd]), ipv6].concat(), 94),
            Self::Vlan => filled([link([0x81, 0]), vec![0x20, 0x64, 8, 0], ipv4.to_vec()].concat(), 102),
            Self::Arp => filled(link([8, 6]), 60),
            Self::Short => link([8, 6]),
            Self::Long => filled([link([8, 0]), ipv4.to_vec()].concat(), 6000),
        }
    }
}

/// Everything that a run gives.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<u32, i32>,
    data: String,
    context: String,
    map: String,
}

impl Outcome {
    /// What differs, ours above the kernel's.
    fn beside(&self, kernel: &Self) -> String {
        let mut text = String::new();
        let mut part = |name: &str, ours: &dyn fmt::Debug, theirs: &dyn fmt::Debug| {
            let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
            if ours != theirs {
                let _ = write!(text, "\n  {name}\n    {ours}\n    {theirs}");
            }
        };
        part("result", &self.result, &kernel.result);
        part("data", &self.data, &kernel.data);
        part("context", &self.context, &kernel.context);
        part("map", &self.map, &kernel.map);
        text
    }
}

/// A runtime with a map of its own.
struct Side {
    runtime: SharedRuntime,
}

impl Side {
    fn run(&self, prog_type: ProgType, text: &str, packet: &[u8]) -> Result<Outcome, skep::runtime::Error> {
        let mut context = vec![0; context_size(prog_type)];
        match prog_type {
            ProgType::XDP => context[4..8].copy_from_slice(&(packet.len() as u32).to_ne_bytes()),
            _ => context[8] = 7,
        }
        self.run_with(prog_type, text, packet, &context, 1)
    }

    fn run_with(
        &self,
        prog_type: ProgType,
        text: &str,
        packet: &[u8],
        ctx_in: &[u8],
        repeat: u32,
    ) -> Result<Outcome, skep::runtime::Error> {
        let spec = MapCreate::new(MapType::ARRAY, "out", 4, VALUE_BYTES as u32, 1);
        let map = Map::create(&self.runtime, &spec, 1)?;
        let insns = assemble(text).unwrap_or_else(|e| panic!("{text}\n{e}")).insns;
        let fds = [map.fd()];
        let frags = if prog_type == ProgType::XDP { 1 << 5 } else { 0 };
        let spec =
            ProgLoad { fd_array: &fds, prog_flags: frags, ..ProgLoad::new(prog_type, "row", &insns, "GPL") };
        let program = Program::load(&self.runtime, &spec)?;
        let (mut data, mut context) = (vec![0; 8192], vec![0; 192]);
        let run = TestRun {
            data_in: packet,
            data_out: &mut data,
            ctx_in,
            ctx_out: &mut context,
            repeat,
            ..TestRun::default()
        };
        let ran = program.test_run(run);
        let (len, context_len) =
            ran.as_ref().map_or((0, 0), |ran| (ran.data_size_out as usize, ran.ctx_size_out as usize));
        let value = map.lookup(&[0; 4])?.unwrap_or_default();
        Ok(Outcome {
            result: ran.map(|ran| ran.retval).map_err(|e| e.errno()),
            data: hex(&data[..len]),
            context: hex(&context[..context_len]),
            map: hex(&value),
        })
    }
}

/// Bytes of a type's context.
fn context_size(prog_type: ProgType) -> usize {
    if prog_type == ProgType::XDP { 24 } else { 192 }
}

/// Notes what differs. Was there something to compare: does the kernel load it?
fn differ(
    differences: &mut Vec<String>,
    what: &str,
    ours: Result<Outcome, skep::runtime::Error>,
    theirs: Result<Outcome, skep::runtime::Error>,
) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours == theirs => return true,
        (Ok(ours), Ok(theirs)) => differences.push(format!("{what}{}", ours.beside(&theirs))),
        (Err(e), Ok(_)) => differences.push(format!("{what}: user space does not load it: {e}")),
        (Ok(_), Err(e)) => differences.push(format!("{what}: the kernel does not load it: {e}")),
        (Err(_), Err(_)) => return false,
    }
    true
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn user() -> Side {
    Side { runtime: skep_user::UserRuntime::new(skep_user::Config::default()).expect("a runtime") }
}

/// The kernel, if this process may run programs in it.
fn kernel() -> Option<Side> {
    let kernel = skep_kernel::KernelRuntime::new();
    match kernel.probe() {
        Ok(()) => Some(Side { runtime: Arc::new(kernel) }),
        Err(reason) => {
            skip(&format!("helpers are not compared with the kernel's: {reason}"));
            None
        }
    }
}

/// The fields of a context that both sides know, kept behind `r0`.
fn epilogue(prog_type: ProgType) -> String {
    let mut text = "*(u64 *)(r9 + 0) = r0\n".to_owned();
    let skb: &[u32] = match prog_type {
        ProgType::XDP => &[],
        ProgType::SCHED_CLS => &[0, 4, 8, 16, 20, 24, 28, 32],
        _ => &[0, 4, 8, 16],
    };
    for (n, off) in skb.iter().enumerate() {
        let _ = writeln!(text, "r1 = *(u32 *)(r6 + {off})\n*(u32 *)(r9 + {}) = r1", 8 + 4 * n);
    }
    let bounds = match prog_type {
        ProgType::XDP => Some((0, 4, 8)),
        ProgType::SCHED_CLS => Some((76, 80, 140)),
        _ => None,
    };
    if let Some((data, end, meta)) = bounds {
        for (n, (from, to)) in [(data, end), (meta, data)].into_iter().enumerate() {
            let _ = writeln!(
                text,
                "r1 = *(u32 *)(r6 + {to})\nr2 = *(u32 *)(r6 + {from})\nr1 -= r2\n*(u32 *)(r9 + {}) = r1",
                48 + 4 * n
            );
        }
    }
    text + "r0 = 1\nexit\n"
}

/// The whole text of a row with one of its values, helpers by number.
fn program(row: &Row, value: &str) -> String {
    let mut body = row.body.replace("{}", value);
    for (n, part) in value.split_whitespace().enumerate() {
        body = body.replace(&format!("{{{n}}}"), part);
    }
    numbered(&format!("r6 = r1\nr9 = map[idx:0]+0\n{body}\n{}", epilogue(row.prog_type)))
}

/// The text with helpers by number.
fn numbered(text: &str) -> String {
    let line = |line: &str| match line.trim().strip_prefix("call bpf_") {
        Some(name) => format!("call {}\n", helper::by_name(name).expect("a helper's name").id),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn rows_give_what_they_give_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let user = user();
    let mut differences = Vec::new();
    let mut compared = 0;
    for row in ROWS {
        for packet in row.packets {
            for value in row.values {
                let text = program(row, value);
                let what = format!("{} {packet:?} {value}: {}", row.prog_type, row.body.replace('\n', "; "));
                let bytes = packet.bytes();
                let [ours, theirs] = [&user, &kernel].map(|side| side.run(row.prog_type, &text, &bytes));
                assert!(theirs.is_ok(), "{what}: the kernel does not load it");
                compared += u32::from(differ(&mut differences, &what, ours, theirs));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    println!("{compared} runs of {} rows are as in the kernel", ROWS.len());
}

/// Test runs with a context or without, for the limits and errors of each program type.
#[test]
fn test_runs_answer_as_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let user = user();
    let insns = assemble("r0 = 0\nexit").expect("the program assembles").insns;
    let types = [
        ProgType::XDP,
        ProgType::SCHED_CLS,
        ProgType::SCHED_ACT,
        ProgType::SOCKET_FILTER,
        ProgType::CGROUP_SKB,
        ProgType::LWT_IN,
        ProgType::LWT_OUT,
        ProgType::LWT_XMIT,
        ProgType::FLOW_DISSECTOR,
        ProgType::RAW_TRACEPOINT,
        ProgType::SK_LOOKUP,
    ];
    for prog_type in types {
        let attach = (prog_type == ProgType::SK_LOOKUP).then_some(AttachType::SK_LOOKUP);
        let spec =
            ProgLoad { expected_attach_type: attach, ..ProgLoad::new(prog_type, "empty", &insns, "GPL") };
        let programs = [&user, &kernel].map(|side| Program::load(&side.runtime, &spec).expect("it loads"));
        for (data_in, ctx_in, room, repeat, flags) in runs() {
            let [ours, theirs] = programs.each_ref().map(|program| {
                let (mut data, mut context) = (vec![0; room], vec![0; room.min(256)]);
                let run = TestRun {
                    data_in: &data_in,
                    data_out: &mut data,
                    ctx_in: &ctx_in,
                    ctx_out: &mut context,
                    repeat,
                    flags,
                    ..TestRun::default()
                };
                let ran = program.test_run(run);
                let ran = ran.map(|ran| (ran.retval, ran.data_size_out, ran.ctx_size_out));
                (ran.map_err(|e| e.errno()), hex(&data), hex(&context))
            });
            let what = format!(
                "{prog_type}: {} bytes, context {}, room {room}, flags {flags}",
                data_in.len(),
                hex(&ctx_in)
            );
            // What an error leaves in the buffers is nobody's promise.
            if ours.0.is_err() {
                assert_eq!(ours.0, theirs.0, "{what}: ours is left, the kernel's right");
            } else {
                assert_eq!(ours, theirs, "{what}: ours is left, the kernel's right");
            }
        }
    }
}

/// Data, context, room for both, repeat and flags.
type Run = (Vec<u8>, Vec<u8>, usize, u32, u32);

fn runs() -> Vec<Run> {
    let filled = |len: usize| -> Vec<u8> { (0..len).map(|n| n as u8).collect() };
    let mut runs: Vec<Run> = Vec::new();
    for len in [0, 13, 14, 15, 33, 34, 60, 3520, 3521, 3712, 3713, 4096, 4097, 8000, 73000, 74000] {
        runs.push((filled(len), vec![], 0, 1, 0));
        runs.push((Packet::Ipv4.bytes().into_iter().chain(filled(len)).collect(), vec![], 80000, 2, 0));
    }
    for (off, value) in [
        (0, 4),
        (0, 6),
        (0, 216),
        (0, 220),
        (4, 0),
        (4, 98),
        (4, 99),
        (8, 1),
        (8, 7),
        (12, 1),
        (12, 99999),
        (16, 1),
        (20, 1),
        (40, 1),
        (40, 99999),
        (32, 5),
        (48, 9),
        (68, 1),
        (76, 1),
        (84, 1),
        (140, 1),
        (144, 1),
        (152, 5),
        (160, 97),
        (160, 98),
        (160, 65537),
        (164, 65535),
        (164, 65536),
        (168, 1),
        (176, 100),
        (180, 1),
        (184, 3),
    ] {
        for size in [24usize, 56, 72, 192, 200] {
            let mut context = vec![0; size];
            if off + 4 <= size {
                if size == 24 && off != 4 {
                    context[4..8].copy_from_slice(&98u32.to_ne_bytes());
                }
                context[off..off + 4].copy_from_slice(&(value as u32).to_ne_bytes());
                runs.push((Packet::Ipv4.bytes(), context, 4096, 1, 0));
            }
        }
    }
    runs.extend([1, 2, 4, 8].map(|flags| (Packet::Ipv4.bytes(), vec![], 4096, 1, flags)));
    runs.extend([20, 97].map(|room| (Packet::Ipv4.bytes(), vec![], room, 1, 0)));
    runs.push((vec![], vec![0; 64], 0, 0, 0));
    runs.push((vec![], vec![0; 96], 0, 0, 0));
    runs.push((vec![], vec![0; 104], 0, 0, 0));
    runs
}

#[test]
fn every_helper_served_has_a_row_or_a_reason() {
    let called: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|row| row.body.lines())
        .filter_map(|line| line.trim().strip_prefix("call "))
        .collect();
    let excused: BTreeSet<&str> = ELSEWHERE.iter().flat_map(|(names, _)| names.split_whitespace()).collect();
    let served = helper::ALL.iter().filter(|helper| skep_vm::helper::is_served(helper.id).is_ok());
    let names: BTreeSet<&str> = served.map(|helper| helper.name).collect();
    let missing: Vec<_> =
        names.iter().filter(|name| !called.contains(*name) && !excused.contains(*name)).collect();
    assert!(missing.is_empty(), "no row calls {missing:?}");
    let stale: Vec<_> =
        excused.iter().filter(|name| called.contains(*name) || !names.contains(*name)).collect();
    assert!(stale.is_empty(), "these have a row, or are not served: {stale:?}");
}
