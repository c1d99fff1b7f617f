//! Types by name, for those who ask often.
//!
//! One question is answered quickest by a search ([`NameOffsets`](crate::strings::NameOffsets)), which keeps nothing. A
//! table of all names costs a few such searches and answers in well under a microsecond, so it is made when questions
//! do not end. Functions, four of five names of a kernel, have a table of their own.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::record::Record;
use crate::strings::NameOffsets;
use crate::{Btf, Kind, TypeId};

/// The names of a BTF's own types.
#[derive(Default)]
pub(crate) struct Names {
    data: Asked,
    functions: Asked,
}

/// The names of one sort of types, and how often one was asked for before there was a table.
#[derive(Default)]
struct Asked {
    times: AtomicU32,
    table: OnceLock<Table>,
}

/// A hash table with linear probing: types of one name are met in the order of their ids.
struct Table {
    /// Hash of a name without its flavour, and the type's number from 1; 0 where there is none.
    slots: Box<[(u32, u32)]>,
}

/// Types that share a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Functions,
    /// All others.
    Data,
}

impl Sort {
    pub(crate) fn of(kind: Kind) -> Self {
        if kind == Kind::Func { Self::Functions } else { Self::Data }
    }

    /// As many searches cost what the table costs.
    fn worth_a_table(self) -> u32 {
        match self {
            Self::Functions => 8,
            Self::Data => 2,
        }
    }
}

impl Btf {
    /// Makes the table for look-ups of data types by name now, rather than at the third of them: about a millisecond
    /// for a kernel's types.
    pub fn index_names(&self) {
        if let Some(base) = self.base() {
            base.index_names();
        }
        self.names.data.table.get_or_init(|| Table::of(self, Sort::Data));
    }

    /// Shows own types of a sort that have that name, in the order of their ids.
    pub(crate) fn named<B>(
        &self,
        name: &str,
        sort: Sort,
        visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        let Some(table) = self.names.table(self, sort) else {
            return self.scan_own(&NameOffsets::of(self, name), visit);
        };
        let is_it = |found: &[u8]| found == name.as_bytes();
        table.show(self, essential(name.as_bytes()), is_it, visit)
    }

    /// Shows own types, but no functions, that have that name when what comes after the last `___` is left off.
    pub(crate) fn flavours<B>(
        &self,
        name: &str,
        visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        let is_it = |found: &[u8]| essential(found) == name.as_bytes();
        if let Some(table) = self.names.table(self, Sort::Data) {
            return table.show(self, name.as_bytes(), is_it, visit);
        }
        self.scan_own(&NameOffsets::with_flavours(self, name), &mut |id, record| {
            let is_it = self.string_bytes(record.name_off).is_ok_and(is_it);
            if is_it { visit(id, record) } else { ControlFlow::Continue(()) }
        })
    }
}

impl Names {
    /// The table, if this is not one of the first questions.
    fn table(&self, btf: &Btf, sort: Sort) -> Option<&Table> {
        let asked = match sort {
            Sort::Functions => &self.functions,
            Sort::Data => &self.data,
        };
        if let Some(table) = asked.table.get() {
            return Some(table);
        }
        let before = asked.times.fetch_add(1, Ordering::Relaxed);
        (before >= sort.worth_a_table()).then(|| asked.table.get_or_init(|| Table::of(btf, sort)))
    }
}

impl Table {
    fn of(btf: &Btf, sort: Sort) -> Self {
        let mut named = Vec::new();
        let first = btf.first_id().0;
        btf.walk_own::<()>(&mut |id, record| {
            if record.name_off != 0 && Sort::of(Kind::from_code(record.kind_code())) == sort {
                let name = btf.string_bytes(record.name_off).unwrap_or_default();
                named.push((hash(essential(name)), id.0 - first + 1));
            }
            ControlFlow::Continue(())
        });
        let mut slots = vec![(0, 0); (2 * named.len()).next_power_of_two()].into_boxed_slice();
        let mask = slots.len() - 1;
        for entry in named {
            let mut at = entry.0 as usize & mask;
            while slots[at].1 != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = entry;
        }
        Self { slots }
    }

    /// Shows the types under a name without flavour whose whole names are wanted.
    fn show<B>(
        &self,
        btf: &Btf,
        key: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
        visit: &mut impl FnMut(TypeId, Record) -> ControlFlow<B>,
    ) -> Option<B> {
        if key.is_empty() {
            return None;
        }
        let (hash, mask) = (hash(key), self.slots.len() - 1);
        let mut at = hash as usize & mask;
        while self.slots[at].1 != 0 {
            let (found, number) = self.slots[at];
            at = (at + 1) & mask;
            if found != hash {
                continue;
            }
            let Some(record) = btf.own_record(number as usize - 1) else { continue };
            if !btf.string_bytes(record.name_off).is_ok_and(&wanted) {
                continue;
            }
            if let ControlFlow::Break(value) = visit(TypeId(btf.first_id().0 + number - 1), record) {
                return Some(value);
            }
        }
        None
    }
}

/// A name without its flavour: `task_struct` for `task_struct___old`.
///
/// What follows the last `___` between other characters is a flavour: it tells apart several local versions of a type.
pub fn essential_name(name: &str) -> &str {
    std::str::from_utf8(essential(name.as_bytes())).unwrap_or(name)
}

/// The same of bytes. Nearly all names have no flavour, which one look at each byte tells.
pub(crate) fn essential(name: &[u8]) -> &[u8] {
    let mut run = 0;
    let flavoured = name.iter().any(|&byte| {
        run = if byte == b'_' { run + 1 } else { 0 };
        run == 3
    });
    if !flavoured {
        return name;
    }
    let is_separator = |window: &[u8]| window[0] != b'_' && &window[1..4] == b"___" && window[4] != b'_';
    match name.windows(5).rposition(is_separator) {
        Some(last) => &name[..=last],
        None => name,
    }
}

/// FNV-1a: names are short.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
