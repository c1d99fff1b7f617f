//! Socket buffers: the fields of `struct __sk_buff` (`include/uapi/linux/bpf.h`), how a received frame fills them, and VLAN
//! tags.

use super::{Checksum, ETH_HLEN, KEYS_AT, Packet, SOCKET_AT, SOCKET_BYTES, checksum, flow};
use crate::Errno;

/// Bytes of `struct __sk_buff`.
pub const CONTEXT_BYTES: usize = 192;

macro_rules! fields {
    ($($name:ident = $off:literal;)*) => {
        $(
            #[doc = concat!("Offset of `", stringify!($name), "`, which is spelled small in C.")]
            pub const $name: usize = $off;
        )*
    };
}

fields! {
    LEN = 0;
    PKT_TYPE = 4;
    MARK = 8;
    QUEUE_MAPPING = 12;
    PROTOCOL = 16;
    VLAN_PRESENT = 20;
    VLAN_TCI = 24;
    VLAN_PROTO = 28;
    PRIORITY = 32;
    INGRESS_IFINDEX = 36;
    IFINDEX = 40;
    CB = 48;
    HASH = 68;
    DATA = 76;
    DATA_END = 80;
    FAMILY = 88;
    REMOTE_IP4 = 92;
    LOCAL_IP4 = 96;
    REMOTE_IP6 = 100;
    LOCAL_IP6 = 116;
    DATA_META = 140;
    FLOW_KEYS = 144;
    TSTAMP = 152;
    WIRE_LEN = 160;
    GSO_SEGS = 164;
    SK = 168;
    GSO_SIZE = 176;
    TSTAMP_TYPE = 180;
    HWTSTAMP = 184;
}

/// Bytes of `cb`.
pub const CB_BYTES: usize = 20;

/// Offsets in `struct bpf_sock`.
mod sock {
    pub(super) const FAMILY: usize = 4;
    pub(super) const SRC_IP4: usize = 24;
    pub(super) const SRC_IP6: usize = 28;
    pub(super) const DST_IP4: usize = 52;
    pub(super) const DST_IP6: usize = 56;
    pub(super) const STATE: usize = 72;
    pub(super) const RX_QUEUE_MAPPING: usize = 76;
}

/// `TCP_CLOSE`, the state of a socket that does nothing.
const TCP_CLOSE: u32 = 7;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const VLAN_HLEN: usize = 4;

/// Protocols in the order of the network, as `__sk_buff::protocol` has them.
const fn be16(value: u16) -> u32 {
    u16::from_ne_bytes(value.to_be_bytes()) as u32
}
pub(crate) const ETH_P_IP: u32 = be16(0x0800);
pub(crate) const ETH_P_IPV6: u32 = be16(0x86dd);
const ETH_P_8021Q: u32 = be16(0x8100);
const ETH_P_8021AD: u32 = be16(0x88a8);

fn is_vlan(proto: u32) -> bool {
    proto == ETH_P_8021Q || proto == ETH_P_8021AD
}

/// How the link-layer header of a frame is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Data begins with it (TC).
    Link,
    /// It lies before the data (socket filters, cgroups, LWT).
    Network,
}

/// The addresses that a device listens to, by which it says who a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddresses {
    /// Its own.
    pub own: [u8; 6],
    /// Everybody's.
    pub broadcast: [u8; 6],
}

impl LinkAddresses {
    /// The loopback device's, whose frames are for nobody else, and for everybody never.
    pub const LOOPBACK: Self = Self { own: [0; 6], broadcast: [0; 6] };

    /// An Ethernet device's.
    pub const fn ethernet(own: [u8; 6]) -> Self {
        Self { own, broadcast: [0xff; 6] }
    }

    /// `PACKET_HOST` and its like, by the address that a frame begins with.
    fn packet_type(&self, to: [u8; 6]) -> u32 {
        const HOST: u32 = 0;
        const BROADCAST: u32 = 1;
        const MULTICAST: u32 = 2;
        const OTHERHOST: u32 = 3;
        let is_group = to[0] & 1 != 0;
        if to == self.own {
            HOST
        } else if is_group && to == self.broadcast {
            BROADCAST
        } else if is_group {
            MULTICAST
        } else {
            OTHERHOST
        }
    }
}

impl Packet {
    /// Fills the context as a device does that has received the data as an Ethernet frame (`eth_type_trans`), and makes
    /// the data begin at a layer. `EINVAL` for frames shorter than their headers, as `BPF_PROG_TEST_RUN` answers.
    pub fn receive(&mut self, layer: Layer, device: &LinkAddresses) -> Result<(), Errno> {
        let mut header = [0; ETH_HLEN + 2];
        let len = self.linear_len();
        if len < ETH_HLEN {
            return Err(Errno::EINVAL);
        }
        self.memory.read(self.data, &mut header[..len.min(ETH_HLEN + 2)]);
        let proto = u32::from(flow::frame_protocol(&header, len));
        let to = *header.first_chunk().expect("invariant: a header begins with an address");
        self.set_field(PKT_TYPE, device.packet_type(to));
        self.set_field(PROTOCOL, proto);
        self.set_field(WIRE_LEN, len as u32);
        (self.mac, self.network, self.mac_len) = (self.data, self.data + ETH_HLEN, ETH_HLEN);
        if layer == Layer::Network {
            self.data += ETH_HLEN;
            self.meta = self.data;
            self.placed_pull(ETH_HLEN);
            self.set_field(WIRE_LEN, (len - ETH_HLEN) as u32);
        }
        self.attach_socket(proto)?;
        self.refresh();
        Ok(())
    }

    /// Gives the link-layer header back to the data, cleared: what `BPF_PROG_TEST_RUN` answers with.
    pub fn restore_link_header(&mut self) {
        if self.data < self.floor + ETH_HLEN {
            self.make_headroom(ETH_HLEN);
        }
        self.data -= ETH_HLEN;
        self.memory.zero(self.data, ETH_HLEN);
        self.meta = self.data;
        self.refresh();
    }

    /// Says that the device has summed up everything behind the link-layer header.
    pub fn complete_checksum(&mut self) {
        self.checksum = Checksum::Complete(self.network_sum());
    }

    /// Is the sum that the device gave, kept up by helpers since, still that of the packet?
    pub fn checksum_is_complete(&self) -> bool {
        let Checksum::Complete(sum) = self.checksum else { return false };
        checksum::fold(sum) == checksum::fold(self.network_sum())
    }

    fn network_sum(&self) -> u32 {
        let start = self.network.clamp(self.floor, self.end);
        let mut bytes = vec![0; self.end - start];
        self.memory.read(start, &mut bytes);
        checksum::sum(&bytes)
    }

    /// Replaces what is at `off` in a sum that is kept.
    pub(crate) fn change_sum(&mut self, off: usize, old: &[u8], new: &[u8]) {
        if let Checksum::Complete(sum) = self.checksum {
            // A byte at an odd place counts for the other half of its word.
            let place = |sum: u32| if off.is_multiple_of(2) { sum } else { sum.rotate_left(8) };
            let less = checksum::add32(sum, !place(checksum::sum(old)));
            self.checksum = Checksum::Complete(checksum::add32(less, place(checksum::sum(new))));
        }
    }

    /// Makes the context point to flow keys, cleared but for what a flow dissector is given.
    pub fn set_flow_keys(&mut self, keys: &[u8; super::KEYS_BYTES]) {
        self.memory.write(KEYS_AT, keys);
        let addr = self.part_addr(KEYS_AT);
        self.set_context(FLOW_KEYS, &addr.to_ne_bytes());
    }

    /// The flow keys as a flow dissector has left them.
    pub fn flow_keys(&self) -> [u8; super::KEYS_BYTES] {
        let mut keys = [0; super::KEYS_BYTES];
        self.memory.read(KEYS_AT, &mut keys);
        keys
    }

    /// A socket that knows nothing but the addresses of the packet, as a test run has it.
    fn attach_socket(&mut self, proto: u32) -> Result<(), Errno> {
        let mut socket = [0; SOCKET_BYTES];
        let put = |socket: &mut [u8; SOCKET_BYTES], at: usize, value: u32| {
            socket[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        put(&mut socket, sock::STATE, TCP_CLOSE);
        put(&mut socket, sock::RX_QUEUE_MAPPING, u32::MAX);
        let network = self.network - self.data;
        match proto {
            ETH_P_IP => {
                let mut header = [0; 20];
                self.read(network, &mut header).ok_or(Errno::EINVAL)?;
                put(&mut socket, sock::FAMILY, AF_INET);
                socket[sock::SRC_IP4..][..4].copy_from_slice(&header[12..16]);
                socket[sock::DST_IP4..][..4].copy_from_slice(&header[16..20]);
            }
            ETH_P_IPV6 => {
                let mut header = [0; 40];
                self.read(network, &mut header).ok_or(Errno::EINVAL)?;
                put(&mut socket, sock::FAMILY, AF_INET6);
                socket[sock::SRC_IP6..][..16].copy_from_slice(&header[8..24]);
                socket[sock::DST_IP6..][..16].copy_from_slice(&header[24..40]);
            }
            _ => {}
        }
        self.memory.write(SOCKET_AT, &socket);
        // Programs of control groups see it in the context as well, whose data was received.
        let part = |at: usize, len: usize| &socket[at..at + len];
        for (field, value) in [
            (FAMILY, part(sock::FAMILY, 4)),
            (REMOTE_IP4, part(sock::DST_IP4, 4)),
            (LOCAL_IP4, part(sock::SRC_IP4, 4)),
            (REMOTE_IP6, part(sock::DST_IP6, 16)),
            (LOCAL_IP6, part(sock::SRC_IP6, 16)),
        ] {
            self.set_context(field, value);
        }
        let addr = self.part_addr(SOCKET_AT);
        self.set_context(SK, &addr.to_ne_bytes());
        Ok(())
    }

    /// Bytes from the start of the data to the network header; negative when the data begins behind it.
    pub(crate) fn network_offset(&self) -> isize {
        self.network as isize - self.data as isize
    }

    /// Bytes of the link-layer header.
    pub(crate) fn mac_header_len(&self) -> usize {
        self.network.saturating_sub(self.mac)
    }

    /// Copies from a header on, as far as the data goes (`bpf_skb_load_bytes_relative`).
    pub(crate) fn read_from_header(&self, network: bool, off: usize, out: &mut [u8]) -> Option<()> {
        let at = if network { self.network } else { self.mac } + off;
        if at + out.len() > self.end {
            return None;
        }
        self.memory.read(at, out);
        Some(())
    }

    /// Marks congestion in the IP header, and in its checksum; answers whether it is marked now.
    pub(crate) fn mark_congestion(&mut self) -> bool {
        const ECN: u8 = 3;
        let Ok(at) = usize::try_from(self.network_offset()) else { return false };
        let protocol = self.protocol_behind_tags();
        let header = if protocol == ETH_P_IPV6 { 40 } else { 20 };
        let mut start = [0; 40];
        if self.read(at, &mut start[..header]).is_none() {
            return false;
        }
        match protocol {
            ETH_P_IP => match start[1] & ECN {
                0 => false,
                ECN => true,
                ecn => self.mark_ipv4(at, start[1], ecn),
            },
            // The traffic class lies across the first two bytes.
            ETH_P_IPV6 => match start[1] >> 4 & ECN {
                0 => false,
                _ => self.write(at + 1, &[start[1] | ECN << 4]).is_some(),
            },
            _ => false,
        }
    }

    /// The protocol that comes behind VLAN tags in the data (`vlan_get_protocol`), which are looked for where a link-layer
    /// header would be.
    fn protocol_behind_tags(&self) -> u32 {
        const MAX_TAGS: usize = 7;
        let mut proto = self.field(PROTOCOL);
        for tag in 0..=MAX_TAGS {
            if !is_vlan(proto) {
                return proto;
            }
            let mut behind = [0; 2];
            if self.read(ETH_HLEN + tag * VLAN_HLEN + 2, &mut behind).is_none() {
                break;
            }
            proto = u16::from_ne_bytes(behind).into();
        }
        0
    }

    /// The field grows by what is missing to 3, so the checksum shrinks by it.
    fn mark_ipv4(&mut self, at: usize, tos: u8, ecn: u8) -> bool {
        let mut sum = [0; 2];
        if self.read(at + 10, &mut sum).is_none() {
            return false;
        }
        let (new, borrow) = u16::from_be_bytes(sum).overflowing_sub(u16::from(3 - ecn));
        let new = new.wrapping_sub(u16::from(borrow));
        self.write(at + 10, &new.to_be_bytes()).and_then(|()| self.write(at + 1, &[tos | 3])).is_some()
    }

    /// `bpf_skb_vlan_push`: the tag goes into the context, and one that is there already into the data.
    pub(crate) fn vlan_push(&mut self, proto: u32, tci: u16) -> Result<(), Errno> {
        let proto = if is_vlan(proto & 0xffff) { proto & 0xffff } else { ETH_P_8021Q };
        if self.field(VLAN_PRESENT) != 0 {
            let (old_proto, old_tci) = (self.field(VLAN_PROTO), self.field(VLAN_TCI) as u16);
            self.insert_tag(old_proto, old_tci)?;
            self.set_field(PROTOCOL, old_proto);
            self.network -= VLAN_HLEN;
        }
        self.put_tag(proto, tci);
        self.mac_len = self.mac_header_len();
        Ok(())
    }

    fn put_tag(&mut self, proto: u32, tci: u16) {
        self.set_field(VLAN_PRESENT, 1);
        self.set_field(VLAN_PROTO, proto);
        self.set_field(VLAN_TCI, tci.into());
    }

    fn insert_tag(&mut self, proto: u32, tci: u16) -> Result<(), Errno> {
        self.push_at(12, VLAN_HLEN)?;
        self.mac -= VLAN_HLEN;
        let mut tag = [0; VLAN_HLEN];
        tag[..2].copy_from_slice(&(proto as u16).to_ne_bytes());
        tag[2..].copy_from_slice(&tci.to_be_bytes());
        self.write(12, &tag).ok_or(Errno::ENOMEM)
    }

    /// `bpf_skb_vlan_pop`: removes the outer tag; the next one, if there is any, goes into the context.
    pub(crate) fn vlan_pop(&mut self) -> Result<(), Errno> {
        if self.field(VLAN_PRESENT) != 0 {
            [VLAN_PRESENT, VLAN_TCI, VLAN_PROTO].into_iter().for_each(|field| self.set_field(field, 0));
        } else {
            if !is_vlan(self.field(PROTOCOL)) {
                return Ok(());
            }
            self.remove_tag()?;
        }
        let proto = self.field(PROTOCOL);
        if is_vlan(proto) {
            let tci = self.remove_tag()?;
            self.put_tag(proto, tci);
        }
        Ok(())
    }

    /// Takes the outer tag of a frame that was received into the context (`skb_vlan_untag`).
    pub fn untag(&mut self) {
        let proto = self.field(PROTOCOL);
        let is_whole = self.linear_len() >= ETH_HLEN + VLAN_HLEN;
        if is_vlan(proto)
            && is_whole
            && self.field(VLAN_PRESENT) == 0
            && let Ok(tci) = self.remove_tag()
        {
            self.put_tag(proto, tci);
            self.set_field(WIRE_LEN, self.len() as u32);
        }
    }

    /// Puts the tag that is in the context into the data, as a frame that is sent has it.
    pub fn retag(&mut self) -> Result<(), Errno> {
        if self.field(VLAN_PRESENT) == 0 {
            return Ok(());
        }
        self.insert_tag(self.field(VLAN_PROTO), self.field(VLAN_TCI) as u16)?;
        self.set_field(VLAN_PRESENT, 0);
        Ok(())
    }

    /// Takes the tag out of the data, and the protocol from behind it (`__skb_vlan_pop`).
    fn remove_tag(&mut self) -> Result<u16, Errno> {
        let mut header = [0; ETH_HLEN + VLAN_HLEN];
        self.read(0, &mut header).ok_or(Errno::ENOMEM)?;
        let tci = u16::from_be_bytes([header[14], header[15]]);
        self.pop_at(12, VLAN_HLEN)?;
        self.mac += VLAN_HLEN;
        if self.network_offset() < ETH_HLEN as isize {
            self.network = self.data + ETH_HLEN;
        }
        self.mac_len = self.mac_header_len();
        let mut inner = [0; ETH_HLEN + 2];
        let len = self.linear_len().min(inner.len());
        self.read(0, &mut inner[..len]).ok_or(Errno::ENOMEM)?;
        let proto = flow::frame_protocol(&inner, self.linear_len());
        self.set_field(PROTOCOL, proto.into());
        Ok(tci)
    }
}
