//! `map show` and `map list`.

use skep::runtime::command::ObjectKind;
use skep::runtime::info::{self, MapInfo};
use skep_isa::uapi::{MapType, ProgType};

use super::super::failure::Outcome;
use super::super::holders::{Holders, number};
use super::super::pins::Pins;
use super::super::select::{self, SelectedMap};
use super::super::shell::Shell;
use super::super::words::Words;

/// Lists all maps, or shows those that are meant.
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let listing = Listing {
        pins: Pins::find(shell, ObjectKind::Map)?,
        holders: Holders::find(&shell.runtime()?, ObjectKind::Map),
    };
    if words.is_empty() {
        list(shell, &listing)?;
    } else {
        let selected = select::maps(shell, words)?;
        words.end()?;
        let several = shell.is_json() && selected.len() > 1;
        if several {
            shell.json.begin_array();
        }
        for map in &selected {
            listing.map(shell, map)?;
        }
        if several {
            shell.json.end_array();
        }
    }
    listing.holders.tell_hidden();
    Ok(())
}

fn list(shell: &mut Shell, listing: &Listing) -> Outcome {
    let runtime = shell.runtime()?;
    if shell.is_json() {
        shell.json.begin_array();
    }
    for id in info::ids(&runtime, ObjectKind::Map)? {
        // One that is gone by now is not listed.
        if let Ok(handle) = info::open_id(&runtime, ObjectKind::Map, id) {
            let map = select::adopt_map(&runtime, handle)?;
            listing.map(shell, &map)?;
        }
    }
    if shell.is_json() {
        shell.json.end_array();
    }
    Ok(())
}

/// What is told of maps beside what they say themselves.
struct Listing {
    pins: Pins,
    holders: Holders,
}

impl Listing {
    fn map(&self, shell: &mut Shell, selected: &SelectedMap) -> Outcome {
        let fdinfo = shell.runtime()?.fdinfo(selected.map.fd());
        if shell.is_json() {
            self.json(shell, &selected.info, &fdinfo);
        } else {
            self.text(shell, &selected.info, &fdinfo);
        }
        Ok(())
    }

    fn json(&self, shell: &mut Shell, info: &MapInfo, fdinfo: &str) {
        let json = &mut shell.json;
        json.begin_object();
        header_json(json, info);
        json.unsigned_field("bytes_key", info.key_size);
        json.unsigned_field("bytes_value", info.value_size);
        json.unsigned_field("max_entries", info.max_entries);
        if let Some(memlock) = number(fdinfo, "memlock") {
            json.unsigned_field("bytes_memlock", memlock);
        }
        if let Some((owner, jited)) = owner(info, fdinfo) {
            json.string_field("owner_prog_type", &owner.to_string());
            json.bool_field("owner_jited", jited);
        }
        json.unsigned_field("frozen", number(fdinfo, "frozen").unwrap_or(0));
        if info.btf_id > 0 {
            json.unsigned_field("btf_id", info.btf_id);
        }
        self.pins.write_json(json, info.id);
        self.holders.write_json(json, info.id);
        json.end_object();
    }

    fn text(&self, shell: &mut Shell, info: &MapInfo, fdinfo: &str) {
        let json = &mut shell.json;
        header_text(json, info);
        json.text(format_args!(
            "\tkey {}B  value {}B  max_entries {}",
            info.key_size, info.value_size, info.max_entries
        ));
        if let Some(memlock) = number(fdinfo, "memlock") {
            json.text(format_args!("  memlock {memlock}B"));
        }
        if let Some((owner, jited)) = owner(info, fdinfo) {
            let jited = if jited { "" } else { "not " };
            json.text(format_args!("\n\towner_prog_type {owner}  owner {jited}jited"));
        }
        self.pins.write_text(json, info.id);
        let frozen = number(fdinfo, "frozen").is_some_and(|frozen| frozen > 0);
        match (info.btf_id, frozen) {
            (0, false) => {}
            (0, true) => json.text(format_args!("\n\tfrozen")),
            (id, frozen) => {
                json.text(format_args!("\n\tbtf_id {id}{}", if frozen { "  frozen" } else { "" }));
            }
        }
        self.holders.write_text(json, info.id);
        json.text(format_args!("\n"));
    }
}

/// The members that a dump of several maps begins each with, too.
pub(crate) fn header_json(json: &mut super::super::json::Json, info: &MapInfo) {
    json.unsigned_field("id", info.id);
    json.name("type");
    match info.map_type.name() {
        Some(name) => json.string(name),
        None => json.unsigned(info.map_type.0),
    }
    if !info.name.is_empty() {
        json.string_field("name", &info.name);
    }
    json.unsigned_field("flags", info.map_flags);
}

/// The first line of a map.
pub(crate) fn header_text(json: &mut super::super::json::Json, info: &MapInfo) {
    json.text(format_args!("{}: {}  ", info.id, info.map_type));
    if !info.name.is_empty() {
        json.text(format_args!("name {}  ", info.name));
    }
    json.text(format_args!("flags {:#x}\n", info.map_flags));
}

/// The kind of the programs in a program array, and whether they are compiled.
fn owner(info: &MapInfo, fdinfo: &str) -> Option<(ProgType, bool)> {
    if info.map_type != MapType::PROG_ARRAY {
        return None;
    }
    let owner = u32::try_from(number(fdinfo, "owner_prog_type")?).ok()?;
    Some((ProgType(owner), number(fdinfo, "owner_jited").is_some_and(|jited| jited > 0)))
}
