//! The rows, and the helpers that need none.

use skep_isa::uapi::ProgType;

use super::Packet::{Arp, Ipv4, Ipv6, Long, Short, Vlan};
use super::{Packet, Row};

const CLS: ProgType = ProgType::SCHED_CLS;
const ALL: &[Packet] = &[Ipv4, Ipv6, Vlan, Arp];
const ANY: &[Packet] = &[Ipv4];
const NONE: &[&str] = &[""];

/// Steps and lengths around the limits of heads, tails and pages.
const STEPS: &[&str] = &[
    "0",
    "1",
    "-1",
    "4",
    "-4",
    "14",
    "40",
    "-40",
    "84",
    "85",
    "-216",
    "-217",
    "-256",
    "-257",
    "3422",
    "3423",
    "-84",
    "-85",
    "20000",
    "-20000",
    "0x7fffffff",
    "-0x7fffffff",
];
const LENGTHS: &[&str] = &[
    "0", "1", "13", "14", "15", "34", "60", "94", "98", "99", "102", "200", "3000", "16000", "16064",
    "16065", "70000", "-1",
];
/// Offsets and lengths of parts.
const PARTS: &[&str] = &[
    "0 1",
    "0 16",
    "10 4",
    "82 16",
    "83 16",
    "97 1",
    "98 1",
    "99 1",
    "3470 16",
    "5990 10",
    "5991 10",
    "-1 4",
    "0x10000 4",
    "0xffff 4",
];

/// Device, length, difference, flags of a check of lengths; the loopback device lets 65536 bytes through.
const LENGTH_CHECKS: &[&str] = &[
    "0 0 0 0",
    "1 0 0 0",
    "1 1500 0 0",
    "1 65536 0 0",
    "1 65537 0 0",
    "1 65536 1 0",
    "1 65537 -1 0",
    "99999 0 0 0",
    "1 0 70000 0",
    "1 0 -200 0",
    "1 0 0 1",
    "1 0 5 1",
    "1 7 0 1",
    "1 0 0 2",
];
/// Family and length (in the upper half), device, IPv4 destination, flags of a look-up of routes.
const ROUTES: &[&str] = &[
    "2 1 0x0100007f 0",
    "2 1 0x0100007f 1",
    "2 1 0x08080808 0",
    "2 1 0x08080808 5",
    "2 99999 0x0100007f 0",
    "2 1 0x0100007f 64",
    "2 1 0x0100007f 2",
    "10 1 0x0100007f 0",
    "10 1 0x02ff 0",
    "10 1 0x80fe 0",
    "3 1 0 0",
    "0x05000002 1 0x0100007f 0",
];
/// Label, size and flags of a key that is set, size and flags of what is read.
const TUNNELS: &[&str] = &[
    "0 44 0 44 0",
    "0 44 1 44 1",
    "0x12345 44 1 44 1",
    "0x12345 44 0 44 0",
    "0 44 0 44 1",
    "0 44 1 44 0",
    "0 28 0 28 0",
    "0 24 0 24 0",
    "0 22 0 22 0",
    "0 8 0 8 0",
    "0 44 1 8 1",
    "0 9 0 44 0",
    "0 44 32 44 0",
    "0 44 2 44 16",
    "0 44 12 44 16",
    "0 44 16 44 16",
    "0 44 0 40 0",
    "0 44 0 44 2",
];

/// Length in the header, the first option, length told, of headers for cookies.
const SEGMENTS: &[&str] = &[
    "0x50 0 20",
    "0x60 0xb4050402 24",
    "0x60 0xa0050402 24",
    "0x60 0x14050402 24",
    "0x60 0x18020402 24",
    "0x60 0x01000402 24",
    "0x60 0x00000402 24",
    "0x60 0xff220402 24",
    "0x60 0xb4050502 24",
    "0x60 0xb4040201 24",
    "0x60 0x04020101 24",
    "0x60 0xb4050002 24",
    "0x70 0xb4050402 28",
    "0x60 0 20",
    "0x50 0 24",
    "0x40 0 16",
    "0x00 0 20",
];
/// What is added to a cookie: one is what the peer acknowledges.
const COOKIES: &[&str] = &["1", "2", "0", "9", "0x1000001", "-0x1000000"];

/// A header that begins with a byte, of a type and a length.
const ENCAPSULATE: &str = "*(u8 *)(r9 + 64) = {0}\n*(u8 *)(r9 + 66) = 3\n*(u8 *)(r9 + 73) = 4\nr1 = r6\nr2 = {1}\nr3 = r9\nr3 += 64\nr4 = {2}\ncall bpf_lwt_push_encap";
const ENCAPSULATIONS: &[&str] = &[
    "0x45 2 20",
    "0x45 2 19",
    "0x45 2 180",
    "0x46 2 20",
    "0x46 2 24",
    "0x4f 2 60",
    "0x40 2 20",
    "0x41 2 20",
    "0x44 2 20",
    "0x60 2 40",
    "0x60 2 39",
    "0x50 2 20",
    "0x45 0 24",
    "0x45 1 24",
    "0x45 3 20",
];

pub(super) const ROWS: &[Row] = &[
    // XDP: the shape of frames.
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4, Short, Long],
        body: "r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_head",
        values: STEPS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4, Short, Long],
        body: "r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_tail",
        values: STEPS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = {}\ncall bpf_xdp_adjust_meta",
        values: STEPS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = -{0}\ncall bpf_xdp_adjust_meta\nr7 = r0\nr1 = r6\nr2 = {1}\ncall bpf_xdp_adjust_head\nr0 += r7",
        values: &["8 -8", "8 14", "32 -184", "32 -185", "252 0", "256 0", "6 0"],
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4, Long],
        body: "r1 = r6\ncall bpf_xdp_get_buff_len",
        values: NONE,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4, Long],
        body: "r1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {1}\ncall bpf_xdp_load_bytes",
        values: PARTS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: &[Ipv4, Long],
        body: "r1 = 0x11223344\n*(u64 *)(r9 + 64) = r1\nr1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {1}\ncall bpf_xdp_store_bytes",
        values: PARTS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: ANY,
        body: "r1 = {0}\nr2 = {1}\ncall bpf_redirect",
        values: &["1 0", "1 1", "99 0"],
    },
    // Socket buffers: bytes.
    Row {
        prog_type: CLS,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {1}\ncall bpf_skb_load_bytes",
        values: PARTS,
    },
    Row {
        prog_type: ProgType::SOCKET_FILTER,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {1}\ncall bpf_skb_load_bytes",
        values: PARTS,
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4, Vlan],
        body: "r1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = 4\nr5 = {1}\ncall bpf_skb_load_bytes_relative",
        values: &["0 0", "0 1", "12 0", "12 1", "80 1", "81 1", "94 0", "95 0", "0 2", "0x10000 0", "-1 0"],
    },
    Row {
        prog_type: ProgType::SOCKET_FILTER,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = 4\nr5 = {1}\ncall bpf_skb_load_bytes_relative",
        values: &["0 0", "0 1", "12 0", "12 1", "80 1", "81 1", "94 0"],
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4],
        body: "r1 = 0x11223344\n*(u64 *)(r9 + 64) = r1\nr1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {1}\nr5 = {2}\ncall bpf_skb_store_bytes",
        values: &["0 4 0", "13 4 1", "94 4 2", "95 4 0", "97 1 3", "98 1 0", "-1 4 0", "0 4 4", "10 16 1"],
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4],
        body: "r1 = r6\nr2 = {}\ncall bpf_skb_pull_data",
        values: LENGTHS,
    },
    // Checksums.
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\nr4 = {2}\nr5 = {3}\ncall bpf_l3_csum_replace",
        values: &[
            "24 0x0100 0x0200 2",
            "24 0x0a000001 0x0b000001 4",
            "24 0 0x1234 0",
            "24 1 0x1234 0",
            "24 1 2 3",
            "24 1 2 0x12",
            "25 1 2 2",
            "96 1 2 2",
            "97 1 2 2",
            "98 1 2 2",
            "0x10000 1 2 2",
            "24 0xffff 0 2",
            "24 0 0xffff 2",
            "24 -1 0 4",
        ],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\nr4 = {2}\nr5 = {3}\ncall bpf_l4_csum_replace",
        values: &[
            "40 0x0100 0x0200 2",
            "40 0x0a000001 0x0b000001 0x14",
            "40 0 0x1234 0",
            "40 0 0x1234 0x10",
            "40 1 0x1234 0",
            "40 1 2 3",
            "40 0xabcd 0 0x22",
            "40 0x3412 0xffff 0x62",
            "40 1 2 0x100",
            "40 0 5 0x90",
            "41 1 2 2",
            "97 1 2 2",
        ],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r9\nr1 += 64\nr2 = {0}\nr3 = r9\nr3 += 128\nr4 = {1}\nr5 = {2}\ncall bpf_csum_diff",
        values: &["0 0 5", "4 0 5", "0 4 5", "16 16 0", "4 8 -1", "3 0 0", "64 64 1"],
    },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\nr2 = {}\ncall bpf_csum_update", values: &["0", "5"] },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {0}\ncall bpf_csum_level\nr7 = r0\nr1 = r6\nr2 = {1}\ncall bpf_csum_level\nr7 <<= 32\nr0 += r7",
        values: &["0 0", "1 0", "1 1", "2 0", "3 0", "4 0", "1 2", "1 3"],
    },
    // Socket buffers: shape.
    Row {
        prog_type: CLS,
        packets: ALL,
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\ncall bpf_skb_vlan_push",
        values: &["0x0081 100", "0xa888 4095", "0 0x1fff", "0x12345678 1"],
    },
    Row {
        prog_type: CLS,
        packets: ALL,
        body: "r1 = r6\nr2 = 0x0081\nr3 = 5\ncall bpf_skb_vlan_push\nr7 = r0\nr1 = r6\nr2 = 0xa888\nr3 = 6\ncall bpf_skb_vlan_push\nr0 += r7",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4, Vlan, Short],
        body: "r1 = r6\ncall bpf_skb_vlan_pop",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: ALL,
        body: "r1 = r6\nr2 = 0x0081\nr3 = 5\ncall bpf_skb_vlan_push\nr1 = r6\ncall bpf_skb_vlan_pop\nr7 = r0\nr1 = r6\ncall bpf_skb_vlan_pop\nr0 += r7",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4, Ipv6, Arp],
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\ncall bpf_skb_change_proto",
        values: &["0x0008 0", "0xdd86 0", "0xdd86 1", "0x0608 0"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {}\ncall bpf_skb_change_type",
        values: &["0", "1", "2", "3", "4", "-1"],
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4, Arp],
        body: "r1 = r6\nr2 = {}\nr3 = 0\ncall bpf_skb_change_tail",
        values: LENGTHS,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {}\nr3 = 0\ncall bpf_skb_change_head",
        values: LENGTHS,
    },
    Row {
        prog_type: CLS,
        packets: &[Ipv4, Ipv6, Arp],
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\nr4 = {2}\ncall bpf_skb_adjust_room",
        values: &[
            "0 0 0",
            "20 0 0",
            "20 1 0",
            "-20 0 0",
            "-20 1 0",
            "-64 1 0",
            "-65 1 0",
            "8 2 0",
            "4095 1 0",
            "4096 1 0",
            "-4096 1 0",
            "20 1 2",
            "40 1 4",
            "20 1 6",
            "28 1 0x12",
            "28 1 0x1a",
            "24 1 0xa",
            "20 1 0x20",
            "20 1 0x1000",
            "14 1 0x42",
            "-20 1 0x80",
            "-20 1 0x100",
            "-20 1 0x180",
            "20 1 0x80",
            "-20 1 2",
        ],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = 20\nr3 = 1\nr4 = 2\ncall bpf_skb_adjust_room\nr1 = r6\nr2 = 20\nr3 = 1\nr4 = 2\ncall bpf_skb_adjust_room\nr7 = r0\nr1 = r6\nr2 = 60\nr3 = 0\ncall bpf_skb_change_tail\nr0 += r7",
        values: NONE,
    },
    Row {
        prog_type: ProgType::LWT_IN,
        packets: &[Ipv4, Ipv6, Arp],
        body: ENCAPSULATE,
        values: ENCAPSULATIONS,
    },
    Row {
        prog_type: ProgType::LWT_XMIT,
        packets: &[Ipv4, Ipv6, Arp],
        body: ENCAPSULATE,
        values: ENCAPSULATIONS,
    },
    Row {
        prog_type: ProgType::LWT_XMIT,
        packets: ANY,
        body: "*(u8 *)(r9 + 64) = 0x45\n*(u8 *)(r9 + 73) = 4\nr1 = r6\nr2 = 2\nr3 = r9\nr3 += 64\nr4 = 20\ncall bpf_lwt_push_encap\nr7 = r0\nr1 = r6\nr2 = 2\nr3 = r9\nr3 += 64\nr4 = {}\ncall bpf_lwt_push_encap\nr0 += r7\nr7 = r0\nr1 = r6\nr2 = 30\nr3 = 0\ncall bpf_skb_change_tail\nr7 <<= 32\nr0 += r7",
        values: &["20", "100", "180"],
    },
    // Socket buffers: what is known of them.
    Row {
        prog_type: ProgType::CGROUP_SKB,
        packets: &[Ipv4, Ipv6, Arp],
        body: "r1 = r6\ncall bpf_skb_ecn_set_ce",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: ALL,
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\ncall bpf_skb_set_tstamp\nr1 = *(u64 *)(r6 + 152)\n*(u64 *)(r9 + 64) = r1",
        values: &["0 0", "5 0", "5 1", "0 1", "5 2", "0 3"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {}\ncall bpf_set_hash\nr1 = r6\ncall bpf_get_hash_recalc\nr7 = r0\nr1 = r6\ncall bpf_set_hash_invalid\nr1 = *(u32 *)(r6 + 68)\n*(u64 *)(r9 + 64) = r1\nr0 = r7",
        values: &["1", "0x12345678"],
    },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\ncall bpf_get_cgroup_classid", values: NONE },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\ncall bpf_get_route_realm", values: NONE },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\ncall bpf_skb_cgroup_classid", values: NONE },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\ncall bpf_get_socket_uid", values: NONE },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {0}\nr2 = {1}\ncall bpf_redirect",
        values: &["1 0", "1 1", "1 2", "0 0", "99 1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {0}\nr2 = {1}\ncall bpf_redirect_peer",
        values: &["1 0", "1 1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {0}\nr2 = 0\nr3 = 0\nr4 = {1}\ncall bpf_redirect_neigh",
        values: &["1 0", "1 1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {0}\nr3 = {1}\ncall bpf_clone_redirect",
        values: &["99999 0", "1 2", "99999 1"],
    },
    // Devices, routes, sockets, tunnels.
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {1}\n*(u32 *)(r9 + 64) = r1\nr1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {2}\nr5 = {3}\ncall bpf_check_mtu",
        values: LENGTH_CHECKS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: ANY,
        body: "r1 = {1}\n*(u32 *)(r9 + 64) = r1\nr1 = r6\nr2 = {0}\nr3 = r9\nr3 += 64\nr4 = {2}\nr5 = {3}\ncall bpf_check_mtu",
        values: LENGTH_CHECKS,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {0}\n*(u32 *)(r9 + 64) = r1\nr1 = {1}\n*(u32 *)(r9 + 72) = r1\nr1 = {2}\n*(u32 *)(r9 + 96) = r1\nr1 = r6\nr2 = r9\nr2 += 64\nr3 = 64\nr4 = {3}\ncall bpf_fib_lookup",
        values: ROUTES,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: ANY,
        body: "r1 = {0}\n*(u32 *)(r9 + 64) = r1\nr1 = {1}\n*(u32 *)(r9 + 72) = r1\nr1 = {2}\n*(u32 *)(r9 + 96) = r1\nr1 = r6\nr2 = r9\nr2 += 64\nr3 = 64\nr4 = {3}\ncall bpf_fib_lookup",
        values: ROUTES,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = r9\nr2 += 64\nr3 = 12\nr4 = 0\ncall bpf_fib_lookup",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = r9\nr2 += 64\nr3 = {0}\nr4 = {1}\nr5 = {2}\ncall bpf_sk_lookup_tcp\nif r0 == 0 goto +3\nr1 = r0\ncall bpf_sk_release\nr0 = 7",
        values: &["12 -1 0", "36 -1 0", "5 -1 0", "12 -1 1", "12 0 0"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {}\nif r1 == 0 goto +1\nr1 = r6\ncall bpf_get_netns_cookie",
        values: &["1"],
    },
    Row { prog_type: CLS, packets: ANY, body: "r1 = r6\ncall bpf_skb_cgroup_id", values: NONE },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = {}\ncall bpf_skb_ancestor_cgroup_id",
        values: &["0", "1", "2", "40", "-1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = 0x04030201\n*(u32 *)(r9 + 64) = r1\n*(u32 *)(r9 + 68) = r1\n*(u32 *)(r9 + 72) = r1\nr1 = 0x1122\n*(u16 *)(r9 + 84) = r1\nr1 = {0}\n*(u32 *)(r9 + 88) = r1\nr1 = 0x0d0c0b0a\n*(u32 *)(r9 + 92) = r1\n*(u32 *)(r9 + 100) = r1\nr1 = r6\nr2 = r9\nr2 += 64\nr3 = {1}\nr4 = {2}\ncall bpf_skb_set_tunnel_key\nr7 = r0\nr1 = r6\nr2 = r9\nr2 += 128\nr3 = {3}\nr4 = {4}\ncall bpf_skb_get_tunnel_key\nr7 <<= 32\nr0 += r7",
        values: TUNNELS,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = r9\nr2 += 64\nr3 = {0}\nr4 = {1}\ncall bpf_skb_get_tunnel_key",
        values: &["44 0", "28 1", "44 2"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = r9\nr2 += 64\nr3 = 44\nr4 = 0\ncall bpf_skb_set_tunnel_key\nr1 = 0x1122\n*(u32 *)(r9 + 64) = r1\nr1 = r6\nr2 = r9\nr2 += 64\nr3 = {0}\ncall bpf_skb_set_tunnel_opt\nr7 = r0\nr1 = r6\nr2 = r9\nr2 += 128\nr3 = {1}\ncall bpf_skb_get_tunnel_opt\nr7 <<= 32\nr0 += r7",
        values: &["4 4", "8 16", "8 4", "6 8", "64 64"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = r9\nr2 += 64\nr3 = 8\ncall bpf_skb_set_tunnel_opt\nr7 = r0\nr1 = r6\nr2 = r9\nr2 += 128\nr3 = 8\ncall bpf_skb_get_tunnel_opt\nr7 <<= 32\nr0 += r7",
        values: NONE,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r6\nr2 = 0\nr3 = r9\nr3 += 64\nr4 = {}\nr5 = 0\ncall bpf_skb_get_xfrm_state",
        values: &["28", "8"],
    },
    // Not of packets.
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = {}\nr0 = r1\nr0 <<= 1\ncall bpf_get_numa_node_id",
        values: &["1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = 0x2d34322d\n*(u64 *)(r9 + 64) = r1\nr1 = r9\nr1 += 64\nr2 = {0}\nr3 = {1}\nr4 = r9\nr4 += 80\ncall bpf_strtol",
        values: &["4 0", "3 10", "1 10", "4 7", "4 16"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = 0x2d343231\n*(u64 *)(r9 + 64) = r1\nr1 = r9\nr1 += 64\nr2 = {0}\nr3 = {1}\nr4 = r9\nr4 += 80\ncall bpf_strtoul",
        values: &["4 0", "3 10", "1 8", "4 7", "3 16"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r2 = r10\nr2 += -4\n*(u32 *)(r10 - 4) = {}\nr1 = map[idx:0]\ncall bpf_map_lookup_elem\nif r0 == 0 goto +1\nr0 = 1",
        values: &["0", "1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "*(u32 *)(r10 - 4) = {0}\nr1 = map[idx:0]\nr2 = r10\nr2 += -4\nr3 = r9\nr4 = {1}\ncall bpf_map_update_elem",
        values: &["0 0", "0 1", "0 2", "0 3", "1 0", "0 4"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "*(u32 *)(r10 - 4) = {}\nr1 = map[idx:0]\nr2 = r10\nr2 += -4\ncall bpf_map_delete_elem",
        values: &["0", "1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r9\nr1 += 64\nr2 = {0}\nr3 = {1}\nr4 = r10\nr4 += -16\ncall bpf_dynptr_from_mem\nr7 = r0\nr1 = r9\nr1 += 200\nr2 = {2}\nr3 = r10\nr3 += -16\nr4 = {3}\nr5 = 0\ncall bpf_dynptr_read\nr7 <<= 32\nr0 += r7",
        values: &["32 0 8 0", "32 0 8 24", "32 0 8 25", "32 1 8 0", "8 0 8 1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r9\nr1 += 64\nr2 = 32\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_dynptr_from_mem\nr1 = r10\nr1 += -16\nr2 = {0}\nr3 = r9\nr4 = {1}\nr5 = {2}\ncall bpf_dynptr_write",
        values: &["0 8 0", "24 8 0", "25 8 0", "0 8 1"],
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "r1 = r9\nr1 += 64\nr2 = 32\nr3 = 0\nr4 = r10\nr4 += -16\ncall bpf_dynptr_from_mem\nr1 = r10\nr1 += -16\nr2 = {}\nr3 = 8\ncall bpf_dynptr_data\nif r0 == 0 goto +1\nr0 = 1",
        values: &["0", "24", "25"],
    },
    // SYN cookies: what they stand for, and which come back.
    Row {
        prog_type: ProgType::XDP,
        packets: ANY,
        body: "*(u8 *)(r9 + 140) = {0}\n*(u32 *)(r9 + 148) = {1}\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\nr3 = {2}\ncall bpf_tcp_raw_gen_syncookie_ipv4\nif r0 s< 0 goto +1\nr0 >>= 32",
        values: SEGMENTS,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "*(u8 *)(r9 + 140) = {0}\n*(u32 *)(r9 + 148) = {1}\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\nr3 = {2}\ncall bpf_tcp_raw_gen_syncookie_ipv6\nif r0 s< 0 goto +1\nr0 >>= 32",
        values: SEGMENTS,
    },
    Row {
        prog_type: ProgType::XDP,
        packets: ANY,
        body: "*(u8 *)(r9 + 140) = 0x50\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\nr3 = 20\ncall bpf_tcp_raw_gen_syncookie_ipv4\nr0 += {}\nr0 = be32 r0\n*(u32 *)(r9 + 136) = r0\n*(u32 *)(r9 + 132) = 0x01000000\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\ncall bpf_tcp_raw_check_syncookie_ipv4\n*(u32 *)(r9 + 136) = 0",
        values: COOKIES,
    },
    Row {
        prog_type: CLS,
        packets: ANY,
        body: "*(u8 *)(r9 + 140) = 0x50\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\nr3 = 20\ncall bpf_tcp_raw_gen_syncookie_ipv6\nr0 += {}\nr0 = be32 r0\n*(u32 *)(r9 + 136) = r0\n*(u32 *)(r9 + 132) = 0x01000000\nr1 = r9\nr1 += 64\nr2 = r9\nr2 += 128\ncall bpf_tcp_raw_check_syncookie_ipv6\n*(u32 *)(r9 + 136) = 0",
        values: COOKIES,
    },
];

/// Helpers without a row, and why.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    (
        "bpf_ktime_get_ns bpf_ktime_get_boot_ns bpf_ktime_get_coarse_ns bpf_ktime_get_tai_ns bpf_jiffies64 \
         bpf_get_prandom_u32 bpf_get_smp_processor_id",
        "they answer something else each time",
    ),
    (
        "bpf_snprintf bpf_strncmp bpf_trace_printk bpf_trace_vprintk bpf_map_push_elem bpf_map_pop_elem bpf_map_peek_elem \
         bpf_map_lookup_percpu_elem bpf_for_each_map_elem bpf_loop bpf_tail_call bpf_spin_lock bpf_spin_unlock \
         bpf_ringbuf_output bpf_ringbuf_reserve bpf_ringbuf_submit bpf_ringbuf_discard bpf_ringbuf_query \
         bpf_ringbuf_reserve_dynptr bpf_ringbuf_submit_dynptr bpf_ringbuf_discard_dynptr bpf_user_ringbuf_drain \
         bpf_perf_event_output bpf_kptr_xchg bpf_per_cpu_ptr bpf_this_cpu_ptr",
        "the virtual machine's own tests have maps, texts and callbacks for them, some of these with the kernel beside",
    ),
    (
        "bpf_probe_read bpf_probe_read_user bpf_probe_read_kernel bpf_probe_read_str bpf_probe_read_user_str \
         bpf_probe_read_kernel_str bpf_probe_write_user bpf_copy_from_user bpf_copy_from_user_task bpf_get_current_task \
         bpf_get_current_task_btf bpf_task_pt_regs bpf_get_current_pid_tgid bpf_get_current_uid_gid bpf_get_current_comm \
         bpf_get_current_cgroup_id bpf_get_current_ancestor_cgroup_id bpf_current_task_under_cgroup \
         bpf_get_ns_current_pid_tgid bpf_get_attach_cookie bpf_get_func_ip bpf_get_func_arg bpf_get_func_arg_cnt \
         bpf_get_func_ret bpf_send_signal bpf_send_signal_thread bpf_get_stackid bpf_get_stack bpf_get_task_stack \
         bpf_find_vma bpf_snprintf_btf bpf_get_branch_snapshot bpf_read_branch_records bpf_task_storage_get bpf_task_storage_delete",
        "they ask of a traced task, which a test run has not",
    ),
    (
        "bpf_redirect_map bpf_sk_storage_get bpf_sk_storage_delete bpf_inode_storage_get bpf_inode_storage_delete \
         bpf_cgrp_storage_get bpf_cgrp_storage_delete",
        "they need a map of their own, or an owner that a test run has not",
    ),
    ("bpf_get_socket_cookie", "it answers something else for each socket"),
    (
        "bpf_timer_init bpf_timer_set_callback bpf_timer_start bpf_timer_cancel bpf_sk_lookup_udp bpf_skc_lookup_tcp \
         bpf_sk_assign bpf_get_listener_sock bpf_sk_fullsock bpf_skb_under_cgroup bpf_get_local_storage \
         bpf_seq_printf bpf_seq_printf_btf bpf_seq_write bpf_d_path",
        "the sources of `alike` call them on both sides",
    ),
];
