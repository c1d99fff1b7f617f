//! Iterators write the same on both runtimes: over elements of maps, over what this test has made, over this process.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use skep::object::Object;
use skep::runtime::{AttachOptions, AttachTarget, SharedRuntime};
use skep::{Loaded, host, variables};

use super::runtimes;

/// Which program goes over elements of which map.
const ELEMENTS: [(&str, &str); 3] =
    [("numbers_elem", "numbers"), ("list_elem", "list"), ("counters_elem", "counters")];

fn load(runtime: &SharedRuntime, object: &Object) -> Loaded {
    let linked = host::link(object).expect("it links");
    skep::load(runtime, object, linked).unwrap_or_else(|e| panic!("in the {} runtime: {e}", runtime.kind()))
}

/// What a program writes, line by line.
fn lines(loaded: &Loaded, name: &str, map: Option<&str>, sorted: bool) -> Vec<String> {
    let program = loaded.programs.iter().flatten().find(|program| program.linked.name == name);
    let program = program.expect("the source has it");
    let map = map.map(|name| loaded.maps().find(|map| map.def.name == name).expect("the source has it"));
    let target = map.map(|map| AttachTarget::Map(map.map.fd()));
    let of_a_task = ["tasks", "files", "vmas"].contains(&name);
    let process = of_a_task.then(std::process::id);
    let options = AttachOptions { target, process, ..AttachOptions::default() };
    let link = program.program.attach(&program.linked.attach, &options).expect("it attaches");
    // A second reading begins anew.
    link.iterate().unwrap_or_else(|e| panic!("{name}: {e}"));
    let text = link.iterate().unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut lines: Vec<String> = String::from_utf8(text).expect("text").lines().map(str::to_owned).collect();
    if sorted {
        lines.sort();
    }
    lines
}

#[test]
fn iterators() {
    let Some([user, kernel]) = runtimes() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/alike/iterators.bpf.c");
    let mut object = skep::open(&path).expect("it compiles").object;
    let mut file = File::open(&path).expect("it is there");
    file.read_exact(&mut [0; 7]).expect("it is longer");
    assert_eq!(file.stream_position().ok(), Some(7));
    let set = |object: &mut Object, name: &str, value: u64| {
        variables::set(object, name, &value.to_string()).expect("a variable");
    };
    set(&mut object, "wanted_fd", file.as_raw_fd() as u64);
    set(&mut object, "wanted_address", iterators as *const () as usize as u64);
    let both = [&user, &kernel].map(|runtime| load(runtime, &object));
    for loaded in &both {
        let map = |name: &str| &loaded.maps().find(|map| map.def.name == name).expect("a map").map;
        for n in 0..3000u32 {
            map("numbers")
                .update(&n.to_ne_bytes(), &u64::from(n * n).to_ne_bytes(), 0)
                .expect("there is room");
        }
        map("list").update(&2u32.to_ne_bytes(), &7u64.to_ne_bytes(), 0).expect("it is in range");
        let slots = vec![5u8; map("counters").value_stride()];
        map("counters").update(&1u32.to_ne_bytes(), &slots, 0).expect("it is in range");
    }
    let programs = ["maps", "progs", "links", "tasks", "files", "vmas"].map(|name| (name, None));
    for (name, map) in ELEMENTS.map(|(name, map)| (name, Some(map))).into_iter().chain(programs) {
        let [ours, theirs] = both.each_ref().map(|loaded| lines(loaded, name, map, name == "numbers_elem"));
        assert!(!theirs.is_empty(), "{name} writes something");
        assert_eq!(ours.len(), theirs.len(), "{name}: ours is left, the kernel's right");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}: ours is left, the kernel's right");
        }
    }
}
