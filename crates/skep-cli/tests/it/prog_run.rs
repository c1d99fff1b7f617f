//! `skep prog run OBJ`: a program of an object on data, without rights and without pins.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Scratch, has_clang, run, skip, tool};

fn filter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/xdp-filter.bpf.o")
}

/// A packet of UDP, which the filter drops.
fn packet() -> [u8; 60] {
    let mut packet = [0; 60];
    packet[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    packet[23] = 17;
    packet
}

#[test]
fn programs_of_objects_run_on_data() {
    let scratch = Scratch::new("prog-run");
    let (input, out) = (scratch.write("packet", packet()), scratch.path("out"));
    let object = filter();
    let words = ["prog".as_ref(), "run".as_ref(), object.as_os_str(), "data_in".as_ref(), input.as_os_str()];
    let more = ["data_out".as_ref(), out.as_os_str(), "repeat".as_ref(), "1000".as_ref()];
    let said = run([&words[..], &more[..]].concat());
    assert_eq!(said.status, 0, "{}", said.stderr);
    let line = said.stdout.trim_end();
    assert!(line.starts_with("Return value: 1, duration (average): ") && line.ends_with("ns"), "{line}");
    assert_eq!(fs::read(&out).expect("what the program left"), packet());
    let said = run([&["-j".as_ref()][..], &words[..]].concat());
    let answer: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    assert_eq!(answer["retval"], 1, "{answer}");
}

#[test]
fn the_program_of_an_object_is_chosen_by_name() {
    let scratch = Scratch::new("prog-run-choice");
    let input = scratch.write("packet", packet());
    for (object, name, complaint) in [
        (filter(), &["program", "nonsense"][..], "no program `nonsense`"),
        (tool("opensnoop.bpf.o"), &[], "several programs"),
    ] {
        let said = run(["prog".as_ref(), "run".as_ref(), object.as_os_str()]
            .into_iter()
            .chain(name.iter().map(AsRef::as_ref))
            .chain(["data_in".as_ref(), input.as_os_str()]));
        assert_eq!(said.status, 255, "{}", said.stdout);
        assert!(said.stderr.contains(complaint) && said.stderr.contains("program NAME"), "{}", said.stderr);
    }
    let object = filter();
    let words = ["prog".as_ref(), "run".as_ref(), object.as_os_str(), "program".as_ref(), "filter".as_ref()];
    let said = run([&words[..], &["data_in".as_ref(), input.as_os_str()]].concat());
    assert!(said.stdout.starts_with("Return value: 1, duration: "), "{}{}", said.stdout, said.stderr);
}

/// The header of a capture of Ethernet frames.
const EMPTY_CAPTURE: [u8; 24] =
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// One program is asked for by name, another one is rejected.
const BESIDE: &str = r#"
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

SEC("?xdp")
int fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int unproved(struct xdp_md *ctx)
{
	return *(int *)(long)ctx->data;
}

char LICENSE[] SEC("license") = "GPL";
"#;

#[test]
fn what_is_beside_a_program_does_not_matter() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let scratch = Scratch::new("prog-run-beside");
    let (source, input) = (scratch.write("beside.bpf.c", BESIDE), scratch.write("packet", packet()));
    let words = ["prog".as_ref(), "run".as_ref(), source.as_os_str(), "program".as_ref(), "fine".as_ref()];
    let said = run([&words[..], &["data_in".as_ref(), input.as_os_str()]].concat());
    assert!(said.stdout.starts_with("Return value: 2, "), "{}{}", said.stdout, said.stderr);
    let (capture, run_it) =
        (scratch.write("empty.pcap", EMPTY_CAPTURE), ["run".as_ref(), source.as_os_str()]);
    let said =
        run([&run_it[..], &["--program".as_ref(), "fine".as_ref(), "--in".as_ref(), capture.as_os_str()]]
            .concat());
    assert_eq!(said.status, 0, "{}{}", said.stdout, said.stderr);
    let unproved = ["program".as_ref(), "unproved".as_ref(), "data_in".as_ref(), input.as_os_str()];
    let said = run([&words[..3], &unproved[..]].concat());
    assert!(said.status == 255 && said.stderr.contains("unproved"), "{}{}", said.stdout, said.stderr);
}

#[test]
fn programs_run_without_data_where_their_type_needs_none() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut cases = vec![("alike/strings.bpf.c", "measure", "Return value: 0, ")];
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        // Two functions have run, and have returned 33 together.
        cases.push(("functions/traced.bpf.c", "change", "Return value: 131105, "));
    }
    for (source, program, answer) in cases {
        let source = sources.join(source);
        let said = run(["prog", "run", source.to_str().expect("an ASCII path"), "program", program]);
        assert!(said.stdout.starts_with(answer), "{program}: {}{}", said.stdout, said.stderr);
    }
}
