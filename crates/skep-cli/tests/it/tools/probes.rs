//! Tools that probe functions and static probes: what they show is what the command was given, or what it says itself.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use super::{arguments, events, ground_without_strace, observe_with, values};
use crate::harness::{installed, run, said, skep, skip};

/// Options that put both programs of a tool around a function.
fn around(enter: &str, leave: &str, function: &str) -> [String; 2] {
    [format!("--attach={enter}=uprobe:{function}"), format!("--attach={leave}=uretprobe:{function}")]
}

#[test]
fn gethostlatency_shows_who_is_looked_up() {
    let Some((_scratch, object)) = ground_without_strace("gethostlatency") else { return };
    let options = around("handle_entry", "handle_return", "libc.so.6:getaddrinfo");
    let argv = ["sh", "-c", "getent ahosts localhost > /dev/null; getent ahosts 127.0.0.9 > /dev/null"];
    let shown: Vec<Value> =
        events(observe_with(&object, &options.each_ref().map(String::as_str), &argv)).collect();
    let hosts: Vec<&str> = shown.iter().filter_map(|data| data["host"].as_str()).collect();
    assert_eq!(hosts, ["localhost", "127.0.0.9"]);
    assert!(shown.iter().all(|data| data["time"].as_u64().is_some_and(|time_ns| time_ns > 0)), "{shown:?}");
}

#[test]
fn bashreadline_shows_what_was_typed() {
    let Some((scratch, object)) = ground_without_strace("bashreadline") else { return };
    let typed = ["echo hello world > /dev/null", "true x y", "exit"];
    let input = fs::File::open(scratch.write("typed", typed.join("\n") + "\n")).expect("it was just written");
    let options =
        ["--attach=printret=uretprobe:bash:readline", "--event=struct event { __u32 pid; char line[80]; };"];
    let mut command = skep();
    command.args(arguments(&object, &options, &["bash", "--norc", "-i"])).stdin(Stdio::from(input));
    let said = said(command.output().expect("skep starts"));
    if said.stderr.contains("no function `readline`") {
        return skip("this bash has no function `readline`");
    }
    assert_eq!(said.status, 0, "{}", said.stderr);
    let shown: Vec<Value> = events(values(&said.stdout)).map(|data| data["line"].clone()).collect();
    assert_eq!(shown, typed);
}

/// The virtual machine's library, which has the probes.
fn libjvm() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/jvm").ok()?.flatten();
    versions.map(|version| version.path().join("lib/server/libjvm.so")).find(|path| path.is_file())
}

const GARBAGE: &str = "public class Garbage { public static void main(String[] args) {
    for (int i = 0; i < 3; i++) { byte[][] kept = new byte[50][]; for (int j = 0; j < 50; j++) kept[j] = new byte[9999]; \
    System.gc(); } } }";

#[test]
fn javagc_shows_every_collection() {
    let Some((scratch, object)) = ground_without_strace("javagc") else { return };
    let (true, Some(library)) = (installed("javac"), libjvm()) else {
        return skip("java with its compiler is not installed");
    };
    let source = scratch.write("Garbage.java", GARBAGE);
    let compiled = std::process::Command::new("javac").arg(&source).output().expect("javac starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let library = library.display();
    let options = [("handle_gc_start", "gc__begin"), ("handle_gc_end", "gc__end")]
        .map(|(program, probe)| format!("--attach={program}=usdt:{library}:hotspot:{probe}"));
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(["--without", "handle_mem_pool_*"]);
    let directory = scratch.path("");
    let classes = directory.to_str().expect("an ASCII path");
    let argv = ["java", "-XX:+UseSerialGC", "-Xlog:gc", "-cp", classes, "Garbage"];
    let said = run(arguments(&object, &options, &argv));
    assert_eq!(said.status, 0, "{}", said.stderr);
    let collections = said.stdout.lines().filter(|line| line.contains("Pause ")).count();
    assert!(collections >= 3, "{}", said.stdout);
    assert_eq!(events(values(&said.stdout)).count(), collections, "{}", said.stdout);
}
