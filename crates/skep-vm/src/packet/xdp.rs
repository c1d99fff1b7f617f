//! XDP: the fields of `struct xdp_md` (`include/uapi/linux/bpf.h`) and what changes a frame (`net/core/filter.c`).

use super::{ETH_HLEN, Packet};
use crate::Errno;

/// Bytes of `struct xdp_md`.
pub const CONTEXT_BYTES: usize = 24;
/// Offset of `ingress_ifindex` in `struct xdp_md`.
pub const INGRESS_IFINDEX: usize = 12;
/// Offset of `rx_queue_index`.
pub const RX_QUEUE_INDEX: usize = 16;
/// Offset of `egress_ifindex`.
pub const EGRESS_IFINDEX: usize = 20;

/// From the start of a frame to its data (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: usize = 256;
/// What the kernel keeps at the start of the headroom (`struct xdp_frame`).
pub const FRAME_BYTES: usize = 40;
/// What the kernel keeps at the end of a frame (`struct skb_shared_info`).
pub const TAILROOM: usize = 320;
/// Bytes of a frame in the kernel, and of each fragment behind one.
pub const PAGE_BYTES: usize = 4096;
/// Fragments behind a frame (`MAX_SKB_FRAGS`).
pub const MAX_FRAGS: usize = 17;
/// Bytes of metadata at most (a byte holds the length).
pub const MAX_META: usize = 255;

impl Packet {
    /// Appends what the linear part does not hold, in fragments of a page; `ENOMEM` when there are too many.
    pub fn add_frags(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len().div_ceil(PAGE_BYTES) > MAX_FRAGS {
            return Err(Errno::ENOMEM);
        }
        self.frags = bytes.chunks(PAGE_BYTES).map(<[u8]>::to_vec).collect();
        Ok(())
    }

    /// `bpf_xdp_adjust_head`: moves the start of the data, and the metadata with it.
    pub(crate) fn xdp_adjust_head(&mut self, offset: i32) -> Result<(), Errno> {
        let meta_len = self.meta_len();
        let data = moved(self.data, offset)?;
        if data < self.floor + meta_len || data + ETH_HLEN > self.end {
            return Err(Errno::EINVAL);
        }
        if meta_len > 0 {
            let mut meta = vec![0; meta_len];
            self.memory.read(self.meta, &mut meta);
            self.memory.write(data - meta_len, &meta);
        }
        (self.meta, self.data) = (data - meta_len, data);
        self.refresh();
        Ok(())
    }

    /// `bpf_xdp_adjust_meta`: moves the start of the metadata.
    pub(crate) fn xdp_adjust_meta(&mut self, offset: i32) -> Result<(), Errno> {
        let meta = moved(self.meta, offset)?;
        if meta < self.floor || meta > self.data {
            return Err(Errno::EINVAL);
        }
        let len = self.data - meta;
        if !len.is_multiple_of(4) || len > MAX_META {
            return Err(Errno::EACCES);
        }
        self.meta = meta;
        self.refresh();
        Ok(())
    }

    /// `bpf_xdp_adjust_tail`: cuts the end, or adds zeros to it.
    pub(crate) fn xdp_adjust_tail(&mut self, offset: i32) -> Result<(), Errno> {
        if !self.frags.is_empty() {
            return match usize::try_from(offset) {
                Ok(more) => self.grow_frags(more),
                Err(_) => self.shrink_frags(offset.unsigned_abs() as usize),
            };
        }
        let end = moved(self.end, offset)?;
        if end > self.ceiling || end < self.data + ETH_HLEN {
            return Err(Errno::EINVAL);
        }
        if end > self.end {
            self.memory.zero(self.end, end - self.end);
        }
        self.end = end;
        self.refresh();
        Ok(())
    }

    fn grow_frags(&mut self, more: usize) -> Result<(), Errno> {
        let last = self.frags.last_mut().ok_or(Errno::EINVAL)?;
        if more > PAGE_BYTES - last.len() {
            return Err(Errno::EINVAL);
        }
        last.resize(last.len() + more, 0);
        Ok(())
    }

    fn shrink_frags(&mut self, mut less: usize) -> Result<(), Errno> {
        if less + ETH_HLEN > self.len() {
            return Err(Errno::EINVAL);
        }
        while let Some(last) = self.frags.last_mut() {
            if less < last.len() {
                last.truncate(last.len() - less);
                return Ok(());
            }
            less -= last.len();
            self.frags.pop();
        }
        self.end -= less;
        self.refresh();
        Ok(())
    }

    /// `bpf_xdp_pull_data`: takes bytes out of the fragments until the linear part has so many. What does not fit behind
    /// the data fits before it, as far as the headroom goes.
    pub(crate) fn xdp_pull_data(&mut self, len: usize) -> Result<(), Errno> {
        let more = len.saturating_sub(self.linear_len());
        if more == 0 {
            return Ok(());
        }
        let (headroom, tailroom) = (self.meta - self.floor, self.ceiling - self.end);
        if len > self.len() || more > headroom + tailroom {
            return Err(Errno::EINVAL);
        }
        let shift = more.saturating_sub(tailroom);
        if shift > 0 {
            let mut kept = vec![0; self.end - self.meta];
            self.memory.read(self.meta, &mut kept);
            self.memory.write(self.meta - shift, &kept);
        }
        (self.meta, self.data, self.end) = (self.meta - shift, self.data - shift, self.end - shift);
        let pulled = self.take_from_frags(more);
        self.memory.write(self.end, &pulled);
        self.end += more;
        self.refresh();
        Ok(())
    }

    /// Takes out the first bytes of the fragments, and fragments of which nothing is left.
    fn take_from_frags(&mut self, mut len: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(len);
        self.frags.retain_mut(|frag| {
            let here = len.min(frag.len());
            taken.extend(frag.drain(..here));
            len -= here;
            !frag.is_empty()
        });
        taken
    }

    /// `bpf_xdp_load_bytes`: copies out of data and fragments.
    pub(crate) fn xdp_load(&self, off: usize, out: &mut [u8]) -> Result<(), Errno> {
        self.xdp_holds(off, out.len())?;
        if self.read(off, out).is_some() {
            return Ok(());
        }
        let mut whole = Vec::with_capacity(self.len());
        self.append_data(&mut whole);
        out.copy_from_slice(&whole[off..off + out.len()]);
        Ok(())
    }

    /// `bpf_xdp_store_bytes`: copies into data and fragments.
    pub(crate) fn xdp_store(&mut self, off: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.xdp_holds(off, bytes.len())?;
        if self.write(off, bytes).is_some() {
            return Ok(());
        }
        let linear = self.linear_len();
        let split = linear.saturating_sub(off).min(bytes.len());
        if split > 0 {
            self.memory.write(self.data + off, &bytes[..split]);
        }
        let mut at = (off + split) - linear;
        let mut rest = &bytes[split..];
        for frag in &mut self.frags {
            if at < frag.len() {
                let part = rest.len().min(frag.len() - at);
                frag[at..at + part].copy_from_slice(&rest[..part]);
                rest = &rest[part..];
                at = 0;
            } else {
                at -= frag.len();
            }
        }
        Ok(())
    }

    fn xdp_holds(&self, off: usize, len: usize) -> Result<(), Errno> {
        if off > 0xffff || len > 0xffff {
            return Err(Errno::EFAULT);
        }
        if off + len > self.len() { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// A place after a signed step; `EINVAL` where there is none.
fn moved(at: usize, offset: i32) -> Result<usize, Errno> {
    at.checked_add_signed(offset as isize).ok_or(Errno::EINVAL)
}
