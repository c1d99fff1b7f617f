//! Objects do in user space what they do in Linux: every program of the sources in `alike/` is run once by
//! `BPF_PROG_TEST_RUN` on both runtimes, given time for what it has started, and its result and all variables of the object
//! are compared.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skep::object::Object;
use skep::runtime::SharedRuntime;
use skep::runtime::command::TestRun;
use skep::{host, variables};

use crate::harness::{has_clang, installed, skip};

mod iterators;
mod maps;
mod netfilter;
mod special;
mod user_ring;

/// What a program leaves: its result, and the bytes of the object's variables.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    result: Result<u32, i32>,
    variables: Vec<(String, Vec<u64>)>,
}

/// The runtimes: user space, and the kernel if it lets us.
fn runtimes() -> Option<[SharedRuntime; 2]> {
    if !has_clang() {
        skip("clang is not installed");
        return None;
    }
    let kernel = skep_kernel::KernelRuntime::new();
    if let Err(reason) = kernel.probe() {
        skip(&format!("objects are not compared with the kernel: {reason}"));
        return None;
    }
    let btf = host::kernel_btf();
    let config = skep_user::Config { btf, ..skep_user::Config::default() };
    Some([skep_user::UserRuntime::new(config).expect("a runtime"), Arc::new(kernel)])
}

/// Time for what programs start: timers that are not due are due much later.
const SETTLE: Duration = Duration::from_millis(60);

/// An IPv4 datagram in an Ethernet frame.
fn packet() -> Vec<u8> {
    let link = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let ipv4 = [0x45, 0, 0, 84, 0, 1, 0, 0, 64, 17, 0x66, 0x55, 127, 0, 0, 1, 127, 0, 0, 1];
    let udp = [0x30, 0x39, 0, 53, 0, 64, 0xab, 0xcd];
    let mut bytes = [&link[..], &ipv4, &udp].concat();
    bytes.resize(98, 7);
    bytes
}

/// Loads the object with one of its programs, runs that, and looks at what it leaves.
fn run(runtime: &SharedRuntime, object: &Object, name: &str) -> Left {
    let mut object = object.clone();
    object.programs.iter_mut().for_each(|program| program.autoload = program.name == name);
    let linked = host::link(&object).unwrap_or_else(|e| panic!("{name}: {e}"));
    let loaded = skep::load(runtime, &object, linked)
        .unwrap_or_else(|e| panic!("{name} in the {} runtime: {e}", runtime.kind()));
    let program = loaded.programs.iter().flatten().next().expect("it was loaded");
    let (data, mut out) = (packet(), vec![0; 4096]);
    let takes_packets = program.linked.prog_type != skep_isa::uapi::ProgType::SYSCALL;
    let run = match takes_packets {
        true => TestRun { data_in: &data, data_out: &mut out, repeat: 1, ..TestRun::default() },
        false => TestRun::default(),
    };
    let result = program.program.test_run(run).map(|ran| ran.retval).map_err(|e| e.errno());
    std::thread::sleep(SETTLE);
    let words = |bytes: Vec<u8>| -> Vec<u64> {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        };
        bytes.chunks(8).map(word).collect()
    };
    let read = |name: &String| (name.clone(), words(variables::read(&loaded, name).expect("a variable")));
    // What a program is told by the test is the same anyway.
    let names = object.variables.iter().map(|variable| &variable.name).filter(|name| *name != "_license");
    Left { result, variables: names.map(read).collect() }
}

/// Runs every program of a source on both runtimes.
fn check(source: &str) {
    check_with(source, &[]);
}

/// The same, with variables set.
fn check_with(source: &str, settings: &[(&str, u16)]) {
    let Some([user, kernel]) = runtimes() else { return };
    compare(source, settings, [&user, &kernel]);
}

fn compare(source: &str, settings: &[(&str, u16)], runtimes: [&SharedRuntime; 2]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/alike").join(source);
    let mut object = skep::open(&path).unwrap_or_else(|e| panic!("{source}: {e}")).object;
    for (name, value) in settings {
        variables::set(&mut object, name, &value.to_string()).expect("a variable");
    }
    assert!(!object.programs.is_empty());
    if object.programs.iter().any(|program| program.name == "skipped") {
        return skip(&format!("this clang is too old for {source}"));
    }
    for program in &object.programs {
        let [ours, theirs] = runtimes.map(|runtime| run(runtime, &object, &program.name));
        assert_eq!(ours, theirs, "{source}, {}: ours is left, the kernel's right", program.name);
    }
}

#[test]
fn strings() {
    check("strings.bpf.c");
}

#[test]
fn dynptrs_bits_and_counts() {
    check("fill.bpf.c");
}

#[test]
fn processors_locks_and_exceptions() {
    check("masks.bpf.c");
}

/// The same sources, all programs compiled at once.
#[test]
fn kernel_functions_in_compiled_code() {
    let Some([_, kernel]) = runtimes() else { return };
    let (btf, engine) = (host::kernel_btf(), skep_user::Engine::Jit);
    let config = skep_user::Config { btf, engine, ..skep_user::Config::default() };
    let user = skep_user::UserRuntime::new(config).expect("a runtime");
    for source in ["fill.bpf.c", "masks.bpf.c"] {
        compare(source, &[], [&user, &kernel]);
    }
}

#[test]
fn tasks() {
    check("task.bpf.c");
}

#[test]
fn typed_values() {
    check("typed.bpf.c");
}

#[test]
fn timers() {
    check("timers.bpf.c");
}

#[test]
fn work_queues() {
    check("work.bpf.c");
}

#[test]
fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let _accepted = listener.accept().expect("somebody has called");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let of = |address: std::io::Result<std::net::SocketAddr>| address.expect("an address").port();
    let settings =
        [("port", port), ("client", of(client.local_addr())), ("udp_port", of(datagrams.local_addr()))];
    check_with("sockets.bpf.c", &settings);
}

#[test]
fn groups() {
    check("groups.bpf.c");
}

#[test]
fn arenas() {
    check("arena.bpf.c");
}

/// A network namespace of this thread alone, with routes to look up; answers the device's number.
fn network() -> Option<u16> {
    use rustix::thread::UnshareFlags;
    if !installed("ip") {
        skip("`ip` is not installed");
        return None;
    }
    #[expect(deprecated, reason = "it is unsafe for other flags than this")]
    let left = rustix::thread::unshare(UnshareFlags::NEWNET);
    if let Err(errno) = left {
        skip(&format!("a network namespace cannot be made: {errno}"));
        return None;
    }
    let commands = "set -e
        ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
        ip addr add 10.9.0.1/24 dev v0; ip route add 10.77.0.0/16 via 10.9.0.2 metric 33
        ip route add blackhole 10.78.0.0/16; ip route add unreachable 10.79.0.0/16; ip route add prohibit 10.80.0.0/16
        ip route add 10.81.0.0/16 via 10.9.0.2 mtu 1300; ip route add 10.82.0.0/16 via 10.9.0.2 mtu lock 1300
        ip neigh replace 10.9.0.2 lladdr 02:11:22:33:44:55 dev v0
        for f in /proc/sys/net/ipv4/conf/*/forwarding; do echo 1 > $f; done
        ip -o link show v0 | cut -d: -f1";
    let done = std::process::Command::new("sh").args(["-c", commands]).output().expect("sh starts");
    let said = String::from_utf8_lossy(&done.stdout);
    let number = said.trim().parse().ok();
    if number.is_none() || !done.status.success() {
        skip(&format!("a network cannot be made: {}", String::from_utf8_lossy(&done.stderr).trim()));
        return None;
    }
    number
}

#[test]
fn routes() {
    if let Some(device) = network() {
        check_with("routes.bpf.c", &[("device", device)]);
    }
}
