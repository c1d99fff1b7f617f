//! Room at the head, the tail and in the middle of a socket buffer (`net/core/filter.c`).

use super::skb::{ETH_P_IP, ETH_P_IPV6, GSO_SEGS, GSO_SIZE, PKT_TYPE, PROTOCOL};
use super::{Checksum, Packet, checksum};
use crate::Errno;

/// Bytes that a socket buffer may grow to: those of a TSO frame, and room before and behind.
pub(super) const SKB_ROOM: usize = 1 << 17;

/// What `bpf_skb_change_tail`, `_head` and `bpf_skb_adjust_room` let packets grow to (`SKB_MAX_ALLOC` with its header taken off).
const MAX_LEN: usize = 16_064;

/// Bytes of IP headers without options.
const IPV4_HLEN: usize = 20;
const IPV6_HLEN: usize = 40;

/// Flags of `bpf_skb_adjust_room` (`BPF_F_ADJ_ROOM_*`).
mod room {
    pub(super) const FIXED_GSO: u64 = 1 << 0;
    pub(super) const ENCAP_L3_IPV4: u64 = 1 << 1;
    pub(super) const ENCAP_L3_IPV6: u64 = 1 << 2;
    pub(super) const ENCAP_L3: u64 = ENCAP_L3_IPV4 | ENCAP_L3_IPV6;
    pub(super) const ENCAP_L4_GRE: u64 = 1 << 3;
    pub(super) const ENCAP_L4_UDP: u64 = 1 << 4;
    pub(super) const NO_CSUM_RESET: u64 = 1 << 5;
    pub(super) const ENCAP_L2_ETH: u64 = 1 << 6;
    pub(super) const DECAP_L3_IPV4: u64 = 1 << 7;
    pub(super) const DECAP_L3_IPV6: u64 = 1 << 8;
    pub(super) const DECAP_L3: u64 = DECAP_L3_IPV4 | DECAP_L3_IPV6;
    pub(super) const ENCAP_L2_SHIFT: u32 = 56;
    pub(super) const ALL: u64 = FIXED_GSO
        | ENCAP_L3
        | ENCAP_L4_GRE
        | ENCAP_L4_UDP
        | ENCAP_L2_ETH
        | NO_CSUM_RESET
        | DECAP_L3
        | 0xff << ENCAP_L2_SHIFT;
}

/// Where the kernel would have the data and the transport header of a buffer, from the buffer's start. Nobody has set the
/// latter when a program runs, and the number that says so changes when the kernel makes headroom: then it counts for what
/// it seems to say (`__bpf_skb_min_len`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    headroom: usize,
    transport: u16,
}

impl Placed {
    /// `NET_SKB_PAD`, by which headroom grows, too.
    const PAD: usize = 64;
    const UNSET: u16 = u16::MAX;

    pub(super) const FRESH: Self = Self { headroom: Self::PAD, transport: Self::UNSET };

    /// Headroom is made where there is none (`skb_cow`).
    fn cow(&mut self, len: usize) {
        let grown = len.saturating_sub(self.headroom).next_multiple_of(Self::PAD);
        self.headroom += grown;
        self.transport = self.transport.wrapping_add(grown as u16);
    }

    /// From the data to the transport header, where it has a place and that is behind the data's start.
    fn transport_offset(self) -> Option<usize> {
        let set = self.transport != Self::UNSET;
        set.then(|| usize::from(self.transport).checked_sub(self.headroom)).flatten().filter(|off| *off > 0)
    }
}

impl Packet {
    /// Data begins earlier: the kernel has made room for that before.
    pub(super) fn placed_push(&mut self, len: usize) {
        self.placed.cow(len);
        self.placed.headroom -= len;
    }

    pub(super) fn placed_pull(&mut self, len: usize) {
        self.placed.headroom += len;
    }

    /// Moves everything up so that `len` bytes are free below the data.
    pub(super) fn make_headroom(&mut self, len: usize) {
        let by = (self.floor + len).saturating_sub(self.meta);
        if by == 0 {
            return;
        }
        let mut bytes = vec![0; self.end - self.floor];
        self.memory.read(self.floor, &mut bytes);
        self.memory.write(self.floor + by, &bytes);
        for place in [&mut self.meta, &mut self.data, &mut self.end, &mut self.mac, &mut self.network] {
            *place += by;
        }
    }

    /// Lets data begin earlier by `len` bytes, of unknown content; metadata is given up, as there is none behind TC.
    fn push(&mut self, len: usize) -> Result<(), Errno> {
        if len > self.ceiling - self.end + (self.data - self.floor) {
            return Err(Errno::ENOMEM);
        }
        self.make_headroom(len);
        self.data -= len;
        self.meta = self.data;
        Ok(())
    }

    /// Makes `len` bytes of zeros behind the first `off` (`bpf_skb_generic_push`).
    ///
    /// Where the data is shorter than `off`, what lies behind it moves as well, as in the kernel.
    pub(super) fn push_at(&mut self, off: usize, len: usize) -> Result<(), Errno> {
        self.push(len)?;
        self.placed_push(len);
        let mut head = vec![0; off.min(self.ceiling - self.data - len)];
        self.memory.read(self.data + len, &mut head);
        self.memory.write(self.data, &head);
        self.memory.zero(self.data + head.len(), len);
        self.refresh();
        Ok(())
    }

    /// Takes out `len` bytes behind the first `off` (`bpf_skb_generic_pop`).
    pub(super) fn pop_at(&mut self, off: usize, len: usize) -> Result<(), Errno> {
        if off + len > self.linear_len() {
            return Err(Errno::ENOMEM);
        }
        let mut head = vec![0; off];
        self.memory.read(self.data, &mut head);
        self.data += len;
        self.meta = self.data;
        self.placed_pull(len);
        self.memory.write(self.data, &head);
        self.refresh();
        Ok(())
    }

    fn net_push(&mut self, off: usize, len: usize) -> Result<(), Errno> {
        let same = self.transport_is_network();
        self.push_at(off, len)?;
        self.mac -= len;
        self.network -= len;
        self.move_transport(same);
        Ok(())
    }

    fn net_pop(&mut self, off: usize, len: usize) -> Result<(), Errno> {
        let same = self.transport_is_network();
        self.pop_at(off, len)?;
        self.mac += len;
        self.network += len;
        self.move_transport(same);
        Ok(())
    }

    /// Has the kernel both headers at one place? Then they stay together.
    fn transport_is_network(&self) -> bool {
        let network = self.placed.headroom as isize + self.network_offset();
        isize::try_from(self.placed.transport) == Ok(network)
    }

    fn move_transport(&mut self, same: bool) {
        if same {
            self.placed.transport = (self.placed.headroom as isize + self.network_offset()) as u16;
        }
    }

    /// `bpf_skb_change_proto`: room for the other IP header in place of this one.
    pub(crate) fn change_proto(&mut self, to: u32, flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let off = self.mac_header_len();
        match (self.field(PROTOCOL), to & 0xffff) {
            (ETH_P_IP, ETH_P_IPV6) => self.net_push(off, IPV6_HLEN - IPV4_HLEN)?,
            (ETH_P_IPV6, ETH_P_IP) => self.net_pop(off, IPV6_HLEN - IPV4_HLEN)?,
            _ => return Err(Errno::ENOTSUPP),
        }
        self.set_field(PROTOCOL, to & 0xffff);
        self.clear_hash();
        Ok(())
    }

    /// `bpf_skb_change_type`: among host, broadcast, multicast and other host.
    pub(crate) fn change_type(&mut self, to: u32) -> Result<(), Errno> {
        const OTHERHOST: u32 = 3;
        if self.field(PKT_TYPE) > OTHERHOST || to > OTHERHOST {
            return Err(Errno::EINVAL);
        }
        self.set_field(PKT_TYPE, to);
        Ok(())
    }

    /// `bpf_skb_change_tail`: cuts the end, or adds zeros to it.
    pub(crate) fn change_tail(&mut self, len: usize, flags: u64) -> Result<(), Errno> {
        let least = self.placed.transport_offset().unwrap_or(self.network_offset().max(0) as usize);
        if flags != 0 || len > MAX_LEN || len < least {
            return Err(Errno::EINVAL);
        }
        if self.encapsulated {
            return Err(Errno::ENOTSUPP);
        }
        let end = self.data + len;
        if end > self.ceiling {
            return Err(Errno::ENOMEM);
        }
        if end > self.end {
            self.memory.zero(self.end, end - self.end);
        }
        self.end = end;
        // Whatever it was to be cut into, it is one packet now.
        if self.is_segmented() {
            [GSO_SIZE, GSO_SEGS].into_iter().for_each(|field| self.set_field(field, 0));
        }
        self.refresh();
        Ok(())
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.field(PROTOCOL) == ETH_P_IPV6
    }

    /// Is it to be cut into several on its way out?
    fn is_segmented(&self) -> bool {
        self.field(GSO_SIZE) != 0
    }

    /// What it may grow to. Where it is cut later, nobody asks.
    fn max_len(&self) -> usize {
        if self.is_segmented() { usize::MAX } else { MAX_LEN }
    }

    /// `bpf_skb_change_head`: zeros before the data, which begin a new link-layer header.
    pub(crate) fn change_head(&mut self, len: usize, flags: u64) -> Result<(), Errno> {
        let over = self.len() + len > u32::MAX as usize;
        if flags != 0 || over || self.len() + len > self.max_len() {
            return Err(Errno::EINVAL);
        }
        self.push_at(0, len)?;
        self.mac = self.data;
        self.mac_len = self.mac_header_len();
        Ok(())
    }

    /// `bpf_skb_adjust_room`: room behind the link-layer header (mode 1) or behind the network header (mode 0).
    pub(crate) fn adjust_room(&mut self, diff: i32, mode: u32, flags: u64) -> Result<(), Errno> {
        if flags & !room::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let (len, shrink) = (diff.unsigned_abs() as usize, diff < 0);
        if len > 0xfff {
            return Err(Errno::EFAULT);
        }
        let base = match self.field(PROTOCOL) {
            ETH_P_IP => IPV4_HLEN,
            ETH_P_IPV6 => IPV6_HLEN,
            _ => return Err(Errno::ENOTSUPP),
        };
        let off = match mode {
            0 => self.mac_header_len() + base,
            1 => self.mac_header_len(),
            _ => return Err(Errno::ENOTSUPP),
        };
        let least = least_after(base, shrink, flags)?;
        let current = (self.len() as isize - self.network_offset()).max(0) as usize;
        if shrink && (len >= current || current - len < least) || !shrink && self.len() + len > self.max_len()
        {
            return Err(Errno::ENOTSUPP);
        }
        if shrink { self.shrink_room(off, len, flags) } else { self.grow_room(off, len, flags) }?;
        if flags & room::NO_CSUM_RESET == 0 && matches!(self.checksum, Checksum::Unnecessary(_)) {
            self.checksum = Checksum::None;
        }
        Ok(())
    }

    fn shrink_room(&mut self, off: usize, len: usize, flags: u64) -> Result<(), Errno> {
        if flags & !(room::FIXED_GSO | room::DECAP_L3 | room::NO_CSUM_RESET) != 0 {
            return Err(Errno::EINVAL);
        }
        self.check_segments()?;
        self.net_pop(off, len)?;
        match self.field(PROTOCOL) {
            ETH_P_IP if flags & room::DECAP_L3_IPV6 != 0 => self.set_field(PROTOCOL, ETH_P_IPV6),
            ETH_P_IPV6 if flags & room::DECAP_L3_IPV4 != 0 => self.set_field(PROTOCOL, ETH_P_IP),
            _ => {}
        }
        Ok(())
    }

    /// Packets that are cut may change only where the kernel knows how: as TCP, which nothing here is.
    fn check_segments(&self) -> Result<(), Errno> {
        if self.is_segmented() { Err(Errno::ENOTSUPP) } else { Ok(()) }
    }

    fn grow_room(&mut self, off: usize, len: usize, flags: u64) -> Result<(), Errno> {
        self.check_segments()?;
        self.placed.cow(len);
        if flags & room::ENCAP_L3 == 0 {
            return self.net_push(off, len);
        }
        self.check_encapsulation(len, flags)?;
        let mac_len = self.mac_header_len();
        self.net_push(off, len)?;
        self.encapsulated = true;
        self.network = self.data + mac_len;
        if flags & (room::ENCAP_L4_GRE | room::ENCAP_L4_UDP) != 0 {
            let outer = if flags & room::ENCAP_L3_IPV6 != 0 { IPV6_HLEN } else { IPV4_HLEN };
            self.placed.transport = (self.placed.headroom + mac_len + outer) as u16;
        }
        match self.field(PROTOCOL) {
            ETH_P_IP if flags & room::ENCAP_L3_IPV6 != 0 => self.set_field(PROTOCOL, ETH_P_IPV6),
            ETH_P_IPV6 if flags & room::ENCAP_L3_IPV4 != 0 => self.set_field(PROTOCOL, ETH_P_IP),
            _ => {}
        }
        Ok(())
    }

    /// `bpf_lwt_push_encap`: puts an IP header, and what may follow it, before the packet. One that comes in has its sum of
    /// the device kept up.
    pub(crate) fn push_ip(&mut self, header: &[u8], incoming: bool) -> Result<(), Errno> {
        const MOST: usize = 256;
        if !(IPV4_HLEN..=MOST).contains(&header.len()) {
            return Err(Errno::EINVAL);
        }
        let (version, ipv4_len) = (header[0] >> 4, usize::from(header[0] & 15) * 4);
        let (least, protocol) = match version {
            4 => (ipv4_len, ETH_P_IP),
            6 => (IPV6_HLEN, ETH_P_IPV6),
            _ => return Err(Errno::EINVAL),
        };
        if header.len() < least {
            return Err(Errno::EINVAL);
        }
        // The kernel makes room for the link-layer header, too.
        self.placed.cow(header.len() + if incoming { self.mac_len } else { 16 });
        self.push_at(0, header.len())?;
        self.network = self.data;
        if let (Checksum::Complete(sum), true) = (self.checksum, incoming) {
            self.checksum = Checksum::Complete(checksum::add32(sum, checksum::sum(header)));
        }
        let mut header = header.to_vec();
        if version == 4 && header[10..12] == [0, 0] {
            let sum = ipv4_checksum(&header, ipv4_len);
            header[10..12].copy_from_slice(&sum.to_ne_bytes());
        }
        self.memory.write(self.data, &header);
        self.encapsulated = true;
        self.clear_hash();
        self.set_field(PROTOCOL, protocol);
        self.check_segments()
    }

    fn check_encapsulation(&self, len: usize, flags: u64) -> Result<(), Errno> {
        let both = |a: u64, b: u64| flags & a != 0 && flags & b != 0;
        let inner_mac = (flags >> room::ENCAP_L2_SHIFT) as usize;
        let no_ethernet = flags & room::ENCAP_L2_ETH != 0 && inner_mac < super::ETH_HLEN;
        if both(room::ENCAP_L3_IPV4, room::ENCAP_L3_IPV6)
            || both(room::ENCAP_L4_GRE, room::ENCAP_L4_UDP)
            || no_ethernet
        {
            return Err(Errno::EINVAL);
        }
        if self.encapsulated {
            return Err(Errno::EALREADY);
        }
        if inner_mac > len { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Forgets the hash of the flow, because what it was made from has changed.
    pub(crate) fn clear_hash(&mut self) {
        self.hash_is_set = false;
        self.set_field(super::skb::HASH, 0);
    }
}

/// The checksum of an IPv4 header (`ip_fast_csum`): of fewer than five words x86 sums up only the first, and does not fold it.
fn ipv4_checksum(header: &[u8], len: usize) -> u16 {
    if len < IPV4_HLEN {
        return u16::from_ne_bytes([header[0], header[1]]);
    }
    checksum::fold(checksum::sum(&header[..len]))
}

/// What has to be left from the network header on.
fn least_after(base: usize, shrink: bool, flags: u64) -> Result<usize, Errno> {
    match flags & room::DECAP_L3 {
        0 => Ok(base),
        room::DECAP_L3_IPV4 if shrink => Ok(IPV4_HLEN),
        room::DECAP_L3_IPV6 if shrink => Ok(IPV6_HLEN),
        _ => Err(Errno::EINVAL),
    }
}
