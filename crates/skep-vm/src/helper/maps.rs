//! Helpers on maps.

use skep_isa::uapi::MapType;

use super::{Call, HelperResult, Stop, argument, errno, status};
use crate::map::{Entry, Map, flags, update};
use crate::{Errno, Reason};

/// Copies a key out and hands it on.
#[inline]
fn with_key<T>(call: &mut Call<'_, '_>, map: &Map, f: impl FnOnce(&[u8]) -> T) -> Result<T, Reason> {
    let (addr, len) = (call.args[1], map.spec().key_size as usize);
    if len > 8 {
        return call.machine.with_bytes(addr, len, |_, key| f(key));
    }
    let mut word = [0; 8];
    call.machine.read(addr, &mut word[..len])?;
    Ok(f(&word[..len]))
}

/// The processor whose value is meant: only per-CPU maps need to ask.
fn cpu_of(call: &mut Call<'_, '_>, map: &Map) -> u32 {
    if map.spec().is_percpu() { call.machine.cpu() } else { 0 }
}

pub(super) fn lookup(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    if map.holds_maps() {
        return lookup_inner(call, &map);
    }
    let cpu = cpu_of(call, &map);
    Ok(with_key(call, &map, |key| map.value_addr(key, cpu))?.unwrap_or(0))
}

/// An inner map stays known to the run, and its values reachable, even when it is replaced meanwhile.
fn lookup_inner(call: &mut Call<'_, '_>, outer: &Map) -> HelperResult {
    let Some(inner) = with_key(call, outer, |key| outer.inner(key))? else { return Ok(0) };
    let handle = inner.handle();
    call.machine.hold_map(inner);
    Ok(handle)
}

pub(super) fn lookup_percpu(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let cpu = call.u32(2);
    if !map.spec().is_percpu() || cpu >= map.spec().cpus {
        return Ok(0);
    }
    Ok(with_key(call, &map, |key| map.value_addr(key, cpu))?.unwrap_or(0))
}

pub(super) fn update_elem(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let cpu = cpu_of(call, &map);
    let [_, key, value, flags, _] = call.args;
    writable(&map)?;
    if flags & update::LOCK != 0 && map.spec().spin_lock_off.is_none() {
        return errno(Errno::EINVAL);
    }
    let (key_size, value_size) = (map.spec().key_size as usize, map.spec().value_size as usize);
    let result = call.machine.with_bytes(value, value_size, |machine, value| {
        machine.with_bytes(key, key_size, |_, key| map.elements().put(key, value, flags, cpu))
    })?;
    status(result?)
}

/// Ends the run when programs may not change the map.
fn writable(map: &Map) -> Result<(), Box<Stop>> {
    if map.spec().map_flags & flags::RDONLY_PROG == 0 {
        return Ok(());
    }
    Err(argument(format!("map `{}` is read-only for programs", map.spec().name)))
}

pub(super) fn delete(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    writable(&map)?;
    status(with_key(call, &map, |key| map.elements().delete(key))?)
}

pub(super) fn push(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let value = call.bytes(1, map.spec().value_size as usize)?;
    status(map.elements().push(&value, call.args[2]))
}

pub(super) fn pop(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let mut value = vec![0; map.spec().value_size as usize];
    call.machine.writable(call.args[1], value.len() as u64)?;
    let result = map.elements().pop(&mut value);
    call.store(1, &value)?;
    status(result)
}

/// Of a bloom filter, the value is what is looked for.
pub(super) fn peek(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let len = map.spec().value_size as usize;
    if map.map_type() == MapType::BLOOM_FILTER {
        let mut value = call.bytes(1, len)?;
        return status(map.elements().peek(&mut value));
    }
    let mut value = vec![0; len];
    call.machine.writable(call.args[1], len as u64)?;
    let result = map.elements().peek(&mut value);
    call.store(1, &value)?;
    status(result)
}

/// Calls a function with map, key, value and a context for each element until it answers something else than 0; answers
/// the number of elements.
pub(super) fn for_each(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let function = call.function(1)?;
    let [handle, _, context, flags, _] = call.args;
    if flags != 0 {
        return errno(Errno::EINVAL);
    }
    let cpu = call.machine.cpu();
    let mut entries = Vec::new();
    let mut elements = 0;
    for part in 0.. {
        call.machine.charge(1)?;
        match map.elements().walk(part, cpu, &mut entries) {
            Some(true) => {}
            Some(false) => break,
            None => return Err(argument(format!("a map of type `{}` cannot be walked", map.map_type()))),
        }
        for entry in entries.drain(..) {
            elements += 1;
            let (key, value) = match entry {
                Entry::Keyed { key, value } => (key, value),
                Entry::Indexed { index, value } => (call.machine.space.lend_index(index), value),
            };
            if call.callback(function, [handle, key, value, context, 0])? != 0 {
                return Ok(elements);
            }
        }
    }
    Ok(elements)
}

/// `bpf_get_local_storage(map, flags)`: the value of the group that the program is attached to.
pub(super) fn local_storage(call: &mut Call<'_, '_>) -> HelperResult {
    let map = call.map(0)?;
    let cpu = call.machine.cpu();
    let storage = map.group_storage().ok_or_else(|| argument("the map is no cgroup storage"))?;
    Ok(storage.addr(if map.spec().is_percpu() { cpu } else { 0 }))
}

/// Makes the element if it is not there (`BPF_LOCAL_STORAGE_GET_F_CREATE`).
const CREATE: u64 = 1;

/// `bpf_*_storage_get(map, owner, value, flags)`: the address of an owner's value, or null.
fn storage_get(call: &mut Call<'_, '_>, map_type: MapType) -> HelperResult {
    let map = call.map(0)?;
    let [_, owner, init, flags, _] = call.args;
    let storage = map.storage(map_type).ok_or_else(|| argument(format!("the map is no {map_type}")))?;
    if flags & !CREATE != 0 || owner == 0 {
        return Ok(0);
    }
    if let Some(addr) = storage.find(owner) {
        return Ok(addr);
    }
    if flags & CREATE == 0 {
        return Ok(0);
    }
    let len = map.spec().value_size as usize;
    let value = if init == 0 { vec![0; len] } else { call.bytes(2, len)? };
    Ok(storage.create(owner, &value).unwrap_or(0))
}

/// `bpf_*_storage_delete(map, owner)`.
fn storage_delete(call: &mut Call<'_, '_>, map_type: MapType) -> HelperResult {
    let map = call.map(0)?;
    let storage = map.storage(map_type).ok_or_else(|| argument(format!("the map is no {map_type}")))?;
    if call.args[1] == 0 {
        return errno(Errno::EINVAL);
    }
    status(storage.remove(call.args[1]))
}

pub(super) fn task_storage_get(call: &mut Call<'_, '_>) -> HelperResult {
    storage_get(call, MapType::TASK_STORAGE)
}

pub(super) fn task_storage_delete(call: &mut Call<'_, '_>) -> HelperResult {
    storage_delete(call, MapType::TASK_STORAGE)
}

pub(super) fn sk_storage_get(call: &mut Call<'_, '_>) -> HelperResult {
    storage_get(call, MapType::SK_STORAGE)
}

pub(super) fn sk_storage_delete(call: &mut Call<'_, '_>) -> HelperResult {
    storage_delete(call, MapType::SK_STORAGE)
}

pub(super) fn inode_storage_get(call: &mut Call<'_, '_>) -> HelperResult {
    storage_get(call, MapType::INODE_STORAGE)
}

pub(super) fn inode_storage_delete(call: &mut Call<'_, '_>) -> HelperResult {
    storage_delete(call, MapType::INODE_STORAGE)
}

pub(super) fn cgrp_storage_get(call: &mut Call<'_, '_>) -> HelperResult {
    storage_get(call, MapType::CGRP_STORAGE)
}

pub(super) fn cgrp_storage_delete(call: &mut Call<'_, '_>) -> HelperResult {
    storage_delete(call, MapType::CGRP_STORAGE)
}
