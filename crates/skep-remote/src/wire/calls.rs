//! Commands of bpf(2), as they cross.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use skep_isa::Insn;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_runtime::command::{BatchOp, InfoArray, LinkData, MapCreate, ProgLoad, TestRun};
use skep_runtime::{Command, Error, Fd, Reply, Result, Runtime, RuntimeKind};

use super::{kind_number, kind_of, unexpected};

/// A command: input by value, output by its length.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call<'a> {
    #[serde(borrow)]
    MapCreate(NewMap<'a>),
    MapLookup {
        map: i32,
        key: &'a [u8],
        value: u32,
        flags: u64,
        delete: bool,
    },
    MapUpdate {
        map: i32,
        key: &'a [u8],
        value: &'a [u8],
        flags: u64,
    },
    MapDelete {
        map: i32,
        key: &'a [u8],
    },
    MapGetNextKey {
        map: i32,
        key: Option<&'a [u8]>,
        next: u32,
    },
    MapFreeze {
        map: i32,
    },
    BatchLookup {
        map: i32,
        position: Option<&'a [u8]>,
        /// Bytes of the next position, of keys and of values.
        room: [u32; 3],
        count: u32,
        delete: bool,
        flags: u64,
    },
    BatchUpdate {
        map: i32,
        keys: &'a [u8],
        values: &'a [u8],
        count: u32,
        flags: u64,
    },
    BatchDelete {
        map: i32,
        keys: &'a [u8],
        count: u32,
        flags: u64,
    },
    ProgLoad(NewProg<'a>),
    TestRun {
        prog: i32,
        data_in: &'a [u8],
        data_out: u32,
        ctx_in: &'a [u8],
        ctx_out: u32,
        /// Times to run, flags, processor, live frames at a time.
        how: [u32; 4],
    },
    ObjPin {
        fd: i32,
        path: &'a [u8],
    },
    ObjGet {
        path: &'a [u8],
    },
    Info {
        fd: i32,
        info: &'a [u8],
        /// Where the structure has an array's address, and the array's bytes.
        arrays: Vec<(u32, u32)>,
    },
    GetNextId {
        kind: u8,
        id: u32,
    },
    GetFdById {
        kind: u8,
        id: u32,
    },
    RawTracepointOpen {
        prog: i32,
        name: Option<&'a str>,
        cookie: u64,
    },
    BtfLoad {
        data: &'a [u8],
    },
    LinkCreate {
        prog: i32,
        target: i32,
        attach_type: u32,
        flags: u32,
        /// A cookie, of a perf event or with a target's type.
        cookie: Option<u64>,
        target_btf_id: Option<u32>,
    },
    LinkUpdate {
        link: i32,
        new: i32,
        old: Option<i32>,
    },
    LinkDetach {
        link: i32,
    },
    IterCreate {
        link: i32,
    },
}

/// A map to create.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewMap<'a> {
    name: &'a str,
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    extra: u64,
    inner: Option<i32>,
    btf: Option<(i32, u32, u32)>,
    kernel_type: u32,
}

/// A program to load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewProg<'a> {
    name: &'a str,
    license: &'a str,
    prog_type: u32,
    attach_type: Option<u32>,
    insns: Cow<'a, [u8]>,
    flags: u32,
    btf: Option<i32>,
    #[serde(borrow)]
    func_info: (&'a [u8], u32),
    line_info: (&'a [u8], u32),
    attach_btf_id: u32,
    attach_btf_obj: Option<i32>,
    attach_prog: Option<i32>,
    fd_array: Vec<i32>,
    log_level: u32,
}

impl<'a> Call<'a> {
    /// A command for crossing; those that runtimes of other processes do not serve stay here.
    pub(crate) fn of(command: &'a Command<'_>) -> Result<Self> {
        Ok(match command {
            Command::MapCreate(spec) => Self::MapCreate(NewMap::of(spec)?),
            Command::MapLookup { map, key, value, flags } => {
                Self::MapLookup { map: map.0, key, value: bytes(value)?, flags: *flags, delete: false }
            }
            Command::MapLookupAndDelete { map, key, value, flags } => {
                Self::MapLookup { map: map.0, key, value: bytes(value)?, flags: *flags, delete: true }
            }
            Command::MapUpdate { map, key, value, flags } => {
                Self::MapUpdate { map: map.0, key, value, flags: *flags }
            }
            Command::MapDelete { map, key } => Self::MapDelete { map: map.0, key },
            Command::MapGetNextKey { map, key, next } => {
                Self::MapGetNextKey { map: map.0, key: *key, next: bytes(next)? }
            }
            Command::MapFreeze { map } => Self::MapFreeze { map: map.0 },
            Command::MapBatch { map, op } => Self::of_batch(*map, op)?,
            Command::ProgLoad(spec) => Self::ProgLoad(NewProg::of(spec)?),
            Command::ProgTestRun { prog, run } => Self::TestRun {
                prog: prog.0,
                data_in: run.data_in,
                data_out: bytes(run.data_out)?,
                ctx_in: run.ctx_in,
                ctx_out: bytes(run.ctx_out)?,
                how: [run.repeat, run.flags, run.cpu, run.batch_size],
            },
            Command::ObjPin { fd, path } => Self::ObjPin { fd: fd.0, path: path.as_os_str().as_bytes() },
            Command::ObjGet { path } => Self::ObjGet { path: path.as_os_str().as_bytes() },
            Command::ObjGetInfo { fd, info, arrays } => {
                let place = |array: &InfoArray<'_>| Ok((number(array.address_at)?, bytes(array.bytes)?));
                Self::Info { fd: fd.0, info, arrays: arrays.iter().map(place).collect::<Result<_>>()? }
            }
            Command::GetNextId { kind, id } => Self::GetNextId { kind: kind_number(*kind), id: *id },
            Command::GetFdById { kind, id } => Self::GetFdById { kind: kind_number(*kind), id: *id },
            Command::RawTracepointOpen { prog, name, cookie } => {
                Self::RawTracepointOpen { prog: prog.0, name: *name, cookie: *cookie }
            }
            Command::BtfLoad { data, token: None } => Self::BtfLoad { data },
            Command::LinkCreate { prog, target, attach_type, flags, data } => {
                let (cookie, target_btf_id) = match data {
                    LinkData::None => (None, None),
                    LinkData::PerfEvent { cookie } => (Some(*cookie), None),
                    LinkData::Tracing { target_btf_id, cookie } => (Some(*cookie), Some(*target_btf_id)),
                    _ => return Err(Error::unsupported_command(command.cmd(), RuntimeKind::User)),
                };
                let (prog, target, attach_type) = (prog.0, target.0, attach_type.0);
                Self::LinkCreate { prog, target, attach_type, flags: *flags, cookie, target_btf_id }
            }
            Command::LinkUpdate { link, new_prog, old_prog } => {
                Self::LinkUpdate { link: link.0, new: new_prog.0, old: old_prog.map(|old| old.0) }
            }
            Command::LinkDetach { link } => Self::LinkDetach { link: link.0 },
            Command::IterCreate { link } => Self::IterCreate { link: link.0 },
            other => return Err(Error::unsupported_command(other.cmd(), RuntimeKind::User)),
        })
    }

    fn of_batch(map: Fd, op: &'a BatchOp<'_>) -> Result<Self> {
        Ok(match op {
            BatchOp::Lookup { in_batch, out_batch, keys, values, count, delete, elem_flags } => {
                Self::BatchLookup {
                    map: map.0,
                    position: *in_batch,
                    room: [bytes(out_batch)?, bytes(keys)?, bytes(values)?],
                    count: *count,
                    delete: *delete,
                    flags: *elem_flags,
                }
            }
            BatchOp::Update { keys, values, count, elem_flags } => {
                Self::BatchUpdate { map: map.0, keys, values, count: *count, flags: *elem_flags }
            }
            BatchOp::Delete { keys, count, elem_flags } => {
                Self::BatchDelete { map: map.0, keys, count: *count, flags: *elem_flags }
            }
        })
    }

    /// Executes the command; answers what it fills, too, in the order of [`outputs`].
    pub(crate) fn execute(self, runtime: &dyn Runtime) -> Result<(Reply, Vec<Vec<u8>>)> {
        let mut filled = self.room()?;
        let mut out = filled.iter_mut();
        let mut next = || out.next().map(Vec::as_mut_slice).unwrap_or_default();
        let reply = match self {
            Self::MapCreate(spec) => spec.create(runtime),
            Self::MapLookup { map, key, flags, delete: false, .. } => {
                runtime.bpf(Command::MapLookup { map: Fd(map), key, value: next(), flags })
            }
            Self::MapLookup { map, key, flags, .. } => {
                runtime.bpf(Command::MapLookupAndDelete { map: Fd(map), key, value: next(), flags })
            }
            Self::MapUpdate { map, key, value, flags } => {
                runtime.bpf(Command::MapUpdate { map: Fd(map), key, value, flags })
            }
            Self::MapDelete { map, key } => runtime.bpf(Command::MapDelete { map: Fd(map), key }),
            Self::MapGetNextKey { map, key, .. } => {
                runtime.bpf(Command::MapGetNextKey { map: Fd(map), key, next: next() })
            }
            Self::MapFreeze { map } => runtime.bpf(Command::MapFreeze { map: Fd(map) }),
            Self::BatchLookup { map, position, count, delete, flags, .. } => {
                let (out_batch, keys, values) = (next(), next(), next());
                let in_batch = position;
                let op =
                    BatchOp::Lookup { in_batch, out_batch, keys, values, count, delete, elem_flags: flags };
                runtime.bpf(Command::MapBatch { map: Fd(map), op })
            }
            Self::BatchUpdate { map, keys, values, count, flags } => {
                let op = BatchOp::Update { keys, values, count, elem_flags: flags };
                runtime.bpf(Command::MapBatch { map: Fd(map), op })
            }
            Self::BatchDelete { map, keys, count, flags } => {
                let op = BatchOp::Delete { keys, count, elem_flags: flags };
                runtime.bpf(Command::MapBatch { map: Fd(map), op })
            }
            Self::ProgLoad(spec) => spec.load(runtime),
            Self::TestRun { prog, data_in, ctx_in, how: [repeat, flags, cpu, batch_size], .. } => {
                let (data_out, ctx_out) = (next(), next());
                let run = TestRun { data_in, data_out, ctx_in, ctx_out, repeat, flags, cpu, batch_size };
                runtime.bpf(Command::ProgTestRun { prog: Fd(prog), run })
            }
            Self::ObjPin { fd, path } => runtime.bpf(Command::ObjPin { fd: Fd(fd), path: as_path(path) }),
            Self::ObjGet { path } => runtime.bpf(Command::ObjGet { path: as_path(path) }),
            Self::Info { fd, info, arrays } => {
                let says = next();
                says.copy_from_slice(info);
                let places = arrays.iter().map(|(address_at, _)| *address_at as usize);
                let mut arrays: Vec<InfoArray<'_>> =
                    places.map(|address_at| InfoArray { address_at, bytes: next() }).collect();
                runtime.bpf(Command::ObjGetInfo { fd: Fd(fd), info: says, arrays: &mut arrays })
            }
            Self::GetNextId { kind, id } => runtime.bpf(Command::GetNextId { kind: kind_of(kind)?, id }),
            Self::GetFdById { kind, id } => runtime.bpf(Command::GetFdById { kind: kind_of(kind)?, id }),
            Self::RawTracepointOpen { prog, name, cookie } => {
                runtime.bpf(Command::RawTracepointOpen { prog: Fd(prog), name, cookie })
            }
            Self::BtfLoad { data } => runtime.bpf(Command::BtfLoad { data, token: None }),
            Self::LinkCreate { prog, target, attach_type, flags, cookie, target_btf_id } => {
                let data = match (cookie, target_btf_id) {
                    (Some(cookie), Some(target_btf_id)) => LinkData::Tracing { target_btf_id, cookie },
                    (Some(cookie), None) => LinkData::PerfEvent { cookie },
                    (None, _) => LinkData::None,
                };
                let (prog, target, attach_type) = (Fd(prog), Fd(target), AttachType(attach_type));
                runtime.bpf(Command::LinkCreate { prog, target, attach_type, flags, data })
            }
            Self::LinkUpdate { link, new, old } => {
                let (link, new_prog, old_prog) = (Fd(link), Fd(new), old.map(Fd));
                runtime.bpf(Command::LinkUpdate { link, new_prog, old_prog })
            }
            Self::IterCreate { link } => runtime.bpf(Command::IterCreate { link: Fd(link) }),
            Self::LinkDetach { link } => runtime.bpf(Command::LinkDetach { link: Fd(link) }),
        }?;
        Ok((reply, filled))
    }

    /// Room for what the command fills.
    fn room(&self) -> Result<Vec<Vec<u8>>> {
        let lengths: Vec<u32> = match self {
            Self::MapLookup { value, .. } => vec![*value],
            Self::MapGetNextKey { next, .. } => vec![*next],
            Self::BatchLookup { room, .. } => room.to_vec(),
            Self::TestRun { data_out, ctx_out, .. } => vec![*data_out, *ctx_out],
            Self::Info { info, arrays, .. } => {
                let first = bytes(info)?;
                std::iter::once(first).chain(arrays.iter().map(|(_, bytes)| *bytes)).collect()
            }
            _ => Vec::new(),
        };
        let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        if total > crate::frame::FRAME_MAX as u64 / 2 {
            return Err(Error::os(ENOMEM, format!("an answer of {total} bytes is too large for a socket")));
        }
        Ok(lengths.into_iter().map(|length| vec![0; length as usize]).collect())
    }
}

/// The buffers that a command lends for output, in the order in which they cross.
pub(crate) fn outputs<'a>(command: &'a mut Command<'_>) -> Vec<&'a mut [u8]> {
    match command {
        Command::MapLookup { value, .. } | Command::MapLookupAndDelete { value, .. } => vec![value],
        Command::MapGetNextKey { next, .. } => vec![next],
        Command::MapBatch { op: BatchOp::Lookup { out_batch, keys, values, .. }, .. } => {
            vec![out_batch, keys, values]
        }
        Command::ProgTestRun { run, .. } => vec![&mut *run.data_out, &mut *run.ctx_out],
        Command::ObjGetInfo { info, arrays, .. } => {
            let arrays = arrays.iter_mut().map(|array| &mut *array.bytes);
            std::iter::once(&mut **info).chain(arrays).collect()
        }
        _ => Vec::new(),
    }
}

impl<'a> NewMap<'a> {
    fn of(spec: &'a MapCreate<'_>) -> Result<Self> {
        if spec.token.is_some() || spec.value_type_module.is_some() {
            return Err(Error::unsupported("the user runtime has no tokens, and no types of kernel modules"));
        }
        Ok(Self {
            name: spec.name,
            map_type: spec.map_type.0,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            flags: spec.map_flags,
            extra: spec.map_extra,
            inner: spec.inner_map.map(|fd| fd.0),
            btf: spec.btf.map(|(fd, key, value)| (fd.0, key, value)),
            kernel_type: spec.btf_vmlinux_value_type_id,
        })
    }

    fn create(self, runtime: &dyn Runtime) -> Result<Reply> {
        let map_type = MapType(self.map_type);
        runtime.bpf(Command::MapCreate(&MapCreate {
            map_flags: self.flags,
            map_extra: self.extra,
            inner_map: self.inner.map(Fd),
            btf: self.btf.map(|(fd, key, value)| (Fd(fd), key, value)),
            btf_vmlinux_value_type_id: self.kernel_type,
            ..MapCreate::new(map_type, self.name, self.key_size, self.value_size, self.max_entries)
        }))
    }
}

impl<'a> NewProg<'a> {
    fn of(spec: &'a ProgLoad<'_>) -> Result<Self> {
        if spec.token.is_some() {
            return Err(Error::unsupported("the user runtime has no tokens"));
        }
        Ok(Self {
            name: spec.name,
            license: spec.license,
            prog_type: spec.prog_type.0,
            attach_type: spec.expected_attach_type.map(|attach| attach.0),
            insns: spec.insns.iter().flat_map(|insn| insn.to_le_bytes()).collect::<Vec<u8>>().into(),
            flags: spec.prog_flags,
            btf: spec.btf.map(|fd| fd.0),
            func_info: spec.func_info,
            line_info: spec.line_info,
            attach_btf_id: spec.attach_btf_id,
            attach_btf_obj: spec.attach_btf_obj.map(|fd| fd.0),
            attach_prog: spec.attach_prog.map(|fd| fd.0),
            fd_array: spec.fd_array.iter().map(|fd| fd.0).collect(),
            log_level: spec.log_level,
        })
    }

    fn load(self, runtime: &dyn Runtime) -> Result<Reply> {
        let (slots, rest) = self.insns.as_chunks();
        if !rest.is_empty() {
            return Err(unexpected("half an instruction"));
        }
        let insns: Vec<Insn> = slots.iter().map(|&slot| Insn::from_le_bytes(slot)).collect();
        let fd_array: Vec<Fd> = self.fd_array.iter().map(|&fd| Fd(fd)).collect();
        runtime.bpf(Command::ProgLoad(&ProgLoad {
            expected_attach_type: self.attach_type.map(AttachType),
            prog_flags: self.flags,
            btf: self.btf.map(Fd),
            func_info: self.func_info,
            line_info: self.line_info,
            attach_btf_id: self.attach_btf_id,
            attach_btf_obj: self.attach_btf_obj.map(Fd),
            attach_prog: self.attach_prog.map(Fd),
            fd_array: &fd_array,
            log_level: self.log_level,
            ..ProgLoad::new(ProgType(self.prog_type), self.name, &insns, self.license)
        }))
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn bytes(buffer: &[u8]) -> Result<u32> {
    number(buffer.len())
}

fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::os(ENOMEM, format!("{count} bytes are too many for a socket")))
}

const ENOMEM: i32 = 12;
