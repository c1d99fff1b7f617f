//! What a runtime says of a link: `struct bpf_link_info`, which has another shape for each kind of link.

use skep_isa::uapi::{AttachType, LinkType};

use crate::command::InfoArray;
use crate::info::{long, set_count, text, word};
use crate::{Command, Fd, Result, SharedRuntime};

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// What kind.
    pub link_type: LinkType,
    /// Its id.
    pub id: u32,
    /// The program's id.
    pub prog_id: u32,
    /// What the kind says.
    pub detail: LinkDetail,
}

/// What links of a kind say. Names are the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum LinkDetail {
    /// A kind that says nothing, or that this version does not know.
    None,
    RawTracepoint {
        tp_name: String,
        cookie: u64,
    },
    Tracing {
        attach_type: AttachType,
        target_obj_id: u32,
        target_btf_id: u32,
        cookie: u64,
    },
    Cgroup {
        cgroup_id: u64,
        attach_type: AttachType,
    },
    Iter {
        target_name: String,
        map_id: u32,
        cgroup_id: u64,
        order: u32,
        tid: u32,
        pid: u32,
    },
    NetNs {
        netns_ino: u32,
        attach_type: AttachType,
    },
    Xdp {
        ifindex: u32,
    },
    StructOps {
        map_id: u32,
    },
    Netfilter {
        pf: u32,
        hooknum: u32,
        priority: i32,
        flags: u32,
    },
    KprobeMulti {
        addrs: Vec<u64>,
        cookies: Vec<u64>,
        count: u32,
        flags: u32,
        missed: u64,
    },
    UprobeMulti {
        path: String,
        offsets: Vec<u64>,
        ref_ctr_offsets: Vec<u64>,
        cookies: Vec<u64>,
        flags: u32,
        pid: u32,
    },
    PerfEvent(PerfDetail),
    /// TCX and netkit.
    Device {
        ifindex: u32,
        attach_type: AttachType,
    },
    Sockmap {
        map_id: u32,
        attach_type: AttachType,
    },
}

/// What a link to a perf event says (`enum bpf_perf_event_type`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum PerfDetail {
    Unknown,
    Uprobe { file_name: String, offset: u32, cookie: u64, is_return: bool },
    Kprobe { func_name: String, offset: u32, addr: u64, missed: u64, cookie: u64, is_return: bool },
    Tracepoint { tp_name: String, cookie: u64 },
    Event { kind: u32, config: u64, cookie: u64 },
}

/// Bytes of `struct bpf_link_info`.
const BYTES: usize = 64;
/// `enum bpf_perf_event_type`.
const UPROBE: u32 = 1;
const URETPROBE: u32 = 2;
const KPROBE: u32 = 3;
const KRETPROBE: u32 = 4;
const TRACEPOINT: u32 = 5;
const EVENT: u32 = 6;

type Info = [u8; BYTES];

impl LinkInfo {
    /// Asks for it.
    pub fn of(runtime: &SharedRuntime, link: Fd) -> Result<Self> {
        let mut info = [0; BYTES];
        runtime.bpf(Command::ObjGetInfo { fd: link, info: &mut info, arrays: &mut [] })?;
        let link_type = LinkType(word(&info, 0));
        let detail = match link_type {
            LinkType::KPROBE_MULTI => kprobe_multi(runtime, link, &info)?,
            LinkType::UPROBE_MULTI => uprobe_multi(runtime, link, &info)?,
            _ => detail(&info, link_type, name(runtime, link, &info)?),
        };
        Ok(Self { link_type, id: word(&info, 4), prog_id: word(&info, 8), detail })
    }
}

/// The name that a link has in its structure, by another call with room for it.
fn name(runtime: &SharedRuntime, link: Fd, first: &Info) -> Result<String> {
    let (address, len) = match (LinkType(word(first, 0)), word(first, 16)) {
        (LinkType::RAW_TRACEPOINT | LinkType::ITER, _) => (16, 24),
        (LinkType::PERF_EVENT, UPROBE | URETPROBE | KPROBE | KRETPROBE | TRACEPOINT) => (24, 32),
        _ => return Ok(String::new()),
    };
    let mut room = vec![0_u8; 4096];
    let mut info = [0; BYTES];
    set_count(&mut info, len, room.len());
    let arrays = &mut [InfoArray { address_at: address, bytes: &mut room }];
    runtime.bpf(Command::ObjGetInfo { fd: link, info: &mut info, arrays })?;
    Ok(text(&room))
}

fn detail(info: &Info, link_type: LinkType, name: String) -> LinkDetail {
    let attach_type = |at| AttachType(word(info, at));
    match link_type {
        LinkType::RAW_TRACEPOINT => LinkDetail::RawTracepoint { tp_name: name, cookie: long(info, 32) },
        LinkType::TRACING => LinkDetail::Tracing {
            attach_type: attach_type(16),
            target_obj_id: word(info, 20),
            target_btf_id: word(info, 24),
            cookie: long(info, 32),
        },
        LinkType::CGROUP => LinkDetail::Cgroup { cgroup_id: long(info, 16), attach_type: attach_type(24) },
        LinkType::ITER => LinkDetail::Iter {
            target_name: name,
            map_id: word(info, 28),
            cgroup_id: long(info, 32),
            order: word(info, 40),
            tid: word(info, 32),
            pid: word(info, 36),
        },
        LinkType::NETNS => LinkDetail::NetNs { netns_ino: word(info, 16), attach_type: attach_type(20) },
        LinkType::XDP => LinkDetail::Xdp { ifindex: word(info, 16) },
        LinkType::STRUCT_OPS => LinkDetail::StructOps { map_id: word(info, 16) },
        LinkType::NETFILTER => LinkDetail::Netfilter {
            pf: word(info, 16),
            hooknum: word(info, 20),
            priority: word(info, 24).cast_signed(),
            flags: word(info, 28),
        },
        LinkType::PERF_EVENT => LinkDetail::PerfEvent(perf(info, name)),
        LinkType::TCX | LinkType::NETKIT => {
            LinkDetail::Device { ifindex: word(info, 16), attach_type: attach_type(20) }
        }
        LinkType::SOCKMAP => LinkDetail::Sockmap { map_id: word(info, 16), attach_type: attach_type(20) },
        _ => LinkDetail::None,
    }
}

fn perf(info: &Info, name: String) -> PerfDetail {
    match word(info, 16) {
        kind @ (UPROBE | URETPROBE) => PerfDetail::Uprobe {
            file_name: name,
            offset: word(info, 36),
            cookie: long(info, 40),
            is_return: kind == URETPROBE,
        },
        kind @ (KPROBE | KRETPROBE) => PerfDetail::Kprobe {
            func_name: name,
            offset: word(info, 36),
            addr: long(info, 40),
            missed: long(info, 48),
            cookie: long(info, 56),
            is_return: kind == KRETPROBE,
        },
        TRACEPOINT => PerfDetail::Tracepoint { tp_name: name, cookie: long(info, 40) },
        EVENT => PerfDetail::Event { config: long(info, 24), kind: word(info, 32), cookie: long(info, 40) },
        _ => PerfDetail::Unknown,
    }
}

fn kprobe_multi(runtime: &SharedRuntime, link: Fd, first: &Info) -> Result<LinkDetail> {
    let count = word(first, 24);
    let (mut addrs, mut cookies) = (vec![0; count as usize * 8], vec![0; count as usize * 8]);
    let mut info = [0; BYTES];
    set_count(&mut info, 24, count as usize);
    let arrays = &mut [
        InfoArray { address_at: 16, bytes: &mut addrs },
        InfoArray { address_at: 40, bytes: &mut cookies },
    ];
    runtime.bpf(Command::ObjGetInfo { fd: link, info: &mut info, arrays })?;
    Ok(LinkDetail::KprobeMulti {
        addrs: longs(&addrs),
        cookies: longs(&cookies),
        count,
        flags: word(&info, 28),
        missed: long(&info, 32),
    })
}

fn uprobe_multi(runtime: &SharedRuntime, link: Fd, first: &Info) -> Result<LinkDetail> {
    let count = word(first, 52);
    let mut path = vec![0; 4096];
    let mut arrays = [(); 3].map(|()| vec![0; count as usize * 8]);
    let mut info = [0; BYTES];
    set_count(&mut info, 48, path.len());
    set_count(&mut info, 52, count as usize);
    let places = arrays.iter_mut().zip([24, 32, 40]);
    let mut lent: Vec<InfoArray<'_>> =
        places.map(|(bytes, address_at)| InfoArray { address_at, bytes }).collect();
    lent.push(InfoArray { address_at: 16, bytes: &mut path });
    runtime.bpf(Command::ObjGetInfo { fd: link, info: &mut info, arrays: &mut lent })?;
    let [offsets, ref_ctr_offsets, cookies] = arrays.map(|array| longs(&array));
    Ok(LinkDetail::UprobeMulti {
        path: text(&path),
        offsets,
        ref_ctr_offsets,
        cookies,
        flags: word(&info, 56),
        pid: word(&info, 60),
    })
}

fn longs(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|&bytes| u64::from_ne_bytes(bytes)).collect()
}
