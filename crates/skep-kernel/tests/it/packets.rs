//! Programs on packets and sockets, each in a network namespace of its own, with packets to ourselves.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use skep_isa::uapi::{AttachType, ProgType};
use skep_obj::AttachPoint;
use skep_runtime::command::ProgLoad;
use skep_runtime::{AttachOptions, AttachTarget, Error, Link, Map, Program, SharedRuntime};

use crate::asm::slots;
use crate::hooks::{count_and_answer, counted, counter};
use crate::netns::in_namespace;
use crate::{kernel, unless_refused};

/// Sends a datagram to ourselves; does it arrive?
fn arrives() -> bool {
    let to = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    to.set_read_timeout(Some(Duration::from_millis(200))).expect("a time");
    let from = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    match from.send_to(b"hello", to.local_addr().expect("it is bound")) {
        Ok(_) => {}
        // What a hook on the way out refuses, the sender hears.
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return false,
        Err(e) => panic!("{e}"),
    }
    match to.recv(&mut [0; 16]) {
        Ok(bytes) => bytes == 5,
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(e) => panic!("{e}"),
    }
}

/// Attaches a program that counts and answers `verdict`; `None` where this kernel does not let us.
fn attached(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    attach_type: AttachType,
    verdict: i32,
    options: AttachOptions,
) -> Option<(Map, Link)> {
    let map = counter(kernel);
    let code = slots(&count_and_answer(map.fd(), verdict));
    let spec = ProgLoad {
        expected_attach_type: Some(attach_type),
        ..ProgLoad::new(prog_type, "verdict", &code, "GPL")
    };
    let program = unless_younger(attach_type, Program::load(kernel, &spec))?;
    let link = program.attach(&AttachPoint::Target { attach_type }, &options);
    Some((map, unless_younger(attach_type, link)?))
}

/// A result that must be good, unless the hook is younger than the kernel.
pub(crate) fn unless_younger<T>(attach_type: AttachType, result: Result<T, Error>) -> Option<T> {
    match result {
        Err(e) if e.errno() == libc::EINVAL => {
            eprintln!("skipped: {attach_type}: {e}");
            None
        }
        result => unless_refused(result),
    }
}

fn to(target: AttachTarget, flags: u32) -> AttachOptions {
    AttachOptions { target: Some(target), flags, ..AttachOptions::default() }
}

/// A hook that drops with one verdict and lets pass with another, and no longer once its link is gone.
fn check(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    attach_type: AttachType,
    (drop_it, pass): (i32, i32),
    options: impl Fn() -> AttachOptions,
) {
    assert!(arrives(), "before");
    let Some((map, link)) = attached(kernel, prog_type, attach_type, drop_it, options()) else { return };
    assert!(!arrives(), "{attach_type} drops");
    assert!(counted(&map) >= 1);
    drop(link);
    assert!(arrives(), "{attach_type} is gone");
    let Some((map, _link)) = attached(kernel, prog_type, attach_type, pass, options()) else { return };
    assert!(arrives(), "{attach_type} lets pass");
    assert!(counted(&map) >= 1);
}

fn loopback() -> AttachTarget {
    AttachTarget::Device("lo".to_owned())
}

#[test]
fn xdp_drops_and_passes() {
    // `XDP_FLAGS_SKB_MODE`; `XDP_DROP`, `XDP_PASS`
    in_namespace("packets::xdp_drops_and_passes", |kernel| {
        check(kernel, ProgType::XDP, AttachType::XDP, (1, 2), || to(loopback(), 2));
    });
}

#[test]
fn tcx_drops_and_passes() {
    // `TCX_DROP`, `TCX_NEXT`
    in_namespace("packets::tcx_drops_and_passes", |kernel| {
        for hook in [AttachType::TCX_INGRESS, AttachType::TCX_EGRESS] {
            check(kernel, ProgType::SCHED_CLS, hook, (2, -1), || to(loopback(), 0));
        }
    });
}

#[test]
fn netfilter_drops_and_passes() {
    // IPv4, local input; `NF_DROP`, `NF_ACCEPT`
    in_namespace("packets::netfilter_drops_and_passes", |kernel| {
        let hook = || AttachTarget::Netfilter { family: 2, hook: 1, priority: -5 };
        check(kernel, ProgType::NETFILTER, AttachType::NETFILTER, (0, 1), || to(hook(), 0));
    });
}

#[test]
fn cgroups_drop_and_pass() {
    in_namespace("packets::cgroups_drop_and_pass", |kernel| {
        let Some(cgroup) = Cgroup::enter() else { return };
        let target = || to(AttachTarget::Cgroup(cgroup.0.clone()), 0);
        check(kernel, ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS, (0, 1), target);
    });
}

#[test]
fn socket_filters_cut() {
    in_namespace("packets::socket_filters_cut", |kernel| {
        let to_us = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        to_us.set_read_timeout(Some(Duration::from_millis(200))).expect("a time");
        let map = counter(kernel);
        let code = slots(&count_and_answer(map.fd(), 0));
        let spec = ProgLoad::new(ProgType::SOCKET_FILTER, "nothing", &code, "GPL");
        let program = Program::load(kernel, &spec).expect("it is safe");
        let socket = AttachTarget::Socket(std::os::fd::AsRawFd::as_raw_fd(&to_us));
        let point = AttachPoint::None;
        let _link = program.attach(&point, &to(socket, 0)).expect("any socket takes a filter");
        let from = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        from.send_to(b"hello", to_us.local_addr().expect("it is bound")).expect("it is sent");
        assert!(to_us.recv(&mut [0; 16]).is_err(), "the filter keeps no byte");
        assert_eq!(counted(&map), 1);
    });
}

#[test]
fn network_namespaces_have_hooks() {
    in_namespace("packets::network_namespaces_have_hooks", |kernel| {
        let own = || AttachTarget::NetNs(PathBuf::from("/proc/self/ns/net"));
        // `SK_PASS`, `BPF_OK`
        attached(kernel, ProgType::SK_LOOKUP, AttachType::SK_LOOKUP, 1, to(own(), 0));
        attached(kernel, ProgType::FLOW_DISSECTOR, AttachType::FLOW_DISSECTOR, 0, to(own(), 0));
    });
}

#[test]
fn a_missing_target_is_named() {
    let Some(kernel) = kernel() else { return };
    let map = counter(&kernel);
    let code = slots(&count_and_answer(map.fd(), 2));
    let spec = ProgLoad::new(ProgType::XDP, "pass", &code, "GPL");
    let Some(program) = unless_refused(Program::load(&kernel, &spec)) else { return };
    let point = AttachPoint::Target { attach_type: AttachType::XDP };
    let nowhere = program.attach(&point, &AttachOptions::default()).expect_err("no device is named");
    assert!(nowhere.to_string().contains("a network device"), "{nowhere}");
    let missing = program
        .attach(&point, &to(AttachTarget::Device("skep-none".to_owned()), 0))
        .expect_err("there is no such device");
    assert!(missing.to_string().contains("`skep-none`"), "{missing}");
}

/// Where the second version of cgroups is, or `None` with a printed reason.
pub(crate) fn cgroup_root() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists());
    if root.is_none() {
        eprintln!("skipped: there is no cgroup2 file system");
    }
    root
}

/// A cgroup of our own that this process is in until the end.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    pub(crate) fn enter() -> Option<Self> {
        let root = cgroup_root()?;
        let own = root.join(format!("skep-test-{}", std::process::id()));
        let entered = std::fs::create_dir(&own)
            .and_then(|()| std::fs::write(own.join("cgroup.procs"), std::process::id().to_string()));
        if let Err(e) = entered {
            eprintln!("skipped: no cgroup: {e}");
            return None;
        }
        Some(Self(own))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let root = self.0.parent().expect("it is below the root");
        // Where we cannot leave, the empty group stays behind; nothing runs in it.
        let _ = std::fs::write(root.join("cgroup.procs"), std::process::id().to_string());
        let _ = std::fs::remove_dir(&self.0);
    }
}
