//! An object before it is loaded, with what can be changed then.

use std::sync::Arc;

use skep_obj::{Object, Pinning};
use skep_runtime::SharedRuntime;

use crate::load::Options;
use crate::plain::Plain;
use crate::{Loaded, Result, host, load};

/// What can be said of a program before it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramOptions {
    /// Is it loaded?
    pub autoload: bool,
    /// Where it is attached, as names of sections, instead of where its own says: `uprobe/libc.so.6:malloc`.
    pub attach: Vec<String>,
}

/// What can be said of a map before it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// Is it created?
    pub autocreate: bool,
    /// Elements at most; bytes for ring buffers.
    pub max_entries: u32,
    /// Is it shared with other objects under its name in the BPF file system?
    pub pin_by_name: bool,
}

/// An object that is about to be loaded.
///
/// Programs, maps and variables are known by their numbers in it. A skeleton has the object's bytes and the numbers from
/// the same source, so a number that does not exist is a skeleton that was changed by hand: it is passed over.
#[derive(Clone, Debug)]
pub struct Opened {
    object: Object,
}

impl Opened {
    /// Reads an object from its bytes; `name` is that of its file.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self> {
        Ok(Self { object: Object::read(bytes, name)? })
    }

    /// All of it, for what the options do not have.
    pub fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    /// What the object says of a program.
    pub fn program(&self, number: usize) -> ProgramOptions {
        let autoload = self.object.programs.get(number).is_some_and(|program| program.autoload);
        ProgramOptions { autoload, attach: Vec::new() }
    }

    /// What the object says of a map.
    pub fn map(&self, number: usize) -> MapOptions {
        let of = |map: &skep_obj::MapDef| MapOptions {
            autocreate: map.autocreate,
            max_entries: map.max_entries,
            pin_by_name: map.pinning == Pinning::ByName,
        };
        let none = MapOptions { autocreate: false, max_entries: 0, pin_by_name: false };
        self.object.maps.get(number).map_or(none, of)
    }

    /// The value that a variable begins with.
    pub fn variable<T: Plain>(&self, name: &str) -> T {
        T::read(&self.object.variable_bytes(name).unwrap_or_default())
    }

    /// Takes what was said of a program.
    pub fn set_program(&mut self, number: usize, options: &ProgramOptions) -> Result<()> {
        let Some(program) = self.object.programs.get_mut(number) else { return Ok(()) };
        let sections: Vec<&str> = options.attach.iter().map(String::as_str).collect();
        program.attach_at(&sections)?;
        program.autoload = options.autoload;
        Ok(())
    }

    /// Takes what was said of a map.
    pub fn set_map(&mut self, number: usize, options: &MapOptions) {
        if let Some(map) = self.object.maps.get_mut(number) {
            map.autocreate = options.autocreate;
            map.max_entries = options.max_entries;
            map.pinning = match map.pinning {
                _ if options.pin_by_name => Pinning::ByName,
                Pinning::ByName => Pinning::None,
                other => other,
            };
        }
    }

    /// Takes a value for a variable to begin with.
    pub fn set_variable<T: Plain>(&mut self, name: &str, value: &T) -> Result<()> {
        // Members that no Rust type has, such as padding, keep what the object gives them.
        let mut bytes = self.object.variable_bytes(name)?;
        value.write(&mut bytes);
        Ok(self.object.set_variable_bytes(name, &bytes)?)
    }

    /// Links the object for this machine and loads it.
    pub fn load(&self, runtime: &SharedRuntime, options: &Options) -> Result<Arc<Loaded>> {
        let linked = host::link(&self.object)?;
        load::load_with(runtime, &self.object, linked, options).map(Arc::new)
    }
}
