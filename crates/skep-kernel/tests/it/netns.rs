//! Network namespaces that end with their test: the test runs again under `unshare`, and peers get one each.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use skep_runtime::SharedRuntime;

use crate::{kernel, netkit};

/// Says that we are in our own namespace.
const INSIDE: &str = "SKEP_TEST_NETNS";

/// Runs `body` in a new network namespace with a loopback device.
pub(crate) fn in_namespace(test: &str, body: impl FnOnce(&SharedRuntime)) {
    let Some(kernel) = kernel() else { return };
    if std::env::var_os(INSIDE).is_some() {
        return body(&kernel);
    }
    let script = "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture";
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", script])
        .arg(std::env::current_exe().expect("we run"))
        .arg(test)
        .env(INSIDE, "1")
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            said.lines().filter(|line| line.starts_with("skipped")).for_each(|reason| eprintln!("{reason}"));
            if output.status.code() == Some(127) {
                eprintln!("skipped: there is no `ip`");
                return;
            }
            assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
        }
        Err(e) => eprintln!("skipped: no network namespace: {e}"),
    }
}

/// Runs `ip`, in the namespace of a process or in ours.
fn ip(namespace: Option<u32>, arguments: &str) -> Result<(), String> {
    let mut command = match namespace {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid.to_string(), "-n", "ip"]);
            command
        }
        None => Command::new("ip"),
    };
    let output = command.args(arguments.split(' ')).output().map_err(|e| format!("`ip`: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// What a pair of devices is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    /// With Ethernet addresses, which the ends know of each other.
    Veth,
    /// For IP packets alone, with a program at each end.
    Netkit,
}

/// A host at the other end of a pair of devices, in a namespace of its own.
///
/// Pair `N` is `nearN` with us, `10.7.N.1`, and `farN` over there, `10.7.N.2`; they know each other's addresses.
pub(crate) struct Peer {
    holder: Child,
    number: u8,
}

impl Peer {
    /// A peer, or `None` with a printed reason.
    pub(crate) fn new(number: u8) -> Option<Self> {
        Self::of_devices(number, Devices::Veth)
    }

    /// A peer behind devices of a kind, or `None` with a printed reason.
    pub(crate) fn of_devices(number: u8, devices: Devices) -> Option<Self> {
        match Self::try_new(number, devices) {
            Ok(peer) => Some(peer),
            Err(reason) => {
                eprintln!("skipped: no pair of network devices: {reason}");
                None
            }
        }
    }

    fn try_new(number: u8, devices: Devices) -> Result<Self, String> {
        let holder =
            Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let peer = Self { holder: holder.map_err(|e| format!("`unshare`: {e}"))?, number };
        peer.wait_for_namespace()?;
        let there = peer.holder.id();
        let (near, far, n) = (peer.near(), format!("far{number}"), number);
        match devices {
            Devices::Veth => ip(
                None,
                &format!(
                    "link add {near} address 02:00:00:00:0{n}:01 type veth peer name {far} address 02:00:00:00:0{n}:02 netns {there}"
                ),
            )?,
            Devices::Netkit => netkit::add_pair(&near, &far, there)?,
        }
        for (namespace, device, own, other) in [(None, &near, 1, 2), (Some(there), &far, 2, 1)] {
            ip(namespace, &format!("addr add 10.7.{n}.{own}/24 dev {device}"))?;
            ip(namespace, &format!("link set {device} up"))?;
            if devices == Devices::Veth {
                let neighbour = format!("10.7.{n}.{other} lladdr 02:00:00:00:0{n}:0{other} dev {device}");
                ip(namespace, &format!("neigh add {neighbour}"))?;
            }
        }
        Ok(peer)
    }

    fn wait_for_namespace(&self) -> Result<(), String> {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let there = namespace(&self.holder.id().to_string());
            if there.is_some() && there != namespace("self") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("no other namespace".to_owned())
    }

    /// Our end's name.
    pub(crate) fn near(&self) -> String {
        format!("near{}", self.number)
    }

    /// Our end's number.
    pub(crate) fn near_index(&self) -> i32 {
        let text =
            Command::new("ip").args(["-o", "link", "show", &self.near()]).output().expect("there is `ip`");
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        text.split(':').next().and_then(|number| number.parse().ok()).expect("it begins with its number")
    }

    /// An address of one end: 1 ours, 2 theirs.
    pub(crate) fn address(&self, end: u8) -> String {
        format!("10.7.{}.{end}", self.number)
    }

    /// Changes the configuration over there.
    pub(crate) fn ip(&self, arguments: &str) {
        self.try_ip(arguments).expect("the peer can be configured");
    }

    /// Changes it, or says why that is not possible here.
    pub(crate) fn try_ip(&self, arguments: &str) -> Result<(), String> {
        ip(Some(self.holder.id()), arguments)
    }

    /// Runs `body` over there; sockets that it opens stay there.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("it lives");
        std::thread::scope(|scope| {
            let there = scope.spawn(move || {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)
                    .expect("we made it");
                body()
            });
            there.join().expect("it does not panic")
        })
    }

    /// A socket over there.
    pub(crate) fn socket(&self, address: &str) -> UdpSocket {
        self.run(|| bound(address))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The namespace ends with its last process, and our devices with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A socket that does not wait long.
pub(crate) fn bound(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("the address is ours");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
    socket
}

/// What arrives within the socket's patience.
pub(crate) fn received(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer) {
        Ok(bytes) => Some(buffer[..bytes].to_vec()),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(e) => panic!("{e}"),
    }
}
