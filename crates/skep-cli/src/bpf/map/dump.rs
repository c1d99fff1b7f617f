//! `map dump`: all elements, read in batches and written as they come.

use skep::runtime::{ErrorKind, Map};
use skep_isa::uapi::MapType;

use super::super::failure::{ENOENT, Failure, Outcome};
use super::super::select::{self, SelectedMap};
use super::super::shell::Shell;
use super::super::words::Words;
use super::print::Elements;
use super::{Types, holds_maps, show};

/// Dumps the maps that are meant.
pub(crate) fn dump(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if words.len() != 2 {
        return Err(Failure::usage("one map is dumped at a time").hint("`map dump MAP`"));
    }
    let selected = select::maps(shell, words)?;
    let runtime = shell.runtime()?;
    let types = selected.iter().map(|map| Types::of(&runtime, &map.info)).collect::<Outcome<Vec<_>>>()?;
    // What has types is shown in JSON's shape to people, too.
    let is_shaped = shell.is_json() || types.iter().any(Option::is_some);
    let wanted = shell.options.pretty || !shell.is_json();
    let pretty = std::mem::replace(&mut shell.json.pretty, wanted);
    let several = selected.len() > 1;
    if several && is_shaped {
        shell.json.begin_array();
    }
    let result = selected.iter().zip(&types).try_for_each(|(map, types)| {
        let elements = Elements { info: &map.info, types: types.as_ref(), is_json: shell.is_json() };
        match (several, is_shaped) {
            (false, true) => shaped(shell, map, &elements),
            (true, true) => headed(shell, map, &elements),
            (_, false) => listed(shell, map, &elements, several),
        }
    });
    if several && is_shaped {
        shell.json.end_array();
    }
    if is_shaped && !shell.is_json() {
        shell.json.finish_document();
    }
    shell.json.pretty = pretty;
    result.map_err(Failure::aside)
}

/// The elements of one map as an array: those that could be read.
fn shaped(shell: &mut Shell, selected: &SelectedMap, elements: &Elements<'_>) -> Outcome {
    shell.json.begin_array();
    let depth = shell.json.depth();
    let result = all(shell, elements, &selected.map);
    shell.json.close_to(depth);
    shell.json.end_array();
    result.map(drop)
}

/// One of several, with its header.
fn headed(shell: &mut Shell, selected: &SelectedMap, elements: &Elements<'_>) -> Outcome {
    shell.json.begin_object();
    show::header_json(&mut shell.json, &selected.info);
    shell.json.name("elements");
    let result = shaped(shell, selected, elements);
    shell.json.end_object();
    result
}

/// Elements as lines, and how many there are.
fn listed(shell: &mut Shell, selected: &SelectedMap, elements: &Elements<'_>, header: bool) -> Outcome {
    if header {
        show::header_text(&mut shell.json, &selected.info);
    }
    let result = all(shell, elements, &selected.map);
    let count = *result.as_ref().unwrap_or(&0);
    shell.json.text(format_args!("Found {count} element{}\n", if count == 1 { "" } else { "s" }));
    result.map(drop)
}

/// Every element; what cannot be read is told in its place.
fn all(shell: &mut Shell, elements: &Elements<'_>, map: &Map) -> Outcome<usize> {
    let mut count = 0;
    let mut failed = Ok(());
    let mut sink = |key: &[u8], value: &[u8]| {
        if failed.is_ok() {
            failed = elements.write(&mut shell.json, key, value);
            count += 1;
        }
    };
    if has_unreadable_elements(map.map_type()) {
        count = one_by_one(shell, elements, map)?;
    } else {
        map.for_each(&mut sink).map_err(|e| Failure::refused(&e))?;
        failed?;
    }
    Ok(count)
}

/// Maps of descriptors have slots that are empty, or cannot be read at all.
fn has_unreadable_elements(map_type: MapType) -> bool {
    holds_maps(map_type)
        || matches!(
            map_type,
            MapType::PROG_ARRAY
                | MapType::PERF_EVENT_ARRAY
                | MapType::CGROUP_ARRAY
                | MapType::SOCKMAP
                | MapType::SOCKHASH
                | MapType::REUSEPORT_SOCKARRAY
                | MapType::XSKMAP
                | MapType::STACK_TRACE
                | MapType::CGROUP_STORAGE
                | MapType::PERCPU_CGROUP_STORAGE
                | MapType::STRUCT_OPS
                | MapType::DEVMAP
                | MapType::DEVMAP_HASH
                | MapType::CPUMAP
        )
}

fn one_by_one(shell: &mut Shell, elements: &Elements<'_>, map: &Map) -> Outcome<usize> {
    let mut count = 0;
    let mut key = map.next_key(None).map_err(|e| Failure::refused(&e))?;
    while let Some(this) = key {
        match map.lookup(&this) {
            Ok(Some(value)) => {
                elements.write(&mut shell.json, &this, &value)?;
                count += 1;
            }
            Ok(None) if holds_maps(map.map_type()) || map.map_type() == MapType::PROG_ARRAY => {}
            Ok(None) => unreadable(shell, elements, &this, "<no entry>", ENOENT),
            Err(e) if e.kind() == ErrorKind::Full && map.map_type() == MapType::REUSEPORT_SOCKARRAY => {
                unreadable(shell, elements, &this, "<cannot read>", e.errno());
            }
            Err(e) => unreadable(shell, elements, &this, &described(e.errno()), e.errno()),
        }
        key = map.next_key(Some(&this)).map_err(|e| Failure::refused(&e))?;
    }
    Ok(count)
}

/// What the C library says of an errno.
fn described(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// An element without a value that could be read.
fn unreadable(shell: &mut Shell, elements: &Elements<'_>, key: &[u8], text: &str, errno: i32) {
    let json = &mut shell.json;
    if elements.is_json || elements.types.is_some() {
        json.begin_object();
        json.name("key");
        json.hex(key);
        json.name("value");
        json.begin_object();
        json.string_field("error", &described(errno));
        json.end_object();
        json.end_object();
    } else {
        let mut line = Vec::new();
        super::print::unreadable_text(&mut line, key, text);
        json.bytes(&line);
    }
}
