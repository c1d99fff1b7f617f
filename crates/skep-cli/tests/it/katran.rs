//! A public load balancer on recorded packets: every packet out and every verdict is what Linux 6.18 gave.
//!
//! `SKEP_KATRAN` names a directory with the compiled objects, `SUITE.bpf.o` each; the vectors' header says from which source
//! and with which definitions. `SKEP_VECTORS` names the directory of `katran.json`, by default `../shared/vectors` beside
//! the repository.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use skep::Loaded;
use skep::runtime::command::{MapCreate, TestRun};
use skep::runtime::{Map, SharedRuntime};
use skep_isa::uapi::MapType;

use crate::harness::skip;

const MARK: usize = 8;
const CONTEXT_BYTES: usize = 192;

#[test]
fn a_load_balancer_does_what_it_does_in_linux() {
    let Some((objects, vectors)) = ground() else { return };
    let (mut exact, mut of, mut looser) = (0, 0, 0);
    for suite in list(&vectors["suites"]) {
        let name = text(&suite["suite"]);
        let object = objects.join(format!("{name}.bpf.o"));
        if !object.exists() {
            skip(&format!("suite `{name}` of the load balancer: there is no `{}`", object.display()));
            continue;
        }
        let runtime = skep_user::UserRuntime::new(skep_user::Config::default()).expect("a runtime");
        let replay = Replay::new(&runtime, &object, suite, &vectors["rings"]);
        for phase in list(&suite["phases"]) {
            list(&phase["map_updates"]).iter().for_each(|update| replay.update(update));
            for case in list(&phase["cases"]) {
                let measured = text(&case["host_kernel_6_18"]);
                replay.run(case, measured == "pass");
                of += 1;
                if measured == "pass" { exact += 1 } else { looser += 1 }
            }
        }
    }
    println!("load balancer: {exact} of {of} packets exact, {looser} by verdict only, as in Linux 6.18");
    assert!(of > 0, "at least one suite has its object");
}

/// Objects and vectors, or the reason why there are none.
fn ground() -> Option<(PathBuf, Value)> {
    let Some(objects) = std::env::var_os("SKEP_KATRAN").map(PathBuf::from) else {
        skip("`SKEP_KATRAN` does not say where the load balancer's objects are");
        return None;
    };
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let vectors = std::env::var_os("SKEP_VECTORS").map_or(beside, PathBuf::from).join("katran.json");
    let Ok(bytes) = fs::read(&vectors) else {
        skip(&format!("there are no vectors for the load balancer at `{}`", vectors.display()));
        return None;
    };
    Some((objects, serde_json::from_slice(&bytes).expect("the vectors are JSON")))
}

/// A suite's object, loaded.
struct Replay<'a> {
    loaded: Loaded,
    runtime: SharedRuntime,
    suite: &'a str,
    program: &'a str,
    rings: BTreeMap<&'a str, Vec<u8>>,
}

impl<'a> Replay<'a> {
    fn new(runtime: &SharedRuntime, object: &Path, suite: &'a Value, rings: &'a Value) -> Self {
        let opened = skep::open(object).expect("the object can be read").object;
        let target = skep::host::target(&opened);
        let linked = opened.link(&target).expect("the object links");
        let loaded = skep::load(runtime, &opened, linked).unwrap_or_else(|e| panic!("{e}"));
        let rings = rings.as_object().expect("rings by name");
        let rings = rings.iter().map(|(name, ring)| (name.as_str(), inflate(&base64(text(ring))))).collect();
        let (suite, program) = (text(&suite["suite"]), text(&suite["program"]));
        Self { loaded, runtime: runtime.clone(), suite, program, rings }
    }

    fn map(&self, name: &str) -> &Map {
        let found = self.loaded.maps().find(|map| map.def.name == name);
        &found.unwrap_or_else(|| panic!("{}: there is a map `{name}`", self.suite)).map
    }

    fn program(&self, name: &str) -> &skep::runtime::Program {
        let mut programs = self.loaded.programs.iter().flatten();
        &programs.find(|program| program.linked.name == name).expect("the program is loaded").program
    }

    fn update(&self, update: &Value) {
        let map = self.map(text(&update["map"]));
        let put = |map: &Map, key: &[u8], value: &[u8]| {
            // Per-CPU values are written for every processor.
            let value = value.repeat((map.value_stride() / value.len()).max(1));
            map.update(key, &value, 0).unwrap_or_else(|e| panic!("{}: {update}: {e}", self.suite));
        };
        if let Some(fill) = update.get("fill") {
            let first = fill["first_key"].as_u64().expect("a number") as u32;
            for (n, byte) in self.rings[text(&fill["ring"])].iter().enumerate() {
                put(map, &(first + n as u32).to_ne_bytes(), &u32::from(*byte).to_ne_bytes());
            }
        } else if let Some(program) = update.get("value_prog") {
            put(map, &hex(&update["key"]), &self.program(text(program)).fd().0.to_ne_bytes());
        } else if let Some(shape) = update.get("inner") {
            let number = |field: &str| shape[field].as_u64().expect("a number") as u32;
            let (key, value) = (number("key_size"), number("value_size"));
            let spec = MapCreate {
                map_flags: number("flags"),
                ..MapCreate::new(MapType::HASH, "inner", key, value, number("max_entries"))
            };
            let inner = Map::create(&self.runtime, &spec, 1).expect("an inner map");
            put(&inner, &hex(&update["key"]), &hex(&update["value"]));
            put(map, &hex(&update["outer_key"]), &inner.fd().0.to_ne_bytes());
        } else {
            put(map, &hex(&update["key"]), &hex(&update["value"]));
        }
    }

    fn run(&self, case: &Value, exact: bool) {
        let (input, expected) = (base64(text(&case["input"])), base64(text(&case["expected_output"])));
        let mut out = vec![0; 4096];
        let mut context = Vec::new();
        if let Some(mark) = case.get("ctx").and_then(|context| context["mark"].as_u64()) {
            context = vec![0; CONTEXT_BYTES];
            context[MARK..MARK + 4].copy_from_slice(&(mark as u32).to_ne_bytes());
        }
        let run = TestRun {
            data_in: &input,
            data_out: &mut out,
            ctx_in: &context,
            repeat: 1,
            ..TestRun::default()
        };
        let ran = self.program(self.program).test_run(run);
        let what = format!("{} {}: {}", self.suite, case["n"], case["description"]);
        let ran = ran.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(ran.retval as i32, verdict(text(&case["expected_return"])), "{what}: verdict");
        if exact {
            assert_eq!(
                out[..ran.data_size_out as usize].escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{what}"
            );
        }
    }
}

/// The number of a verdict's name.
fn verdict(name: &str) -> i32 {
    match name {
        "XDP_ABORTED" | "TC_ACT_OK" => 0,
        "XDP_DROP" => 1,
        "XDP_PASS" | "TC_ACT_SHOT" => 2,
        "XDP_TX" => 3,
        "XDP_REDIRECT" => 4,
        "TC_ACT_REDIRECT" => 7,
        "TC_ACT_UNSPEC" => -1,
        other => panic!("unknown verdict `{other}`"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    let mut bits = 0u32;
    for (n, byte) in text.bytes().filter(|byte| *byte != b'=').enumerate() {
        bits = bits << 6 | u32::from(digit(byte));
        if n % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (n % 4))) as u8);
        }
    }
    bytes
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).expect("the ring is zlib");
    out
}
