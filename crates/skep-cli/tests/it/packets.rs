//! `skep run --in`: packets from captures, by verdict into captures.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Said, Scratch, has_clang, installed, run, skep, skip};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The filter of the benchmarks: drops UDP, counts IPv4 by protocol.
fn filter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/xdp-filter.bpf.o")
}

fn packet(protocol: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0x11; len];
    packet[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    packet[23] = protocol;
    packet
}

/// A capture as other tools write it: byte order and resolution of times vary.
fn pcap(big_endian: bool, nanoseconds: bool, link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let order = |word: u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let version = if big_endian { 2 << 16 | 4 } else { 4 << 16 | 2 };
    let mut bytes = [magic, version, 0, 0, 65535, link].map(order).as_flattened().to_vec();
    for (number, packet) in packets.iter().enumerate() {
        let len = packet.len() as u32;
        bytes.extend_from_slice([1000 + number as u32, 7, len, len + 100].map(order).as_flattened());
        bytes.extend_from_slice(packet);
    }
    bytes
}

/// The packets of a capture in the old format and this machine's byte order, with times and lengths on the wire.
fn read(path: &Path) -> Vec<(u64, u32, Vec<u8>)> {
    let bytes = fs::read(path).expect("the capture was written");
    let word = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("a record is whole"));
    assert_eq!(word(0), 0xa1b2_3c4d, "nanoseconds");
    let mut at = 24;
    let mut packets = Vec::new();
    while at < bytes.len() {
        let len = word(at + 8) as usize;
        let stamp = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4));
        packets.push((stamp, word(at + 12), bytes[at + 16..at + 16 + len].to_vec()));
        at += 16 + len;
    }
    packets
}

struct Captures {
    scratch: Scratch,
    input: PathBuf,
    out: PathBuf,
    drops: PathBuf,
}

impl Captures {
    fn new(name: &str, input: &[u8]) -> Self {
        let scratch = Scratch::new(name);
        let [input_path, out, drops] = ["in.pcap", "out.pcap", "drops.pcap"].map(|name| scratch.path(name));
        fs::write(&input_path, input).expect("the capture can be written");
        Self { scratch, input: input_path, out, drops }
    }

    fn run(&self) -> Said {
        let object = filter();
        let words = ["run".as_ref(), object.as_os_str(), "-o".as_ref(), "json".as_ref(), "--in".as_ref()];
        let files = [self.input.as_os_str(), "--out".as_ref(), self.out.as_os_str()];
        run([&words[..], &files[..], &["--drops".as_ref(), self.drops.as_os_str()]].concat())
    }
}

fn json(line: Option<&str>) -> Value {
    serde_json::from_str(line.expect("there is a line")).expect("it is JSON")
}

#[test]
fn packets_go_by_verdict() {
    let packets = [packet(TCP, 60), packet(UDP, 61), packet(TCP, 1500), packet(UDP, 9000), packet(TCP, 24)];
    for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let captures = Captures::new("verdicts", &pcap(big_endian, nanoseconds, 1, &packets));
        let said = captures.run();
        assert_eq!(said.status, 0, "{}", said.stderr);
        let mut lines = said.stdout.lines();
        let summary = json(lines.next());
        assert_eq!(summary["verdicts"]["XDP_PASS"]["packets"], 3);
        assert_eq!(summary["verdicts"]["XDP_DROP"]["bytes"], 9061);
        let counts = json(lines.next());
        assert_eq!(counts["data"].as_array().expect("elements").len(), 2, "{counts}");
        let tick = if nanoseconds { 7 } else { 7000 };
        let expected = |numbers: &[usize]| -> Vec<_> {
            let one = |&n: &usize| {
                (1_000_000_000 * (1000 + n as u64) + tick, packets[n].len() as u32 + 100, packets[n].clone())
            };
            numbers.iter().map(one).collect()
        };
        assert_eq!(read(&captures.out), expected(&[0, 2, 4]));
        assert_eq!(read(&captures.drops), expected(&[1, 3]));
    }
}

/// Takes a tag away where there is one, and gives one where there is none; both as metadata, as Linux has it.
const TAGS: &str = r#"
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

SEC("tc")
int turn(struct __sk_buff *skb)
{
	if (skb->protocol != bpf_htons(0x0800))
		return 2;
	if (skb->vlan_present)
		return bpf_skb_vlan_pop(skb) ? 2 : 0;
	return bpf_skb_vlan_push(skb, bpf_htons(0x8100), 7) ? 2 : 0;
}

SEC("flow_dissector")
int dissect(struct __sk_buff *skb)
{
	skb->flow_keys->ip_proto = 6;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
"#;

#[test]
fn tags_are_metadata_for_traffic_control_and_data_in_captures() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let plain = packet(TCP, 60);
    let tagged = [&plain[..12], &[0x81, 0, 0, 7], &plain[12..]].concat();
    let captures =
        Captures::new("tags", &pcap(false, true, 1, &[plain.clone(), tagged.clone(), vec![1; 13]]));
    let source = captures.scratch.write("tags.bpf.c", TAGS);
    let words =
        |name| ["run".as_ref(), source.as_os_str(), "--program".as_ref(), OsStr::new(name), "--in".as_ref()];
    let files = [captures.input.as_os_str(), "--out".as_ref(), captures.out.as_os_str()];
    let said = run([&words("turn")[..], &files[..]].concat());
    assert_eq!(said.status, 0, "{}", said.stderr);
    let written: Vec<_> = read(&captures.out).into_iter().map(|(_, _, data)| data).collect();
    assert_eq!(written, [tagged, plain]);
    // A frame without a whole header has flow keys, too.
    let said = run([&words("dissect")[..], &files[..]].concat());
    assert_eq!((said.status, read(&captures.out).len()), (0, 3), "{}", said.stderr);
}

#[test]
fn the_new_format_goes_in_and_out() {
    let packets = [packet(TCP, 60), packet(UDP, 61), packet(TCP, 62)];
    let first = Captures::new("to-pcapng", &pcap(false, true, 1, &packets));
    let other = Captures { out: first.out.with_extension("pcapng"), ..first };
    assert_eq!(other.run().status, 0);
    let again = Captures::new("from-pcapng", &fs::read(&other.out).expect("the capture was written"));
    let said = again.run();
    assert_eq!(said.status, 0, "{}", said.stderr);
    let written: Vec<_> = read(&again.out).into_iter().map(|(stamp, _, data)| (stamp, data)).collect();
    let stamp = |n: u64| 1_000_000_000 * (1000 + n) + 7;
    assert_eq!(written, [(stamp(0), packets[0].clone()), (stamp(2), packets[2].clone())]);
}

#[test]
fn packets_without_link_layer_stay_without() {
    let bare: Vec<Vec<u8>> = [packet(TCP, 60), packet(UDP, 60)].map(|packet| packet[14..].to_vec()).into();
    let captures = Captures::new("raw-ip", &pcap(false, true, 101, &bare));
    assert_eq!(captures.run().status, 0);
    let data = |path: &Path| read(path).into_iter().map(|(.., data)| data).collect::<Vec<_>>();
    assert_eq!(data(&captures.out), bare[..1]);
    assert_eq!(data(&captures.drops), bare[1..]);
}

#[test]
fn a_capture_that_is_cut_off_is_run_up_to_there() {
    let whole = pcap(false, false, 1, &[packet(TCP, 60), packet(UDP, 60)]);
    for (len, packets, says) in [
        (whole.len() - 1, 1, "is cut off"),
        (24 + 16 + 60 + 3, 1, "is cut off"),
        (24 + 16 + 59, 0, "is cut off"),
        (24, 0, ""),
    ] {
        let captures = Captures::new("cut-off", &whole[..len]);
        let said = captures.run();
        assert_eq!(said.status, i32::from(!says.is_empty()), "{len}: {}", said.stderr);
        assert!(said.stderr.contains(says), "{len}: {}", said.stderr);
        assert_eq!(json(said.stdout.lines().next())["packets"], packets, "{len}");
        assert_eq!(read(&captures.out).len(), packets, "{len}");
    }
}

#[test]
fn a_capture_in_the_new_format_that_is_cut_off_is_run_up_to_there() {
    let packets = [packet(TCP, 60), packet(TCP, 61)];
    let first = Captures::new("whole-pcapng", &pcap(false, true, 1, &packets));
    let first = Captures { out: first.out.with_extension("pcapng"), ..first };
    assert_eq!(first.run().status, 0);
    let whole = fs::read(&first.out).expect("the capture was written");
    let word = |at: usize| u32::from_ne_bytes(*whole[at..].first_chunk().expect("a block is whole"));
    let (mut at, mut before) = (0, 0);
    while at < whole.len() {
        const PACKET_BLOCK: u32 = 6;
        let len = word(at + 4) as usize;
        for cut in [0, 3, 8, len / 2, len - 1].into_iter().filter(|cut| at + cut >= 12) {
            let captures = Captures::new("cut-pcapng", &whole[..at + cut]);
            let said = captures.run();
            let header_is_cut = at == 0;
            let status = if header_is_cut { 2 } else { i32::from(cut != 0) };
            assert_eq!(said.status, status, "{}: {}", at + cut, said.stderr);
            if status == 1 {
                assert!(said.stderr.contains("is cut off"), "{}: {}", at + cut, said.stderr);
                assert_eq!(json(said.stdout.lines().next())["packets"], before, "{}", at + cut);
            }
        }
        before += usize::from(word(at) == PACKET_BLOCK);
        at += len;
    }
    assert_eq!(before, packets.len());
}

#[test]
fn what_is_no_capture_is_said_so() {
    let check = |input: &[u8], says: &str| {
        let said = Captures::new("no-capture", input).run();
        assert_eq!(said.status, 2, "{}", said.stderr);
        assert!(said.stderr.contains(says), "{}", said.stderr);
    };
    check(b"", "no capture");
    check(b"PK\x03\x04 and more", "no capture");
    check(&pcap(false, false, 105, &[]), "link type 105");
    check(&pcap(false, false, 1, &[])[..20], "ends before its header does");
}

#[test]
fn a_damaged_length_costs_no_memory() {
    let mut bytes = pcap(false, false, 1, &[packet(TCP, 60)]);
    bytes[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let said = Captures::new("damaged", &bytes).run();
    assert!(said.stderr.contains("is damaged at byte"), "{}", said.stderr);
}

/// Sends datagrams to a made-up neighbour behind the device. A shell keeps SIGINT from what it runs in the background.
const TRAFFIC: &str = r#"
"$SKEP" run "$FILTER" --device skep0 --drops "$DROPS" -o json > "$SAID" 2>&1 &
pid=$!
for _ in $(seq 100); do ip link show skep0 > /dev/null 2>&1 && break; sleep 0.1; done
ip addr add 10.9.9.1/24 dev skep0 && ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:02 dev skep0 || exit 99
exec 3<> /dev/udp/10.9.9.2/9
for _ in $(seq 5); do echo hello >&3; sleep 0.1; done
kill -TERM $pid
wait $pid
"#;

#[test]
fn a_devices_packets_come_live_without_privileges() {
    let missing = ["unshare", "ip", "bash"].into_iter().find(|tool| !installed(tool));
    if let Some(tool) = missing {
        return skip(&format!("packets of a live device need `{tool}`"));
    }
    let scratch = Scratch::new("live");
    let [drops, said] = ["drops.pcap", "said"].map(|name| scratch.path(name));
    let binary = skep().get_program().to_owned();
    let mut shell = std::process::Command::new("unshare");
    shell.args(["-rn", "bash", "-c", TRAFFIC]).env("SKEP", binary).env("SKEP_RUNTIME", "user");
    shell.env("FILTER", filter()).env("DROPS", &drops).env("SAID", &said);
    let output = shell.output().expect("unshare starts");
    let text = fs::read_to_string(&said).unwrap_or_default();
    let refused = text.contains("CAP_NET_ADMIN") || text.is_empty() || output.status.code() == Some(99);
    if refused {
        return skip(&format!(
            "no network of one's own here: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    assert_eq!(output.status.code(), Some(128 + 15), "{text}");
    let summary = json(text.lines().find(|line| line.contains("\"packets\"")));
    assert!(summary["verdicts"]["XDP_DROP"]["packets"].as_u64() >= Some(1), "{text}");
    let dropped = read(&drops);
    assert!(dropped.iter().any(|(.., data)| data.ends_with(b"hello\n")), "{text}");
}
