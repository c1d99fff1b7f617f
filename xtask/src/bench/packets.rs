//! What an XDP program costs on a capture, reading and writing included: under `skep run`, beside a plain copy of the
//! file and the same filter in tcpdump.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{Options, Report, Shown, build_skep, output};
use crate::root;

/// Builds what is measured, makes a capture, and measures.
pub(super) fn run(options: &Options) -> Result<Box<dyn Shown>, String> {
    let skep = build_skep()?;
    let directory = root().join("target/bench");
    fs::create_dir_all(&directory).map_err(|e| format!("cannot make `{}`: {e}", directory.display()))?;
    let input = directory.join("packets.pcap");
    capture(&input, options.iterations).map_err(|e| format!("cannot write `{}`: {e}", input.display()))?;
    let [out, drops] = ["out.pcap", "drops.pcap"].map(|name| directory.join(name));
    let per_packet = |start: Instant| start.elapsed().as_nanos() as f64 / options.iterations as f64;
    let report = Report::measure(
        format!("{} packets of 60 bytes through a filter of UDP", options.iterations),
        options.rounds,
        &[
            ("copy", &|| {
                let start = Instant::now();
                fs::copy(&input, &out).map_err(|e| e.to_string())?;
                Ok(per_packet(start))
            }),
            ("skep", &|| filter(&skep, &input, &out, &drops, options.iterations)),
            ("tcpdump", &|| {
                let start = Instant::now();
                let mut command = Command::new("tcpdump");
                output(command.arg("-r").arg(&input).arg("-w").arg(&out).args(["not", "udp"]))?;
                Ok(per_packet(start))
            }),
        ],
    );
    for file in [input, out, drops] {
        // Captures of millions of packets are not to be left behind; one that was not made needs no removing.
        let _ = fs::remove_file(file);
    }
    Ok(Box::new(report?))
}

/// Runs the program; answers nanoseconds per packet, after checking that it saw all of them.
fn filter(skep: &Path, input: &Path, out: &Path, drops: &Path, packets: u64) -> Result<f64, String> {
    let mut command = Command::new(skep);
    command.args([
        "run",
        "bench/xdp-filter.bpf.o",
        "--runtime",
        "user",
        "-o",
        "json",
        "--no-results",
        "--in",
    ]);
    command.arg(input).arg("--out").arg(out).arg("--drops").arg(drops).current_dir(root());
    let said = output(&mut command)?;
    let summary: Value = serde_json::from_slice(&said.stdout).map_err(|e| format!("no summary: {e}"))?;
    let dropped = summary["verdicts"]["XDP_DROP"]["packets"].as_u64();
    if summary["packets"].as_u64() != Some(packets) || dropped != Some(packets / 4) {
        return Err(format!("wrong counts: {summary}"));
    }
    summary["packet_ns"].as_f64().ok_or_else(|| format!("no time: {summary}"))
}

/// Writes a capture of TCP packets, every fourth of them UDP.
fn capture(path: &PathBuf, packets: u64) -> std::io::Result<()> {
    const LEN: u32 = 60;
    let mut out = BufWriter::new(fs::File::create(path)?);
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, 1];
    out.write_all(header.map(u32::to_le_bytes).as_flattened())?;
    for number in 0..packets {
        let record = [(number / 1_000_000) as u32, (number % 1_000_000) as u32, LEN, LEN];
        out.write_all(record.map(u32::to_le_bytes).as_flattened())?;
        out.write_all(&packet(number, LEN as usize))?;
    }
    out.flush()
}

fn packet(number: u64, len: usize) -> Vec<u8> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let mut packet = vec![0; len];
    packet[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    packet[17] = (len - 14) as u8;
    packet[22] = 64;
    packet[23] = if number.is_multiple_of(4) { UDP } else { TCP };
    packet[26..30].copy_from_slice(&(number as u32).to_be_bytes());
    packet[30..34].copy_from_slice(&[10, 0, 0, 1]);
    packet
}
