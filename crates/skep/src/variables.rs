//! Global variables of an object: setting them before it is linked, and finding those that a run has changed.

use std::ops::Range;

use skep_btf::{TypeId, value};
use skep_obj::map::MapKind;
use skep_obj::{Object, Variable};

use crate::results::{self, Holds};
use crate::{Error, Loaded, LoadedMap, Result};

/// Sets a variable to what `text` says, read by the variable's type.
pub fn set(object: &mut Object, name: &str, text: &str) -> Result<()> {
    let variable = object.variable(name)?;
    let bytes = parse(object, variable, text)?;
    object.set_variable_bytes(name, &bytes)?;
    Ok(())
}

fn parse(object: &Object, variable: &Variable, text: &str) -> Result<Vec<u8>> {
    match (variable.type_id, &object.btf) {
        (Some(id), Some(btf)) => value::parse(btf, id, text).map_err(|e| {
            Error::usage(format!("`{}={text}`: {e}", variable.name), "see the variable's type in its source")
        }),
        _ => parse_untyped(variable, text),
    }
}

/// Without types, a number of the variable's size.
fn parse_untyped(variable: &Variable, text: &str) -> Result<Vec<u8>> {
    let refuse = |why: &str| {
        Error::usage(
            format!("`{}={text}`: {why}", variable.name),
            "the object has no types; give a number, decimal or with `0x`",
        )
    };
    let digits = text.trim();
    let number = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse::<i128>(),
    };
    let number = number.map_err(|_| refuse("not a number"))?;
    let bits = variable.size.saturating_mul(8);
    if !matches!(bits, 8 | 16 | 32 | 64) {
        return Err(refuse(&format!("a variable of {} bytes without a type cannot be set", variable.size)));
    }
    let fits = number >= -(1i128 << (bits - 1)) && number < 1i128 << bits;
    if !fits {
        return Err(refuse(&format!("does not fit in {} bytes", variable.size)));
    }
    Ok(number.to_le_bytes()[..variable.size as usize].to_vec())
}

/// The bytes of a variable of a loaded object, as they are now.
pub fn read(loaded: &Loaded, name: &str) -> Result<Vec<u8>> {
    let (variable, map) = place(loaded, name)?;
    let mut value = vec![0; variable.size as usize];
    if let Some(memory) = map.memory() {
        memory.read(variable.offset as usize, &mut value)?;
        return Ok(value);
    }
    let all = map.map.lookup(&0_u32.to_ne_bytes())?.unwrap_or_default();
    let bytes = all.get(variable.offset as usize..).and_then(|rest| rest.get(..value.len()));
    Ok(bytes.unwrap_or(&value).to_vec())
}

/// Gives a variable of a loaded object another value; the bytes are as many as its type has. Without memory that is shared,
/// what programs write to other variables of the section at the same moment may be undone.
pub fn write(loaded: &Loaded, name: &str, bytes: &[u8]) -> Result<()> {
    let (variable, map) = place(loaded, name)?;
    if bytes.len() != variable.size as usize {
        let message = format!("`{name}` has {} bytes, and {} are given", variable.size, bytes.len());
        return Err(Error::usage(message, "see the variable's type in its source"));
    }
    if let Some(memory) = map.memory() {
        return Ok(memory.write(variable.offset as usize, bytes)?);
    }
    let key = 0_u32.to_ne_bytes();
    let mut all = map.map.lookup(&key)?.unwrap_or_default();
    let at = variable.offset as usize;
    if let Some(place) = all.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    Ok(map.map.update(&key, &all, 0)?)
}

/// A variable and the map that it is in.
fn place<'a>(loaded: &'a Loaded, name: &str) -> Result<(&'a Variable, &'a LoadedMap)> {
    let variable = loaded.variables.iter().find(|variable| variable.name == name);
    let found = variable.and_then(|variable| Some((variable, loaded.maps.get(variable.map)?.as_ref()?)));
    found.ok_or_else(|| {
        Error::usage(
            format!("no global variable `{name}`"),
            "variables that are not used are not in the object",
        )
    })
}

/// A variable whose value is another than the object gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its type in the object's BTF.
    pub type_id: Option<TypeId>,
    /// Its bytes now.
    pub value: Vec<u8>,
}

/// The variables that programs have changed since they were loaded.
pub fn changed(loaded: &Loaded) -> Result<Vec<Changed>> {
    let mut changed = Vec::new();
    for (index, map) in loaded.maps.iter().enumerate() {
        let Some(map) = map.as_ref().filter(|map| results::holds(&map.def) == Holds::Variables) else {
            continue;
        };
        let Some(now) = map.map.lookup(&0u32.to_ne_bytes())? else {
            continue;
        };
        let in_map = loaded.variables.iter().filter(|variable| variable.map == index);
        changed.extend(in_map.filter_map(|variable| {
            let range = variable.offset as usize..variable.offset as usize + variable.size as usize;
            let value = now.get(range.clone())?;
            let is_new = value.iter().ne(initial(&map.def.data, range));
            is_new.then(|| Changed {
                name: variable.name.clone(),
                type_id: variable.type_id,
                value: value.to_vec(),
            })
        }));
    }
    Ok(changed)
}

/// The constants that are there for a caller to set, as text: names and values that programs were loaded with. Strings and
/// tables are left out.
pub fn settings(loaded: &Loaded) -> Vec<(String, String)> {
    const NUMBER_BYTES: u32 = 8;
    let of_map =
        |index: usize| loaded.maps.get(index)?.as_ref().filter(|map| map.def.kind == MapKind::Rodata);
    let is_setting = |variable: &&Variable| variable.size <= NUMBER_BYTES && !variable.name.contains('.');
    let variables = loaded.variables.iter().filter(is_setting);
    variables
        .filter_map(|variable| {
            let range = variable.offset as usize..variable.offset as usize + variable.size as usize;
            let bytes: Vec<u8> = initial(&of_map(variable.map)?.def.data, range).copied().collect();
            let value = value::to_text(loaded.btf.as_ref()?, variable.type_id?, &bytes);
            Some((variable.name.clone(), value))
        })
        .collect()
}

/// The bytes that the object gives a range of a section; what lies beyond its contents is zero.
fn initial(data: &[u8], range: Range<usize>) -> impl Iterator<Item = &u8> {
    range.map(|at| data.get(at).unwrap_or(&0))
}
