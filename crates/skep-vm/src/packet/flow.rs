//! What headers say: the protocol of a frame, and the flow that a packet belongs to.

use std::hash::Hasher as _;

use super::Packet;

/// The protocol of an Ethernet frame of `len` bytes in the order of the network (`eth_type_trans`, `net/ethernet/eth.c`): a length
/// in place of the type means IEEE 802.2, or 802.3 of old.
pub(crate) fn frame_protocol(header: &[u8], len: usize) -> u16 {
    const ETH_P_802_3_MIN: u16 = 0x600;
    const ETH_P_802_3: u16 = 1;
    const ETH_P_802_2: u16 = 4;
    let proto = u16::from_be_bytes([header[12], header[13]]);
    let proto = match proto {
        ETH_P_802_3_MIN.. => proto,
        _ if len >= 16 && header[14..16] == [0xff, 0xff] => ETH_P_802_3,
        _ => ETH_P_802_2,
    };
    u16::from_ne_bytes(proto.to_be_bytes())
}

/// The ends of a flow: what its packets have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// `ETH_P_IP`, `ETH_P_IPV6` or another, in the order of the host.
    pub network: u16,
    /// `IPPROTO_TCP` and its like.
    pub transport: u8,
    /// Source and destination; version 4 in the first four bytes.
    pub addresses: [[u8; 16]; 2],
    /// Source and destination; 0 where the protocol has none.
    pub ports: [u16; 2],
}

impl Flow {
    /// Reads the headers from the network layer on.
    pub fn of(network: u16, bytes: &[u8]) -> Self {
        let mut flow = Self { network, ..Self::default() };
        let transport_at = match network {
            0x0800 => flow.ipv4(bytes),
            0x86dd => flow.ipv6(bytes),
            _ => None,
        };
        if let Some(ports) = transport_at.and_then(|at| bytes.get(at..at + 4))
            && matches!(flow.transport, 6 | 17 | 132 | 136 | 33)
        {
            let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
            flow.ports = [port(0), port(2)];
        }
        flow
    }

    fn ipv4(&mut self, bytes: &[u8]) -> Option<usize> {
        let header = bytes.get(..20)?;
        self.transport = header[9];
        self.addresses[0][..4].copy_from_slice(&header[12..16]);
        self.addresses[1][..4].copy_from_slice(&header[16..20]);
        // Later fragments have no ports.
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        (fragment == 0).then_some(usize::from(header[0] & 15) * 4)
    }

    fn ipv6(&mut self, bytes: &[u8]) -> Option<usize> {
        let header = bytes.get(..40)?;
        self.transport = header[6];
        self.addresses[0].copy_from_slice(&header[8..24]);
        self.addresses[1].copy_from_slice(&header[24..40]);
        Some(40)
    }

    /// A number that the packets of a flow share, in either direction; never 0.
    pub fn hash(&self) -> u32 {
        let (mut one, mut other) = ((self.addresses[0], self.ports[0]), (self.addresses[1], self.ports[1]));
        if other < one {
            std::mem::swap(&mut one, &mut other);
        }
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u16(self.network);
        hasher.write_u8(self.transport);
        for (address, port) in [one, other] {
            hasher.write(&address);
            hasher.write_u16(port);
        }
        (hasher.finish() as u32).max(1)
    }
}

impl Packet {
    /// The flow of a socket buffer, from its network header on.
    pub(crate) fn flow(&self) -> Flow {
        const HEADERS: usize = 128;
        let proto = u16::from_be(self.field(super::skb::PROTOCOL) as u16);
        let at = self.network.clamp(self.floor, self.end);
        let mut bytes = vec![0; (self.end - at).min(HEADERS)];
        self.memory.read(at, &mut bytes);
        Flow::of(proto, &bytes)
    }
}
