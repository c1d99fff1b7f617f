//! Iterators of every kind that Linux has: each is read, and read again when there is one thing more to go over.
//!
//! The program writes eight bytes for each thing, and nothing at the end, where it is told of none.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketType, netlink, socket};
use skep_btf::{IntEncoding, Kind};
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{AluOp, Op, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::MapCreate;
use skep_runtime::{AttachOptions, AttachTarget, Link, Map, Program, SharedRuntime};

use crate::asm::{alu, call, load, mov, mov_reg, slots, store, unless};
use crate::by_type::{program, type_of};
use crate::netns::in_namespace;
use crate::packets::{Cgroup, unless_younger};
use crate::tracing::Cat;
use crate::{kernel, unless_refused};

const SEQ_WRITE: u32 = 127;

/// Where the contexts have what the program is called for (`struct bpf_iter__*`): behind `meta`, or behind something else, too.
const FIRST: i16 = 8;
const SECOND: i16 = 16;
const THIRD: i16 = 24;

/// A kind of iterator whose program can be loaded.
struct Iterator {
    kind: &'static str,
    program: Program,
}

impl Iterator {
    /// `None` with a printed reason where the kernel has none, or may not be asked.
    fn new(kernel: &SharedRuntime, kind: &'static str, thing: i16) -> Option<Self> {
        let id = type_of(&format!("bpf_iter_{kind}"), Kind::Func)?;
        let code = slots(&[
            load(Size::DW, Reg::R6, Reg::R1, thing),
            load(Size::DW, Reg::R1, Reg::R1, 0),
            load(Size::DW, Reg::R1, Reg::R1, 0),
            unless(Reg::R6, 0, 2),
            mov(Reg::R0, 0),
            Op::Exit,
            store(Reg::R10, -8, 1),
            mov_reg(Reg::R2, Reg::R10),
            alu(AluOp::Add, Reg::R2, -8),
            mov(Reg::R3, 8),
            call(SEQ_WRITE),
            mov(Reg::R0, 0),
            Op::Exit,
        ]);
        let program = program(kernel, ProgType::TRACING, AttachType::TRACE_ITER, id, &code)?;
        Some(Self { kind, program })
    }

    fn over(&self, options: &AttachOptions) -> Option<Link> {
        let name = Some(self.kind.to_owned());
        let point = AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), name };
        unless_younger(AttachType::TRACE_ITER, self.program.attach(&point, options))
    }

    /// How many things there are, of what the options say.
    fn count(&self, options: &AttachOptions) -> Option<usize> {
        let written = self.over(options)?.iterate().expect("it can be read").len();
        assert!(written.is_multiple_of(8), "`{}`: {written} bytes", self.kind);
        Some(written / 8)
    }

    fn count_all(&self) -> Option<usize> {
        self.count(&AttachOptions::default())
    }
}

fn over(target: AttachTarget) -> AttachOptions {
    AttachOptions { target: Some(target), ..AttachOptions::default() }
}

fn of_process(pid: u32) -> AttachOptions {
    AttachOptions { process: Some(pid), ..AttachOptions::default() }
}

#[test]
fn tasks() {
    let Some(kernel) = kernel() else { return };
    let Some(tasks) = Iterator::new(&kernel, "task", FIRST) else { return };
    let cat = Cat::start();
    let Some(all) = tasks.count_all() else { return };
    assert!(all >= 2, "{all} tasks: this process and `cat` are among them");
    assert_eq!(tasks.count(&of_process(cat.pid())), Some(1));
    drop(cat);
}

#[test]
fn files_of_a_task() {
    let Some(kernel) = kernel() else { return };
    let Some(files) = Iterator::new(&kernel, "task_file", THIRD) else { return };
    // Nobody else opens files in it.
    let mut cat = Cat::start();
    cat.poke();
    let listed = std::fs::read_dir(format!("/proc/{}/fd", cat.pid())).expect("it runs").count();
    let Some(seen) = files.count(&of_process(cat.pid())) else { return };
    assert_eq!(seen, listed);
}

#[test]
fn memory_of_a_task() {
    let Some(kernel) = kernel() else { return };
    let Some(areas) = Iterator::new(&kernel, "task_vma", SECOND) else { return };
    let mut cat = Cat::start();
    cat.poke();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", cat.pid())).expect("it runs");
    let listed = maps.lines().filter(|line| !line.ends_with("[vsyscall]")).count();
    let Some(seen) = areas.count(&of_process(cat.pid())) else { return };
    assert_eq!(seen, listed);
}

#[test]
fn maps_and_their_elements() {
    let Some(kernel) = kernel() else { return };
    if let Some(maps) = Iterator::new(&kernel, "bpf_map", FIRST) {
        let _one = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "one", 4, 4, 1), 1);
        assert!(maps.count_all().is_none_or(|count| count > 0));
    }
    let Some(elements) = Iterator::new(&kernel, "bpf_map_elem", SECOND) else { return };
    for map_type in [MapType::HASH, MapType::LRU_HASH, MapType::PERCPU_HASH] {
        let map = Map::create(&kernel, &MapCreate::new(map_type, "keys", 4, 8, 16), cpus()).expect("a map");
        let over_map = over(AttachTarget::Map(map.fd()));
        for expected in 0..4_u32 {
            let Some(count) = elements.count(&over_map) else { return };
            assert_eq!(count, expected as usize, "{map_type}");
            map.update(&expected.to_ne_bytes(), &vec![0; 8 * if per_cpu(map_type) { cpus() } else { 1 }], 0)
                .expect("there is room");
        }
    }
    let array = Map::create(&kernel, &MapCreate::new(MapType::ARRAY, "fixed", 4, 8, 7), 1).expect("an array");
    assert_eq!(elements.count(&over(AttachTarget::Map(array.fd()))), Some(7));
    // What has no elements to go over is refused, in words.
    let ring = Map::create(&kernel, &MapCreate::new(MapType::RINGBUF, "ring", 0, 0, 4096), 1).expect("a map");
    let name = Some("bpf_map_elem".to_owned());
    let point = AttachPoint::Btf { attach_type: Some(AttachType::TRACE_ITER), name };
    let refused = elements.program.attach(&point, &over(AttachTarget::Map(ring.fd())));
    assert_eq!(refused.expect_err("nothing to go over").errno(), libc::EINVAL);
}

fn per_cpu(map_type: MapType) -> bool {
    map_type == MapType::PERCPU_HASH
}

/// Processors that there can be: so many values an element of a map for each has.
fn cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("there is sysfs");
    text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok()).expect("a number") + 1
}

#[test]
fn programs_and_links() {
    let Some(kernel) = kernel() else { return };
    // Ours are among them; other tests make and drop theirs meanwhile.
    if let Some(programs) = Iterator::new(&kernel, "bpf_prog", FIRST) {
        assert!(programs.count_all().is_none_or(|count| count > 0));
    }
    if let Some(links) = Iterator::new(&kernel, "bpf_link", FIRST) {
        assert!(links.count_all().is_none_or(|count| count > 0));
    }
}

/// What the kernel has of itself, some of which it has always.
#[test]
fn symbols_caches_and_buffers() {
    let Some(kernel) = kernel() else { return };
    for (kind, at_least) in [("ksym", 1000), ("kmem_cache", 10), ("dmabuf", 0)] {
        if let Some(count) = Iterator::new(&kernel, kind, FIRST).and_then(|all| all.count_all()) {
            assert!(count >= at_least, "`{kind}`: {count}");
        }
    }
}

/// Each socket more is seen, in this network namespace.
fn check_sockets(test: &str, kind: &'static str, open: fn() -> OwnedFd) {
    in_namespace(test, |kernel| {
        let Some(sockets) = Iterator::new(kernel, kind, FIRST) else { return };
        let Some(before) = sockets.count_all() else { return };
        let one = open();
        assert_eq!(sockets.count_all(), Some(before + 1), "`{kind}`");
        let two = open();
        assert_eq!(sockets.count_all(), Some(before + 2), "`{kind}`");
        drop((one, two));
        assert_eq!(sockets.count_all(), Some(before), "`{kind}`");
    });
}

#[test]
fn sockets_of_tcp() {
    check_sockets("iterators::sockets_of_tcp", "tcp", || {
        TcpListener::bind("127.0.0.1:0").expect("loopback is up").into()
    });
}

#[test]
fn sockets_of_udp() {
    check_sockets("iterators::sockets_of_udp", "udp", || {
        UdpSocket::bind("127.0.0.1:0").expect("loopback is up").into()
    });
}

#[test]
fn sockets_of_unix() {
    check_sockets("iterators::sockets_of_unix", "unix", || {
        socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket")
    });
}

#[test]
fn sockets_of_netlink() {
    check_sockets("iterators::sockets_of_netlink", "netlink", || {
        // Without a protocol: `NETLINK_ROUTE`.
        let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).expect("a socket");
        rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0)).expect("any address");
        socket
    });
}

#[test]
fn routes_of_ipv6() {
    in_namespace("iterators::routes_of_ipv6", |kernel| {
        let Some(routes) = Iterator::new(kernel, "ipv6_route", FIRST) else { return };
        let Some(before) = routes.count_all() else { return };
        let added =
            std::process::Command::new("ip").args("-6 route add fd77::/64 dev lo".split(' ')).status();
        if added.is_ok_and(|status| status.success()) {
            assert_eq!(routes.count_all(), Some(before + 1));
        } else {
            eprintln!("skipped: no routes of IPv6");
        }
    });
}

#[test]
fn sockets_in_maps() {
    in_namespace("iterators::sockets_in_maps", |kernel| {
        let Some(sockets) = Iterator::new(kernel, "sockmap", THIRD) else { return };
        let map = MapCreate::new(MapType::SOCKHASH, "socks", 4, 4, 4);
        let Some(map) = unless_younger(AttachType::TRACE_ITER, Map::create(kernel, &map, 1)) else { return };
        let over_map = over(AttachTarget::Map(map.fd()));
        let Some(empty) = sockets.count(&over_map) else { return };
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        map.update(&[1; 4], &socket.as_raw_fd().to_ne_bytes(), 0).expect("UDP sockets can be in maps");
        assert_eq!((empty, sockets.count(&over_map)), (0, Some(1)));
    });
}

/// Values of sockets: the map of them goes by a descriptor of the socket.
#[test]
fn storage_of_sockets() {
    let Some(kernel) = kernel() else { return };
    let Some(values) = Iterator::new(&kernel, "bpf_sk_storage_map", THIRD) else { return };
    let Some(types) = storage_types(&kernel) else { return };
    // `BPF_F_NO_PREALLOC`
    let spec = MapCreate {
        map_flags: 1,
        btf: Some((types.fd(), 1, 1)),
        ..MapCreate::new(MapType::SK_STORAGE, "of_socks", 4, 4, 0)
    };
    let Some(map) = unless_refused(Map::create(&kernel, &spec, 1)) else { return };
    let sockets = [(), ()].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback is up"));
    let over_map = over(AttachTarget::Map(map.fd()));
    for (before, socket) in sockets.iter().enumerate() {
        let Some(count) = values.count(&over_map) else { return };
        assert_eq!(count, before);
        map.update(&socket.as_raw_fd().to_ne_bytes(), &[7; 4], 0).expect("a socket has room");
    }
    assert_eq!(values.count(&over_map), Some(2));
}

/// The types that a map of storage has to have: `int`, number 1.
fn storage_types(kernel: &SharedRuntime) -> Option<skep_runtime::Handle> {
    let mut builder = skep_btf::Builder::new();
    builder.add_int("int", 4, IntEncoding { signed: true, ..IntEncoding::default() });
    let bytes = builder.finish();
    let reply = kernel.bpf(skep_runtime::Command::BtfLoad { data: &bytes, token: None });
    match unless_refused(reply)? {
        skep_runtime::Reply::Fd(fd) => Some(skep_runtime::Handle::new(kernel.clone(), fd)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn cgroups() {
    in_namespace("iterators::cgroups", |kernel| {
        let Some(groups) = Iterator::new(kernel, "cgroup", FIRST) else { return };
        let Some(own) = Cgroup::enter() else { return };
        let below = over(AttachTarget::Cgroup(own.0.clone()));
        let Some(alone) = groups.count(&below) else { return };
        let child = own.0.join("child");
        std::fs::create_dir(&child).expect("groups can be made");
        let with_child = groups.count(&below);
        std::fs::remove_dir(&child).expect("nothing is in it");
        assert_eq!((alone, with_child), (1, Some(2)));
    });
}
