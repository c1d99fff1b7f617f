//! What packet helpers ask of the host's network: devices, routes, neighbours, sockets.
//!
//! Addresses are in the order of the network; an IPv4 address is the first four of their sixteen bytes.

/// An IPv4 or IPv6 address, by its family.
pub type Address = [u8; 16];

/// A network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Bytes of the largest packet, without the link-layer header.
    pub mtu: u32,
    /// Bytes of that header.
    pub header_bytes: u32,
    /// Its own link-layer address.
    pub address: [u8; 6],
    /// Does it send and receive?
    pub is_up: bool,
    /// Does it forward IPv4 and IPv6?
    pub forwards: [bool; 2],
}

/// What a route is looked for.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery {
    /// `AF_INET` 2 or `AF_INET6` 10.
    pub family: u8,
    /// Where the packet goes.
    pub destination: Address,
    /// Only routes out of this device; 0 for any.
    pub device: u32,
    /// Only in this table, not by the rules.
    pub table: Option<u32>,
    /// The packet's mark.
    pub mark: u32,
}

/// A route that packets may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device that they leave by.
    pub device: u32,
    /// The next router, with its family, if there is one.
    pub gateway: Option<(u8, Address)>,
    /// The lower the better.
    pub metric: u32,
    /// The largest packet on it, where that is said.
    pub mtu: Option<u32>,
    /// The source address that packets on it get, where that is said.
    pub source: Option<Address>,
    /// Is it a tunnel of its own?
    pub is_encapsulated: bool,
}

/// Why packets cannot be forwarded (`BPF_FIB_LKUP_RET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// They are dropped in silence.
    Blackhole = 1,
    /// They are refused: there is no way.
    Unreachable = 2,
    /// They are refused: it is not allowed.
    Prohibit = 3,
    /// They are for this host, or nothing is known of where they go.
    NotForwarded = 4,
}

/// Which socket a packet is for.
#[derive(Clone, Copy, Debug)]
pub struct SocketQuery {
    /// `AF_INET` 2 or `AF_INET6` 10.
    pub family: u8,
    /// `IPPROTO_TCP` 6 or `IPPROTO_UDP` 17.
    pub protocol: u8,
    /// Where the packet comes from.
    pub source: (Address, u16),
    /// Where it goes.
    pub destination: (Address, u16),
}

/// A socket of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own family.
    pub family: u8,
    /// `IPPROTO_TCP` 6 or `IPPROTO_UDP` 17.
    pub protocol: u8,
    /// Its own address and port.
    pub local: (Address, u16),
    /// The other side's; zero where it is not connected.
    pub remote: (Address, u16),
    /// `TCP_ESTABLISHED` 1, `TCP_LISTEN` 10 and on.
    pub state: u8,
}

impl Socket {
    /// What programs see of it: `struct bpf_sock`.
    pub(crate) fn image(&self) -> [u8; 80] {
        let mut image = [0; 80];
        let kind: u32 = if self.protocol == 6 { 1 } else { 2 };
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &u32::from(self.family).to_ne_bytes());
        put(8, &kind.to_ne_bytes());
        put(12, &u32::from(self.protocol).to_ne_bytes());
        if self.family == 2 {
            put(24, &self.local.0[..4]);
            put(52, &self.remote.0[..4]);
        } else {
            put(28, &self.local.0);
            put(56, &self.remote.0);
        }
        put(44, &u32::from(self.local.1).to_ne_bytes());
        put(48, &self.remote.1.to_be_bytes());
        put(72, &u32::from(self.state).to_ne_bytes());
        put(76, &(-1i32).to_ne_bytes());
        image
    }
}
