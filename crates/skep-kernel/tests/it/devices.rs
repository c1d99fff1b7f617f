//! Programs at network devices, with packets from another host: they pass, drop, rewrite and redirect.

use std::net::UdpSocket;

use skep_isa::uapi::{AttachType, ProgType};
use skep_isa::{Insn, JmpOp, Op, Operand, Reg, Size};
use skep_obj::AttachPoint;
use skep_runtime::command::ProgLoad;
use skep_runtime::{AttachOptions, AttachTarget, Error, Link, Neighbour, Order, Program, SharedRuntime};

use crate::asm::{alu, call, load, mov, mov_reg, slots};
use crate::hooks::{count_and_answer, counted, counter};
use crate::netns::{Peer, bound, in_namespace, received};
use crate::unless_refused;

const REDIRECT: u32 = 23;
const PORT: u16 = 7007;

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE`.
const GENERIC: u32 = 2;
const NATIVE: u32 = 4;

/// A kind of program at a device: where its context has the packet, and what it answers.
#[derive(Clone, Copy)]
struct Kind {
    prog_type: ProgType,
    attach_type: Option<AttachType>,
    /// Offsets of the packet's start and end in the context.
    packet: (i16, i16),
    pass: i32,
    drop: i32,
}

const XDP: Kind =
    Kind { prog_type: ProgType::XDP, attach_type: Some(AttachType::XDP), packet: (0, 4), pass: 2, drop: 1 };
/// `TC_ACT_OK`, `TC_ACT_SHOT`; `TCX_PASS` and `TCX_DROP` are the same.
const TC: Kind =
    Kind { prog_type: ProgType::SCHED_CLS, attach_type: None, packet: (76, 80), pass: 0, drop: 2 };
const TCX: Kind = Kind { attach_type: Some(AttachType::TCX_INGRESS), ..TC };

/// Where and how a kind is attached.
type Attach = fn(&Program, &Peer) -> Result<Link, Error>;

fn at_device(
    program: &Program,
    peer: &Peer,
    attach_type: AttachType,
    options: AttachOptions,
) -> Result<Link, Error> {
    let options = AttachOptions { target: Some(AttachTarget::Device(peer.near())), ..options };
    program.attach(&AttachPoint::Target { attach_type }, &options)
}

fn xdp(program: &Program, peer: &Peer, flags: u32) -> Result<Link, Error> {
    at_device(program, peer, AttachType::XDP, AttachOptions { flags, ..AttachOptions::default() })
}

fn filter(program: &Program, peer: &Peer, priority: u16) -> Result<Link, Error> {
    let target = Some(AttachTarget::Filter { device: peer.near(), egress: false, priority });
    program.attach(&AttachPoint::None, &AttachOptions { target, ..AttachOptions::default() })
}

fn tcx(program: &Program, peer: &Peer, order: Order) -> Result<Link, Error> {
    at_device(program, peer, AttachType::TCX_INGRESS, AttachOptions { order, ..AttachOptions::default() })
}

fn program(kernel: &SharedRuntime, kind: Kind, code: &[Insn]) -> Program {
    let spec = ProgLoad {
        expected_attach_type: kind.attach_type,
        ..ProgLoad::new(kind.prog_type, "packets", code, "GPL")
    };
    Program::load(kernel, &spec).expect("it is safe")
}

/// Overwrites the first byte of datagrams to [`PORT`].
fn rewriting(kind: Kind, byte: u8) -> Vec<Insn> {
    // Ethernet 14, IPv4 20, UDP 8 bytes, and one of data.
    let (start, end) = kind.packet;
    slots(&[
        load(Size::W, Reg::R2, Reg::R1, start),
        load(Size::W, Reg::R3, Reg::R1, end),
        mov_reg(Reg::R4, Reg::R2),
        alu(skep_isa::AluOp::Add, Reg::R4, 43),
        Op::Jump { wide: true, op: JmpOp::Gt, dst: Reg::R4, src: Operand::Reg(Reg::R3), off: 4 },
        load(Size::H, Reg::R5, Reg::R2, 36),
        crate::asm::unless(Reg::R5, i32::from(PORT.to_be()), 2),
        Op::Store { size: Size::B, base: Reg::R2, off: 42, src: Operand::Imm(byte.into()) },
        // A datagram may come without a checksum.
        Op::Store { size: Size::H, base: Reg::R2, off: 40, src: Operand::Imm(0) },
        mov(Reg::R0, kind.pass),
        Op::Exit,
    ])
}

fn redirecting(to: i32) -> Vec<Insn> {
    slots(&[mov(Reg::R1, to), mov(Reg::R2, 0), call(REDIRECT), Op::Exit])
}

/// Sends from the peer to us; what arrives?
fn from_peer(peer: &Peer, ours: &UdpSocket) -> Option<Vec<u8>> {
    let theirs = peer.socket(&format!("{}:0", peer.address(2)));
    theirs.send_to(b"hello", format!("{}:{PORT}", peer.address(1))).expect("it can be sent");
    received(ours)
}

fn check(kernel: &SharedRuntime, kind: Kind, attach: Attach) {
    let Some(peer) = Peer::new(1) else { return };
    let ours = bound(&format!("{}:{PORT}", peer.address(1)));
    assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"hello"[..]), "before");

    let map = counter(kernel);
    for (verdict, arrives) in [(kind.drop, false), (kind.pass, true)] {
        let code = slots(&count_and_answer(map.fd(), verdict));
        let Some(_link) = unless_refused(attach(&program(kernel, kind, &code), &peer)) else { return };
        let before = counted(&map);
        assert_eq!(from_peer(&peer, &ours).is_some(), arrives, "verdict {verdict}");
        assert!(counted(&map) > before, "it saw the packet");
    }
    assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"hello"[..]), "dropped links detach");

    let link = attach(&program(kernel, kind, &rewriting(kind, b'J')), &peer).expect("the place is free");
    assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Jello"[..]), "rewritten");
    drop(link);
    check_redirect(kernel, kind, attach, &peer);
}

/// What the first peer sends to an address of the second arrives there, by the program alone.
fn check_redirect(kernel: &SharedRuntime, kind: Kind, attach: Attach, first: &Peer) {
    let Some(second) = Peer::new(2) else { return };
    second.ip("addr add 10.7.1.9/24 dev far2");
    first.ip("neigh add 10.7.1.9 lladdr 02:00:00:00:02:02 dev far1");
    let there = second.socket(&format!("10.7.1.9:{PORT}"));
    let here = first.socket(&format!("{}:0", first.address(2)));
    let send = || {
        here.send_to(b"hello", format!("10.7.1.9:{PORT}")).expect("it can be sent");
        received(&there)
    };
    assert_eq!(send(), None, "nobody forwards it");
    let program = program(kernel, kind, &redirecting(second.near_index()));
    let _link = attach(&program, first).expect("the place is free");
    assert_eq!(send().as_deref(), Some(&b"hello"[..]), "redirected");
}

#[test]
fn generic_xdp() {
    in_namespace("devices::generic_xdp", |kernel| check(kernel, XDP, |p, peer| xdp(p, peer, GENERIC)));
}

#[test]
fn filters_of_traffic_control() {
    in_namespace("devices::filters_of_traffic_control", |kernel| {
        check(kernel, TC, |p, peer| filter(p, peer, 0));
    });
}

/// On kernels without TCX a filter stands for it.
#[test]
fn tcx_or_its_forerunner() {
    in_namespace("devices::tcx_or_its_forerunner", |kernel| {
        check(kernel, TCX, |p, peer| tcx(p, peer, Order::Any));
    });
}

/// In the driver, where frames can be sent back as they came.
#[test]
fn native_xdp() {
    in_namespace("devices::native_xdp", |kernel| {
        let Some(peer) = Peer::new(1) else { return };
        let ours = bound(&format!("{}:{PORT}", peer.address(1)));
        let code = rewriting(XDP, b'J');
        let Some(link) = unless_refused(xdp(&program(kernel, XDP, &code), &peer, NATIVE)) else { return };
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Jello"[..]), "rewritten");
        let drops = program(kernel, XDP, &slots(&[mov(Reg::R0, XDP.drop), Op::Exit]));
        link.update(&drops, None).expect("links can be updated");
        assert_eq!(from_peer(&peer, &ours), None, "dropped by the new program");

        let taken = xdp(&drops, &peer, NATIVE).expect_err("there is one already");
        assert!(taken.advice().is_some_and(|hint| hint.contains("already")), "{taken}: {:?}", taken.advice());
        let hook = kernel.query(&AttachTarget::Device(peer.near()), AttachType::XDP);
        assert!(hook.is_err(), "XDP programs are told by netlink, not by bpf(2)");
        link.detach().expect("it can be detached");
        assert!(from_peer(&peer, &ours).is_some());
        // `XDP_FLAGS_HW_MODE`: pairs have no hardware.
        let refused = xdp(&drops, &peer, 8).expect_err("nothing to offload to");
        assert!(refused.advice().is_some(), "{refused}");
    });
}

#[test]
fn tcx_keeps_an_order() {
    in_namespace("devices::tcx_keeps_an_order", |kernel| {
        let Some(peer) = Peer::new(1) else { return };
        let ours = bound(&format!("{}:{PORT}", peer.address(1)));
        // Each overwrites the first byte, and -1 (`TCX_NEXT`) lets the next one go on: the last one stays.
        let writes = |byte| program(kernel, TCX, &rewriting(Kind { pass: -1, ..TCX }, byte));
        let (a, b, c, d) = (writes(b'A'), writes(b'B'), writes(b'C'), writes(b'D'));
        let Some(first) = unless_refused(tcx(&a, &peer, Order::Any)) else { return };
        let at = |program: &Program, order| match tcx(program, &peer, order) {
            Err(e) if e.to_string().contains("priority alone") => {
                eprintln!("skipped: {e}");
                None
            }
            link => Some(link.expect("it has a place")),
        };
        let Some(_b) = at(&b, Order::Before(Neighbour::Link(first.fd()))) else { return };
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Aello"[..]), "B before A");
        let _c = at(&c, Order::After(Neighbour::Program(b.fd())));
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Aello"[..]), "B, C, A");
        let device = AttachTarget::Device(peer.near());
        let hook = kernel.query(&device, AttachType::TCX_INGRESS).expect("it can be asked");
        assert_eq!((hook.programs.len(), hook.programs[2].link_id), (3, first.info().expect("a link").id));
        let stale =
            AttachOptions { order: Order::First, revision: hook.revision + 1, ..AttachOptions::default() };
        let stale = at_device(&d, &peer, AttachType::TCX_INGRESS, stale).expect_err("another revision");
        assert_eq!(stale.errno(), libc::ESTALE, "{stale}");
        drop(first);
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Cello"[..]), "B, C");
        let _d = at(&d, Order::First);
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Cello"[..]), "D, B, C");
        let _a = at(&a, Order::Last);
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Aello"[..]), "D, B, C, A");
    });
}

#[test]
fn filters_have_priorities() {
    in_namespace("devices::filters_have_priorities", |kernel| {
        let Some(peer) = Peer::new(1) else { return };
        let ours = bound(&format!("{}:{PORT}", peer.address(1)));
        // -1 (`TC_ACT_UNSPEC`) goes on with the next filter.
        let writes = |byte| program(kernel, TC, &rewriting(Kind { pass: -1, ..TC }, byte));
        let Some(_first) = unless_refused(filter(&writes(b'A'), &peer, 10)) else { return };
        let second = filter(&writes(b'B'), &peer, 20).expect("another priority");
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Bello"[..]));
        let _before = filter(&writes(b'C'), &peer, 5).expect("another priority");
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Bello"[..]));
        drop(second);
        assert_eq!(from_peer(&peer, &ours).as_deref(), Some(&b"Aello"[..]));
    });
}

#[test]
fn actions_give_verdicts() {
    in_namespace("devices::actions_give_verdicts", |kernel| {
        let kind = Kind { prog_type: ProgType::SCHED_ACT, ..TC };
        let Some(peer) = Peer::new(1) else { return };
        let ours = bound(&format!("{}:{PORT}", peer.address(1)));
        let drops = program(kernel, kind, &slots(&[mov(Reg::R0, kind.drop), Op::Exit]));
        let link = match filter(&drops, &peer, 0) {
            Err(e) if e.errno() == libc::ENOENT => {
                eprintln!("skipped: {e}");
                return;
            }
            link => link.expect("the device takes filters"),
        };
        assert_eq!(from_peer(&peer, &ours), None);
        drop(link);
        assert!(from_peer(&peer, &ours).is_some());
    });
}
