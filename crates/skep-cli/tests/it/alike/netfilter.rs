//! Netfilter programs: the same packets at the same places of their way show the same to programs of both runtimes.

use std::path::Path;

use skep::object::Object;
use skep::runtime::SharedRuntime;
use skep::runtime::command::TestRun;
use skep::{Loaded, host, variables};

use super::{packet, runtimes};

const VARIABLES: [&str; 6] = ["hook", "family", "len", "bytes", "source", "devices"];
/// `struct nf_hook_state`.
const STATE_BYTES: usize = 48;

fn load(runtime: &SharedRuntime, object: &Object) -> Loaded {
    skep::load(runtime, object, host::link(object).expect("it links")).expect("it loads")
}

/// What comes of a packet.
fn answer(loaded: &Loaded, data: &[u8], state: &[u8]) -> String {
    let run = TestRun { data_in: data, ctx_in: state, ..TestRun::default() };
    let program = &loaded.program("filter").expect("it was loaded").program;
    let answer = program.test_run(run).map(|ran| (ran.retval, ran.data_size_out)).map_err(|e| e.errno());
    let left = VARIABLES.map(|name| variables::read(loaded, name).expect("a variable"));
    format!("{answer:?} {left:?}")
}

/// States: every hook and one that there is not, of every family and one that cannot be, and one with a pointer.
fn states() -> Vec<Vec<u8>> {
    let state = |hook: u8, family: u8| {
        let mut bytes = vec![0; STATE_BYTES];
        bytes[..2].copy_from_slice(&[hook, family]);
        bytes
    };
    let mut states = vec![Vec::new()];
    states.extend((0..6).flat_map(|hook| [2, 10, 5].map(|family| state(hook, family))));
    let mut pointing = state(1, 2);
    pointing[16] = 1;
    states.extend([pointing, state(1, 2)[..2].to_vec()]);
    states
}

/// IPv4, IPv6, neither, and short ones.
fn packets() -> Vec<Vec<u8>> {
    let ipv4 = packet();
    let of_type = |high: u8, low: u8| [&ipv4[..12], &[high, low], &ipv4[14..]].concat();
    vec![
        of_type(0x86, 0xdd),
        of_type(0x08, 0x06),
        of_type(0x86, 0xdd)[..40].to_vec(),
        ipv4[..33].to_vec(),
        ipv4[..13].to_vec(),
        ipv4,
    ]
}

#[test]
fn filters() {
    let Some([user, kernel]) = runtimes() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/alike/netfilter.bpf.c");
    let object = skep::open(&path).expect("it compiles").object;
    let [ours, theirs] = [&user, &kernel].map(|runtime| load(runtime, &object));
    for state in states() {
        for data in packets() {
            let said = [&ours, &theirs].map(|loaded| answer(loaded, &data, &state));
            let len = data.len();
            assert_eq!(said[0], said[1], "{len} bytes, {state:?}: ours is left, the kernel's right");
        }
    }
}
