//! Programs of cgroups and sockets, each with what it decides: a process of ours is in the group, in its own namespace.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;

use skep_btf::Kind;
use skep_isa::uapi::{AttachType as A, MapType, ProgType as P};
use skep_isa::{Insn, Op, Operand, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, AttachTarget, Link, Map, Neighbour, Order, Program, SharedRuntime};

use crate::asm::{load, mov, slots, unless};
use crate::by_type::{self, type_of};
use crate::hooks::{count_and_answer, counted, counted_at_last, counter};
use crate::netns::{bound, in_namespace, received};
use crate::packets::{Cgroup, unless_younger};

fn program(kernel: &SharedRuntime, prog_type: P, attach_type: A, code: &[Insn]) -> Option<Program> {
    let spec = ProgLoad {
        expected_attach_type: Some(attach_type),
        ..ProgLoad::new(prog_type, "decides", code, "GPL")
    };
    unless_younger(attach_type, Program::load(kernel, &spec))
}

fn attach(program: &Program, attach_type: A, cgroup: &Cgroup, order: Order) -> Option<Link> {
    let target = Some(AttachTarget::Cgroup(cgroup.0.clone()));
    let options = AttachOptions { target, order, ..AttachOptions::default() };
    unless_younger(attach_type, program.attach(&AttachPoint::Target { attach_type }, &options))
}

/// With a program that says 0 `attempt` fails; with one that says 1, and without, it does not.
fn check(kernel: &SharedRuntime, cgroup: &Cgroup, prog_type: P, attach_type: A, attempt: fn() -> bool) {
    assert!(attempt(), "{attach_type}: before");
    let map = counter(kernel);
    for verdict in [0, 1] {
        let code = slots(&count_and_answer(map.fd(), verdict));
        let Some(program) = program(kernel, prog_type, attach_type, &code) else { return };
        let Some(_link) = attach(&program, attach_type, cgroup, Order::Any) else { return };
        let before = counted(&map);
        assert_eq!(attempt(), verdict == 1, "{attach_type}: verdict {verdict}");
        assert!(counted(&map) > before, "{attach_type} runs it");
    }
    assert!(attempt(), "{attach_type}: after");
}

fn makes_socket() -> bool {
    UdpSocket::bind("127.0.0.1:0").is_ok()
}

fn connects() -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    TcpStream::connect(listener.local_addr().expect("it is bound")).is_ok()
}

fn sends() -> bool {
    let to = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    let from = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    from.send_to(b"x", to.local_addr().expect("it is bound")).is_ok()
}

fn reads_setting() -> bool {
    std::fs::read("/proc/sys/net/ipv4/ip_forward").is_ok()
}

fn opens_device() -> bool {
    match std::fs::File::open("/dev/null") {
        Ok(_) => true,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::PermissionDenied);
            false
        }
    }
}

fn asks_option() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    socket.broadcast().is_ok()
}

fn sets_option() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    socket.set_broadcast(true).is_ok()
}

#[test]
fn cgroups_decide() {
    in_namespace("cgroups::cgroups_decide", |kernel| {
        let Some(cgroup) = Cgroup::enter() else { return };
        check(kernel, &cgroup, P::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, makes_socket);
        check(kernel, &cgroup, P::CGROUP_SOCK, A::CGROUP_INET4_POST_BIND, makes_socket);
        check(kernel, &cgroup, P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_BIND, makes_socket);
        check(kernel, &cgroup, P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_CONNECT, connects);
        check(kernel, &cgroup, P::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_SENDMSG, sends);
        check(kernel, &cgroup, P::CGROUP_SYSCTL, A::CGROUP_SYSCTL, reads_setting);
        check(kernel, &cgroup, P::CGROUP_DEVICE, A::CGROUP_DEVICE, opens_device);
        check(kernel, &cgroup, P::CGROUP_SOCKOPT, A::CGROUP_GETSOCKOPT, asks_option);
        check(kernel, &cgroup, P::CGROUP_SOCKOPT, A::CGROUP_SETSOCKOPT, sets_option);
    });
}

/// `user_port` of `struct bpf_sock_addr`.
const USER_PORT: i16 = 24;

#[test]
fn cgroups_rewrite_addresses() {
    in_namespace("cgroups::cgroups_rewrite_addresses", |kernel| {
        let Some(cgroup) = Cgroup::enter() else { return };
        let (asked, meant) = (bound("127.0.0.1:7001"), bound("127.0.0.1:7002"));
        let code = slots(&[
            load(Size::W, Reg::R2, Reg::R1, USER_PORT),
            unless(Reg::R2, i32::from(7001_u16.to_be()), 2),
            mov(Reg::R3, i32::from(7002_u16.to_be())),
            Op::Store { size: Size::W, base: Reg::R1, off: USER_PORT, src: Operand::Reg(Reg::R3) },
            mov(Reg::R0, 1),
            Op::Exit,
        ]);
        let attach_type = A::CGROUP_UDP4_SENDMSG;
        let Some(program) = program(kernel, P::CGROUP_SOCK_ADDR, attach_type, &code) else { return };
        let Some(link) = attach(&program, attach_type, &cgroup, Order::Any) else { return };
        let from = bound("127.0.0.1:0");
        from.send_to(b"x", "127.0.0.1:7001").expect("it is sent");
        assert_eq!((received(&meant).is_some(), received(&asked).is_some()), (true, false));
        drop(link);
        from.send_to(b"x", "127.0.0.1:7001").expect("it is sent");
        assert!(received(&asked).is_some());
    });
}

#[test]
fn cgroups_keep_an_order() {
    in_namespace("cgroups::cgroups_keep_an_order", |kernel| {
        let Some(cgroup) = Cgroup::enter() else { return };
        let attach_type = A::CGROUP_INET_EGRESS;
        let passes = slots(&[mov(Reg::R0, 1), Op::Exit]);
        let Some(a) = program(kernel, P::CGROUP_SKB, attach_type, &passes) else { return };
        let b = program(kernel, P::CGROUP_SKB, attach_type, &passes).expect("as before");
        let Some(first) = attach(&a, attach_type, &cgroup, Order::Any) else { return };
        let target = AttachTarget::Cgroup(cgroup.0.clone());
        assert_eq!(kernel.query(&target, attach_type).expect("it tells").programs.len(), 1);
        let before = Order::Before(Neighbour::Link(first.fd()));
        let options =
            AttachOptions { target: Some(target.clone()), order: before, ..AttachOptions::default() };
        match b.attach(&AttachPoint::Target { attach_type }, &options) {
            Err(e) => {
                assert!(e.advice().is_some_and(|hint| hint.contains("Linux 6.17")), "{e}: {:?}", e.advice());
                eprintln!("skipped: {e}");
            }
            Ok(second) => {
                let ids: Vec<u32> = kernel
                    .query(&target, attach_type)
                    .expect("it tells")
                    .programs
                    .iter()
                    .map(|attached| attached.prog_id)
                    .collect();
                let id = |link: &Link| link.info().expect("a link").prog_id;
                assert_eq!(ids, [id(&second), id(&first)]);
            }
        }
    });
}

#[test]
fn connections_are_told() {
    in_namespace("cgroups::connections_are_told", |kernel| {
        let Some(cgroup) = Cgroup::enter() else { return };
        let map = counter(kernel);
        let code = slots(&count_and_answer(map.fd(), 1));
        let Some(program) = program(kernel, P::SOCK_OPS, A::CGROUP_SOCK_OPS, &code) else { return };
        let Some(_link) = attach(&program, A::CGROUP_SOCK_OPS, &cgroup, Order::Any) else { return };
        assert!(connects());
        assert!(counted(&map) > 0);
    });
}

/// Two ends of a connection through loopback.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let here = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("somebody listens");
    let (there, _) = listener.accept().expect("somebody has connected");
    (here, there)
}

#[test]
fn maps_of_sockets_have_verdicts() {
    in_namespace("cgroups::maps_of_sockets_have_verdicts", |kernel| {
        let sockets =
            Map::create(kernel, &MapCreate::new(MapType::SOCKMAP, "socks", 4, 4, 2), 1).expect("a map");
        let map = counter(kernel);
        // `SK_DROP`
        let code = slots(&count_and_answer(map.fd(), 0));
        let Some(program) = program(kernel, P::SK_MSG, A::SK_MSG_VERDICT, &code) else { return };
        let options =
            AttachOptions { target: Some(AttachTarget::Map(sockets.fd())), ..AttachOptions::default() };
        let point = AttachPoint::Target { attach_type: A::SK_MSG_VERDICT };
        let Some(link) = unless_younger(A::SK_MSG_VERDICT, program.attach(&point, &options)) else { return };
        let (mut here, mut there) = connection();
        sockets.update(&[0; 4], &here.as_raw_fd().to_ne_bytes(), 0).expect("it is connected");
        assert!(here.write(b"x").is_err(), "the message is dropped");
        assert_eq!(counted(&map), 1);
        drop(link);
        let (mut other, mut end) = connection();
        sockets.update(&1_u32.to_ne_bytes(), &other.as_raw_fd().to_ne_bytes(), 0).expect("it is connected");
        other.write_all(b"y").expect("nobody objects");
        end.read_exact(&mut [0; 1]).expect("it arrives");
        assert_eq!(counted(&map), 1);
        drop(here);
        assert_eq!(there.read(&mut [0; 1]).expect("it ends"), 0);
    });
}

/// What arrives at a socket of a map is looked at, as it comes or as a parser cuts it, and here dropped.
#[test]
fn arrivals_have_verdicts() {
    in_namespace("cgroups::arrivals_have_verdicts", |kernel| {
        for attach_type in [A::SK_SKB_VERDICT, A::SK_SKB_STREAM_VERDICT] {
            let sockets =
                Map::create(kernel, &MapCreate::new(MapType::SOCKMAP, "socks", 4, 4, 1), 1).expect("a map");
            let map = counter(kernel);
            // `SK_DROP`
            let code = slots(&count_and_answer(map.fd(), 0));
            let Some(program) = program(kernel, P::SK_SKB, attach_type, &code) else { return };
            let target = Some(AttachTarget::Map(sockets.fd()));
            let options = AttachOptions { target, ..AttachOptions::default() };
            let link = program.attach(&AttachPoint::Target { attach_type }, &options);
            let Some(_link) = unless_younger(attach_type, link) else { return };
            let (mut here, mut there) = connection();
            sockets.update(&[0; 4], &there.as_raw_fd().to_ne_bytes(), 0).expect("it is connected");
            here.write_all(b"x").expect("it is sent");
            assert_eq!(counted_at_last(&map, 1), 1, "{attach_type} runs it");
            drop(here);
            assert_eq!(there.read(&mut [0; 1]).expect("it ends"), 0, "{attach_type}: dropped");
        }
    });
}

/// A socket that shares its port.
fn sharing() -> UdpSocket {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    sockopt::set_socket_reuseport(&socket, true).expect("an option");
    let any: std::net::SocketAddrV4 = "127.0.0.1:0".parse().expect("an address");
    bind(&socket, &any).expect("loopback is up");
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a time");
    socket
}

#[test]
fn sockets_of_one_port_are_chosen() {
    in_namespace("cgroups::sockets_of_one_port_are_chosen", |kernel| {
        let map = counter(kernel);
        // `SK_DROP`: none of them.
        let code = slots(&count_and_answer(map.fd(), 0));
        let Some(program) = program(kernel, P::SK_REUSEPORT, A::SK_REUSEPORT_SELECT, &code) else { return };
        let shared = sharing();
        let to = shared.local_addr().expect("it is bound");
        let target = Some(AttachTarget::Socket(shared.as_raw_fd()));
        let options = AttachOptions { target, ..AttachOptions::default() };
        let point = AttachPoint::Target { attach_type: A::SK_REUSEPORT_SELECT };
        let link = unless_younger(A::SK_REUSEPORT_SELECT, program.attach(&point, &options));
        let Some(link) = link else { return };
        let from = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        from.send_to(b"x", to).expect("it is sent");
        assert_eq!(counted(&map), 1);
        assert_eq!(received(&shared), None, "dropped");
        drop(link);
        from.send_to(b"y", to).expect("it is sent");
        assert_eq!(received(&shared).as_deref(), Some(&b"y"[..]));
        assert_eq!(counted(&map), 1);
    });
}

#[test]
fn namespaces_choose_listeners() {
    in_namespace("cgroups::namespaces_choose_listeners", |kernel| {
        let map = counter(kernel);
        // `SK_DROP`: nobody listens, whoever does.
        let code = slots(&count_and_answer(map.fd(), 0));
        let Some(program) = program(kernel, P::SK_LOOKUP, A::SK_LOOKUP, &code) else { return };
        let target = Some(AttachTarget::NetNs("/proc/self/ns/net".into()));
        let options = AttachOptions { target, ..AttachOptions::default() };
        let point = AttachPoint::Target { attach_type: A::SK_LOOKUP };
        let Some(link) = unless_younger(A::SK_LOOKUP, program.attach(&point, &options)) else { return };
        assert!(!connects(), "dropped");
        assert!(counted(&map) > 0);
        let hook =
            kernel.query(&AttachTarget::NetNs("/proc/self/ns/net".into()), A::SK_LOOKUP).expect("it tells");
        assert_eq!(hook.programs.len(), 1);
        drop(link);
        assert!(connects());
    });
}

#[test]
fn groups_have_security_decisions() {
    in_namespace("cgroups::groups_have_security_decisions", |kernel| {
        let Some(id) = type_of("bpf_lsm_socket_bind", Kind::Func) else { return };
        let Some(cgroup) = Cgroup::enter() else { return };
        let map = counter(kernel);
        for verdict in [0, 1] {
            let code = slots(&count_and_answer(map.fd(), verdict));
            let Some(program) = by_type::program(kernel, P::LSM, A::LSM_CGROUP, id, &code) else { return };
            let name = Some("bpf_lsm_socket_bind".to_owned());
            let point = AttachPoint::Btf { attach_type: Some(A::LSM_CGROUP), name };
            let target = Some(AttachTarget::Cgroup(cgroup.0.clone()));
            let link = program.attach(&point, &AttachOptions { target, ..AttachOptions::default() });
            let Some(_link) = unless_younger(A::LSM_CGROUP, link) else { return };
            let before = counted(&map);
            assert_eq!(makes_socket(), verdict == 1, "verdict {verdict}");
            assert_eq!(counted(&map), before + 1);
        }
        assert!(makes_socket());
    });
}
