//! USDT: probes that a program carries in itself, described by notes.
//!
//! The BPF side (`usdt.bpf.h`) finds the arguments of a place by a specification in map `__bpf_usdt_specs`, whose number it
//! gets as the attach cookie. We write a specification for every distinct argument string, and attach a uprobe to every
//! place. The map is found among those that the program uses.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use skep_binary::Binary;
use skep_binary::usdt::{self, Layout};
use skep_runtime::command::ObjectKind;
use skep_runtime::{AttachOptions, Command, Error, Fd, Result};

use super::uprobe::{self, Place};
use super::{Attachment, event, fd, owned};
use crate::info::{MapInfo, map_ids};
use crate::load;

/// The map of specifications; the kernel keeps 15 bytes of a name.
const SPECS: &str = "__bpf_usdt_spec";

/// Attaches to every place of a probe.
pub(super) fn attach(
    prog: Fd,
    path: &str,
    provider: &str,
    probe: &str,
    options: &AttachOptions,
) -> Result<Attachment> {
    let path = skep_binary::find(path)?;
    let notes = Binary::read(&path)?.notes(provider, probe)?;
    let specs = Specs::of(prog)?;
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut links = Vec::new();
    for note in &notes {
        let number = match numbers.get(&*note.arguments) {
            Some(&number) => number,
            None => match &specs {
                Some(specs) => specs.add(&note.arguments, options.cookie)?,
                None => 0,
            },
        };
        numbers.insert(&note.arguments, number);
        let place = Place { offset: note.offset, semaphore: note.semaphore };
        let event = uprobe::open(&path, place, false, options.process)?;
        links.push(event::attach(prog, event, u64::from(number))?);
    }
    Attachment::of(links, || Error::os(libc::ENOENT, format!("no probe `{provider}:{probe}`")))
}

/// A program's map of specifications.
struct Specs {
    map: OwnedFd,
    info: MapInfo,
    layout: Layout,
}

/// The first number that is free, for each map of specifications by its id. Ids are not used again while Linux runs
/// (2³¹ of them), so the entries of maps that are gone do no harm.
static NEXT: Mutex<Option<HashMap<u32, u32>>> = Mutex::new(None);

impl Specs {
    /// The map, if the program uses it: one that asks for no arguments does not.
    fn of(prog: Fd) -> Result<Option<Self>> {
        for id in map_ids(prog)? {
            let map = owned(load::command(Command::GetFdById { kind: ObjectKind::Map, id })?)?;
            let info = MapInfo::of(fd(&map))?;
            if info.name == SPECS {
                let layout = Layout::of(info.value_size).ok_or_else(|| {
                    Error::unsupported(format!(
                        "`__bpf_usdt_specs` has values of {} bytes, which is no layout of libbpf's",
                        info.value_size
                    ))
                })?;
                return Ok(Some(Self { map, info, layout }));
            }
        }
        Ok(None)
    }

    /// Writes a specification; answers its number.
    fn add(&self, arguments: &str, cookie: u64) -> Result<u32> {
        let value = usdt::specification(arguments, cookie, self.layout)
            .map_err(|e| Error::unsupported(format!("arguments `{arguments}`: {e}")))?;
        let number = self.reserve()?;
        let key = number.to_ne_bytes();
        load::command(Command::MapUpdate { map: fd(&self.map), key: &key, value: &value, flags: 0 })?;
        Ok(number)
    }

    fn reserve(&self) -> Result<u32> {
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.get_or_insert_default().entry(self.info.id).or_default();
        if *next >= self.info.max_entries {
            return Err(Error::os(libc::ENOSPC, "`__bpf_usdt_specs` is full")
                .hint("define a larger `BPF_USDT_MAX_SPEC_CNT`"));
        }
        *next += 1;
        Ok(*next - 1)
    }
}
