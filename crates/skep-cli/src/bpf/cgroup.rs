//! `skep cgroup`: what is attached to control groups.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, ProgInfo};
use skep::runtime::{Command, Fd, Reply, SharedRuntime};
use skep_isa::uapi::AttachType;

use super::failure::{Failure, Outcome};
use super::select;
use super::shell::Shell;
use super::words::{Words, abbreviates};

/// `BPF_F_ALLOW_OVERRIDE`, `BPF_F_ALLOW_MULTI` and `BPF_F_QUERY_EFFECTIVE`.
const ALLOW_OVERRIDE: u32 = 1;
const ALLOW_MULTI: u32 = 2;
const QUERY_EFFECTIVE: u32 = 1;
/// Room for the programs of one hook; the kernel has no more in one (`BPF_CGROUP_MAX_PROGS`).
const PROGRAMS_MAX: usize = 64;

/// Short names of hooks that scripts use, beside those of [`AttachType`].
const SHORT_NAMES: &[(&str, AttachType)] = &[
    ("ingress", AttachType::CGROUP_INET_INGRESS),
    ("egress", AttachType::CGROUP_INET_EGRESS),
    ("sock_create", AttachType::CGROUP_INET_SOCK_CREATE),
    ("sock_release", AttachType::CGROUP_INET_SOCK_RELEASE),
    ("sock_ops", AttachType::CGROUP_SOCK_OPS),
    ("device", AttachType::CGROUP_DEVICE),
    ("bind4", AttachType::CGROUP_INET4_BIND),
    ("bind6", AttachType::CGROUP_INET6_BIND),
    ("connect4", AttachType::CGROUP_INET4_CONNECT),
    ("connect6", AttachType::CGROUP_INET6_CONNECT),
    ("connect_unix", AttachType::CGROUP_UNIX_CONNECT),
    ("post_bind4", AttachType::CGROUP_INET4_POST_BIND),
    ("post_bind6", AttachType::CGROUP_INET6_POST_BIND),
    ("getpeername4", AttachType::CGROUP_INET4_GETPEERNAME),
    ("getpeername6", AttachType::CGROUP_INET6_GETPEERNAME),
    ("getpeername_unix", AttachType::CGROUP_UNIX_GETPEERNAME),
    ("getsockname4", AttachType::CGROUP_INET4_GETSOCKNAME),
    ("getsockname6", AttachType::CGROUP_INET6_GETSOCKNAME),
    ("getsockname_unix", AttachType::CGROUP_UNIX_GETSOCKNAME),
    ("sendmsg4", AttachType::CGROUP_UDP4_SENDMSG),
    ("sendmsg6", AttachType::CGROUP_UDP6_SENDMSG),
    ("sendmsg_unix", AttachType::CGROUP_UNIX_SENDMSG),
    ("recvmsg4", AttachType::CGROUP_UDP4_RECVMSG),
    ("recvmsg6", AttachType::CGROUP_UDP6_RECVMSG),
    ("recvmsg_unix", AttachType::CGROUP_UNIX_RECVMSG),
    ("sysctl", AttachType::CGROUP_SYSCTL),
    ("getsockopt", AttachType::CGROUP_GETSOCKOPT),
    ("setsockopt", AttachType::CGROUP_SETSOCKOPT),
];

/// A program at a hook of a control group.
struct Attached {
    id: u32,
    name: String,
    /// The function that an LSM program of the group stands at: its type's id, the types, its name.
    attach_btf: (u32, u32, String),
    attach_type: AttachType,
    /// `multi`, `override` or nothing; effective programs have none.
    flags: Option<String>,
}

/// `cgroup show CGROUP [effective]`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let path = words.need("the directory of a control group")?;
    let effective = effective(words)?;
    let runtime = shell.runtime()?;
    let attached = attached(&runtime, Path::new(path), effective)?;
    if shell.is_json() {
        shell.json.begin_array();
    } else if !attached.is_empty() {
        header(shell, effective);
    }
    attached.iter().for_each(|one| row(shell, one, ""));
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

/// `cgroup tree [ROOT] [effective]`
pub(crate) fn tree(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let named = words.peek().is_some_and(|word| !abbreviates(word, "effective"));
    let root = if named { words.next().map(PathBuf::from) } else { mount() };
    let root = root.ok_or_else(|| Failure::new("no file system of control groups (version 2) is mounted"))?;
    let effective = effective(words)?;
    if shell.is_json() {
        shell.json.begin_array();
    } else {
        shell.json.text(format_args!("CgroupPath\n"));
        header(shell, effective);
    }
    branch(shell, &root, effective)?;
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

/// `cgroup attach CGROUP TYPE PROG [multi|override]`
pub(crate) fn attach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let cgroup = open(Path::new(words.need("the directory of a control group")?))?;
    let attach_type = attach_type(words)?;
    let prog = select::prog(shell, words)?;
    let mut flags = 0;
    while !words.is_empty() {
        if words.keyword("multi") {
            flags |= ALLOW_MULTI;
        } else if words.keyword("override") {
            flags |= ALLOW_OVERRIDE;
        } else {
            words.end()?;
        }
    }
    let (prog, target) = (prog.handle.fd(), Fd(cgroup.as_raw_fd()));
    shell
        .runtime()?
        .bpf(Command::ProgAttach { prog, target, attach_type, flags })
        .map(drop)
        .map_err(Failure::from)
}

/// `cgroup detach CGROUP TYPE PROG`
pub(crate) fn detach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let cgroup = open(Path::new(words.need("the directory of a control group")?))?;
    let attach_type = attach_type(words)?;
    let prog = select::prog(shell, words)?;
    words.end()?;
    let (prog, target) = (Some(prog.handle.fd()), Fd(cgroup.as_raw_fd()));
    shell.runtime()?.bpf(Command::ProgDetach { prog, target, attach_type }).map(drop).map_err(Failure::from)
}

fn effective(words: &mut Words<'_>) -> Outcome<bool> {
    let effective = words.keyword("effective");
    words.end()?;
    Ok(effective)
}

fn attach_type(words: &mut Words<'_>) -> Outcome<AttachType> {
    let name = words.need("where to attach")?;
    let long = AttachType::from_name(name).filter(|found| is_of_cgroups(*found));
    let short = SHORT_NAMES.iter().find(|(short, _)| short.starts_with(name)).map(|(_, found)| *found);
    long.or(short).ok_or_else(|| {
        let known: Vec<&str> = SHORT_NAMES.iter().map(|(short, _)| *short).collect();
        Failure::new(format!("control groups have no hook `{name}`"))
            .hint(format!("they have {}", known.join(", ")))
    })
}

fn is_of_cgroups(attach_type: AttachType) -> bool {
    SHORT_NAMES.iter().any(|(_, found)| *found == attach_type)
}

fn open(path: &Path) -> Outcome<File> {
    File::open(path).map_err(|e| Failure::file(path.display(), &e))
}

/// Where control groups of version 2 are mounted.
fn mount() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/mounts").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path.replace("\\040", " ")))
    })
}

/// A control group and those in it.
fn branch(shell: &mut Shell, path: &Path, effective: bool) -> Outcome {
    let runtime = shell.runtime()?;
    let attached = attached(&runtime, path, effective)?;
    if !attached.is_empty() {
        if shell.is_json() {
            shell.json.begin_object();
            shell.json.string_field("cgroup", &path.to_string_lossy());
            shell.json.name("programs");
            shell.json.begin_array();
        } else {
            shell.json.text(format_args!("{}\n", path.display()));
        }
        attached.iter().for_each(|one| row(shell, one, "    "));
        if shell.is_json() {
            shell.json.end_array();
            shell.json.end_object();
        }
    }
    let entries = fs::read_dir(path).map_err(|e| Failure::file(path.display(), &e))?;
    let is_group = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for child in entries.flatten().filter(is_group) {
        // A group may go away while the tree is walked.
        match branch(shell, &child.path(), effective) {
            Err(_) if !child.path().exists() => {}
            result => result?,
        }
    }
    Ok(())
}

/// What is attached to one control group, hook by hook.
fn attached(runtime: &SharedRuntime, path: &Path, effective: bool) -> Outcome<Vec<Attached>> {
    let cgroup = open(path)?;
    let mut attached = Vec::new();
    let mut failure = None;
    for &attach_type in AttachType::ALL.iter().filter(|hook| is_of_cgroups(**hook)) {
        match query(runtime, &cgroup, attach_type, effective) {
            Ok((ids, flags)) => {
                for id in ids {
                    let (name, attach_btf) = facts(runtime, id);
                    let flags = (!effective).then(|| flag_word(flags));
                    attached.push(Attached { id, name, attach_btf, attach_type, flags });
                }
            }
            // A kernel without this hook says so; what is no control group refuses all of them.
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    match failure.filter(|_| attached.is_empty()) {
        Some(e) if e.errno() == EBADF => {
            Err(Failure::new(format!("`{}` is no control group", path.display())))
        }
        _ => Ok(attached),
    }
}

fn query(
    runtime: &SharedRuntime,
    cgroup: &File,
    attach_type: AttachType,
    effective: bool,
) -> skep::runtime::Result<(Vec<u32>, u32)> {
    let mut prog_ids = vec![0; PROGRAMS_MAX];
    let command = Command::ProgQuery {
        target: Fd(cgroup.as_raw_fd()),
        attach_type,
        flags: if effective { QUERY_EFFECTIVE } else { 0 },
        prog_ids: &mut prog_ids,
        link_ids: &mut [],
    };
    match runtime.bpf(command)? {
        Reply::Query { count, flags, .. } => {
            prog_ids.truncate(count as usize);
            Ok((prog_ids, flags))
        }
        _ => Ok((Vec::new(), 0)),
    }
}

/// A program's name, and the function of the kernel that it stands at.
fn facts(runtime: &SharedRuntime, id: u32) -> (String, (u32, u32, String)) {
    let Ok(handle) = info::open_id(runtime, ObjectKind::Prog, id) else { return Default::default() };
    let Ok(info) = ProgInfo::of(runtime, handle.fd(), &[]) else { return Default::default() };
    let function = || {
        let btf = select::btf(runtime, info.attach_btf_obj_id).ok()?;
        btf.name(skep::btf::TypeId(info.attach_btf_id)).ok().map(str::to_owned)
    };
    let function = if info.attach_btf_id > 0 { function() } else { None };
    let name = select::FullNames::default().of(runtime, handle.fd(), &info);
    (name, (info.attach_btf_id, info.attach_btf_obj_id, function.unwrap_or_default()))
}

fn flag_word(flags: u32) -> String {
    match flags {
        ALLOW_MULTI => "multi".to_owned(),
        ALLOW_OVERRIDE => "override".to_owned(),
        0 => String::new(),
        other => format!("unknown({other:x})"),
    }
}

fn header(shell: &mut Shell, effective: bool) {
    let flags = if effective { String::new() } else { format!("{:<15} ", "AttachFlags") };
    shell.json.text(format_args!("{:<8} {:<15} {flags}{:<15}\n", "ID", "AttachType", "Name"));
}

fn row(shell: &mut Shell, one: &Attached, indent: &str) {
    let (json, name) = (&mut shell.json, &one.name);
    let attach_type = one.attach_type.to_string();
    if shell.options.json {
        json.begin_object();
        json.unsigned_field("id", one.id);
        json.string_field("attach_type", &attach_type);
        if let Some(flags) = &one.flags {
            json.string_field("attach_flags", flags);
        }
        json.string_field("name", name);
        let (btf_id, btf_obj_id, function) = &one.attach_btf;
        json.string_field("attach_btf_name", function);
        json.unsigned_field("attach_btf_obj_id", *btf_obj_id);
        json.unsigned_field("attach_btf_id", *btf_id);
        json.end_object();
        return;
    }
    let flags = one.flags.as_ref().map(|flags| format!("{flags:<15} ")).unwrap_or_default();
    json.text(format_args!("{indent}{:<8} {attach_type:<15} {flags}{name:<15}\n", one.id));
}

const EBADF: i32 = 9;
