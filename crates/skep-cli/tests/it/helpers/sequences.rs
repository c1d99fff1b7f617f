//! Random sequences of packet helpers on random packets and contexts: what one call leaves is what the next begins with.
//!
//! Every result, every field of the context and every byte of the packet is compared with the kernel's.

use std::fmt::Write as _;

use skep_isa::uapi::ProgType;

use super::{Side, context_size, differ, epilogue, kernel, numbered, user};
use crate::harness::Rng;

/// Sequences of each program type; `SKEP_CASES` asks for more.
const CASES: u64 = 40;

fn cases() -> u64 {
    std::env::var("SKEP_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

/// Where results are kept in the map's value, behind what the epilogue writes and 64 bytes of arguments.
const RESULTS: u64 = 128;
/// Where the fields of the context are.
const FIELDS: u64 = 176;

/// A call or an access by chance.
type Step = fn(&mut Rng) -> String;

const TYPES: &[(ProgType, &[Step])] = &[
    (ProgType::XDP, &[xdp_shape, xdp_bytes, xdp_direct]),
    (ProgType::SCHED_CLS, &[skb_bytes, skb_shape, skb_shape, sums, marks, direct, legacy, fields]),
    (ProgType::LWT_XMIT, &[skb_bytes, lwt_shape, sums, direct]),
    (ProgType::LWT_IN, &[plain_loads, pull, reads]),
    (ProgType::CGROUP_SKB, &[loads, reads, cgroup]),
    (ProgType::SOCKET_FILTER, &[loads, legacy]),
];

fn offset(rng: &mut Rng) -> i64 {
    match rng.below(8) {
        0 => rng.pick(&[-1, 0xffff, 0x10000, 97, 98, 4000]),
        _ => rng.below(100) as i64,
    }
}

fn length(rng: &mut Rng) -> i64 {
    match rng.below(6) {
        0 => rng.pick(&[0, 1, 13, 14, 3000, 16000, 70000, -1]),
        _ => rng.below(200) as i64,
    }
}

fn step(rng: &mut Rng) -> i64 {
    match rng.below(8) {
        0 => rng.pick(&[-256, -217, -216, 20000, -20000, 3422, 4000, i64::from(i32::MAX)]),
        _ => rng.below(160) as i64 - 80,
    }
}

fn xdp_shape(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => format!("r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_head", step(rng)),
        1 => format!("r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_tail", step(rng)),
        2 => format!("r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_meta", step(rng) / 8 * 4),
        _ => "r1 = r6\ncall bpf_xdp_get_buff_len".to_owned(),
    }
}

fn bytes_call(rng: &mut Rng, name: &str, flags: &str) -> String {
    let (off, len) = (offset(rng), 1 + rng.below(48));
    format!("r1 = r6\nr2 = {off}\nr3 = r9\nr3 += 64\nr4 = {len}\n{flags}call {name}")
}

fn xdp_bytes(rng: &mut Rng) -> String {
    let name = rng.pick(&["bpf_xdp_load_bytes", "bpf_xdp_store_bytes"]);
    bytes_call(rng, name, "")
}

fn loads(rng: &mut Rng) -> String {
    let start = format!("r5 = {}\n", rng.below(3));
    match rng.below(2) {
        0 => plain_loads(rng),
        _ => bytes_call(rng, "bpf_skb_load_bytes_relative", &start),
    }
}

fn plain_loads(rng: &mut Rng) -> String {
    bytes_call(rng, "bpf_skb_load_bytes", "")
}

fn skb_bytes(rng: &mut Rng) -> String {
    let flags = format!("r5 = {}\n", rng.pick(&[0, 0, 0, 1, 1, 2, 3, 4]));
    if rng.below(2) == 0 { plain_loads(rng) } else { bytes_call(rng, "bpf_skb_store_bytes", &flags) }
}

fn pull(rng: &mut Rng) -> String {
    format!("r1 = r6\nr2 = {}\ncall bpf_skb_pull_data", length(rng))
}

fn lwt_shape(rng: &mut Rng) -> String {
    match rng.below(3) {
        0 => pull(rng),
        1 => format!("r1 = r6\nr2 = {}\nr3 = 0\ncall bpf_skb_change_tail", length(rng)),
        _ => format!("r1 = r6\nr2 = {}\nr3 = 0\ncall bpf_skb_change_head", length(rng)),
    }
}

fn skb_shape(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => {
            let (proto, tci) = (rng.pick(&[0x0081, 0xa888, 0, 0x0008]), rng.below(0x2000));
            format!("r1 = r6\nr2 = {proto}\nr3 = {tci}\ncall bpf_skb_vlan_push")
        }
        1 => "r1 = r6\ncall bpf_skb_vlan_pop".to_owned(),
        2 => {
            let proto = rng.pick(&[0x0008, 0xdd86, 0x0608]);
            format!("r1 = r6\nr2 = {proto}\nr3 = 0\ncall bpf_skb_change_proto")
        }
        3 => room(rng),
        _ => lwt_shape(rng),
    }
}

fn room(rng: &mut Rng) -> String {
    let (by, mode) = (rng.pick(&[20, -20, 40, -40, 8, -8, 28, 24, 14, 50]), rng.below(2));
    let flags = rng.pick(&[0, 0, 0, 1, 2, 4, 8, 6, 0x12, 0x1a, 0xa, 0x20, 0x42, 0x80, 0x100, 0x14, 0xe42]);
    format!("r1 = r6\nr2 = {by}\nr3 = {mode}\nr4 = {flags}\ncall bpf_skb_adjust_room")
}

fn sums(rng: &mut Rng) -> String {
    let off = offset(rng) & !1;
    let (from, to, size) = (rng.below(0x10000), rng.below(0x10000), rng.pick(&[0, 2, 2, 4]));
    match rng.below(5) {
        0 => format!("r1 = r6\nr2 = {off}\nr3 = {from}\nr4 = {to}\nr5 = {size}\ncall bpf_l3_csum_replace"),
        1 | 2 => {
            let flags = size | rng.pick(&[0, 0x10, 0x20, 0x40, 0x60]);
            format!("r1 = r6\nr2 = {off}\nr3 = {from}\nr4 = {to}\nr5 = {flags}\ncall bpf_l4_csum_replace")
        }
        3 => format!("r1 = r6\nr2 = {from}\ncall bpf_csum_update"),
        _ => format!("r1 = r6\nr2 = {}\ncall bpf_csum_level", rng.below(5)),
    }
}

fn marks(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => format!("r1 = r6\nr2 = {}\ncall bpf_skb_change_type", rng.below(5)),
        1 => format!("r1 = r6\nr2 = {}\ncall bpf_set_hash", rng.below(1000)),
        2 => "r1 = r6\ncall bpf_set_hash_invalid".to_owned(),
        3 => format!("r1 = r6\nr2 = {}\nr3 = {}\ncall bpf_skb_set_tstamp", rng.below(9), rng.below(3)),
        4 => format!("r1 = {}\nr2 = {}\ncall bpf_redirect", 1 + rng.below(2), rng.below(2)),
        _ => cgroup(rng),
    }
}

fn cgroup(_: &mut Rng) -> String {
    "r1 = r6\ncall bpf_skb_ecn_set_ce".to_owned()
}

/// Reads or writes a packet through its bounds, of which `start` and `end` are the context's fields.
fn access(rng: &mut Rng, start: u32, end: u32, writes: u64) -> String {
    let (off, bits) = (rng.below(90), rng.pick(&[8, 16, 32, 64]));
    let what = match rng.below(1 + writes) {
        0 => format!("r0 = *(u{bits} *)(r1 + {off})"),
        _ => format!("*(u{bits} *)(r1 + {off}) = {}", rng.below(256)),
    };
    let need = off + bits / 8;
    format!(
        "r0 = 0\nr1 = *(u32 *)(r6 + {start})\nr2 = *(u32 *)(r6 + {end})\nr3 = r1\nr3 += {need}\n\
         if r3 > r2 goto +1\n{what}"
    )
}

fn xdp_direct(rng: &mut Rng) -> String {
    let (start, end) = rng.pick(&[(0, 4), (0, 4), (8, 0)]);
    access(rng, start, end, 1)
}

fn direct(rng: &mut Rng) -> String {
    access(rng, 76, 80, 1)
}

fn reads(rng: &mut Rng) -> String {
    access(rng, 76, 80, 0)
}

fn legacy(rng: &mut Rng) -> String {
    let bits = rng.pick(&[8, 16, 32]);
    let off = match rng.below(4) {
        0 => rng.pick(&[-0x100000, -0x100000 + 9, -0x1ffff0, -0x200000, -0x200000 + 12, -4096, -4096 + 12]),
        _ => offset(rng),
    };
    match rng.below(2) {
        0 => format!("r0 = *(u{bits} *)skb[{off}]"),
        _ => format!("r7 = {}\nr0 = *(u{bits} *)skb[r7 + {off}]", rng.below(20)),
    }
}

/// Writes a field of the context.
fn fields(rng: &mut Rng) -> String {
    let value = rng.below(65000);
    match rng.below(3) {
        0 => format!("r1 = {value}\n*(u64 *)(r6 + 152) = r1\nr0 = 0"),
        _ => {
            let off = rng.pick(&[8, 12, 32, 44, 48, 52, 60, 64, 72]);
            format!("r1 = {value}\n*(u32 *)(r6 + {off}) = r1\nr0 = 0")
        }
    }
}

/// A frame with some of the headers that helpers look at, and anything behind them.
fn packet(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for _ in 0..rng.pick(&[0, 0, 0, 1, 2]) {
        bytes.extend(rng.pick(&[[0x81, 0, 0x20, 5], [0x88, 0xa8, 0, 7]]));
    }
    let transport = rng.pick(&[6, 17, 1, 4, 41, 47]);
    match rng.below(5) {
        0 => bytes.extend([8, 6]),
        1 | 2 => {
            bytes.extend([0x86, 0xdd, 0x60, rng.below(64) as u8, 0, 0, 0, 40, transport, 64]);
            bytes.extend([[0xfd; 16], [0xfe; 16]].concat());
        }
        _ => {
            let ecn = rng.below(4) as u8;
            bytes.extend([8, 0, 0x45, ecn, 0, 84, 0, 1, 0, 0, 64, transport, 0x66, 0x55]);
            bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
    }
    let len = rng.pick(&[bytes.len() as u64, 60, 98, 98, 98, 200, 1514]).max(bytes.len() as u64);
    bytes.extend((bytes.len() as u64..len).map(|n| n as u8));
    bytes
}

/// A context that a caller may give, mostly.
fn context(rng: &mut Rng, prog_type: ProgType, packet: &[u8]) -> Vec<u8> {
    let mut context = vec![0; context_size(prog_type)];
    let mut put = |at: usize, value: u64| context[at..at + 4].copy_from_slice(&(value as u32).to_ne_bytes());
    if prog_type == ProgType::XDP {
        put(0, rng.pick(&[0, 0, 4, 8, 32]));
        put(4, packet.len() as u64);
        put(12, rng.below(2));
        return context;
    }
    for _ in 0..rng.below(4) {
        let (at, value) = rng.pick(&[
            (8, 77),
            (32, 3),
            (36, 1),
            (40, 1),
            (48, 5),
            (64, 6),
            (152, 1234),
            (160, 2000),
            (164, 3),
            (176, 100),
            (184, 9),
        ]);
        put(at, value);
    }
    context
}

/// The whole program.
fn text(rng: &mut Rng, prog_type: ProgType, steps: &[Step]) -> String {
    let mut text = "r6 = r1\nr9 = map[idx:0]+0\n".to_owned();
    for n in 0..1 + rng.below(6) {
        let step = rng.pick(steps)(rng);
        let _ = writeln!(text, "{step}\n*(u64 *)(r9 + {}) = r0", RESULTS + 8 * n);
    }
    let more: &[u32] = match prog_type {
        ProgType::XDP => &[12, 16],
        ProgType::SCHED_CLS => &[12, 36, 40, 44, 48, 64, 68, 72, 160, 164, 176],
        ProgType::CGROUP_SKB => &[12, 20, 24, 28, 32, 36, 40, 48],
        _ => &[20, 24, 28, 32, 36, 40, 48],
    };
    for (n, off) in more.iter().enumerate() {
        let _ = writeln!(text, "r1 = *(u32 *)(r6 + {off})\n*(u32 *)(r9 + {}) = r1", FIELDS + 4 * n as u64);
    }
    numbered(&(text + &epilogue(prog_type)))
}

#[test]
fn sequences_leave_what_they_leave_in_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let user = user();
    let (mut differences, mut compared) = (Vec::new(), 0);
    for (prog_type, steps) in TYPES {
        for seed in 0..cases() {
            let mut rng = Rng(seed * 31 + 1);
            let bytes = packet(&mut rng);
            let context = context(&mut rng, *prog_type, &bytes);
            let text = text(&mut rng, *prog_type, steps);
            let repeat = rng.pick(&[1, 1, 1, 2, 3]);
            let run = |side: &Side| side.run_with(*prog_type, &text, &bytes, &context, repeat);
            let what = format!("{prog_type} {seed}, {repeat} times, {} bytes:\n{text}", bytes.len());
            compared += u64::from(differ(&mut differences, &what, run(&user), run(&kernel)));
        }
    }
    assert!(compared > cases() * TYPES.len() as u64 * 9 / 10, "only {compared} load");
    let shown = differences.join("\n");
    assert!(differences.is_empty(), "{} of {compared} differ:\n{shown}", differences.len());
    println!("{compared} sequences leave what they leave in the kernel");
}
