//! Global variables: where they are, and their initial values.

use skep_btf::{Linkage, TypeId};

use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::map::MapDef;
use crate::types::{Types, untyped_variables, variables_of};

/// One global variable: some bytes of the value of a data map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Name; that of a variable inside a function begins with the function's.
    pub name: String,
    /// Section, such as `.rodata`.
    pub section: String,
    /// Which of the object's maps holds it.
    pub map: usize,
    /// Where in the map's value it begins.
    pub offset: u32,
    /// Its size.
    pub size: u32,
    /// Its type in the object's BTF, if the object has types.
    pub type_id: Option<TypeId>,
    /// Visible to other objects?
    pub global: bool,
}

/// All variables of all data maps.
pub(crate) fn collect(elf: &Elf<'_>, types: Option<&Types>, maps: &[MapDef]) -> Result<Vec<Variable>> {
    let mut variables = Vec::new();
    for (index, map) in maps.iter().enumerate() {
        let Some((section, _)) = map.place.filter(|_| map.is_data()) else {
            continue;
        };
        let name = &*elf.sections[section].name;
        match types.filter(|_| map.value_type != TypeId::VOID) {
            Some(types) => variables.extend(typed(types, map, index, name).map_err(|e| e.section(name))?),
            None => variables.extend(untyped(elf, section, index, name)),
        }
    }
    Ok(variables)
}

fn typed(types: &Types, map: &MapDef, index: usize, section: &str) -> Result<Vec<Variable>> {
    let mut found = Vec::new();
    for variable in variables_of(&types.btf, map.value_type)? {
        if u64::from(variable.offset) + u64::from(variable.size) > u64::from(map.value_size) {
            return Err(Error::corrupt(format!(
                "{} bytes at offset {} of a section of {}",
                variable.size, variable.offset, map.value_size
            ))
            .symbol(&variable.name));
        }
        found.push(Variable {
            name: variable.name,
            section: section.to_owned(),
            map: index,
            offset: variable.offset,
            size: variable.size,
            type_id: Some(variable.type_id),
            global: variable.linkage != Linkage::Static,
        });
    }
    Ok(found)
}

/// Without types, symbols say where variables are.
fn untyped<'e>(
    elf: &'e Elf<'_>,
    section: usize,
    map: usize,
    name: &str,
) -> impl Iterator<Item = Variable> + use<'e> {
    let (name, size) = (name.to_owned(), elf.sections[section].size);
    let inside = move |value: u64, bytes: u64| value.checked_add(bytes).is_some_and(|end| end <= size);
    untyped_variables(elf, section).filter(move |s| inside(s.value, s.size)).map(move |symbol| Variable {
        name: symbol.name.to_string(),
        section: name.clone(),
        map,
        offset: symbol.value as u32,
        size: symbol.size as u32,
        type_id: None,
        global: symbol.bind != crate::elf::Bind::Local,
    })
}

impl Variable {
    /// Its bytes within a map's value, of which zeroes at the end may be missing.
    pub(crate) fn read(&self, data: &[u8]) -> Vec<u8> {
        let range = self.offset as usize..self.offset as usize + self.size as usize;
        let mut bytes = data.get(range.start..range.end.min(data.len())).unwrap_or_default().to_vec();
        bytes.resize(range.len(), 0);
        bytes
    }

    /// Writes its bytes into a map's value.
    pub(crate) fn write(&self, data: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.size as usize {
            return Err(Error::invalid(format!(
                "{} bytes do not fit a variable of {}",
                bytes.len(),
                self.size
            ))
            .section(&self.section)
            .symbol(&self.name));
        }
        let range = self.offset as usize..self.offset as usize + bytes.len();
        if data.len() < range.end {
            data.resize(range.end, 0);
        }
        data[range].copy_from_slice(bytes);
        Ok(())
    }
}
