//! `btf show` and `btf list`.

use std::collections::BTreeMap;

use skep::runtime::SharedRuntime;
use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, BtfInfo, MapInfo, ProgInfo};

use super::super::failure::{Failure, Outcome};
use super::super::holders::Holders;
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;

/// Which programs and maps use which types.
#[derive(Default)]
struct Users {
    progs: BTreeMap<u32, Vec<u32>>,
    maps: BTreeMap<u32, Vec<u32>>,
}

impl Users {
    fn find(runtime: &SharedRuntime) -> Outcome<Self> {
        let mut users = Self::default();
        for id in info::ids(runtime, ObjectKind::Prog)? {
            if let Ok(handle) = info::open_id(runtime, ObjectKind::Prog, id) {
                let btf = ProgInfo::of(runtime, handle.fd(), &[])?.btf_id;
                users.progs.entry(btf).or_default().push(id);
            }
        }
        for id in info::ids(runtime, ObjectKind::Map)? {
            if let Ok(handle) = info::open_id(runtime, ObjectKind::Map, id) {
                let btf = MapInfo::of(runtime, handle.fd())?.btf_id;
                users.maps.entry(btf).or_default().push(id);
            }
        }
        Ok(users)
    }
}

/// Lists the types objects, or shows one.
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let runtime = shell.runtime()?;
    let is_list = words.is_empty();
    let handles = if is_list {
        let ids = info::ids(&runtime, ObjectKind::Btf)?;
        ids.into_iter().filter_map(|id| info::open_id(&runtime, ObjectKind::Btf, id).ok()).collect()
    } else if words.keyword("id") {
        let id = words.number("the id")?;
        let handle = info::open_id(&runtime, ObjectKind::Btf, id);
        vec![handle.map_err(|e| Failure::from(&e).context(format_args!("BTF object with id `{id}`")))?]
    } else {
        return Err(Failure::new("say which types").hint("`id ID`"));
    };
    words.end()?;
    let users = Users::find(&runtime)?;
    let holders = Holders::find(&shell.runtime()?, ObjectKind::Btf);
    if is_list && shell.is_json() {
        shell.json.begin_array();
    }
    for handle in handles {
        let info = BtfInfo::of(&runtime, handle.fd())?;
        if shell.is_json() {
            write_json(shell, &info, &users, &holders);
        } else {
            write_text(shell, &info, &users, &holders);
        }
    }
    if is_list && shell.is_json() {
        shell.json.end_array();
    }
    holders.tell_hidden();
    Ok(())
}

fn write_json(shell: &mut Shell, info: &BtfInfo, users: &Users, holders: &Holders) {
    let json = &mut shell.json;
    let of = |map: &BTreeMap<u32, Vec<u32>>| map.get(&info.id).cloned().unwrap_or_default();
    json.begin_object();
    json.unsigned_field("id", info.id);
    json.unsigned_field("size", info.bytes);
    json.array_field("prog_ids", of(&users.progs));
    json.array_field("map_ids", of(&users.maps));
    json.bool_field("kernel", info.kernel);
    if !info.name.is_empty() {
        json.string_field("name", &info.name);
    }
    holders.write_json(json, info.id);
    json.end_object();
}

fn write_text(shell: &mut Shell, info: &BtfInfo, users: &Users, holders: &Holders) {
    let json = &mut shell.json;
    let name = match (info.kernel, info.name.as_str()) {
        (true, name) => format!("[{name}]"),
        (false, "") => "<anon>".to_owned(),
        (false, name) => name.to_owned(),
    };
    json.text(format_args!("{}: name {name}  size {}B", info.id, info.bytes));
    for (what, map) in [("prog_ids", &users.progs), ("map_ids", &users.maps)] {
        if let Some(ids) = map.get(&info.id) {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            json.text(format_args!("  {what} {}", ids.join(",")));
        }
    }
    holders.write_text(json, info.id);
    json.text(format_args!("\n"));
}

/// The types with that id; for messages the failure has the errno's status.
pub(crate) fn open(shell: &mut Shell, id: u32) -> Outcome<skep::btf::Btf> {
    let runtime = shell.runtime()?;
    let handle = info::open_id(&runtime, ObjectKind::Btf, id);
    drop(handle.map_err(|e| Failure::refused(&e).context(format_args!("BTF object with id `{id}`")))?);
    select::btf(&runtime, id)
}
