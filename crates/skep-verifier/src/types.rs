//! The BTF objects at hand as one space of types, and the walks through structures that memory accesses need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_btf::{Btf, Composite, Kind, Member, Param, Proto, Shape, Type, TypeId};

use crate::input::Target;
use crate::reg::{BtfRef, Flags};

/// Kernel, program and module types. A type id of a split BTF that lies in its base means the base's type.
pub(crate) struct Types {
    objs: Vec<Option<Arc<Btf>>>,
    /// Declaration tags of the program's types: tag, component and text by the type they are on.
    tags: Vec<(u32, Option<u32>, String)>,
    found: Mutex<Found>,
}

/// Kernel types that were looked for, by name: each look-up searches all names.
type Found = HashMap<Box<str>, Vec<(Kind, Option<BtfRef>)>>;

/// Where a byte of a structure leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// To data.
    Scalar,
    /// To a pointer to a structure, with the flags of its tags; the field's name.
    Ptr {
        /// The structure.
        to: BtfRef,
        /// Flags of its tags.
        flags: Flags,
        /// Name of the field.
        field: String,
    },
    /// To a pointer to something else, which can be read with care.
    Other,
    /// To the start of an inner structure.
    Struct(BtfRef),
}

impl Types {
    pub(crate) fn new(target: &Target, program: Option<Arc<Btf>>) -> Self {
        let tags = program.as_deref().map_or_else(Vec::new, decl_tags);
        let mut objs = vec![target.btf.clone(), program];
        objs.extend(target.modules.iter().map(|(_, btf)| Some(Arc::clone(btf))));
        Self { objs, tags, found: Mutex::default() }
    }

    /// One of the BTF objects.
    pub(crate) fn obj(&self, obj: u16) -> Option<&Arc<Btf>> {
        self.objs.get(obj as usize)?.as_ref()
    }

    /// The canonical reference: ids below a split BTF's first are its base's.
    pub(crate) fn canonical(&self, r: BtfRef) -> BtfRef {
        if r.obj < 2 {
            return r;
        }
        match self.obj(r.obj) {
            Some(btf) if TypeId(r.id) < btf.first_id() => BtfRef { obj: BtfRef::KERNEL, id: r.id },
            _ => r,
        }
    }

    pub(crate) fn get(&self, r: BtfRef) -> Option<Type<'_>> {
        self.obj(r.obj)?.type_by_id(TypeId(r.id)).ok()
    }

    pub(crate) fn name(&self, r: BtfRef) -> &str {
        self.get(r).map_or("", |t| t.name)
    }

    /// A kernel type by name, of the kernel itself or a module.
    pub(crate) fn find(&self, name: &str, kind: Kind) -> Option<BtfRef> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, at)) = found.get(name).and_then(|kinds| kinds.iter().find(|(k, _)| *k == kind)) {
            return *at;
        }
        let at = self.search(name, kind);
        found.entry(name.into()).or_default().push((kind, at));
        at
    }

    fn search(&self, name: &str, kind: Kind) -> Option<BtfRef> {
        let in_kernel = self.obj(BtfRef::KERNEL).and_then(|btf| btf.find(name, kind));
        let in_module = |obj: u16| Some(BtfRef { obj, id: self.obj(obj)?.find_own(name, kind)?.0 });
        in_kernel
            .map(|id| BtfRef { obj: BtfRef::KERNEL, id: id.0 })
            .or_else(|| (2..self.objs.len() as u16).find_map(in_module))
    }

    /// A struct of the kernel by name.
    pub(crate) fn kernel_struct(&self, name: &str) -> Option<BtfRef> {
        self.find(name, Kind::Struct)
    }

    /// Strips qualifiers, tags and typedefs.
    pub(crate) fn strip(&self, mut r: BtfRef) -> Option<(BtfRef, Type<'_>)> {
        for _ in 0..64 {
            let t = self.get(r)?;
            let next = match t.shape {
                Shape::Typedef(id) | Shape::Volatile(id) | Shape::Const(id) | Shape::Restrict(id) => id,
                Shape::TypeTag { ty, .. } => ty,
                _ => return Some((r, t)),
            };
            r = self.canonical(BtfRef { obj: r.obj, id: next.0 });
        }
        None
    }

    /// The same type in the same BTF object.
    pub(crate) fn at(&self, r: BtfRef, id: TypeId) -> BtfRef {
        self.canonical(BtfRef { obj: r.obj, id: id.0 })
    }

    /// The type pointed to, if `r` is a pointer after stripping.
    pub(crate) fn pointee(&self, r: BtfRef) -> Option<BtfRef> {
        let (r, t) = self.strip(r)?;
        match t.shape {
            Shape::Ptr(id) => Some(self.at(r, id)),
            _ => None,
        }
    }

    /// Members and size of a structure or union, after stripping.
    pub(crate) fn composite(&self, r: BtfRef) -> Option<(BtfRef, Composite<'_>)> {
        let (r, t) = self.strip(r)?;
        t.composite().map(|c| (r, c))
    }

    /// Signature of a function.
    pub(crate) fn proto(&self, r: BtfRef) -> Option<(BtfRef, Proto<'_>)> {
        // One step: the signature of a function is none, where damaged types say that it is a function again.
        let r = match self.get(r)?.shape {
            Shape::Func { proto, .. } => self.at(r, proto),
            _ => r,
        };
        match self.get(r)?.shape {
            Shape::FuncProto(proto) => Some((r, proto)),
            _ => None,
        }
    }

    /// Parameters of a function.
    pub(crate) fn params(&self, r: BtfRef) -> Vec<(String, BtfRef)> {
        let Some((r, proto)) = self.proto(r) else { return Vec::new() };
        let param = |p: Param<'_>| (p.name.to_owned(), self.at(r, p.ty));
        proto.params.iter().flatten().map(param).collect()
    }

    /// Bytes of a type.
    pub(crate) fn size(&self, r: BtfRef) -> Option<u64> {
        self.obj(r.obj)?.size_of(TypeId(r.id)).ok()
    }

    /// An integer or enumeration, after stripping?
    pub(crate) fn is_scalar(&self, r: BtfRef) -> bool {
        self.strip(r)
            .is_some_and(|(_, t)| matches!(t.shape, Shape::Int(_) | Shape::Enum(_) | Shape::Enum64(_)))
    }

    pub(crate) fn is_struct(&self, r: BtfRef) -> bool {
        self.strip(r).is_some_and(|(_, t)| matches!(t.shape, Shape::Struct(_) | Shape::Union(_)))
    }

    pub(crate) fn is_void(&self, r: BtfRef) -> bool {
        self.strip(r).is_some_and(|(_, t)| matches!(t.shape, Shape::Void))
    }

    /// Tags between a pointer and what it points to.
    pub(crate) fn pointer_tags(&self, r: BtfRef) -> Vec<String> {
        let mut tags = Vec::new();
        let Some(mut at) = self.pointee(r) else { return tags };
        for _ in 0..64 {
            let next = match self.get(at) {
                Some(Type { name, shape: Shape::TypeTag { ty, .. }, .. }) => {
                    tags.push(name.to_owned());
                    ty
                }
                Some(Type {
                    shape: Shape::Const(ty) | Shape::Volatile(ty) | Shape::Restrict(ty), ..
                }) => ty,
                _ => break,
            };
            at = self.at(at, next);
        }
        tags
    }

    /// Declaration tags of a type of the program, of the whole or of one member or parameter.
    pub(crate) fn decl_tags(&self, r: BtfRef, component: Option<u32>) -> impl Iterator<Item = &str> {
        let first = match r.obj {
            BtfRef::PROGRAM => self.tags.partition_point(|(ty, ..)| *ty < r.id),
            _ => self.tags.len(),
        };
        let same_type = self.tags[first..].iter().take_while(move |(ty, ..)| *ty == r.id);
        same_type.filter(move |(_, c, _)| *c == component).map(|(.., text)| text.as_str())
    }

    /// Follows `off` into structure `at` for an access of `size` bytes, the way the kernel walks it.
    ///
    /// # Errors
    ///
    /// The kernel's message where the access is not one of a field.
    pub(crate) fn walk(
        &self,
        at: BtfRef,
        off: i64,
        size: i64,
        flex: bool,
        untrusted: &mut Flags,
    ) -> Result<Walk, String> {
        let (mut at, mut off) = (at, off);
        for _ in 0..64 {
            let Some((strct, t)) = self.strip(at) else { return Err("type is not known".into()) };
            let Some(c) = t.composite() else { return Err(format!("Type '{}' is not a struct", t.name)) };
            if t.kind() == Kind::Union && c.members.len() != 1 {
                *untrusted = untrusted.with(Flags::UNTRUSTED);
            }
            if off + size > i64::from(c.bytes) {
                match self.flexible_array(strct, c, off).filter(|_| flex) {
                    Some(FlexElem::Int) => return Ok(Walk::Scalar),
                    Some(FlexElem::Struct(elem, start, bytes)) => {
                        (at, off) = (elem, (off - start) % bytes);
                        continue;
                    }
                    None => return Err(format!("access beyond struct {} at off {off} size {size}", t.name)),
                }
            }
            match self.walk_members(strct, t.name, c, off, size, *untrusted)? {
                Step::Done(walk) => return Ok(walk),
                Step::Into(inner, inner_off) => (at, off) = (inner, inner_off),
            }
        }
        Err("structures nest too deeply".into())
    }

    fn walk_members(
        &self,
        strct: BtfRef,
        name: &str,
        c: Composite<'_>,
        off: i64,
        size: i64,
        untrusted: Flags,
    ) -> Result<Step, String> {
        for m in c.members.iter().flatten() {
            let start = i64::from(m.bit_offset / 8);
            if off + size <= start {
                break;
            }
            if m.bitfield_bits != 0 {
                let end = i64::from((m.bit_offset + u32::from(m.bitfield_bits)).div_ceil(8));
                if off <= start && end <= off + size {
                    return Ok(Step::Done(Walk::Scalar));
                }
                continue;
            }
            if off < start {
                break;
            }
            let ty = self.at(strct, m.ty);
            let Some((elem, total, elem_size)) = self.element(ty) else {
                return Err(format!("field {} doesn't have size", m.name));
            };
            if off >= start + total {
                continue;
            }
            let start = if elem_size > 0 { start + (off - start) / elem_size * elem_size } else { start };
            return self.walk_field(
                name,
                m,
                elem,
                Span { start, elem_size, end: i64::from(m.bit_offset / 8) + total },
                off,
                size,
                untrusted,
            );
        }
        Err(format!("struct {name} doesn't have field at offset {off}"))
    }

    #[allow(clippy::too_many_arguments)]
    fn walk_field(
        &self,
        name: &str,
        m: Member<'_>,
        elem: BtfRef,
        span: Span,
        off: i64,
        size: i64,
        untrusted: Flags,
    ) -> Result<Step, String> {
        let Some((elem, t)) = self.strip(elem) else {
            return Err(format!("field {} doesn't have size", m.name));
        };
        match t.shape {
            Shape::Struct(_) | Shape::Union(_) if off == span.start => Ok(Step::Done(Walk::Struct(elem))),
            Shape::Struct(_) | Shape::Union(_) => Ok(Step::Into(elem, off - span.start)),
            Shape::Ptr(_) if span.elem_size != size || off != span.start => Err(format!(
                "cannot access ptr member {} with moff {} in struct {name} with off {off} size {size}",
                m.name, span.start
            )),
            Shape::Ptr(to) if self.is_struct(self.at(elem, to)) => {
                let to = self.strip(self.at(elem, to)).map_or(elem, |(r, _)| r);
                let flags = self.first_tag(elem);
                Ok(Step::Done(Walk::Ptr { to, flags, field: m.name.to_owned() }))
            }
            Shape::Ptr(_) => Ok(Step::Done(Walk::Other)),
            _ if off + size > span.end && !untrusted.any(Flags::UNTRUSTED) => Err(format!(
                "access beyond the end of member {} (mend:{}) in struct {name} with off {off} size {size}",
                m.name, span.end
            )),
            _ => Ok(Step::Done(Walk::Scalar)),
        }
    }

    /// What the tag next to a pointer says.
    fn first_tag(&self, ptr: BtfRef) -> Flags {
        let Some(Type { shape: Shape::Ptr(to), .. }) = self.get(ptr) else { return Flags::NONE };
        match self.get(self.at(ptr, to)) {
            Some(Type { name: "user", shape: Shape::TypeTag { .. }, .. }) => Flags::USER,
            Some(Type { name: "percpu", shape: Shape::TypeTag { .. }, .. }) => Flags::PERCPU,
            Some(Type { name: "rcu", shape: Shape::TypeTag { .. }, .. }) => Flags::RCU,
            _ => Flags::NONE,
        }
    }

    /// Element type of an array (of arrays), its size as a whole and that of an element; for others, themselves.
    pub(crate) fn element(&self, r: BtfRef) -> Option<(BtfRef, i64, i64)> {
        let (mut at, mut count) = (r, 1i64);
        for _ in 0..64 {
            let (stripped, t) = self.strip(at)?;
            match t.shape {
                Shape::Array(a) => {
                    count = count.checked_mul(i64::from(a.len))?;
                    at = self.at(stripped, a.elem);
                }
                _ => {
                    let bytes = i64::try_from(self.size(stripped)?).ok()?;
                    return Some((stripped, bytes.checked_mul(count)?, bytes));
                }
            }
        }
        None
    }

    fn flexible_array(&self, strct: BtfRef, c: Composite<'_>, off: i64) -> Option<FlexElem> {
        let last = c.members.get(c.members.len().checked_sub(1)?).ok()?;
        let (r, t) = self.strip(self.at(strct, last.ty))?;
        let Shape::Array(array) = t.shape else { return None };
        let start = i64::from(last.bit_offset / 8);
        if array.len != 0 || off < start {
            return None;
        }
        let (elem, t) = self.strip(self.at(r, array.elem))?;
        match t.shape {
            Shape::Int(_) => Some(FlexElem::Int),
            Shape::Struct(c) | Shape::Union(c) if c.bytes > 0 => {
                Some(FlexElem::Struct(elem, start, i64::from(c.bytes)))
            }
            _ => None,
        }
    }

    /// Is `need` the type `have`, or the type of what lies at offset `off` of it?
    pub(crate) fn matches(&self, have: BtfRef, off: i64, need: BtfRef, strict: bool, flex: bool) -> bool {
        let same = |a: BtfRef| self.canonical(a) == self.canonical(need);
        if off == 0 && same(have) {
            return true;
        }
        let (mut at, mut off) = (have, off);
        for _ in 0..64 {
            if strict {
                return false;
            }
            match self.walk(at, off, 1, flex, &mut Flags::NONE.clone()) {
                Ok(Walk::Struct(inner)) if same(inner) => return true,
                Ok(Walk::Struct(inner)) => (at, off) = (inner, 0),
                _ => return false,
            }
        }
        false
    }
}

/// All declaration tags, ordered by the type they are on.
fn decl_tags(btf: &Btf) -> Vec<(u32, Option<u32>, String)> {
    let tag = |t: Type<'_>| match t.shape {
        Shape::DeclTag { ty, component, .. } => Some((ty.0, component, t.name.to_owned())),
        _ => None,
    };
    let mut tags: Vec<_> = btf.types_from(btf.first_id()).flatten().filter_map(tag).collect();
    tags.sort_by_key(|(ty, ..)| *ty);
    tags
}

enum FlexElem {
    Int,
    Struct(BtfRef, i64, i64),
}

enum Step {
    Done(Walk),
    Into(BtfRef, i64),
}

/// Where the element of a field that an access falls into lies, and where the field ends.
#[derive(Clone, Copy)]
struct Span {
    start: i64,
    elem_size: i64,
    end: i64,
}

#[cfg(test)]
mod tests {
    use skep_btf::{Builder, Def, Linkage};

    use super::*;

    #[test]
    fn a_function_whose_signature_is_a_function_has_none() {
        let mut builder = Builder::new();
        let id = builder.next_id();
        builder.add(Def::Func { name: "round", proto: id, linkage: Linkage::Global });
        let btf = builder.finish_btf(None).expect("the bytes are well formed");
        let types = Types::new(&Target::default(), Some(Arc::new(btf)));
        assert!(types.proto(BtfRef { obj: BtfRef::PROGRAM, id: id.0 }).is_none());
    }
}
