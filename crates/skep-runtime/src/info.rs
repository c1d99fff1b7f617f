//! What a runtime says of its objects: `struct bpf_map_info`, `bpf_prog_info`, `bpf_btf_info` and their ids.
//!
//! The structures are read at the offsets of `include/uapi/linux/bpf.h` (Linux 6.18). A kernel that knows less leaves the
//! rest zero; one that knows more is not asked for it. Links have a module of their own, [`crate::link_info`].

use std::sync::Arc;

use skep_isa::uapi::{MapType, ProgType};

use crate::command::{InfoArray, ObjectKind};
use crate::{Command, Error, ErrorKind, Fd, Handle, Reply, Result, SharedRuntime};

/// The ids of all objects of a kind, in rising order.
pub fn ids(runtime: &SharedRuntime, kind: ObjectKind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut id = 0;
    loop {
        match runtime.bpf(Command::GetNextId { kind, id }) {
            Ok(Reply::Id(next)) => id = next,
            Ok(other) => return Err(Error::os(EINVAL, format!("expected an id, got {other:?}"))),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(ids),
            Err(e) => return Err(e),
        }
        ids.push(id);
    }
}

/// Opens the object with that id.
pub fn open_id(runtime: &SharedRuntime, kind: ObjectKind, id: u32) -> Result<Handle> {
    owned(runtime, runtime.bpf(Command::GetFdById { kind, id })?)
}

/// Owns the descriptor that a command has answered.
pub fn owned(runtime: &SharedRuntime, reply: Reply) -> Result<Handle> {
    match reply {
        Reply::Fd(fd) => Ok(Handle::new(Arc::clone(runtime), fd)),
        other => Err(Error::os(EINVAL, format!("expected a descriptor, got {other:?}"))),
    }
}

/// A map (`struct bpf_map_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub struct MapInfo {
    pub map_type: MapType,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub name: String,
    pub ifindex: u32,
    pub btf_vmlinux_value_type_id: u32,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub btf_id: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub map_extra: u64,
}

impl MapInfo {
    /// Asks for it.
    pub fn of(runtime: &SharedRuntime, map: Fd) -> Result<Self> {
        const BYTES: usize = 88;
        let mut info = [0; BYTES];
        runtime.bpf(Command::ObjGetInfo { fd: map, info: &mut info, arrays: &mut [] })?;
        Ok(Self {
            map_type: MapType(word(&info, 0)),
            id: word(&info, 4),
            key_size: word(&info, 8),
            value_size: word(&info, 12),
            max_entries: word(&info, 16),
            map_flags: word(&info, 20),
            name: text(&info[24..40]),
            ifindex: word(&info, 40),
            btf_vmlinux_value_type_id: word(&info, 44),
            netns_dev: long(&info, 48),
            netns_ino: long(&info, 56),
            btf_id: word(&info, 64),
            btf_key_type_id: word(&info, 68),
            btf_value_type_id: word(&info, 72),
            map_extra: long(&info, 80),
        })
    }
}

/// A type object (`struct bpf_btf_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfInfo {
    /// Its id.
    pub id: u32,
    /// Bytes of the types.
    pub bytes: u32,
    /// `vmlinux`, the module's name, or nothing.
    pub name: String,
    /// Is it the kernel's own or a module's?
    pub kernel: bool,
}

impl BtfInfo {
    /// Asks for it.
    pub fn of(runtime: &SharedRuntime, btf: Fd) -> Result<Self> {
        let mut name = [0_u8; 64];
        let (info, _) = Self::ask(runtime, btf, &mut [], &mut name)?;
        Ok(info)
    }

    /// The types themselves.
    pub fn data(runtime: &SharedRuntime, btf: Fd) -> Result<Vec<u8>> {
        let bytes = Self::of(runtime, btf)?.bytes;
        let mut data = vec![0; bytes as usize];
        Self::ask(runtime, btf, &mut data, &mut [])?;
        Ok(data)
    }

    fn ask(runtime: &SharedRuntime, btf: Fd, data: &mut [u8], name: &mut [u8]) -> Result<(Self, [u8; 32])> {
        let mut info = [0; 32];
        set_count(&mut info, 8, data.len());
        set_count(&mut info, 24, name.len());
        let arrays =
            &mut [InfoArray { address_at: 0, bytes: data }, InfoArray { address_at: 16, bytes: &mut *name }];
        runtime.bpf(Command::ObjGetInfo { fd: btf, info: &mut info, arrays })?;
        let says = Self {
            id: word(&info, 12),
            bytes: word(&info, 8),
            name: text(name),
            kernel: word(&info, 28) != 0,
        };
        Ok((says, info))
    }
}

/// An array that the kernel writes when it is asked about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgArray {
    /// Machine code.
    Jited,
    /// Instructions as the verifier left them.
    Xlated,
    /// Ids of the maps it uses, of four bytes.
    MapIds,
    /// Addresses of its functions' machine code, of eight bytes.
    JitedKsyms,
    /// Bytes of its functions' machine code, of four bytes.
    JitedFuncLens,
    /// `struct bpf_func_info` records.
    FuncInfo,
    /// `struct bpf_line_info` records.
    LineInfo,
    /// Addresses in machine code where lines begin.
    JitedLineInfo,
}

/// Where an array's count, address and record size are in `struct bpf_prog_info`.
struct Place {
    count: usize,
    address: usize,
    record: Record,
}

enum Record {
    Bytes(usize),
    At(usize),
}

impl ProgArray {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Jited,
        Self::Xlated,
        Self::MapIds,
        Self::JitedKsyms,
        Self::JitedFuncLens,
        Self::FuncInfo,
        Self::LineInfo,
        Self::JitedLineInfo,
    ];

    /// Where `struct bpf_prog_info` has its count, and where its address.
    pub fn offsets(self) -> (usize, usize) {
        let place = self.place();
        (place.count, place.address)
    }

    fn place(self) -> Place {
        let place = |count, address, record| Place { count, address, record };
        match self {
            Self::Jited => place(16, 24, Record::Bytes(1)),
            Self::Xlated => place(20, 32, Record::Bytes(1)),
            Self::MapIds => place(52, 56, Record::Bytes(4)),
            Self::JitedKsyms => place(104, 112, Record::Bytes(8)),
            Self::JitedFuncLens => place(108, 120, Record::Bytes(4)),
            Self::FuncInfo => place(144, 136, Record::At(132)),
            Self::LineInfo => place(148, 152, Record::At(172)),
            Self::JitedLineInfo => place(168, 160, Record::At(176)),
        }
    }
}

/// A program (`struct bpf_prog_info`).
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub struct ProgInfo {
    pub prog_type: ProgType,
    pub id: u32,
    pub tag: [u8; 8],
    pub jited_prog_len: u32,
    pub xlated_prog_len: u32,
    pub load_time_ns: u64,
    pub created_by_uid: u32,
    pub name: String,
    pub ifindex: u32,
    pub gpl_compatible: bool,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub btf_id: u32,
    pub run_time_ns: u64,
    pub run_cnt: u64,
    pub recursion_misses: u64,
    pub verified_insns: u32,
    pub attach_btf_obj_id: u32,
    pub attach_btf_id: u32,
    /// Bytes of a record of [`ProgArray::FuncInfo`] and [`ProgArray::LineInfo`].
    pub func_info_bytes: u32,
    pub line_info_bytes: u32,
    arrays: Vec<(ProgArray, Vec<u8>)>,
}

/// Bytes of `struct bpf_prog_info`.
const PROG_INFO: usize = 232;

impl ProgInfo {
    /// Asks for it, with these arrays.
    pub fn of(runtime: &SharedRuntime, prog: Fd, arrays: &[ProgArray]) -> Result<Self> {
        if arrays == [ProgArray::MapIds]
            && let Some(of_few) = Self::with_few_maps(runtime, prog)?
        {
            return Ok(of_few);
        }
        let mut info = [0; PROG_INFO];
        runtime.bpf(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut [] })?;
        let mut filled = Vec::new();
        if !arrays.is_empty() {
            let first = info;
            info = [0; PROG_INFO];
            for &array in arrays {
                filled.push((array, request(array, &first, &mut info)));
            }
            let mut lent: Vec<InfoArray<'_>> = filled.iter_mut().map(lend).collect();
            runtime.bpf(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut lent })?;
            filled.iter_mut().for_each(|array| drop_unless_lent(&info, array));
        }
        Ok(Self::read(&info, filled))
    }

    /// Asks for it with room for a few ids of maps, which spares asking how many there are; `None` when there are more.
    fn with_few_maps(runtime: &SharedRuntime, prog: Fd) -> Result<Option<Self>> {
        const FEW: usize = 16;
        let (mut info, place) = ([0; PROG_INFO], ProgArray::MapIds.place());
        set_count(&mut info, place.count, FEW);
        let mut filled = (ProgArray::MapIds, vec![0; FEW * 4]);
        runtime.bpf(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut [lend(&mut filled)] })?;
        let count = word(&info, place.count) as usize;
        filled.1.truncate(count * 4);
        drop_unless_lent(&info, &mut filled);
        Ok((count <= FEW).then(|| Self::read(&info, vec![filled])))
    }

    fn read(info: &[u8; PROG_INFO], arrays: Vec<(ProgArray, Vec<u8>)>) -> Self {
        let mut tag = [0; 8];
        tag.copy_from_slice(&info[8..16]);
        Self {
            prog_type: ProgType(word(info, 0)),
            id: word(info, 4),
            tag,
            jited_prog_len: word(info, 16),
            xlated_prog_len: word(info, 20),
            load_time_ns: long(info, 40),
            created_by_uid: word(info, 48),
            name: text(&info[64..80]),
            ifindex: word(info, 80),
            gpl_compatible: word(info, 84) & 1 != 0,
            netns_dev: long(info, 88),
            netns_ino: long(info, 96),
            btf_id: word(info, 128),
            run_time_ns: long(info, 192),
            run_cnt: long(info, 200),
            recursion_misses: long(info, 208),
            verified_insns: word(info, 216),
            attach_btf_obj_id: word(info, 220),
            attach_btf_id: word(info, 224),
            func_info_bytes: word(info, 132),
            line_info_bytes: word(info, 172),
            arrays,
        }
    }

    /// The bytes of an array that was asked for; empty where the kernel hides it.
    pub fn bytes(&self, array: ProgArray) -> &[u8] {
        self.arrays.iter().find(|(of, _)| *of == array).map_or(&[], |(_, bytes)| bytes)
    }

    /// An array of four-byte numbers.
    pub fn words(&self, array: ProgArray) -> Vec<u32> {
        self.bytes(array).as_chunks().0.iter().map(|&bytes| u32::from_ne_bytes(bytes)).collect()
    }

    /// An array of eight-byte numbers.
    pub fn longs(&self, array: ProgArray) -> Vec<u64> {
        self.bytes(array).as_chunks().0.iter().map(|&bytes| u64::from_ne_bytes(bytes)).collect()
    }

    /// The ids of the maps it uses, if they were asked for.
    pub fn map_ids(&self) -> Vec<u32> {
        self.words(ProgArray::MapIds)
    }
}

/// Makes room for an array that `first` counts, and says so in `info`.
fn request(array: ProgArray, first: &[u8; PROG_INFO], info: &mut [u8; PROG_INFO]) -> Vec<u8> {
    let place = array.place();
    let record = match place.record {
        Record::Bytes(bytes) => bytes,
        Record::At(at) => {
            info[at..at + 4].copy_from_slice(&first[at..at + 4]);
            word(first, at) as usize
        }
    };
    let count = word(first, place.count);
    let bytes = vec![0; count as usize * record];
    if !bytes.is_empty() {
        set_count(info, place.count, count as usize);
    }
    bytes
}

fn lend((array, bytes): &mut (ProgArray, Vec<u8>)) -> InfoArray<'_> {
    InfoArray { address_at: array.place().address, bytes }
}

/// A caller who may not see an array gets a count but no bytes: the kernel takes the address away.
fn drop_unless_lent(info: &[u8; PROG_INFO], (array, bytes): &mut (ProgArray, Vec<u8>)) {
    if long(info, array.place().address) == 0 {
        bytes.clear();
    }
}

/// Says how many elements, or bytes, an array has room for.
pub(crate) fn set_count(info: &mut [u8], at: usize, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    info[at..at + 4].copy_from_slice(&count.to_ne_bytes());
}

/// The text before the first NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

const EINVAL: i32 = 22;
