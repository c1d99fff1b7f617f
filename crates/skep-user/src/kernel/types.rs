//! Where the kernel's structures keep their members, by BTF.

use std::collections::HashMap;
use std::sync::Arc;

use skep_btf::{Btf, Kind, Shape, TypeId, cdecl};

/// Where a member lies in its structure, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

/// The kernel's types, with a memory of what was asked.
#[derive(Debug)]
pub(crate) struct Types {
    btf: Arc<Btf>,
    structs: HashMap<&'static str, Option<(TypeId, usize)>>,
    places: HashMap<(&'static str, &'static str), Option<Place>>,
}

impl Types {
    /// The types of a kernel.
    pub(crate) fn new(btf: Arc<Btf>) -> Self {
        Self { btf, structs: HashMap::new(), places: HashMap::new() }
    }

    /// The types themselves.
    pub(crate) fn btf(&self) -> Arc<Btf> {
        Arc::clone(&self.btf)
    }

    /// Bytes of a structure; `None` when this kernel has none of that name.
    pub(crate) fn size(&mut self, name: &'static str) -> Option<usize> {
        self.structure(name).map(|(_, bytes)| bytes)
    }

    fn structure(&mut self, name: &'static str) -> Option<(TypeId, usize)> {
        let btf = &self.btf;
        *self.structs.entry(name).or_insert_with(|| {
            let id = btf.find(name, Kind::Struct)?;
            Some((id, usize::try_from(btf.size_of(id).ok()?).ok()?))
        })
    }

    /// Where `path` (`ns.inum`, `signal`) lies in a structure; members of anonymous structures count as its own.
    pub(crate) fn place(&mut self, name: &'static str, path: &'static str) -> Option<Place> {
        if let Some(&known) = self.places.get(&(name, path)) {
            return known;
        }
        let place = self.structure(name).and_then(|(id, _)| place(&self.btf, id, path));
        self.places.insert((name, path), place);
        place
    }
}

/// Follows a path through members.
pub(crate) fn place(btf: &Btf, id: TypeId, path: &str) -> Option<Place> {
    let mut at = Place { offset: 0, bytes: 0 };
    let mut ty = id;
    for name in path.split('.') {
        let (member, offset) = member(btf, ty, name)?;
        at.offset += offset;
        ty = member;
    }
    at.bytes = usize::try_from(btf.size_of(ty).ok()?).ok()?;
    Some(at)
}

/// Type and byte offset of a member; bit fields have none.
fn member(btf: &Btf, id: TypeId, name: &str) -> Option<(TypeId, usize)> {
    let (Shape::Struct(composite) | Shape::Union(composite)) = btf.resolve(id).ok()?.shape else {
        return None;
    };
    composite.members.iter().flatten().find_map(|m| {
        let offset = (m.bit_offset / 8) as usize;
        if m.name == name && m.bitfield_bits == 0 {
            Some((m.ty, offset))
        } else if m.name.is_empty() {
            member(btf, m.ty, name).map(|(ty, inner)| (ty, offset + inner))
        } else {
            None
        }
    })
}

/// The structures that tracing programs need most, as C.
const BUNDLED: &str = include_str!("minimal.h");

/// Types that stand for those of a kernel that shows none. Synthetic kernel memory is laid out by them, so objects have to
/// be linked against them as well.
pub fn bundled() -> Arc<Btf> {
    let declarations = cdecl::parse(BUNDLED).expect("invariant: the bundled declarations can be read");
    Arc::new(declarations.btf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_types_have_what_programs_ask_for() {
        let mut types = Types::new(bundled());
        for (name, path) in [
            ("task_struct", "real_parent"),
            ("task_struct", "comm"),
            ("task_struct", "start_time"),
            ("nsproxy", "mnt_ns"),
            ("mnt_namespace", "ns.inum"),
            ("cred", "uid.val"),
            ("pt_regs", "orig_ax"),
            ("trace_event_raw_sched_process_exit", "group_dead"),
        ] {
            assert!(types.place(name, path).is_some(), "`{name}.{path}`");
        }
        assert_eq!(types.size("pt_regs"), Some(21 * 8));
        assert_eq!(types.place("task_struct", "no_such_member"), None);
    }
}
