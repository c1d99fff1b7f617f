//! Pairs of netkit devices, whose programs see what each end sends. They are made by a request of our own: Debian's `ip` does
//! not know them.

use std::net::UdpSocket;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};
use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::ProgLoad;
use skep_runtime::{AttachOptions, AttachTarget, Program};

use crate::asm::slots;
use crate::hooks::{count_and_answer, counted, counter};
use crate::netns::{Devices, Peer, bound, in_namespace, received};
use crate::packets::unless_younger;

const RTM_NEWLINK: u16 = 16;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_EXCL` and `NLM_F_CREATE`.
const NEW: u16 = 0x605;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const NETKIT_PEER_INFO: u16 = 1;

/// Makes a pair: `near` here, and `far` in the network namespace of a process.
pub(crate) fn add_pair(near: &str, far: &str, there: u32) -> Result<(), String> {
    let peer = [
        IFINFO.to_vec(),
        attribute(IFLA_IFNAME, &text(far)),
        attribute(IFLA_NET_NS_PID, &there.to_ne_bytes()),
    ];
    let data = attribute(INFO_DATA, &attribute(NETKIT_PEER_INFO, &peer.concat()));
    let info = [attribute(INFO_KIND, &text("netkit")), data].concat();
    let body =
        [IFINFO.to_vec(), attribute(IFLA_IFNAME, &text(near)), attribute(IFLA_LINKINFO, &info)].concat();
    match request(RTM_NEWLINK, &body).map_err(|e| format!("netlink: {e}"))? {
        0 => Ok(()),
        errno => Err(format!("netkit: {}", std::io::Error::from_raw_os_error(-errno))),
    }
}

/// `struct ifinfomsg` of a device that is to be made.
const IFINFO: [u8; 16] = [0; 16];

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// `struct rtattr` and its value, with what fills it up to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(4 + value.len()).expect("values here are short");
    let mut attribute = [&bytes.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// What the kernel answers to a request: 0, or a negative errno.
fn request(kind: u16, body: &[u8]) -> rustix::io::Result<i32> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let bytes = u32::try_from(16 + body.len()).expect("requests here are short");
    let header = [&bytes.to_ne_bytes()[..], &kind.to_ne_bytes(), &NEW.to_ne_bytes(), &[0; 8]].concat();
    send(&socket, &[&header, body].concat(), SendFlags::empty())?;
    let mut answer = [0; 512];
    let (read, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    assert!(read >= 20, "an answer has a header and a number");
    Ok(i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]))
}

/// Each end's program drops what that end sends, and nothing else, as long as it is attached; both belong to the near device.
#[test]
fn programs_see_what_their_end_sends() {
    in_namespace("netkit::programs_see_what_their_end_sends", |kernel| {
        let Some(peer) = Peer::of_devices(1, Devices::Netkit) else { return };
        let (our_address, their_address) =
            (format!("{}:7007", peer.address(1)), format!("{}:7007", peer.address(2)));
        let (ours, theirs) = (bound(&our_address), peer.socket(&their_address));
        let arrives = |from: &UdpSocket, to: &UdpSocket, address: &str| {
            from.send_to(b"x", address).is_ok() && received(to).is_some()
        };
        let both = || (arrives(&ours, &theirs, &their_address), arrives(&theirs, &ours, &our_address));
        assert_eq!(both(), (true, true), "before");
        for (attach_type, expected) in
            [(AttachType::NETKIT_PRIMARY, (false, true)), (AttachType::NETKIT_PEER, (true, false))]
        {
            let map = counter(kernel);
            // `NETKIT_DROP`
            let code = slots(&count_and_answer(map.fd(), 2));
            let spec = ProgLoad {
                expected_attach_type: Some(attach_type),
                ..ProgLoad::new(ProgType::SCHED_CLS, "drops", &code, "GPL")
            };
            let program = Program::load(kernel, &spec).expect("it is safe");
            let target = || AttachTarget::Device(peer.near());
            let options = AttachOptions { target: Some(target()), ..AttachOptions::default() };
            let link = program.attach(&AttachPoint::Target { attach_type }, &options);
            let Some(link) = unless_younger(attach_type, link) else { return };
            assert_eq!(kernel.query(&target(), attach_type).expect("it tells").programs.len(), 1);
            assert_eq!(both(), expected, "{attach_type}");
            assert!(counted(&map) > 0, "{attach_type}");
            drop(link);
            assert_eq!(both(), (true, true), "{attach_type} is gone");
        }
    });
}
