//! The commands of bpf(2), typed. Names, numbers and meanings are Linux 6.18's (`include/uapi/linux/bpf.h`).
//!
//! A command lends its buffers: input by `&`, output by `&mut`. What a command answers beside that is a [`Reply`].

use std::path::Path;

use skep_isa::Insn;
use skep_isa::uapi::{AttachType, Cmd, MapType, ProgType};

use crate::Fd;

/// `BPF_MAP_CREATE`.
#[derive(Clone, Debug)]
pub struct MapCreate<'a> {
    /// What kind of map.
    pub map_type: MapType,
    /// Name, cut to 15 bytes by the kernel.
    pub name: &'a str,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements at most; bytes for ring buffers.
    pub max_entries: u32,
    /// `BPF_F_NO_PREALLOC` and its like.
    pub map_flags: u32,
    /// Type-dependent: bloom filter hashes, arena address.
    pub map_extra: u64,
    /// NUMA node, with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// Template of inner maps.
    pub inner_map: Option<Fd>,
    /// Types of key and value: BTF object, key id, value id.
    pub btf: Option<(Fd, u32, u32)>,
    /// Kernel type of a `struct_ops` value.
    pub btf_vmlinux_value_type_id: u32,
    /// BTF of the module that has that type; `None` for the kernel's own.
    pub value_type_module: Option<Fd>,
    /// Network device that the map is to be on; 0 for none.
    pub ifindex: u32,
    /// Token that allows it.
    pub token: Option<Fd>,
}

impl<'a> MapCreate<'a> {
    /// A map with no flags and no types.
    pub fn new(map_type: MapType, name: &'a str, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self {
            map_type,
            name,
            key_size,
            value_size,
            max_entries,
            map_flags: 0,
            map_extra: 0,
            numa_node: 0,
            inner_map: None,
            btf: None,
            btf_vmlinux_value_type_id: 0,
            value_type_module: None,
            ifindex: 0,
            token: None,
        }
    }
}

/// `BPF_PROG_LOAD`.
#[derive(Clone, Debug)]
pub struct ProgLoad<'a> {
    /// What kind of program.
    pub prog_type: ProgType,
    /// Attach type the verifier is to expect, where the program type needs one.
    pub expected_attach_type: Option<AttachType>,
    /// Name, cut to 15 bytes by the kernel.
    pub name: &'a str,
    /// Instructions; `LD_IMM64` map references carry descriptors of this runtime.
    pub insns: &'a [Insn],
    /// Licence, which opens GPL-only helpers.
    pub license: &'a str,
    /// `LINUX_VERSION_CODE`, for old kernels' kprobes.
    pub kern_version: u32,
    /// `BPF_F_SLEEPABLE` and its like.
    pub prog_flags: u32,
    /// The object's BTF.
    pub btf: Option<Fd>,
    /// `func_info` records as in `.BTF.ext` (offset in instructions) and bytes of one.
    pub func_info: (&'a [u8], u32),
    /// `line_info` records as in `.BTF.ext` (offset in instructions) and bytes of one.
    pub line_info: (&'a [u8], u32),
    /// BTF id of the function, hook or struct that the program attaches to.
    pub attach_btf_id: u32,
    /// Module BTF in which to look for it.
    pub attach_btf_obj: Option<Fd>,
    /// Program to extend or trace.
    pub attach_prog: Option<Fd>,
    /// Descriptors that kfunc calls of other BTF objects index.
    pub fd_array: &'a [Fd],
    /// Verifier log: 0 none, 1 and 2 more and more, 4 statistics.
    pub log_level: u32,
    /// Network device that the program is to run on, or for; 0 for none.
    pub ifindex: u32,
    /// Token that allows it.
    pub token: Option<Fd>,
}

impl<'a> ProgLoad<'a> {
    /// A program of which nothing but the code is said.
    pub fn new(prog_type: ProgType, name: &'a str, insns: &'a [Insn], license: &'a str) -> Self {
        Self {
            prog_type,
            expected_attach_type: None,
            name,
            insns,
            license,
            kern_version: 0,
            prog_flags: 0,
            btf: None,
            func_info: (&[], 0),
            line_info: (&[], 0),
            attach_btf_id: 0,
            attach_btf_obj: None,
            attach_prog: None,
            fd_array: &[],
            log_level: 0,
            ifindex: 0,
            token: None,
        }
    }
}

/// What a test run is given and where its results go (`BPF_PROG_TEST_RUN`).
#[derive(Debug, Default)]
pub struct TestRun<'a> {
    /// Packet in.
    pub data_in: &'a [u8],
    /// Packet out, up to this length.
    pub data_out: &'a mut [u8],
    /// Context in.
    pub ctx_in: &'a [u8],
    /// Context out.
    pub ctx_out: &'a mut [u8],
    /// Times to run; the duration is an average.
    pub repeat: u32,
    /// `BPF_F_TEST_RUN_ON_CPU` and its like.
    pub flags: u32,
    /// Processor to run on, with that flag.
    pub cpu: u32,
    /// Live frames at a time.
    pub batch_size: u32,
}

/// The four batch commands; `batch` positions are opaque four or more bytes, at least as long as a key.
#[derive(Debug)]
pub enum BatchOp<'a> {
    /// `BPF_MAP_LOOKUP_BATCH`, or `BPF_MAP_LOOKUP_AND_DELETE_BATCH` with `delete`.
    Lookup {
        /// Where to go on; `None` at the start.
        in_batch: Option<&'a [u8]>,
        /// Where the next call goes on.
        out_batch: &'a mut [u8],
        /// Room for keys.
        keys: &'a mut [u8],
        /// Room for values.
        values: &'a mut [u8],
        /// Elements there is room for.
        count: u32,
        /// Remove what is read?
        delete: bool,
        /// `BPF_F_LOCK`.
        elem_flags: u64,
    },
    /// `BPF_MAP_UPDATE_BATCH`.
    Update {
        /// Keys, one after another.
        keys: &'a [u8],
        /// Values, one after another.
        values: &'a [u8],
        /// How many.
        count: u32,
        /// As for a single update.
        elem_flags: u64,
    },
    /// `BPF_MAP_DELETE_BATCH`.
    Delete {
        /// Keys, one after another.
        keys: &'a [u8],
        /// How many.
        count: u32,
        /// As for a single deletion.
        elem_flags: u64,
    },
}

/// An array that [`Command::ObjGetInfo`] fills beside the structure, which says by an address where it is. Its count is the
/// caller's to write into the structure. What may not be seen has its address taken away.
#[derive(Debug)]
pub struct InfoArray<'a> {
    /// Offset of the address in the structure.
    pub address_at: usize,
    /// Where the array goes.
    pub bytes: &'a mut [u8],
}

/// Writes the addresses of arrays into the structure that leads to them, as bpf(2) wants them.
pub fn lend_arrays(info: &mut [u8], arrays: &mut [InfoArray<'_>]) {
    for array in arrays.iter_mut().filter(|array| !array.bytes.is_empty()) {
        if let Some(address) = info.get_mut(array.address_at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
            *address = (array.bytes.as_mut_ptr().expose_provenance() as u64).to_ne_bytes();
        }
    }
}

/// Things that have ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Programs.
    Prog,
    /// Maps.
    Map,
    /// BTF objects.
    Btf,
    /// Links.
    Link,
}

/// What some hooks want of `BPF_LINK_CREATE` beside a target.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum LinkData<'a> {
    /// Nothing.
    None,
    /// Perf events.
    PerfEvent {
        /// What `bpf_get_attach_cookie` answers.
        cookie: u64,
    },
    /// `fentry` and its like, and `freplace`.
    Tracing {
        /// BTF id of the function in the target program; 0 for the one that the program was loaded for.
        target_btf_id: u32,
        /// What `bpf_get_attach_cookie` answers.
        cookie: u64,
    },
    /// Iterators.
    Iter {
        /// `union bpf_iter_link_info`.
        info: &'a [u8],
    },
    /// Many kernel functions.
    KprobeMulti {
        /// `BPF_F_KPROBE_MULTI_RETURN`.
        flags: u32,
        /// The functions.
        symbols: &'a [&'a str],
        /// A cookie for each; may be empty.
        cookies: &'a [u64],
    },
    /// Many places of one file.
    UprobeMulti {
        /// The file.
        path: &'a Path,
        /// `BPF_F_UPROBE_MULTI_RETURN`.
        flags: u32,
        /// Places, as offsets in the file.
        offsets: &'a [u64],
        /// Offsets of their semaphores; may be empty.
        semaphores: &'a [u64],
        /// A cookie for each; may be empty.
        cookies: &'a [u64],
        /// One process, or 0 for all.
        pid: u32,
    },
    /// Netfilter.
    Netfilter {
        /// `NFPROTO_IPV4` 2, `NFPROTO_IPV6` 10.
        family: u32,
        /// `NF_INET_PRE_ROUTING` 0 and on.
        hook: u32,
        /// Lower comes first.
        priority: i32,
        /// `BPF_F_NETFILTER_IP_DEFRAG`.
        flags: u32,
    },
    /// Hooks with an order: TCX, netkit, cgroups.
    Relative {
        /// Descriptor or id of the program or link to be before or after; 0 for none.
        to: u32,
        /// The state of the hook that the order is meant for; 0 for any.
        revision: u64,
    },
}

/// One command of bpf(2).
#[derive(Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// `BPF_MAP_CREATE` → [`Reply::Fd`].
    MapCreate(&'a MapCreate<'a>),
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookup {
        /// The map.
        map: Fd,
        /// The key; empty for queues and stacks.
        key: &'a [u8],
        /// Where the value goes.
        value: &'a mut [u8],
        /// `BPF_F_LOCK`.
        flags: u64,
    },
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    MapLookupAndDelete {
        /// The map.
        map: Fd,
        /// The key; empty for queues and stacks.
        key: &'a [u8],
        /// Where the value goes.
        value: &'a mut [u8],
        /// `BPF_F_LOCK`.
        flags: u64,
    },
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdate {
        /// The map.
        map: Fd,
        /// The key; empty for queues, stacks and bloom filters.
        key: &'a [u8],
        /// The new value.
        value: &'a [u8],
        /// `BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`, `BPF_F_LOCK`.
        flags: u64,
    },
    /// `BPF_MAP_DELETE_ELEM`.
    MapDelete {
        /// The map.
        map: Fd,
        /// The key.
        key: &'a [u8],
    },
    /// `BPF_MAP_GET_NEXT_KEY`.
    MapGetNextKey {
        /// The map.
        map: Fd,
        /// The key before; `None` asks for the first.
        key: Option<&'a [u8]>,
        /// Where the next key goes.
        next: &'a mut [u8],
    },
    /// `BPF_MAP_FREEZE`.
    MapFreeze {
        /// The map.
        map: Fd,
    },
    /// The batch commands → [`Reply::Batch`]. A look-up answers `ENOSPC` when what has to come together does not fit.
    MapBatch {
        /// The map.
        map: Fd,
        /// Which one.
        op: BatchOp<'a>,
    },
    /// `BPF_PROG_LOAD` → [`Reply::Fd`].
    ProgLoad(&'a ProgLoad<'a>),
    /// `BPF_PROG_TEST_RUN` → [`Reply::TestRun`].
    ProgTestRun {
        /// The program.
        prog: Fd,
        /// Input and output.
        run: TestRun<'a>,
    },
    /// `BPF_PROG_ATTACH`.
    ProgAttach {
        /// The program.
        prog: Fd,
        /// Cgroup, map, device or network namespace.
        target: Fd,
        /// The hook.
        attach_type: AttachType,
        /// `BPF_F_ALLOW_MULTI` and its like.
        flags: u32,
    },
    /// `BPF_PROG_DETACH`.
    ProgDetach {
        /// The program, where the hook has several.
        prog: Option<Fd>,
        /// Cgroup, map, device or network namespace.
        target: Fd,
        /// The hook.
        attach_type: AttachType,
    },
    /// `BPF_PROG_QUERY` → [`Reply::Query`].
    ProgQuery {
        /// Cgroup, device or network namespace.
        target: Fd,
        /// The hook.
        attach_type: AttachType,
        /// `BPF_F_QUERY_EFFECTIVE`.
        flags: u32,
        /// Where program ids go.
        prog_ids: &'a mut [u32],
        /// Where link ids go, as many as program ids; may be empty, as kernels before 6.6 want.
        link_ids: &'a mut [u32],
    },
    /// `BPF_PROG_BIND_MAP`.
    ProgBindMap {
        /// The program.
        prog: Fd,
        /// A map that is to live as long.
        map: Fd,
    },
    /// `BPF_PROG_STREAM_READ_BY_FD` → [`Reply::Count`].
    ProgStreamRead {
        /// The program.
        prog: Fd,
        /// 1 stdout, 2 stderr.
        stream: u32,
        /// Where the text goes.
        buffer: &'a mut [u8],
    },
    /// `BPF_OBJ_PIN`.
    ObjPin {
        /// Map, program or link.
        fd: Fd,
        /// Where.
        path: &'a Path,
    },
    /// `BPF_OBJ_GET` → [`Reply::Fd`].
    ObjGet {
        /// Where.
        path: &'a Path,
    },
    /// `BPF_OBJ_GET_INFO_BY_FD` → [`Reply::Count`], the bytes written: the kernel's `struct bpf_*_info`.
    ObjGetInfo {
        /// Map, program, BTF or link.
        fd: Fd,
        /// Where the structure goes; what it holds on entry matters for arrays in it.
        info: &'a mut [u8],
        /// Arrays that the structure leads to.
        arrays: &'a mut [InfoArray<'a>],
    },
    /// `BPF_PROG_GET_NEXT_ID` and its siblings → [`Reply::Id`].
    GetNextId {
        /// Which kind.
        kind: ObjectKind,
        /// The id before.
        id: u32,
    },
    /// `BPF_PROG_GET_FD_BY_ID` and its siblings → [`Reply::Fd`].
    GetFdById {
        /// Which kind.
        kind: ObjectKind,
        /// The id.
        id: u32,
    },
    /// `BPF_RAW_TRACEPOINT_OPEN` → [`Reply::Fd`].
    RawTracepointOpen {
        /// The program.
        prog: Fd,
        /// Tracepoint, where the program does not say it by BTF.
        name: Option<&'a str>,
        /// What `bpf_get_attach_cookie` answers.
        cookie: u64,
    },
    /// `BPF_BTF_LOAD` → [`Reply::Fd`].
    BtfLoad {
        /// The bytes of `.BTF`.
        data: &'a [u8],
        /// Token that allows it.
        token: Option<Fd>,
    },
    /// `BPF_TASK_FD_QUERY` → [`Reply::TaskFd`].
    TaskFdQuery {
        /// Process.
        pid: u32,
        /// Its descriptor.
        fd: u32,
        /// Where the name of the probe goes.
        buffer: &'a mut [u8],
    },
    /// `BPF_LINK_CREATE` → [`Reply::Fd`].
    LinkCreate {
        /// The program.
        prog: Fd,
        /// Perf event, cgroup, device, network namespace.
        target: Fd,
        /// The hook.
        attach_type: AttachType,
        /// `BPF_F_BEFORE` and its like.
        flags: u32,
        /// What this kind of hook wants beside.
        data: LinkData<'a>,
    },
    /// `BPF_LINK_UPDATE`.
    LinkUpdate {
        /// The link.
        link: Fd,
        /// The program to run from now on.
        new_prog: Fd,
        /// The program that must be there now.
        old_prog: Option<Fd>,
    },
    /// `BPF_LINK_DETACH`.
    LinkDetach {
        /// The link.
        link: Fd,
    },
    /// `BPF_ENABLE_STATS` → [`Reply::Fd`].
    EnableStats,
    /// `BPF_ITER_CREATE` → [`Reply::Fd`].
    IterCreate {
        /// The iterator's link.
        link: Fd,
    },
    /// `BPF_TOKEN_CREATE` → [`Reply::Fd`].
    TokenCreate {
        /// A bpffs mount with delegation.
        bpffs: Fd,
    },
}

impl Command<'_> {
    /// The kernel's number for it.
    pub fn cmd(&self) -> Cmd {
        use ObjectKind::{Btf, Link, Map, Prog};
        match self {
            Self::MapCreate(_) => Cmd::MAP_CREATE,
            Self::MapLookup { .. } => Cmd::MAP_LOOKUP_ELEM,
            Self::MapLookupAndDelete { .. } => Cmd::MAP_LOOKUP_AND_DELETE_ELEM,
            Self::MapUpdate { .. } => Cmd::MAP_UPDATE_ELEM,
            Self::MapDelete { .. } => Cmd::MAP_DELETE_ELEM,
            Self::MapGetNextKey { .. } => Cmd::MAP_GET_NEXT_KEY,
            Self::MapFreeze { .. } => Cmd::MAP_FREEZE,
            Self::MapBatch { op: BatchOp::Lookup { delete: false, .. }, .. } => Cmd::MAP_LOOKUP_BATCH,
            Self::MapBatch { op: BatchOp::Lookup { .. }, .. } => Cmd::MAP_LOOKUP_AND_DELETE_BATCH,
            Self::MapBatch { op: BatchOp::Update { .. }, .. } => Cmd::MAP_UPDATE_BATCH,
            Self::MapBatch { op: BatchOp::Delete { .. }, .. } => Cmd::MAP_DELETE_BATCH,
            Self::ProgLoad(_) => Cmd::PROG_LOAD,
            Self::ProgTestRun { .. } => Cmd::PROG_TEST_RUN,
            Self::ProgAttach { .. } => Cmd::PROG_ATTACH,
            Self::ProgDetach { .. } => Cmd::PROG_DETACH,
            Self::ProgQuery { .. } => Cmd::PROG_QUERY,
            Self::ProgBindMap { .. } => Cmd::PROG_BIND_MAP,
            Self::ProgStreamRead { .. } => Cmd::PROG_STREAM_READ_BY_FD,
            Self::ObjPin { .. } => Cmd::OBJ_PIN,
            Self::ObjGet { .. } => Cmd::OBJ_GET,
            Self::ObjGetInfo { .. } => Cmd::OBJ_GET_INFO_BY_FD,
            Self::GetNextId { kind: Prog, .. } => Cmd::PROG_GET_NEXT_ID,
            Self::GetNextId { kind: Map, .. } => Cmd::MAP_GET_NEXT_ID,
            Self::GetNextId { kind: Btf, .. } => Cmd::BTF_GET_NEXT_ID,
            Self::GetNextId { kind: Link, .. } => Cmd::LINK_GET_NEXT_ID,
            Self::GetFdById { kind: Prog, .. } => Cmd::PROG_GET_FD_BY_ID,
            Self::GetFdById { kind: Map, .. } => Cmd::MAP_GET_FD_BY_ID,
            Self::GetFdById { kind: Btf, .. } => Cmd::BTF_GET_FD_BY_ID,
            Self::GetFdById { kind: Link, .. } => Cmd::LINK_GET_FD_BY_ID,
            Self::RawTracepointOpen { .. } => Cmd::RAW_TRACEPOINT_OPEN,
            Self::BtfLoad { .. } => Cmd::BTF_LOAD,
            Self::TaskFdQuery { .. } => Cmd::TASK_FD_QUERY,
            Self::LinkCreate { .. } => Cmd::LINK_CREATE,
            Self::LinkUpdate { .. } => Cmd::LINK_UPDATE,
            Self::LinkDetach { .. } => Cmd::LINK_DETACH,
            Self::EnableStats => Cmd::ENABLE_STATS,
            Self::IterCreate { .. } => Cmd::ITER_CREATE,
            Self::TokenCreate { .. } => Cmd::TOKEN_CREATE,
        }
    }
}

/// What a command answers beside filling buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// It is done.
    Done,
    /// A new descriptor.
    Fd(Fd),
    /// An id.
    Id(u32),
    /// Elements or bytes.
    Count(u32),
    /// What a hook has.
    Query {
        /// How many programs.
        count: u32,
        /// How it was attached to.
        flags: u32,
        /// Changes with its programs.
        revision: u64,
    },
    /// What a process's descriptor attaches.
    TaskFd {
        /// Bytes of the name, of which the buffer has as many as fit.
        name_len: u32,
        /// The program's id.
        prog_id: u32,
        /// `enum bpf_task_fd_type`: raw tracepoint 0, tracepoint 1, kprobe 2, kretprobe 3, uprobe 4, uretprobe 5.
        fd_type: u32,
        /// Bytes from the function's start, or from the file's.
        probe_offset: u64,
        /// The function's address, where it has no name.
        probe_addr: u64,
    },
    /// Elements that a batch command went through.
    Batch {
        /// How many.
        count: u32,
        /// A look-up has reached the end of the map (`ENOENT` from Linux, together with the last elements).
        end: bool,
    },
    /// A test run's result.
    TestRun {
        /// What the program returned.
        retval: u32,
        /// Average time of one run.
        duration_ns: u32,
        /// Bytes of the packet afterwards.
        data_size_out: u32,
        /// Bytes of the context afterwards.
        ctx_size_out: u32,
    },
}
