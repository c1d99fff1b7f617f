//! `map create FILE …`

use skep::host;
use skep::runtime::Map;
use skep::runtime::command::MapCreate;
use skep_isa::uapi::MapType;

use super::super::failure::{Failure, Outcome};
use super::super::select::SelectedMap;
use super::super::shell::Shell;
use super::super::words::{Words, number};
use super::super::{pins, select};

/// What the words say of the new map.
#[derive(Default)]
struct Wanted<'a> {
    map_type: Option<MapType>,
    key: Option<u32>,
    value: Option<u32>,
    entries: Option<u32>,
    name: Option<&'a str>,
    flags: Option<u32>,
    inner: Option<SelectedMap>,
}

/// Creates a map and pins it.
pub(crate) fn create(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the file to pin the map to")?;
    let mut wanted = Wanted::default();
    while !words.is_empty() {
        attribute(shell, words, &mut wanted)?;
    }
    let name = wanted.name.ok_or_else(|| Failure::new("the map's name is missing").hint("`name NAME`"))?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
        return Err(Failure::new(format!("`{name}` cannot be a map's name"))
            .hint("names have letters, digits, `_` and `.`"));
    }
    let map_type = wanted.map_type.unwrap_or(MapType::UNSPEC);
    let spec = MapCreate {
        map_flags: wanted.flags.unwrap_or(0),
        inner_map: wanted.inner.as_ref().map(|inner| inner.map.fd()),
        ..MapCreate::new(
            map_type,
            name,
            wanted.key.unwrap_or(0),
            wanted.value.unwrap_or(0),
            wanted.entries.unwrap_or(0),
        )
    };
    let map = Map::create(&shell.runtime()?, &spec, host::possible_cpus())?;
    pins::pin(shell, map.fd(), file)
}

fn attribute<'a>(shell: &mut Shell, words: &mut Words<'a>, wanted: &mut Wanted<'a>) -> Outcome {
    if words.keyword("type") {
        let name = words.need("the type")?;
        once(&mut wanted.map_type, map_type(name)?, "type")
    } else if words.keyword("name") {
        once(&mut wanted.name, words.need("the name")?, "name")
    } else if words.keyword("key") {
        once(&mut wanted.key, words.number("the key's bytes")?, "key")
    } else if words.keyword("value") {
        once(&mut wanted.value, words.number("the value's bytes")?, "value")
    } else if words.keyword("entries") {
        once(&mut wanted.entries, words.number("the number of entries")?, "entries")
    } else if words.keyword("flags") {
        once(&mut wanted.flags, words.number("the flags")?, "flags")
    } else if words.keyword("inner_map") {
        let inner = select::map(shell, words)?;
        once(&mut wanted.inner, inner, "inner_map")
    } else if words.keyword("dev") || words.keyword("offload_dev") {
        Err(Failure::new("maps on network devices are not supported").hint("leave `dev` out"))
    } else {
        let word = words.next().unwrap_or_default();
        Err(Failure::new(format!("a new map has no `{word}`"))
            .hint("it has type, key, value, entries, name, flags and inner_map"))
    }
}

/// A type by its name or number.
fn map_type(name: &str) -> Outcome<MapType> {
    let by_number = || number(name).and_then(|number| u32::try_from(number).ok()).map(MapType);
    MapType::from_name(name).or_else(by_number).ok_or_else(|| {
        Failure::new(format!("there is no map type `{name}`")).hint("`skep map help` says where to look")
    })
}

fn once<T>(place: &mut Option<T>, value: T, what: &str) -> Outcome {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!("`{what}` is given twice"))),
    }
}
