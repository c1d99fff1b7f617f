//! Keys and values on the command line: bytes, other objects, or text by the map's types.

use skep::btf::{TypeId, value};
use skep::runtime::Handle;
use skep::runtime::info::MapInfo;
use skep_isa::uapi::MapType;

use super::super::failure::{Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::{Words, number};
use super::{Types, holds_maps, is_per_cpu};

/// What an update or a look-up is given.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2.
    pub(crate) flags: u64,
    /// Keeps the object that a value names until it is in the map.
    _object: Option<Handle>,
}

/// Reads `[key DATA] [value VALUE] [any|exist|noexist]` to the end, in any order.
pub(crate) fn parse(shell: &mut Shell, words: &mut Words<'_>, info: &MapInfo) -> Outcome<Said> {
    let mut said = Said::default();
    let mut flags = None;
    while !words.is_empty() {
        if words.keyword("key") {
            twice(said.key.is_some(), "key")?;
            said.key = Some(data(shell, words, info, Part::Key)?);
        } else if words.keyword("value") {
            twice(said.value.is_some(), "value")?;
            let (bytes, object) = value(shell, words, info)?;
            said.value = Some(bytes);
            said._object = object;
        } else {
            twice(flags.is_some(), "flags")?;
            flags = Some(update_flags(words)?);
        }
    }
    said.flags = flags.unwrap_or(0);
    Ok(said)
}

fn twice(is_there: bool, what: &str) -> Outcome {
    if is_there { Err(Failure::new(format!("`{what}` is given twice"))) } else { Ok(()) }
}

fn update_flags(words: &mut Words<'_>) -> Outcome<u64> {
    for (name, flags) in [("any", 0), ("noexist", 1), ("exist", 2)] {
        if words.keyword(name) {
            return Ok(flags);
        }
    }
    let word = words.next().unwrap_or_default();
    Err(Failure::new(format!("`{word}` is neither `key` nor `value`"))
        .hint("behind the bytes come `any`, `exist` or `noexist`; are there more bytes than the map's?"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    fn bytes(self, info: &MapInfo) -> usize {
        match self {
            Self::Key => info.key_size as usize,
            Self::Value => info.value_size as usize,
        }
    }
}

/// A value: bytes, or the object that a map of maps or programs is to hold.
fn value(shell: &mut Shell, words: &mut Words<'_>, info: &MapInfo) -> Outcome<(Vec<u8>, Option<Handle>)> {
    if holds_maps(info.map_type) {
        let id = select::map(shell, words)?.info.id;
        let handle = select::open_id(&shell.runtime()?, skep::runtime::command::ObjectKind::Map, id)?;
        return Ok((handle.fd().0.to_ne_bytes().to_vec(), Some(handle)));
    }
    if info.map_type == MapType::PROG_ARRAY {
        let handle = select::prog(shell, words)?.handle;
        return Ok((handle.fd().0.to_ne_bytes().to_vec(), Some(handle)));
    }
    let bytes = data(shell, words, info, Part::Value)?;
    if !is_per_cpu(info.map_type) {
        return Ok((bytes, None));
    }
    // One value is given, and every processor gets it.
    let mut slot = bytes;
    slot.resize(slot.len().next_multiple_of(8), 0);
    Ok((slot.repeat(skep::host::possible_cpus()), None))
}

/// `[hex] BYTE …`, as many as the map wants, or `typed VALUE`.
fn data(shell: &mut Shell, words: &mut Words<'_>, info: &MapInfo, part: Part) -> Outcome<Vec<u8>> {
    if words.peek() == Some("typed") {
        words.next();
        return typed(shell, words, info, part);
    }
    let is_hex = words.keyword("hex");
    let wanted = part.bytes(info);
    let mut bytes = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let Some(word) = words.next() else {
            return Err(Failure::new(format!("the {} has {wanted} bytes, not {}", part.name(), bytes.len())));
        };
        let byte =
            if is_hex { u64::from_str_radix(word.trim_start_matches("0x"), 16).ok() } else { number(word) };
        let byte = byte.and_then(|byte| u8::try_from(byte).ok());
        bytes.push(byte.ok_or_else(|| {
            Failure::new(format!("`{word}` is not a byte")).hint(format!(
                "the {} of this map has {wanted} bytes; `hex` before them makes them hexadecimal",
                part.name()
            ))
        })?);
    }
    Ok(bytes)
}

/// Text as C would initialise the type, in one word.
fn typed(shell: &mut Shell, words: &mut Words<'_>, info: &MapInfo, part: Part) -> Outcome<Vec<u8>> {
    let text = words.need("the value behind `typed`")?;
    let types = Types::of(&shell.runtime()?, info)?;
    let untyped = || Failure::new(format!("the map says no type of its {}s", part.name())).hint("give bytes");
    let types = types.ok_or_else(untyped)?;
    let id = if part == Part::Key { types.key } else { types.value };
    if id == TypeId::VOID {
        return Err(untyped());
    }
    let bytes = value::parse(&types.btf, id, text)
        .map_err(|e| Failure::new(format!("the {} `{text}`: {e}", part.name())))?;
    match bytes.len() == part.bytes(info) {
        true => Ok(bytes),
        false => Err(Failure::new(format!("the type of the {} does not fit the map", part.name()))),
    }
}
