//! Programs of routes: each packet that goes the way of one runs its program.

use std::net::UdpSocket;

use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::ProgLoad;
use skep_runtime::{AttachOptions, AttachTarget, Program};

use crate::asm::slots;
use crate::hooks::{count_and_answer, counted, counted_at_last, counter};
use crate::netns::{Peer, in_namespace};
use crate::packets::unless_younger;

#[test]
fn routes_run_programs() {
    in_namespace("routes::routes_run_programs", |kernel| {
        for prog_type in [ProgType::LWT_OUT, ProgType::LWT_XMIT] {
            let map = counter(kernel);
            // `BPF_DROP`
            let code = slots(&count_and_answer(map.fd(), 2));
            let program =
                Program::load(kernel, &ProgLoad::new(prog_type, "drops", &code, "GPL")).expect("it is safe");
            let to = ("10.98.0.0".parse().expect("an address"), 16);
            let target = Some(AttachTarget::Route { to, device: "lo".to_owned(), via: None });
            let options = AttachOptions { target, ..AttachOptions::default() };
            let link = program.attach(&AttachPoint::None, &options);
            let Some(link) = unless_younger(AttachType(0), link) else { return };
            let from = UdpSocket::bind("0.0.0.0:0").expect("any address");
            // What is dropped on the way out the sender may hear of.
            let _ = from.send_to(b"x", "10.98.0.1:9");
            assert_eq!(counted(&map), 1, "{prog_type}");
            let again = program.attach(&AttachPoint::None, &options).expect_err("there is such a route");
            assert_eq!(again.errno(), libc::EEXIST, "{again}");
            drop(link);
            let unreachable = from.send_to(b"x", "10.98.0.1:9").expect_err("the route is gone");
            assert_eq!(unreachable.raw_os_error(), Some(libc::ENETUNREACH));
        }
    });
}

/// A peer's packets go by two segments, the first of which is a program of ours.
#[test]
fn segments_run_programs() {
    in_namespace("routes::segments_run_programs", |kernel| {
        let Some(peer) = Peer::new(1) else { return };
        for line in [
            "-6 addr add fd00:9::2/64 dev far1 nodad",
            "-6 route add fd00:1::/64 dev far1",
            "-6 neigh add fd00:1::1 lladdr 02:00:00:00:01:01 dev far1",
            "-6 route add fd00:2::/64 encap seg6 mode encap segs fd00:1::1,fd00:1::2 dev far1",
        ] {
            if let Err(reason) = peer.try_ip(line) {
                return eprintln!("skipped: {reason}");
            }
        }
        let map = counter(kernel);
        // `BPF_DROP`
        let code = slots(&count_and_answer(map.fd(), 2));
        let spec = ProgLoad::new(ProgType::LWT_SEG6LOCAL, "segment", &code, "GPL");
        let Some(program) = unless_younger(AttachType(0), Program::load(kernel, &spec)) else { return };
        let to = ("fd00:1::1".parse().expect("an address"), 128);
        let target = Some(AttachTarget::Route { to, device: peer.near(), via: None });
        let options = AttachOptions { target, ..AttachOptions::default() };
        let Some(link) = unless_younger(AttachType(0), program.attach(&AttachPoint::None, &options)) else {
            return;
        };
        let send = || {
            let from = peer.run(|| UdpSocket::bind("[fd00:9::2]:0").expect("the address is theirs"));
            from.send_to(b"x", "[fd00:2::1]:9").expect("it is sent");
        };
        send();
        assert_eq!(counted_at_last(&map, 1), 1);
        send();
        assert_eq!(counted_at_last(&map, 2), 2);
        drop(link);
        send();
        assert_eq!(counted(&map), 2, "the route is gone");
    });
}
