//! `skep link`: what holds programs to their hooks.

use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, ProgInfo};
use skep::runtime::link_info::{LinkDetail, LinkInfo, PerfDetail};
use skep::runtime::{Command, ErrorKind, Handle, SharedRuntime};
use skep_isa::uapi::{AttachType, LinkType, ProgType};

use super::failure::{EINVAL, Failure, Outcome};
use super::holders::Holders;
use super::pins::{self, Pins};
use super::select;
use super::shell::Shell;
use super::words::Words;

/// `link show [LINK]`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let pins = Pins::find(shell, ObjectKind::Link)?;
    let holders = Holders::find(&shell.runtime()?, ObjectKind::Link);
    let runtime = shell.runtime()?;
    let is_list = words.is_empty();
    if words.len() > 2 {
        return Err(Failure::new("one link is shown, or all").hint("`id ID`, or `pinned FILE`"));
    }
    let links = if is_list {
        let ids = info::ids(&runtime, ObjectKind::Link)?;
        ids.into_iter().filter_map(|id| info::open_id(&runtime, ObjectKind::Link, id).ok()).collect()
    } else {
        vec![select_link(&runtime, words)?]
    };
    words.end()?;
    if is_list && shell.is_json() {
        shell.json.begin_array();
    }
    for link in links {
        let info = LinkInfo::of(&runtime, link.fd())?;
        let facts = facts(&runtime, &info);
        if shell.is_json() {
            write_json(shell, &info, &facts, &pins, &holders);
        } else {
            write_text(shell, &info, &facts, &pins, &holders);
        }
    }
    if is_list && shell.is_json() {
        shell.json.end_array();
    }
    holders.tell_hidden();
    Ok(())
}

/// `link pin LINK FILE`
pub(crate) fn pin(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    words.at_least(3, "it is `link pin LINK FILE`").map_err(|e| e.with_errno(EINVAL))?;
    let link = select_link(&shell.runtime()?, words)?;
    let file = words.need("the file to pin to")?;
    words.end()?;
    pins::pin(shell, link.fd(), file)
}

/// `link update LINK PROG [old PROG]`: runs another program from now on; with `old`, only in that one's place.
pub(crate) fn update(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let runtime = shell.runtime()?;
    let link = select_link(&runtime, words)?;
    let new = select::prog(shell, words)?;
    let old = if words.keyword("old") { Some(select::prog(shell, words)?) } else { None };
    words.end()?;
    let old_prog = old.as_ref().map(|old| old.handle.fd());
    runtime
        .bpf(Command::LinkUpdate { link: link.fd(), new_prog: new.handle.fd(), old_prog })
        .map(drop)
        .map_err(|e| {
            let failure = Failure::refused(&e);
            match e.kind() {
                ErrorKind::Invalid if e.advice().is_none() => failure
                    .hint("links of this kind cannot be updated (those to perf events cannot), or the program is of another type"),
                _ => failure,
            }
        })
}

/// `link detach LINK`
pub(crate) fn detach(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let runtime = shell.runtime()?;
    let link = select_link(&runtime, words).map_err(|e| e.with_status(1))?;
    words.end().map_err(|e| e.with_status(1))?;
    runtime
        .bpf(Command::LinkDetach { link: link.fd() })
        .map(drop)
        .map_err(|e| Failure::from(e).with_status(1))
}

fn select_link(runtime: &SharedRuntime, words: &mut Words<'_>) -> Outcome<Handle> {
    if words.keyword("id") {
        let id = words.number("the id")?;
        let link = info::open_id(runtime, ObjectKind::Link, id);
        return link.map_err(|e| Failure::refused(&e).context(format_args!("link with id `{id}`")));
    }
    if words.keyword("pinned") {
        return select::pinned_link(runtime, words.need("the file")?);
    }
    Err(Failure::new("say which link").hint("`id ID`, or `pinned FILE`"))
}

/// What a link says, in the order in which it is shown.
type Facts = Vec<(&'static str, Fact)>;

/// A member of a link.
enum Fact {
    Text(String),
    Number(u64),
    Signed(i64),
    Flag(bool),
    Numbers(Vec<u64>),
}

fn text(text: impl ToString) -> Fact {
    Fact::Text(text.to_string())
}

fn facts(runtime: &SharedRuntime, info: &LinkInfo) -> Facts {
    let attach = |attach_type: &AttachType| ("attach_type", text(attach_type));
    let number = |number: u32| Fact::Number(number.into());
    match &info.detail {
        LinkDetail::RawTracepoint { tp_name, cookie } => {
            with_cookie(vec![("tp_name", text(tp_name))], *cookie)
        }
        LinkDetail::Tracing { attach_type, target_obj_id, target_btf_id, cookie } => {
            let mut facts: Facts = Vec::new();
            facts.extend(prog_type(runtime, info.prog_id).map(|of| ("prog_type", text(of))));
            facts.push(attach(attach_type));
            if *target_obj_id > 0 || *target_btf_id > 0 {
                facts.push(("target_obj_id", number(*target_obj_id)));
                facts.push(("target_btf_id", number(*target_btf_id)));
            }
            with_cookie(facts, *cookie)
        }
        LinkDetail::Cgroup { cgroup_id, attach_type } => {
            vec![("cgroup_id", Fact::Number(*cgroup_id)), attach(attach_type)]
        }
        LinkDetail::Iter { target_name, map_id, cgroup_id, order, tid, pid } => {
            iterator(target_name, *map_id, (*cgroup_id, *order), *tid, *pid)
        }
        LinkDetail::NetNs { netns_ino, attach_type } => {
            vec![("netns_ino", number(*netns_ino)), attach(attach_type)]
        }
        LinkDetail::Xdp { ifindex } => device(*ifindex),
        LinkDetail::Device { ifindex, attach_type } => {
            let mut facts = device(*ifindex);
            facts.push(attach(attach_type));
            facts
        }
        LinkDetail::StructOps { map_id } => vec![("map_id", number(*map_id))],
        LinkDetail::Sockmap { map_id, attach_type } => vec![("map_id", number(*map_id)), attach(attach_type)],
        LinkDetail::Netfilter { pf, hooknum, priority, flags } => vec![
            ("pf", number(*pf)),
            ("hook", number(*hooknum)),
            ("prio", Fact::Signed((*priority).into())),
            ("flags", number(*flags)),
        ],
        LinkDetail::KprobeMulti { addrs, cookies, count, flags, missed } => vec![
            ("retprobe", Fact::Flag(flags & 1 != 0)),
            ("func_cnt", number(*count)),
            ("missed", Fact::Number(*missed)),
            ("addrs", Fact::Numbers(addrs.clone())),
            ("cookies", Fact::Numbers(cookies.clone())),
        ],
        LinkDetail::UprobeMulti { path, offsets, ref_ctr_offsets, cookies, flags, pid } => vec![
            ("retprobe", Fact::Flag(flags & 1 != 0)),
            ("path", text(path)),
            ("func_cnt", Fact::Number(offsets.len() as u64)),
            ("pid", number(*pid)),
            ("offsets", Fact::Numbers(offsets.clone())),
            ("ref_ctr_offsets", Fact::Numbers(ref_ctr_offsets.clone())),
            ("cookies", Fact::Numbers(cookies.clone())),
        ],
        LinkDetail::PerfEvent(detail) => perf(detail),
        _ => Vec::new(),
    }
}

fn with_cookie(mut facts: Facts, cookie: u64) -> Facts {
    if cookie > 0 {
        facts.push(("cookie", Fact::Number(cookie)));
    }
    facts
}

fn iterator(name: &str, map_id: u32, (cgroup_id, order): (u64, u32), tid: u32, pid: u32) -> Facts {
    let mut facts = vec![("target_name", text(name))];
    match name {
        "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap" => {
            facts.push(("map_id", Fact::Number(map_id.into())));
        }
        "cgroup" => {
            facts.push(("cgroup_id", Fact::Number(cgroup_id)));
            facts.push(("order", text(cgroup_order(order))));
        }
        "task" | "task_file" | "task_vma" => {
            facts.extend((tid > 0).then_some(("tid", Fact::Number(tid.into()))));
            facts.extend((pid > 0).then_some(("pid", Fact::Number(pid.into()))));
        }
        _ => {}
    }
    facts
}

/// In which order an iterator goes through groups (`enum bpf_cgroup_iter_order`).
fn cgroup_order(order: u32) -> &'static str {
    const ORDERS: [&str; 5] =
        ["order_unspec", "self_only", "descendants_pre", "descendants_post", "ancestors_up"];
    ORDERS.get(order as usize).unwrap_or(&"unknown")
}

fn perf(detail: &PerfDetail) -> Facts {
    match detail {
        PerfDetail::Tracepoint { tp_name, cookie } => {
            vec![("tracepoint", text(tp_name)), ("cookie", Fact::Number(*cookie))]
        }
        PerfDetail::Kprobe { func_name, offset, addr, missed, cookie, is_return } => vec![
            ("retprobe", Fact::Flag(*is_return)),
            ("addr", Fact::Number(*addr)),
            ("func", text(func_name)),
            ("offset", Fact::Number((*offset).into())),
            ("missed", Fact::Number(*missed)),
            ("cookie", Fact::Number(*cookie)),
        ],
        PerfDetail::Uprobe { file_name, offset, cookie, is_return } => vec![
            ("retprobe", Fact::Flag(*is_return)),
            ("file", text(file_name)),
            ("offset", Fact::Number((*offset).into())),
            ("cookie", Fact::Number(*cookie)),
        ],
        PerfDetail::Event { kind, config, cookie } => vec![
            ("event_type", Fact::Number((*kind).into())),
            ("event_config", Fact::Number(*config)),
            ("cookie", Fact::Number(*cookie)),
        ],
        PerfDetail::Unknown => Vec::new(),
    }
}

fn device(ifindex: u32) -> Facts {
    let mut facts = Facts::new();
    facts.extend(super::net::device_name(ifindex).map(|name| ("devname", text(name))));
    facts.push(("ifindex", Fact::Number(ifindex.into())));
    facts
}

fn prog_type(runtime: &SharedRuntime, id: u32) -> Option<ProgType> {
    let handle = info::open_id(runtime, ObjectKind::Prog, id).ok()?;
    ProgInfo::of(runtime, handle.fd(), &[]).ok().map(|info| info.prog_type)
}

fn write_json(shell: &mut Shell, info: &LinkInfo, facts: &Facts, pins: &Pins, holders: &Holders) {
    let json = &mut shell.json;
    json.begin_object();
    json.unsigned_field("id", info.id);
    json.name("type");
    match info.link_type.name() {
        Some(name) => json.string(name),
        None => json.unsigned(info.link_type.0),
    }
    if info.link_type != LinkType::STRUCT_OPS {
        json.unsigned_field("prog_id", info.prog_id);
    }
    for (name, fact) in facts {
        match fact {
            Fact::Text(text) => json.string_field(name, text),
            Fact::Number(number) => json.unsigned_field(name, *number),
            Fact::Signed(number) => {
                json.name(name);
                json.signed(*number);
            }
            Fact::Flag(flag) => json.bool_field(name, *flag),
            Fact::Numbers(numbers) => json.array_field(name, numbers.iter().copied()),
        }
    }
    pins.write_json(json, info.id);
    holders.write_json(json, info.id);
    json.end_object();
}

fn write_text(shell: &mut Shell, info: &LinkInfo, facts: &Facts, pins: &Pins, holders: &Holders) {
    let json = &mut shell.json;
    json.text(format_args!("{}: {}  ", info.id, info.link_type));
    if info.link_type != LinkType::STRUCT_OPS {
        json.text(format_args!("prog {}  ", info.prog_id));
    }
    let words: Vec<String> = facts.iter().map(|(name, fact)| fact_text(name, fact)).collect();
    if !words.is_empty() {
        let gap = if info.link_type == LinkType::ITER { "" } else { "\n\t" };
        json.text(format_args!("{gap}{}  ", words.join("  ")));
    }
    pins.write_text(json, info.id);
    holders.write_text(json, info.id);
    json.text(format_args!("\n"));
}

fn fact_text(name: &str, fact: &Fact) -> String {
    match fact {
        Fact::Text(text) if name == "tp_name" => format!("tp '{text}'"),
        Fact::Text(text) => format!("{name} {text}"),
        Fact::Number(number) => format!("{name} {number}"),
        Fact::Signed(number) => format!("{name} {number}"),
        Fact::Flag(flag) => format!("{name} {flag}"),
        Fact::Numbers(numbers) => {
            format!(
                "{name} {}",
                numbers.iter().map(|number| format!("{number:#x}")).collect::<Vec<_>>().join(",")
            )
        }
    }
}
