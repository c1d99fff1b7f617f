//! Maps with keys and values of Rust types.

use std::marker::PhantomData;
use std::sync::Arc;

use skep_runtime::{Command, ErrorKind, Fd};

use super::{Place, Program};
use crate::plain::Plain;
use crate::{Error, Loaded, LoadedMap, Result};

/// What an update wants to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// Anything (`BPF_ANY`).
    #[default]
    Any,
    /// No element of this key (`BPF_NOEXIST`).
    New,
    /// An element of this key (`BPF_EXIST`).
    Existing,
}

impl Update {
    fn flags(self) -> u64 {
        match self {
            Self::Any => 0,
            Self::New => 1,
            Self::Existing => 2,
        }
    }
}

macro_rules! map_type {
    ($(#[$doc:meta])* $name:ident<$($parameter:ident),*>) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<$($parameter),*> {
            place: Place,
            types: PhantomData<fn() -> ($($parameter,)*)>,
        }

        impl<$($parameter),*> $name<$($parameter),*> {
            /// The map of this number in the object.
            pub fn new(loaded: &Arc<Loaded>, number: usize) -> Self {
                Self { place: Place::new(loaded, number), types: PhantomData }
            }

            /// The map, for what is not here: its shape, pins, descriptors.
            pub fn get_map(&self) -> Result<&LoadedMap> {
                self.place.map()
            }
        }
    };
}

map_type! {
    /// A map of one value for a key: hashes, arrays, tries, storages.
    Map<K, V>
}

map_type! {
    /// A map with a value for each processor under a key.
    PerCpuMap<K, V>
}

map_type! {
    /// A queue or a stack.
    Queue<V>
}

map_type! {
    /// A map of maps.
    Maps<K>
}

map_type! {
    /// A map of programs, for tail calls.
    Programs<>
}

map_type! {
    /// A map whose elements user space handles as bytes, if at all.
    OtherMap<>
}

/// Writes a value under a key.
fn update(map: &LoadedMap, key: &impl Plain, value: &[u8], wanted: Update) -> Result<()> {
    Ok(map.map.update(&key.to_bytes(), value, wanted.flags())?)
}

/// Removes a key; was it there?
fn remove(map: &LoadedMap, key: &impl Plain) -> Result<bool> {
    match map.map.delete(&key.to_bytes()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

impl<K: Plain, V: Plain> Map<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.place.map()?.map.lookup(&key.to_bytes())?.map(|value| V::read(&value)))
    }

    /// Writes a value, whether there is one or not.
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        self.update(key, value, Update::Any)
    }

    /// Writes a value, if what is there is as wanted.
    pub fn update(&self, key: &K, value: &V, wanted: Update) -> Result<()> {
        update(self.place.map()?, key, &value.to_bytes(), wanted)
    }

    /// Removes a key; was it there?
    pub fn remove(&self, key: &K) -> Result<bool> {
        remove(self.place.map()?, key)
    }

    /// All elements, read in batches, in the map's order.
    pub fn entries(&self) -> Result<Vec<(K, V)>> {
        let mut all = Vec::new();
        self.place.map()?.map.for_each(&mut |key, value| all.push((K::read(key), V::read(value))))?;
        Ok(all)
    }
}

impl<K: Plain, V: Plain> PerCpuMap<K, V> {
    /// The values of a key, one for each possible processor.
    pub fn get(&self, key: &K) -> Result<Option<Vec<V>>> {
        Ok(self.place.map()?.map.lookup(&key.to_bytes())?.map(|value| Self::slots(&value)))
    }

    /// Writes a value for each processor; processors beyond the end of `values` get zero.
    pub fn insert(&self, key: &K, values: &[V]) -> Result<()> {
        let map = self.place.map()?;
        let mut bytes = vec![0; map.map.value_stride()];
        let slots = bytes.chunks_mut(Self::slot_bytes());
        slots.zip(values).for_each(|(slot, value)| value.write(slot));
        update(map, key, &bytes, Update::Any)
    }

    /// Removes a key; was it there?
    pub fn remove(&self, key: &K) -> Result<bool> {
        remove(self.place.map()?, key)
    }

    /// All elements, read in batches, in the map's order.
    pub fn entries(&self) -> Result<Vec<(K, Vec<V>)>> {
        let mut all = Vec::new();
        let map = &self.place.map()?.map;
        map.for_each(&mut |key, value| all.push((K::read(key), Self::slots(value))))?;
        Ok(all)
    }

    fn slots(value: &[u8]) -> Vec<V> {
        value.chunks(Self::slot_bytes()).map(V::read).collect()
    }

    /// Linux rounds each processor's value up to eight bytes.
    fn slot_bytes() -> usize {
        V::BYTES.next_multiple_of(8).max(8)
    }
}

impl<V: Plain> Queue<V> {
    /// Adds a value.
    pub fn push(&self, value: &V) -> Result<()> {
        Ok(self.place.map()?.map.update(&[], &value.to_bytes(), 0)?)
    }

    /// The value that comes next, without taking it.
    pub fn peek(&self) -> Result<Option<V>> {
        Ok(self.place.map()?.map.lookup(&[])?.map(|value| V::read(&value)))
    }

    /// Takes the value that comes next.
    pub fn pop(&self) -> Result<Option<V>> {
        let map = &self.place.map()?.map;
        let mut value = vec![0; map.value_stride()];
        let take = Command::MapLookupAndDelete { map: map.fd(), key: &[], value: &mut value, flags: 0 };
        match map.handle().runtime().bpf(take) {
            Ok(_) => Ok(Some(V::read(&value))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// What can be put into a map of maps.
pub trait Inner {
    /// Its descriptor.
    fn descriptor(&self) -> Result<Fd>;
}

impl Inner for skep_runtime::Map {
    fn descriptor(&self) -> Result<Fd> {
        Ok(self.fd())
    }
}

impl<K, V> Inner for Map<K, V> {
    fn descriptor(&self) -> Result<Fd> {
        Ok(self.place.map()?.map.fd())
    }
}

impl<K, V> Inner for PerCpuMap<K, V> {
    fn descriptor(&self) -> Result<Fd> {
        Ok(self.place.map()?.map.fd())
    }
}

impl Inner for OtherMap {
    fn descriptor(&self) -> Result<Fd> {
        Ok(self.place.map()?.map.fd())
    }
}

impl<K: Plain> Maps<K> {
    /// Puts a map under a key.
    pub fn insert(&self, key: &K, inner: &impl Inner) -> Result<()> {
        update(self.place.map()?, key, &inner.descriptor()?.0.to_ne_bytes(), Update::Any)
    }

    /// Removes a key; was it there?
    pub fn remove(&self, key: &K) -> Result<bool> {
        remove(self.place.map()?, key)
    }
}

impl Programs {
    /// Puts a program into a slot.
    pub fn insert(&self, slot: u32, program: &Program) -> Result<()> {
        let fd = program.get()?.program.fd();
        update(self.place.map()?, &slot, &fd.0.to_ne_bytes(), Update::Any)
    }

    /// Empties a slot; was there a program in it?
    pub fn remove(&self, slot: u32) -> Result<bool> {
        remove(self.place.map()?, &slot)
    }
}

impl OtherMap {
    /// The value of a key, as bytes.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let map = self.place.map()?;
        if key.len() != map.map.key_size() {
            let message =
                format!("a key of `{}` has {} bytes, not {}", map.def.name, map.map.key_size(), key.len());
            return Err(Error::usage(message, "see the map's definition"));
        }
        Ok(map.map.lookup(key)?)
    }
}
