//! What programs read of their context, of every size and at every place that the kernel lets them read: parts of fields too,
//! which the kernel takes from wider ones of its own (`convert_ctx_access`).

use skep::runtime::Program;
use skep::runtime::command::{ProgLoad, TestRun};
use skep_isa::asm::assemble;
use skep_isa::uapi::{AttachType, ProgType};

use super::{Packet, Side, kernel, user};

/// Starts and ends.
type Ranges = &'static [(usize, usize)];

/// Contexts, and ranges of fields whose value is an address.
const TYPES: [(ProgType, usize, Ranges); 7] = [
    (ProgType::SCHED_CLS, 192, SKB_ADDRESSES),
    (ProgType::SOCKET_FILTER, 192, SKB_ADDRESSES),
    (ProgType::CGROUP_SKB, 192, SKB_ADDRESSES),
    (ProgType::LWT_IN, 192, SKB_ADDRESSES),
    (ProgType::LWT_XMIT, 192, SKB_ADDRESSES),
    (ProgType::XDP, 24, &[(0, 12)]),
    (ProgType::SK_LOOKUP, 72, &[(0, 8)]),
];
const SKB_ADDRESSES: Ranges = &[(76, 84), (140, 152), (168, 176)];

/// A context in which every field that may be set has bytes that differ.
fn context(prog_type: ProgType, bytes: usize, packet: &[u8]) -> Vec<u8> {
    let mut context = vec![0; bytes];
    let mut fill = |range: std::ops::Range<usize>| {
        context[range.clone()].iter_mut().zip(range).for_each(|(byte, at)| *byte = at as u8 | 0x80);
    };
    match prog_type {
        ProgType::XDP => context[4..8].copy_from_slice(&(packet.len() as u32).to_ne_bytes()),
        ProgType::SK_LOOKUP => {
            [16..20, 36..44, 60..62].into_iter().for_each(&mut fill);
            context[8..16].copy_from_slice([2u32, 6].map(u32::to_ne_bytes).as_flattened());
        }
        _ => {
            [8..12, 32..36, 48..68, 152..160, 164..166, 176..178, 184..192].into_iter().for_each(&mut fill);
            context[40..44].copy_from_slice(&1u32.to_ne_bytes());
            context[160..164].copy_from_slice(&0x1234u32.to_ne_bytes());
        }
    }
    context
}

/// What a program answers that reads so much there; `None` when it may not.
fn read(
    side: &Side,
    prog_type: ProgType,
    size: usize,
    at: usize,
    packet: &[u8],
    ctx_in: &[u8],
) -> Option<Result<u32, i32>> {
    let text =
        format!("r0 = *(u{} *)(r1 + {at})\nr1 = r0\nr1 >>= 32\nr0 ^= r1\nr0 &= 0x7fffffff\nexit", size * 8);
    let text = match prog_type {
        // What it answers is a verdict.
        ProgType::SK_LOOKUP | ProgType::CGROUP_SKB => {
            return read_bit(side, prog_type, (size, at), packet, ctx_in);
        }
        _ => text,
    };
    run(side, prog_type, &text, packet, ctx_in)
}

/// The same, bit by bit.
fn read_bit(
    side: &Side,
    prog_type: ProgType,
    (size, at): (usize, usize),
    packet: &[u8],
    ctx_in: &[u8],
) -> Option<Result<u32, i32>> {
    let mut sum = 0u32;
    for bit in 0..size * 8 {
        let text = format!("r0 = *(u{} *)(r1 + {at})\nr0 >>= {bit}\nr0 &= 1\nexit", size * 8);
        match run(side, prog_type, &text, packet, ctx_in)? {
            Ok(is_set) => sum = sum.rotate_left(1) ^ is_set,
            Err(errno) => return Some(Err(errno)),
        }
    }
    Some(Ok(sum))
}

fn run(
    side: &Side,
    prog_type: ProgType,
    text: &str,
    packet: &[u8],
    ctx_in: &[u8],
) -> Option<Result<u32, i32>> {
    let insns = assemble(text).unwrap_or_else(|e| panic!("{text}\n{e}")).insns;
    let attach = (prog_type == ProgType::SK_LOOKUP).then_some(AttachType::SK_LOOKUP);
    let spec = ProgLoad { expected_attach_type: attach, ..ProgLoad::new(prog_type, "part", &insns, "GPL") };
    let program = Program::load(&side.runtime, &spec).ok()?;
    let data_in = if prog_type == ProgType::SK_LOOKUP { &[][..] } else { packet };
    let run = TestRun { data_in, ctx_in, repeat: 1, ..TestRun::default() };
    Some(program.test_run(run).map(|ran| ran.retval).map_err(|e| e.errno()))
}

#[test]
fn parts_of_fields_are_what_they_are_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let user = user();
    let mut differences = Vec::new();
    let mut compared = 0;
    for (prog_type, bytes, addresses) in TYPES {
        let packet = Packet::Ipv4.bytes();
        let context = context(prog_type, bytes, &packet);
        for size in [1, 2, 4, 8] {
            for at in (0..bytes).step_by(size) {
                if addresses.iter().any(|(start, end)| at < *end && *start < at + size) {
                    continue;
                }
                let [ours, theirs] =
                    [&user, &kernel].map(|side| read(side, prog_type, size, at, &packet, &context));
                compared += u32::from(theirs.is_some());
                if ours != theirs {
                    differences.push(format!(
                        "{prog_type}, {size} bytes at {at}: {ours:x?}, in the kernel {theirs:x?}"
                    ));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(compared > 500, "only {compared} were compared");
}

/// Who a frame is for is said by the addresses of the device that it comes by.
#[test]
fn frames_are_for_whom_the_kernel_says() {
    let Some(kernel) = kernel() else { return };
    let user = user();
    const PKT_TYPE: usize = 4;
    for to in [[0; 6], [0xff; 6], [0x01, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1], [0x02, 0, 0, 0, 0, 1]] {
        let mut packet = Packet::Ipv4.bytes();
        packet[..to.len()].copy_from_slice(&to);
        for prog_type in [ProgType::SCHED_CLS, ProgType::SOCKET_FILTER] {
            let [ours, theirs] =
                [&user, &kernel].map(|side| read(side, prog_type, 4, PKT_TYPE, &packet, &[]));
            assert!(matches!(theirs, Some(Ok(_))), "{to:x?}: {theirs:?}");
            assert_eq!(ours, theirs, "{prog_type}, {to:x?}");
        }
    }
}
