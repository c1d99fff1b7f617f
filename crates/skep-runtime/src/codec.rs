//! Typed commands ↔ the raw ABI: bytes of `union bpf_attr`.
//!
//! [`Attr::encode`] lays a command out as Linux 6.18 has it (`include/uapi/linux/bpf.h`), at the offsets of the C members
//! named beside them, and no longer than its last member that is not zero: a kernel that does not know a member refuses
//! it only when it is set (`bpf_check_uarg_tail_zero`), so old kernels take what they can serve.
//!
//! Buffers stay where the command lends them from; the attribute holds their addresses, which is why an [`Attr`] borrows
//! the command. Strings and arrays that the ABI wants in another form than ours are kept in the attribute itself.

use std::ffi::CString;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;

use skep_isa::uapi::Cmd;

use crate::command::{BatchOp, Command, LinkData, MapCreate, ProgLoad, Reply, TestRun, lend_arrays};
use crate::{Error, Fd, Result};

/// Bytes of the longest attribute we write: `BPF_PROG_LOAD`'s.
const ATTR_BYTES: usize = 152;
/// Bytes of an object's name in attributes, the zero at its end included (`BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;

/// A raw command: its number and `union bpf_attr`.
#[derive(Debug)]
pub struct Attr<'a> {
    cmd: Cmd,
    bytes: [u8; ATTR_BYTES],
    /// Up to where members are set, or read back after the call.
    used: usize,
    /// What addresses in `bytes` lead to, where it is not the command's own.
    strings: Vec<CString>,
    words: Vec<Box<[u32]>>,
    addresses: Box<[u64]>,
    /// Addresses in `bytes` lead into what the command borrows.
    command: PhantomData<&'a mut [u8]>,
}

/// Of `BPF_PROG_LOAD`: `log_true_size`, which the kernel writes.
const LOG_TRUE_SIZE: usize = 140;

/// Of `BPF_PROG_TEST_RUN`: `ctx_size_in`, `ctx_size_out`, `ctx_in` and `ctx_out`.
const CTX_SIZE_IN: usize = 40;
const CTX_SIZE_OUT: usize = 44;
const CTX_IN: usize = 48;
const CTX_OUT: usize = 56;

/// The descriptor of a token is set (`BPF_F_TOKEN_FD`).
const F_TOKEN_FD: u32 = 1 << 16;

/// Where the verifier or the BTF check writes what it thinks.
#[derive(Debug)]
pub struct Log<'a> {
    /// How much it says: 1 and 2 more and more, 4 statistics.
    pub level: u32,
    /// Where the text goes.
    pub buffer: &'a mut [u8],
}

impl<'a> Attr<'a> {
    /// Lays out a command. `log` is for `BPF_PROG_LOAD` and `BPF_BTF_LOAD`; other commands have none.
    pub fn encode(command: &'a mut Command<'_>, log: Option<Log<'a>>) -> Result<Self> {
        let mut attr = Self {
            cmd: command.cmd(),
            bytes: [0; ATTR_BYTES],
            used: 0,
            strings: Vec::new(),
            words: Vec::new(),
            addresses: Box::default(),
            command: PhantomData,
        };
        attr.command(command, log)?;
        Ok(attr)
    }

    /// The command's number.
    pub fn cmd(&self) -> Cmd {
        self.cmd
    }

    /// The bytes to pass to bpf(2), which writes answers into some of them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }

    /// A 32-bit member, as the kernel left it.
    pub fn get_u32(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[offset..offset + 4]);
        u32::from_ne_bytes(word)
    }

    /// A 64-bit member, as the kernel left it.
    fn get_u64(&self, offset: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[offset..offset + 8]);
        u64::from_ne_bytes(word)
    }

    /// Bytes that the log of a program load wants, the zero at its end included; 0 from kernels before 6.4, which do not say.
    pub fn log_true_size(&self) -> u32 {
        match self.cmd {
            Cmd::PROG_LOAD => self.get_u32(LOG_TRUE_SIZE),
            _ => 0,
        }
    }

    /// Makes the room for a test run's context also the context that goes in: a `syscall` program has one for both.
    pub fn context_in_place(&mut self) {
        self.bytes.copy_within(CTX_SIZE_OUT..CTX_SIZE_OUT + 4, CTX_SIZE_IN);
        self.bytes.copy_within(CTX_OUT..CTX_OUT + 8, CTX_IN);
        self.bytes[CTX_SIZE_OUT..CTX_SIZE_OUT + 4].fill(0);
        self.bytes[CTX_OUT..CTX_OUT + 8].fill(0);
    }

    /// What the call has answered: its return value, and what it left in the attribute.
    pub fn reply(&self, returned: i32) -> Reply {
        match self.cmd {
            Cmd::MAP_CREATE
            | Cmd::PROG_LOAD
            | Cmd::OBJ_GET
            | Cmd::PROG_GET_FD_BY_ID
            | Cmd::MAP_GET_FD_BY_ID
            | Cmd::BTF_GET_FD_BY_ID
            | Cmd::LINK_GET_FD_BY_ID
            | Cmd::RAW_TRACEPOINT_OPEN
            | Cmd::BTF_LOAD
            | Cmd::LINK_CREATE
            | Cmd::ENABLE_STATS
            | Cmd::ITER_CREATE
            | Cmd::TOKEN_CREATE => Reply::Fd(Fd(returned)),
            Cmd::PROG_GET_NEXT_ID | Cmd::MAP_GET_NEXT_ID | Cmd::BTF_GET_NEXT_ID | Cmd::LINK_GET_NEXT_ID => {
                Reply::Id(self.get_u32(4)) // next_id
            }
            Cmd::OBJ_GET_INFO_BY_FD => Reply::Count(self.get_u32(4)), // info.info_len
            Cmd::PROG_QUERY => {
                Reply::Query { count: self.get_u32(24), flags: self.get_u32(12), revision: self.get_u64(56) }
            }
            Cmd::TASK_FD_QUERY => Reply::TaskFd {
                name_len: self.get_u32(12), // task_fd_query.buf_len
                prog_id: self.get_u32(24),
                fd_type: self.get_u32(28),
                probe_offset: self.get_u64(32),
                probe_addr: self.get_u64(40),
            },
            Cmd::PROG_STREAM_READ_BY_FD => Reply::Count(u32::try_from(returned).unwrap_or(0)),
            Cmd::MAP_LOOKUP_BATCH
            | Cmd::MAP_LOOKUP_AND_DELETE_BATCH
            | Cmd::MAP_UPDATE_BATCH
            | Cmd::MAP_DELETE_BATCH => Reply::Batch { count: self.get_u32(32), end: false }, // batch.count
            Cmd::PROG_TEST_RUN => Reply::TestRun {
                retval: self.get_u32(4),
                duration_ns: self.get_u32(36),
                data_size_out: self.get_u32(12),
                ctx_size_out: self.get_u32(CTX_SIZE_OUT),
            },
            _ => Reply::Done,
        }
    }

    fn command(&mut self, command: &'a mut Command<'_>, log: Option<Log<'a>>) -> Result<()> {
        match command {
            Command::MapCreate(spec) => self.map_create(spec),
            Command::ProgLoad(spec) => return self.prog_load(spec, log),
            Command::MapLookup { map, key, value, flags }
            | Command::MapLookupAndDelete { map, key, value, flags } => {
                self.element(*map, key, value.as_mut_ptr(), *flags);
            }
            Command::MapUpdate { map, key, value, flags } => self.element(*map, key, value.as_ptr(), *flags),
            Command::MapDelete { map, key } => self.element(*map, key, std::ptr::null(), 0),
            Command::MapGetNextKey { map, key, next } => {
                self.element(*map, key.unwrap_or_default(), next.as_mut_ptr(), 0);
            }
            Command::MapFreeze { map } => self.fd(0, *map),
            Command::MapBatch { map, op } => self.batch(*map, op),
            Command::ProgTestRun { prog, run } => self.test_run(*prog, run),
            Command::ProgAttach { prog, target, attach_type, flags } => {
                self.fd(0, *target);
                self.fd(4, *prog); // attach_bpf_fd
                self.u32(8, attach_type.0);
                self.u32(12, *flags);
            }
            Command::ProgDetach { prog, target, attach_type } => {
                self.fd(0, *target);
                self.u32(8, attach_type.0);
                if let Some(prog) = prog {
                    self.fd(4, *prog);
                }
            }
            Command::ProgQuery { target, attach_type, flags, prog_ids, link_ids } => {
                self.fd(0, *target);
                self.u32(4, attach_type.0);
                self.u32(8, *flags);
                self.address(16, prog_ids.as_mut_ptr());
                self.len(24, prog_ids.len());
                self.used = 32; // attach_flags and prog_cnt come back
                if !link_ids.is_empty() {
                    self.address(40, link_ids.as_mut_ptr());
                    self.used = 64; // revision, too
                }
            }
            Command::ProgBindMap { prog, map } => {
                self.fd(0, *prog);
                self.fd(4, *map);
            }
            Command::ProgStreamRead { prog, stream, buffer } => {
                self.address(0, buffer.as_mut_ptr());
                self.len(8, buffer.len());
                self.u32(12, *stream);
                self.fd(16, *prog);
            }
            Command::ObjPin { fd, path } => {
                self.string(0, path.as_os_str().as_bytes())?;
                self.fd(8, *fd);
            }
            Command::ObjGet { path } => self.string(0, path.as_os_str().as_bytes())?,
            Command::ObjGetInfo { fd, info, arrays } => {
                lend_arrays(info, arrays);
                self.fd(0, *fd);
                self.len(4, info.len());
                self.address(8, info.as_mut_ptr());
            }
            Command::GetNextId { id, .. } => {
                self.u32(0, *id);
                self.used = self.used.max(8); // next_id comes back
            }
            Command::GetFdById { id, .. } => self.u32(0, *id),
            Command::RawTracepointOpen { prog, name, cookie } => {
                if let Some(name) = name {
                    self.string(0, name.as_bytes())?;
                }
                self.fd(8, *prog);
                self.u64(16, *cookie);
            }
            Command::BtfLoad { data, token } => {
                self.btf_load(data, log);
                if let Some(token) = token {
                    self.u32(32, F_TOKEN_FD); // btf_flags
                    self.fd(36, *token); // btf_token_fd
                }
            }
            Command::TaskFdQuery { pid, fd, buffer } => {
                self.u32(0, *pid);
                self.u32(4, *fd);
                self.len(12, buffer.len());
                self.address(16, buffer.as_mut_ptr());
                self.used = 48; // prog_id, fd_type, probe_offset and probe_addr come back
            }
            Command::LinkCreate { prog, target, attach_type, flags, data } => {
                self.fd(0, *prog);
                self.fd(4, *target);
                self.u32(8, attach_type.0);
                self.u32(12, *flags);
                self.link_data(*data)?;
            }
            Command::LinkUpdate { link, new_prog, old_prog } => {
                self.fd(0, *link);
                self.fd(4, *new_prog);
                if let Some(old) = old_prog {
                    const F_REPLACE: u32 = 1 << 2;
                    self.u32(8, F_REPLACE);
                    self.fd(12, *old);
                }
            }
            Command::LinkDetach { link } => self.fd(0, *link),
            // The only kind of statistics there is: run time (`BPF_STATS_RUN_TIME`).
            Command::EnableStats => self.u32(0, 0),
            Command::IterCreate { link } => self.fd(0, *link),
            Command::TokenCreate { bpffs } => self.fd(4, *bpffs),
        }
        Ok(())
    }

    fn map_create(&mut self, spec: &MapCreate<'_>) {
        self.u32(0, spec.map_type.0);
        self.u32(4, spec.key_size);
        self.u32(8, spec.value_size);
        self.u32(12, spec.max_entries);
        self.u32(16, spec.map_flags);
        if let Some(inner) = spec.inner_map {
            self.fd(20, inner);
        }
        self.u32(24, spec.numa_node);
        self.name(28, spec.name);
        self.u32(44, spec.ifindex);
        if let Some((btf, key_type, value_type)) = spec.btf {
            self.fd(48, btf);
            self.u32(52, key_type);
            self.u32(56, value_type);
        }
        self.u32(60, spec.btf_vmlinux_value_type_id);
        self.u64(64, spec.map_extra);
        if let Some(module) = spec.value_type_module {
            const F_VTYPE_BTF_OBJ_FD: u32 = 1 << 15;
            self.u32(16, spec.map_flags | F_VTYPE_BTF_OBJ_FD);
            self.fd(72, module); // value_type_btf_obj_fd
        }
        if let Some(token) = spec.token {
            self.u32(16, self.get_u32(16) | F_TOKEN_FD);
            self.fd(76, token); // map_token_fd
        }
    }

    fn prog_load(&mut self, spec: &'a ProgLoad<'_>, log: Option<Log<'a>>) -> Result<()> {
        self.u32(0, spec.prog_type.0);
        self.len(4, spec.insns.len());
        self.address(8, spec.insns.as_ptr());
        self.string(16, spec.license.as_bytes())?;
        if let Some(log) = log {
            self.u32(24, log.level);
            self.len(28, log.buffer.len());
            self.address(32, log.buffer.as_mut_ptr());
            self.used = LOG_TRUE_SIZE + 4;
        }
        self.u32(40, spec.kern_version);
        self.u32(44, spec.prog_flags);
        self.name(48, spec.name);
        self.u32(64, spec.ifindex);
        self.u32(68, spec.expected_attach_type.map_or(0, |attach| attach.0));
        if let Some(btf) = spec.btf {
            self.fd(72, btf);
            self.records(76, spec.func_info);
            self.records(92, spec.line_info);
        }
        self.u32(108, spec.attach_btf_id);
        match (spec.attach_prog, spec.attach_btf_obj) {
            (Some(fd), _) | (None, Some(fd)) => self.fd(112, fd),
            (None, None) => {}
        }
        if !spec.fd_array.is_empty() {
            let words: Box<[u32]> = spec.fd_array.iter().map(|fd| fd.0.cast_unsigned()).collect();
            self.address(120, words.as_ptr());
            self.words.push(words);
        }
        if let Some(token) = spec.token {
            self.u32(44, spec.prog_flags | F_TOKEN_FD);
            self.fd(144, token); // prog_token_fd
        }
        Ok(())
    }

    fn btf_load(&mut self, data: &'a [u8], log: Option<Log<'a>>) {
        self.address(0, data.as_ptr());
        self.len(16, data.len());
        if let Some(log) = log {
            self.address(8, log.buffer.as_mut_ptr());
            self.len(20, log.buffer.len());
            self.u32(24, log.level);
        }
    }

    /// The union at the end of `link_create`.
    fn link_data(&mut self, data: LinkData<'a>) -> Result<()> {
        match data {
            LinkData::None => {}
            LinkData::PerfEvent { cookie } => self.u64(16, cookie),
            LinkData::Tracing { target_btf_id, cookie } => {
                self.u32(16, target_btf_id);
                self.u64(24, cookie);
            }
            LinkData::Iter { info } => self.buffer(24, 16, (info.as_ptr(), info.len())),
            LinkData::KprobeMulti { flags, symbols, cookies } => {
                self.u32(16, flags);
                self.len(20, symbols.len());
                self.string_array(24, symbols)?;
                self.array(40, cookies);
            }
            LinkData::UprobeMulti { path, flags, offsets, semaphores, cookies, pid } => {
                self.string(16, path.as_os_str().as_bytes())?;
                self.array(24, offsets);
                self.array(32, semaphores);
                self.array(40, cookies);
                self.len(48, offsets.len());
                self.u32(52, flags);
                self.u32(56, pid);
            }
            LinkData::Netfilter { family, hook, priority, flags } => {
                self.u32(16, family);
                self.u32(20, hook);
                self.u32(24, priority.cast_unsigned());
                self.u32(28, flags);
            }
            LinkData::Relative { to, revision } => {
                self.u32(16, to);
                self.u64(24, revision);
            }
        }
        Ok(())
    }

    fn array(&mut self, offset: usize, array: &[u64]) {
        if !array.is_empty() {
            self.address(offset, array.as_ptr());
        }
    }

    /// The address of an array of addresses of strings.
    fn string_array(&mut self, offset: usize, texts: &[&str]) -> Result<()> {
        let strings: Vec<CString> =
            texts.iter().map(|text| c_string(text.as_bytes())).collect::<Result<_>>()?;
        let addresses: Box<[u64]> = strings.iter().map(|s| s.as_ptr().expose_provenance() as u64).collect();
        self.address(offset, addresses.as_ptr());
        self.strings.extend(strings);
        self.addresses = addresses;
        Ok(())
    }

    fn element(&mut self, map: Fd, key: &[u8], value: *const u8, flags: u64) {
        self.fd(0, map);
        if !key.is_empty() {
            self.address(8, key.as_ptr());
        }
        if !value.is_null() {
            self.address(16, value);
        }
        self.u64(24, flags);
    }

    fn batch(&mut self, map: Fd, op: &mut BatchOp<'_>) {
        self.fd(36, map);
        match op {
            BatchOp::Lookup { in_batch, out_batch, keys, values, count, elem_flags, .. } => {
                if let Some(position) = in_batch {
                    self.address(0, position.as_ptr());
                }
                self.address(8, out_batch.as_mut_ptr());
                self.address(16, keys.as_mut_ptr());
                self.address(24, values.as_mut_ptr());
                self.u32(32, *count);
                self.u64(40, *elem_flags);
            }
            BatchOp::Update { keys, values, count, elem_flags } => {
                self.address(16, keys.as_ptr());
                self.address(24, values.as_ptr());
                self.u32(32, *count);
                self.u64(40, *elem_flags);
            }
            BatchOp::Delete { keys, count, elem_flags } => {
                self.address(16, keys.as_ptr());
                self.u32(32, *count);
                self.u64(40, *elem_flags);
            }
        }
    }

    fn test_run(&mut self, prog: Fd, run: &mut TestRun<'_>) {
        self.fd(0, prog);
        self.buffer(8, 16, (run.data_in.as_ptr(), run.data_in.len()));
        self.buffer(12, 24, (run.data_out.as_mut_ptr(), run.data_out.len()));
        self.u32(32, run.repeat);
        self.buffer(CTX_SIZE_IN, CTX_IN, (run.ctx_in.as_ptr(), run.ctx_in.len()));
        self.buffer(CTX_SIZE_OUT, CTX_OUT, (run.ctx_out.as_mut_ptr(), run.ctx_out.len()));
        self.u32(64, run.flags);
        self.u32(68, run.cpu);
        self.u32(72, run.batch_size);
        self.used = self.used.max(48); // up to ctx_size_out comes back
    }

    /// Length and address of a buffer, where there is one.
    fn buffer(&mut self, len_at: usize, address_at: usize, (start, len): (*const u8, usize)) {
        if len != 0 {
            self.len(len_at, len);
            self.address(address_at, start);
        }
    }

    /// Records from `.BTF.ext`: bytes of one, their address, and how many there are.
    fn records(&mut self, offset: usize, (bytes, record_bytes): (&[u8], u32)) {
        if record_bytes != 0 && !bytes.is_empty() {
            self.u32(offset, record_bytes);
            self.address(offset + 4, bytes.as_ptr());
            self.len(offset + 12, bytes.len() / record_bytes as usize);
        }
    }

    fn string(&mut self, offset: usize, text: &[u8]) -> Result<()> {
        let string = c_string(text)?;
        self.address(offset, string.as_ptr());
        self.strings.push(string);
        Ok(())
    }

    /// A name, cut to what fits, with what the kernel does not take in names replaced (`bpf_obj_name_cpy`).
    fn name(&mut self, offset: usize, name: &str) {
        let accepted =
            |byte: u8| if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') { byte } else { b'_' };
        for (at, byte) in name.bytes().take(NAME_BYTES - 1).enumerate() {
            self.bytes[offset + at] = accepted(byte);
        }
        if !name.is_empty() {
            self.used = self.used.max(offset + NAME_BYTES);
        }
    }

    fn fd(&mut self, offset: usize, fd: Fd) {
        self.put(offset, &fd.0.to_ne_bytes());
    }

    fn len(&mut self, offset: usize, len: usize) {
        self.u32(offset, u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn u32(&mut self, offset: usize, value: u32) {
        if value != 0 || offset == 0 {
            self.put(offset, &value.to_ne_bytes());
        }
    }

    fn u64(&mut self, offset: usize, value: u64) {
        if value != 0 {
            self.put(offset, &value.to_ne_bytes());
        }
    }

    fn address<T>(&mut self, offset: usize, pointer: *const T) {
        self.u64(offset, pointer.expose_provenance() as u64);
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.used = self.used.max((offset + bytes.len()).next_multiple_of(8));
    }
}

fn c_string(text: &[u8]) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::os(EINVAL, format!("`{}` contains a zero byte", String::from_utf8_lossy(text))))
}

const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use skep_isa::uapi::{AttachType, MapType, ProgType};

    use super::*;

    fn words(command: &mut Command<'_>) -> (Cmd, Vec<u32>) {
        let mut attr = Attr::encode(command, None).expect("it can be encoded");
        let words =
            attr.bytes_mut().chunks(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect();
        (attr.cmd(), words)
    }

    #[test]
    fn attributes_end_with_their_last_member() {
        let spec = MapCreate::new(MapType::ARRAY, "", 4, 8, 16);
        assert_eq!(words(&mut Command::MapCreate(&spec)), (Cmd::MAP_CREATE, vec![2, 4, 8, 16]));
        let (cmd, attr) = words(&mut Command::LinkCreate {
            prog: Fd(5),
            target: Fd(6),
            attach_type: AttachType::PERF_EVENT,
            flags: 0,
            data: LinkData::PerfEvent { cookie: 0x1_0000_0002 },
        });
        assert_eq!((cmd, attr), (Cmd::LINK_CREATE, vec![5, 6, 41, 0, 2, 1]));
        let (_, attr) = words(&mut Command::LinkCreate {
            prog: Fd(5),
            target: Fd(0),
            attach_type: AttachType::NETFILTER,
            flags: 0,
            data: LinkData::Netfilter { family: 2, hook: 1, priority: -3, flags: 0 },
        });
        assert_eq!(attr, [5, 0, 45, 0, 2, 1, 0xffff_fffd, 0]);
        assert_eq!(words(&mut Command::LinkDetach { link: Fd(9) }).1, vec![9, 0]);
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        let spec = MapCreate::new(MapType::HASH, "a-name that is too long", 4, 4, 1);
        let (_, attr) = words(&mut Command::MapCreate(&spec));
        let bytes: Vec<u8> = attr[7..11].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes, b"a_name_that_is_\0");
    }

    #[test]
    fn programs_keep_their_place() {
        let insns = [skep_isa::Insn::default(); 3];
        let spec = ProgLoad {
            expected_attach_type: Some(AttachType::TRACE_FEXIT),
            attach_btf_id: 77,
            ..ProgLoad::new(ProgType::TRACING, "p", &insns, "GPL")
        };
        let (_, attr) = words(&mut Command::ProgLoad(&spec));
        assert_eq!((attr[0], attr[1], attr[17], attr[27]), (26, 3, 25, 77));
        assert_eq!(attr[2..4], [insns.as_ptr().addr() as u32, (insns.as_ptr().addr() >> 32) as u32]);
    }
}
