//! `docs/commands.md` says of every command of bpf(2) what it is here: it is made from the commands themselves.
//! `SKEP_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use skep_isa::Insn;
use skep_isa::uapi::{AttachType, Cmd, MapType, ProgType};
use skep_runtime::Fd;
use skep_runtime::codec::Attr;
use skep_runtime::command::{BatchOp, Command, LinkData, MapCreate, ObjectKind, ProgLoad, TestRun};

/// The first kernel that has a command, newest first.
const SINCE: &[(Cmd, &str)] = &[
    (Cmd::PROG_STREAM_READ_BY_FD, "6.17"),
    (Cmd::TOKEN_CREATE, "6.9"),
    (Cmd::PROG_BIND_MAP, "5.10"),
    (Cmd::LINK_DETACH, "5.9"),
    (Cmd::LINK_GET_FD_BY_ID, "5.8"),
    (Cmd::LINK_CREATE, "5.7"),
    (Cmd::MAP_LOOKUP_BATCH, "5.6"),
    (Cmd::BTF_GET_NEXT_ID, "5.4"),
    (Cmd::MAP_FREEZE, "5.2"),
    (Cmd::MAP_LOOKUP_AND_DELETE_ELEM, "4.20"),
    (Cmd::BTF_LOAD, "4.18"),
    (Cmd::RAW_TRACEPOINT_OPEN, "4.17"),
    (Cmd::PROG_QUERY, "4.15"),
    (Cmd::PROG_GET_NEXT_ID, "4.13"),
    (Cmd::PROG_TEST_RUN, "4.12"),
    (Cmd::PROG_ATTACH, "4.10"),
    (Cmd::OBJ_PIN, "4.4"),
    (Cmd::MAP_CREATE, "3.18"),
];

/// Commands were numbered as they came.
fn since(cmd: Cmd) -> &'static str {
    SINCE.iter().find(|(first, _)| cmd >= *first).map_or("", |(_, since)| since)
}

/// Shows each command once, saying no more than it must.
fn each(show: &mut dyn FnMut(Command<'_>)) {
    let (fd, path) = (Fd(3), Path::new("/sys/fs/bpf/name"));
    let (key, value) = (&[1; 4], &mut [0; 8]);
    let insns = [Insn::default(); 2];
    maps(fd, show);
    for kind in [ObjectKind::Prog, ObjectKind::Map, ObjectKind::Btf, ObjectKind::Link] {
        show(Command::GetNextId { kind, id: 1 });
        show(Command::GetFdById { kind, id: 1 });
    }
    show(Command::MapLookup { map: fd, key, value, flags: 0 });
    show(Command::MapLookupAndDelete { map: fd, key, value, flags: 0 });
    show(Command::MapUpdate { map: fd, key, value, flags: 0 });
    show(Command::MapDelete { map: fd, key });
    show(Command::MapGetNextKey { map: fd, key: Some(key), next: &mut [0; 4] });
    show(Command::ProgLoad(&ProgLoad::new(ProgType::XDP, "", &insns, "GPL")));
    show(Command::ProgTestRun { prog: fd, run: TestRun { data_in: &[0; 14], ..TestRun::default() } });
    show(Command::ProgAttach {
        prog: fd,
        target: fd,
        attach_type: AttachType::SK_SKB_STREAM_PARSER,
        flags: 0,
    });
    show(Command::ProgDetach { prog: None, target: fd, attach_type: AttachType::SK_SKB_STREAM_PARSER });
    show(Command::ProgQuery {
        target: fd,
        attach_type: AttachType::CGROUP_DEVICE,
        flags: 0,
        prog_ids: &mut [0; 2],
        link_ids: &mut [],
    });
    show(Command::ProgBindMap { prog: fd, map: fd });
    show(Command::ProgStreamRead { prog: fd, stream: 1, buffer: value });
    show(Command::ObjPin { fd, path });
    show(Command::ObjGet { path });
    show(Command::ObjGetInfo { fd, info: value, arrays: &mut [] });
    show(Command::RawTracepointOpen { prog: fd, name: None, cookie: 0 });
    show(Command::BtfLoad { data: &[0; 24], token: None });
    show(Command::TaskFdQuery { pid: 1, fd: 3, buffer: value });
    show(Command::LinkCreate {
        prog: fd,
        target: fd,
        attach_type: AttachType::XDP,
        flags: 0,
        data: LinkData::None,
    });
    show(Command::LinkUpdate { link: fd, new_prog: fd, old_prog: None });
    show(Command::LinkDetach { link: fd });
    show(Command::EnableStats);
    show(Command::IterCreate { link: fd });
    show(Command::TokenCreate { bpffs: fd });
}

/// What is done with maps as a whole, and with many elements.
fn maps(map: Fd, show: &mut dyn FnMut(Command<'_>)) {
    let (mut keys, mut values) = ([1; 4], [0; 8]);
    show(Command::MapCreate(&MapCreate::new(MapType::ARRAY, "", 4, 8, 1)));
    show(Command::MapFreeze { map });
    for delete in [false, true] {
        let (keys, values, out_batch) = (&mut keys, &mut values, &mut [0; 4]);
        let op = BatchOp::Lookup { in_batch: None, out_batch, keys, values, count: 1, delete, elem_flags: 0 };
        show(Command::MapBatch { map, op });
    }
    let op = BatchOp::Update { keys: &keys, values: &values, count: 1, elem_flags: 0 };
    show(Command::MapBatch { map, op });
    show(Command::MapBatch { map, op: BatchOp::Delete { keys: &keys, count: 1, elem_flags: 0 } });
}

/// The name of a variant, from how it is written out.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The rows of the table by the kernel's numbers.
fn rows() -> BTreeMap<u32, String> {
    let mut rows = BTreeMap::new();
    each(&mut |mut command| {
        let name = variant(&command);
        let mut attr = Attr::encode(&mut command, None).expect("it can be encoded");
        let (cmd, reply, bytes) = (attr.cmd(), variant(&attr.reply(3)), attr.bytes_mut().len());
        let (c_name, since) = (cmd.c_name().unwrap_or_default(), since(cmd));
        let row = format!("| {} | `{c_name}` | `{name}` | `{reply}` | {bytes} | {since} |", cmd.0);
        assert!(rows.insert(cmd.0, row).is_none(), "{c_name} is shown twice");
    });
    rows
}

fn document() -> String {
    let rows = rows();
    let mut text = format!(
        "# The commands of bpf(2)\n\n\
         `Command` has Linux 6.18's {} commands, and `Runtime::bpf` takes them; `KernelRuntime` passes them on. What a command\n\
         answers beside filling the caller's buffers is a `Reply`. The attribute is as long as its last member that is not zero:\n\
         an old kernel takes what it can serve. The sizes are those of commands that say no more than they must; the kernel\n\
         that first has a command is the last column. Another name for `BPF_PROG_TEST_RUN` is `BPF_PROG_RUN`.\n\n\
         This table is made by a test (`SKEP_BLESS=1 cargo test -p skep-runtime command_table`).\n\n\
         | number | command | `Command` | `Reply` | bytes | since |\n|---:|---|---|---|---:|---|\n",
        rows.len()
    );
    for row in rows.values() {
        let _ = writeln!(text, "{row}");
    }
    text
}

#[test]
fn every_command_has_its_row() {
    let known: Vec<u32> = Cmd::ALL.iter().map(|cmd| cmd.0).collect();
    assert_eq!(rows().into_keys().collect::<Vec<_>>(), known);
    assert_eq!(known, (0..38).collect::<Vec<_>>(), "as many as Linux 6.18 has");
}

#[test]
fn the_table_of_commands_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let text = document();
    if std::env::var_os("SKEP_BLESS").is_some() {
        fs::write(&path, &text).expect("the document can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "`docs/commands.md` is not as the code is: `SKEP_BLESS=1` writes it anew");
}
