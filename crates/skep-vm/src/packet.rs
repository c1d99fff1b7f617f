//! A packet while programs run on it: its bytes, its context, and what helpers have decided about it.
//!
//! Programs know packets by the 32-bit fields `data` and `data_end` of their context, which hold real addresses here: a
//! packet lies in the lowest four gigabytes, together with its context, so that programs load both as plain memory.
//!
//! ```text
//! context │ socket │ flow keys │ headroom │ metadata │ data …… │ tailroom
//! 0       256      384         512        meta       data      end
//! ```
//!
//! What programs write into the context is theirs; the bounds that count are kept apart from it. Changes of shape are in
//! [`shape`], the fields of `struct __sk_buff` in [`skb`], of `struct xdp_md` in [`xdp`], headers in [`flow`].

pub(crate) mod checksum;
pub mod flow;
pub mod shape;
pub mod skb;
pub mod xdp;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_isa::uapi::ProgType;

use crate::Errno;
use crate::helper::packet::tunnel::Tunnel;
use crate::memory::{Arena, PacketView};

/// Where the parts of a packet's memory begin.
const SOCKET_AT: usize = 256;
const KEYS_AT: usize = 384;
const BUFFER_AT: usize = 512;

/// Bytes of `struct bpf_sock`.
const SOCKET_BYTES: usize = 80;
/// Bytes of `struct bpf_flow_keys`.
pub const KEYS_BYTES: usize = 56;

/// Bytes of an Ethernet header.
pub const ETH_HLEN: usize = 14;

/// Headroom of socket buffers here. It grows when a program needs more, so it is a matter of speed only.
const SKB_HEADROOM: usize = 256;

/// How programs of a type may use `data` and `data_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAccess {
    /// Not at all: both fields are 0.
    None,
    /// They may read.
    Read,
    /// They may read and write.
    Write,
}

/// Which kind of context a packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `struct xdp_md`.
    Xdp,
    /// `struct __sk_buff`.
    Skb,
}

/// Where a helper has sent the packet; it takes effect when the program answers that it redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// To a device, by its number: out of it, or (`BPF_F_INGRESS`) in.
    Device {
        /// The device.
        ifindex: u32,
        /// The helper's flags.
        flags: u64,
    },
    /// To an element of a map.
    Map {
        /// The map's name.
        map: String,
        /// Its type.
        map_type: skep_isa::uapi::MapType,
        /// The key.
        key: u64,
        /// What is stored there: a device, a processor's queue, a socket.
        value: u32,
        /// The helper's flags.
        flags: u64,
    },
}

/// A copy that `bpf_clone_redirect` sent off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clone {
    /// The device.
    pub ifindex: u32,
    /// `BPF_F_INGRESS`: into the device, not out of it.
    pub ingress: bool,
    /// What it looked like then.
    pub data: Vec<u8>,
}

/// What the kernel knows of a socket buffer's checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Checksum {
    #[default]
    None,
    /// Right, at so many levels of encapsulation beyond the first.
    Unnecessary(u8),
    /// The sum over everything behind the link-layer header.
    Complete(u32),
}

/// A packet, its memory reused from one to the next.
#[derive(Debug)]
pub struct Packet {
    /// Shared with a run for as long as that takes.
    memory: Rc<Arena>,
    form: Form,
    access: DataAccess,
    /// The lowest place that metadata and data may have, and the end of the room behind data.
    floor: usize,
    ceiling: usize,
    /// From the start of the frame to the data, as packets come.
    headroom: usize,
    meta: usize,
    data: usize,
    end: usize,
    /// Fragments behind the linear part (XDP).
    pub(crate) frags: Vec<Vec<u8>>,
    /// Headers of a socket buffer, as places in the memory.
    mac: usize,
    network: usize,
    mac_len: usize,
    /// Where the kernel would have the data and the transport header.
    placed: shape::Placed,
    pub(crate) encapsulated: bool,
    pub(crate) checksum: Checksum,
    pub(crate) hash_is_set: bool,
    pub(crate) redirect: Option<Redirect>,
    clones: Vec<Clone>,
    /// What a tunnel device is to do with it.
    pub(crate) tunnel: Option<Box<Tunnel>>,
    /// The number of its socket, once somebody has asked.
    cookie: u64,
}

impl Packet {
    /// An XDP frame of `frame_bytes`, of which 256 before the data and 320 at the end are the kernel's.
    pub fn xdp(frame_bytes: usize) -> Result<Self, Errno> {
        let memory = Rc::new(Arena::low(BUFFER_AT + frame_bytes)?);
        let (floor, ceiling) = (BUFFER_AT + xdp::FRAME_BYTES, BUFFER_AT + frame_bytes - xdp::TAILROOM);
        Ok(Self::new(memory, Form::Xdp, DataAccess::Write, (floor, ceiling), xdp::HEADROOM))
    }

    /// A socket buffer.
    pub fn skb(access: DataAccess) -> Result<Self, Errno> {
        let bytes = BUFFER_AT + shape::SKB_ROOM;
        let memory = Rc::new(Arena::low(bytes)?);
        Ok(Self::new(memory, Form::Skb, access, (BUFFER_AT, bytes), SKB_HEADROOM))
    }

    /// What programs of this type run on; `None` for those that do not run on packets.
    pub fn of_program(prog_type: ProgType, frame_bytes: usize) -> Option<Result<Self, Errno>> {
        Some(match prog_type {
            ProgType::XDP => Self::xdp(frame_bytes),
            ProgType::SCHED_CLS | ProgType::SCHED_ACT | ProgType::LWT_XMIT | ProgType::SK_SKB => {
                Self::skb(DataAccess::Write)
            }
            ProgType::LWT_IN
            | ProgType::LWT_OUT
            | ProgType::LWT_SEG6LOCAL
            | ProgType::CGROUP_SKB
            | ProgType::FLOW_DISSECTOR => Self::skb(DataAccess::Read),
            ProgType::SOCKET_FILTER => Self::skb(DataAccess::None),
            _ => return None,
        })
    }

    fn new(
        memory: Rc<Arena>,
        form: Form,
        access: DataAccess,
        (floor, ceiling): (usize, usize),
        headroom: usize,
    ) -> Self {
        let at = BUFFER_AT + headroom;
        Self {
            memory,
            form,
            access,
            floor,
            ceiling,
            headroom,
            meta: at,
            data: at,
            end: at,
            frags: Vec::new(),
            mac: at,
            network: at,
            mac_len: 0,
            placed: shape::Placed::FRESH,
            encapsulated: false,
            checksum: Checksum::None,
            hash_is_set: false,
            redirect: None,
            clones: Vec::new(),
            tunnel: None,
            cookie: 0,
        }
    }

    /// Puts another packet in, of which the first `meta_len` bytes are metadata: a fresh context, nothing decided.
    /// `EINVAL` when it is longer than the room.
    #[inline]
    pub fn fill(&mut self, bytes: &[u8], meta_len: usize) -> Result<(), Errno> {
        let at = BUFFER_AT + self.headroom - meta_len.min(self.headroom);
        if meta_len > bytes.len() || bytes.len() > self.ceiling - at || at < self.floor {
            return Err(Errno::EINVAL);
        }
        self.put(at, bytes);
        (self.meta, self.data, self.end) = (at, at + meta_len, at + bytes.len());
        (self.mac, self.network, self.mac_len) = (self.data, self.data, 0);
        self.placed = shape::Placed::FRESH;
        (self.encapsulated, self.hash_is_set) = (false, false);
        self.checksum = Checksum::None;
        self.redirect = None;
        self.frags.clear();
        self.clones.clear();
        (self.tunnel, self.cookie) = (None, 0);
        if self.form == Form::Skb {
            self.put(0, &[0; skb::CONTEXT_BYTES]);
            self.refresh();
        } else {
            let [data, end, meta] = self.bounds();
            self.put_words([data, end, meta, 0, 0, 0]);
        }
        Ok(())
    }

    /// Writes its memory: at once as long as no run shares it.
    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        match Rc::get_mut(&mut self.memory) {
            Some(memory) => memory.put(at, bytes),
            None => self.memory.write(at, bytes),
        }
    }

    /// Writes the first words of the context. Not as bytes: programs load words, and what was put together of smaller
    /// stores would have to reach the cache first.
    #[inline]
    fn put_words<const N: usize>(&mut self, words: [u32; N]) {
        match Rc::get_mut(&mut self.memory) {
            Some(memory) => {
                (0..).step_by(4).zip(words).for_each(|(at, word)| memory.put(at, &word.to_ne_bytes()));
            }
            None => {
                (0..).step_by(4).zip(words).for_each(|(at, word)| self.memory.write(at, &word.to_ne_bytes()));
            }
        }
    }

    /// Which kind of context it has.
    #[inline]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes of its context.
    #[inline]
    pub fn context_bytes(&self) -> usize {
        match self.form {
            Form::Xdp => xdp::CONTEXT_BYTES,
            Form::Skb => skb::CONTEXT_BYTES,
        }
    }

    /// Bytes of metadata before the data.
    pub fn meta_len(&self) -> usize {
        self.data - self.meta
    }

    /// Bytes of data, fragments included.
    pub fn len(&self) -> usize {
        self.linear_len() + self.frags.iter().map(Vec::len).sum::<usize>()
    }

    /// Is there no data?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of data that programs may reach by address.
    pub fn linear_len(&self) -> usize {
        self.end - self.data
    }

    /// Is all data in one piece?
    #[inline]
    pub fn is_linear(&self) -> bool {
        self.frags.is_empty()
    }

    /// The data that programs may reach by address.
    #[inline]
    pub fn linear(&mut self) -> &[u8] {
        let (at, len) = (self.data, self.linear_len());
        let memory = Rc::get_mut(&mut self.memory).expect("invariant: what runs share ends with them");
        memory.bytes(at, len)
    }

    /// Appends the data to `out`.
    pub fn append_data(&self, out: &mut Vec<u8>) {
        self.append(self.data, out);
    }

    /// Appends metadata and data to `out`.
    pub fn append_all(&self, out: &mut Vec<u8>) {
        self.append(self.meta, out);
    }

    fn append(&self, from: usize, out: &mut Vec<u8>) {
        self.memory.append(from, self.end - from, out);
        for frag in &self.frags {
            out.extend_from_slice(frag);
        }
    }

    /// The device that it came by, or goes out of.
    pub(crate) fn device(&self) -> u32 {
        self.field(if self.form == Form::Xdp { xdp::INGRESS_IFINDEX } else { skb::IFINDEX })
    }

    /// A number that no other packet's socket has.
    pub(crate) fn socket_cookie(&mut self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.cookie == 0 {
            self.cookie = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        self.cookie
    }

    /// Where the packet has been redirected to, if it has.
    pub fn redirect(&self) -> Option<&Redirect> {
        self.redirect.as_ref()
    }

    /// Have copies been sent off?
    #[inline]
    pub fn has_clones(&self) -> bool {
        !self.clones.is_empty()
    }

    /// Takes them.
    pub fn take_clones(&mut self) -> Vec<Clone> {
        std::mem::take(&mut self.clones)
    }

    pub(crate) fn add_clone(&mut self, ifindex: u32, ingress: bool) {
        let mut data = Vec::new();
        self.append_data(&mut data);
        self.clones.push(Clone { ifindex, ingress, data });
    }

    /// Bytes of the context, as programs see them.
    pub fn context(&self, off: usize, out: &mut [u8]) {
        assert!(off + out.len() <= self.context_bytes(), "invariant: inside the context");
        self.memory.read(off, out);
    }

    /// Writes bytes of the context.
    #[inline]
    pub fn set_context(&mut self, off: usize, bytes: &[u8]) {
        assert!(off + bytes.len() <= self.context_bytes(), "invariant: inside the context");
        self.put(off, bytes);
    }

    /// A field of four bytes.
    pub fn field(&self, off: usize) -> u32 {
        let mut bytes = [0; 4];
        self.context(off, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    /// Writes a field of four bytes.
    #[inline]
    pub fn set_field(&mut self, off: usize, value: u32) {
        self.set_context(off, &value.to_ne_bytes());
    }

    /// Copies linear data out; `None` when it is shorter.
    pub(crate) fn read(&self, off: usize, out: &mut [u8]) -> Option<()> {
        self.inside(off, out.len())?;
        self.memory.read(self.data + off, out);
        Some(())
    }

    /// Copies into linear data; `None` when it is shorter.
    pub(crate) fn write(&mut self, off: usize, bytes: &[u8]) -> Option<()> {
        self.inside(off, bytes.len())?;
        self.memory.write(self.data + off, bytes);
        Some(())
    }

    fn inside(&self, off: usize, len: usize) -> Option<()> {
        let end = off.checked_add(len)?;
        (end <= self.linear_len()).then_some(())
    }

    /// What programs may reach of it.
    pub(crate) fn view(&self) -> PacketView<'_> {
        let data = if self.access == DataAccess::None { 0..0 } else { self.meta..self.end };
        PacketView {
            memory: &self.memory,
            context: 0..self.context_bytes(),
            data,
            writable: self.access == DataAccess::Write,
            socket: SOCKET_AT..SOCKET_AT + SOCKET_BYTES,
            keys: KEYS_AT..KEYS_AT + KEYS_BYTES,
        }
    }

    /// Address of the context.
    #[inline]
    pub(crate) fn context_addr(&self) -> u64 {
        self.memory.base()
    }

    /// May programs write the data by address?
    pub(crate) fn is_writable(&self) -> bool {
        self.access == DataAccess::Write
    }

    /// Address of data that is in one piece and that programs may reach.
    pub(crate) fn linear_addr(&self, off: usize, len: usize) -> Option<u64> {
        self.inside(off, len)?;
        (self.access != DataAccess::None).then(|| self.part_addr(self.data + off))
    }

    fn part_addr(&self, off: usize) -> u64 {
        self.memory.base() + off as u64
    }

    /// Addresses of data, its end and metadata, in the order of `struct xdp_md`.
    #[inline]
    fn bounds(&self) -> [u32; 3] {
        [self.data, self.end, self.meta].map(|place| self.memory.base() as u32 + place as u32)
    }

    /// Writes the bounds into the context after they have changed.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        let [data, end, meta] = self.bounds();
        match self.form {
            Form::Xdp => self.put_words([data, end, meta]),
            Form::Skb => {
                self.set_field(skb::LEN, self.len() as u32);
                if self.access != DataAccess::None {
                    self.set_field(skb::DATA, data);
                    self.set_field(skb::DATA_END, end);
                    self.set_field(skb::DATA_META, meta);
                }
            }
        }
    }

    /// Bytes for `LD_ABS`: from the data on, or by negative offsets from a header (`SKF_NET_OFF`, `SKF_LL_OFF`).
    pub(crate) fn load(&self, off: i64, out: &mut [u8]) -> Option<()> {
        const NET_OFF: i64 = -0x10_0000;
        const LL_OFF: i64 = -0x20_0000;
        let at = match off {
            0.. => self.data as i64 + off,
            NET_OFF..0 => self.network as i64 + (off - NET_OFF),
            LL_OFF..NET_OFF => self.mac as i64 + (off - LL_OFF),
            _ => return None,
        };
        let at = usize::try_from(at).ok()?;
        if at < self.floor || at.checked_add(out.len())? > self.end {
            return None;
        }
        self.memory.read(at, out);
        Some(())
    }
}
