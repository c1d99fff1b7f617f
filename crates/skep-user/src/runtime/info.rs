//! `BPF_OBJ_GET_INFO_BY_FD`: the kernel's `struct bpf_map_info`, `bpf_prog_info`, `bpf_link_info`, `bpf_btf_info`
//! (`include/uapi/linux/bpf.h`, Linux 6.18), as far as there is something to say, with the arrays that they lead to.

use sha2::{Digest as _, Sha256};
use skep_isa::table::LD_IMM64;
use skep_isa::uapi::{AttachType, LinkType};
use skep_isa::{Insn, Reg};
use skep_runtime::command::{InfoArray, lend_arrays};
use skep_runtime::info::ProgArray;
use skep_runtime::{Fd, Reply, Result};
use skep_vm::Map;
use skep_vm::map::MapTypes;

use super::UserRuntime;
use crate::hook::probe::Place;
use crate::objects::{About, Link, Object, Prog, Types};

/// A structure under construction; what lies behind the caller's buffer is dropped.
struct Info {
    bytes: Vec<u8>,
    /// Arrays by the offsets of their addresses.
    arrays: Vec<(usize, Vec<u8>)>,
}

impl Info {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], arrays: Vec::new() }
    }

    /// A program's tag: the beginning of the digest of its instructions without what differs from load to load, the maps
    /// that they refer to (`bpf_prog_calc_tag` of Linux 6.18; earlier kernels take SHA-1).
    fn tag(mut self, offset: usize, insns: &[Insn]) -> Self {
        let mut digest = Sha256::new();
        let mut after_map = false;
        for &insn in insns {
            let refers_to_map = !after_map && insn.code == LD_IMM64 && matches!(insn.src(), Reg(1 | 2));
            let known = if refers_to_map || after_map { Insn { imm: 0, ..insn } } else { insn };
            digest.update(known.to_le_bytes());
            after_map = refers_to_map;
        }
        self.bytes[offset..offset + 8].copy_from_slice(&digest.finalize()[..8]);
        self
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// A name of at most 15 bytes and a zero.
    fn name(mut self, offset: usize, name: &str) -> Self {
        let length = name.len().min(15);
        self.bytes[offset..offset + length].copy_from_slice(&name.as_bytes()[..length]);
        self
    }

    /// An array, with its count or size.
    fn array(self, count_at: usize, count: usize, address_at: usize, bytes: Vec<u8>) -> Self {
        let mut this = self.u32(count_at, u32::try_from(count).unwrap_or(u32::MAX));
        this.arrays.push((address_at, bytes));
        this
    }

    /// A string, whose size counts its zero.
    fn text(self, size_at: usize, address_at: usize, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.array(size_at, bytes.len(), address_at, bytes)
    }
}

impl UserRuntime {
    pub(super) fn obj_get_info(
        &self,
        fd: Fd,
        info: &mut [u8],
        arrays: &mut [InfoArray<'_>],
    ) -> Result<Reply> {
        let told = match self.objects.any(fd)? {
            Object::Map(map) => map_info(&map),
            Object::Prog(prog) => prog_info(&prog),
            Object::Link(link) => link_info(&link),
            Object::Btf(btf) => btf_info(&btf),
        };
        let length = told.bytes.len().min(info.len());
        info[..length].copy_from_slice(&told.bytes[..length]);
        lend_arrays(info, arrays);
        for (address_at, bytes) in &told.arrays {
            for array in arrays.iter_mut().filter(|array| array.address_at == *address_at) {
                let length = bytes.len().min(array.bytes.len());
                array.bytes[..length].copy_from_slice(&bytes[..length]);
            }
        }
        Ok(Reply::Count(length as u32))
    }
}

fn map_info(map: &Map) -> Info {
    let spec = map.spec();
    let types = spec.types.unwrap_or(MapTypes { btf_id: 0, key: 0, value: 0 });
    Info::new(88)
        .u32(0, spec.map_type.0)
        .u32(4, spec.id)
        .u32(8, spec.key_size)
        .u32(12, spec.value_size)
        .u32(16, spec.max_entries)
        .u32(20, spec.map_flags)
        .name(24, &spec.name)
        .u32(64, types.btf_id)
        .u32(68, types.key)
        .u32(72, types.value)
        .u64(80, spec.map_extra)
}

fn prog_info(prog: &Prog) -> Info {
    let spec = &prog.spec;
    let types = prog.types.as_ref().map_or(0, |types| types.id);
    let machine_code = prog.code.machine_code().unwrap_or_default().to_vec();
    let map_ids: Vec<u8> = prog.code.maps().iter().flat_map(|map| map.spec().id.to_ne_bytes()).collect();
    let mut info = Info::new(232)
        .u32(0, spec.prog_type.0)
        .u32(4, prog.id)
        .tag(8, &spec.insns)
        .u64(40, spec.load_time)
        .u32(48, spec.uid)
        .name(64, &spec.name)
        .u32(84, u32::from(spec.gpl_compatible))
        .u32(128, types)
        .u32(224, spec.attach_btf_id);
    let arrays = [
        (ProgArray::Jited, machine_code, 1),
        (ProgArray::Xlated, spec.insns.iter().flat_map(|insn| insn.to_le_bytes()).collect(), 1),
        (ProgArray::MapIds, map_ids, 4),
        (ProgArray::FuncInfo, spec.func_info.0.clone(), spec.func_info.1),
        (ProgArray::LineInfo, spec.line_info.0.clone(), spec.line_info.1),
    ];
    for (array, bytes, record) in arrays {
        let (count_at, address_at) = array.offsets();
        let count = bytes.len() / record.max(1) as usize;
        info = info.array(count_at, count, address_at, bytes);
    }
    info.u32(132, spec.func_info.1).u32(172, spec.line_info.1)
}

/// Which kind of link the kernel would call it.
pub(crate) fn link_type(link: &Link) -> LinkType {
    match link.about {
        About::RawTracepoint(_) => LinkType::RAW_TRACEPOINT,
        About::Tracing(_) => LinkType::TRACING,
        About::UprobeMulti { .. } => LinkType::UPROBE_MULTI,
        About::Tracepoint(_) | About::Uprobe { .. } | About::PerfEvent => LinkType::PERF_EVENT,
        About::Iterator(_) => LinkType::ITER,
    }
}

fn link_info(link: &Link) -> Info {
    /// `enum bpf_perf_event_type`.
    const UPROBE: u32 = 1;
    const URETPROBE: u32 = 2;
    const TRACEPOINT: u32 = 5;
    const EVENT: u32 = 6;
    let base = Info::new(64).u32(0, link_type(link).0).u32(4, link.id).u32(8, link.prog().id);
    let of_perf = |base: Info, kind: u32| base.u32(16, kind).u64(40, link.cookie);
    match &link.about {
        About::RawTracepoint(name) => base.text(24, 16, name).u64(32, link.cookie),
        About::Tracing(type_id) => {
            base.u32(16, AttachType::TRACE_RAW_TP.0).u32(24, *type_id).u64(32, link.cookie)
        }
        About::Tracepoint(name) => of_perf(base, TRACEPOINT).text(32, 24, name),
        About::Uprobe { file, offset, is_return } => {
            let kind = if *is_return { URETPROBE } else { UPROBE };
            of_perf(base, kind).text(32, 24, file).u32(36, *offset)
        }
        About::UprobeMulti { file, flags } => {
            let column = |of: fn(&Place) -> u64| -> Vec<u8> {
                link.places.iter().flat_map(|place| of(place).to_ne_bytes()).collect()
            };
            let count = link.places.len();
            base.text(48, 16, file)
                .array(52, count, 24, column(|place| place.offset))
                .array(52, count, 32, column(|place| place.semaphore))
                .array(52, count, 40, column(|place| place.cookie))
                .u32(56, *flags)
        }
        About::Iterator(target) => {
            let map = target.map.as_ref().map_or(0, |map| map.spec().id);
            base.text(24, 16, target.kind.name())
                .u32(28, map)
                .u32(32, target.tid.unwrap_or(0))
                .u32(36, target.process.unwrap_or(0))
        }
        About::PerfEvent => of_perf(base, EVENT).u32(32, SOFTWARE),
    }
}

/// `PERF_TYPE_SOFTWARE`; what is counted is the processor's clock, which is number 0.
const SOFTWARE: u32 = 1;

fn btf_info(types: &Types) -> Info {
    let data = types.btf.bytes().to_vec();
    Info::new(32).array(8, data.len(), 0, data).u32(12, types.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_linux() {
        let tag = |bytes: &[u8]| {
            let insns: Vec<Insn> =
                bytes.as_chunks().0.iter().map(|&bytes| Insn::from_le_bytes(bytes)).collect();
            Info::new(16).tag(8, &insns).bytes[8..].to_vec()
        };
        // `r0 = 1; exit`, as Linux 6.18 shows it.
        let plain = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(tag(&plain), [0xb1, 0x14, 0x59, 0xa0, 0xe1, 0x1c, 0xa1, 0x4c]);
        // Which map is meant does not matter, and what is added to its address neither.
        let of_map = |id, offset| [0x18, 0x11, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, offset, 0, 0, 0];
        assert_eq!(tag(&of_map(1, 2)), tag(&of_map(3, 4)));
        let of_number = |number| [0x18, 0x01, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_ne!(tag(&of_number(1)), tag(&of_number(2)));
    }
}
