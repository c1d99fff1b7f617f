//! The BTF objects at hand as one space of types, and the walks through structures that memory accesses need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_btf::{Btf, Composite, Kind, Param, Proto, Shape, Type, TypeId};

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

    /// What a type is, without its name, which takes most of the time to read.
    pub(crate) fn shape(&self, r: BtfRef) -> Option<Shape<'_>> {
        self.obj(r.obj)?.shape_by_id(TypeId(r.id)).ok()
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
    pub(crate) fn strip(&self, mut r: BtfRef) -> Option<(BtfRef, Shape<'_>)> {
        for _ in 0..64 {
            let shape = self.shape(r)?;
            let next = match shape {
                Shape::Typedef(id) | Shape::Volatile(id) | Shape::Const(id) | Shape::Restrict(id) => id,
                Shape::TypeTag { ty, .. } => ty,
                _ => return Some((r, shape)),
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
        let (r, shape) = self.strip(r)?;
        match shape {
            Shape::Ptr(id) => Some(self.at(r, id)),
            _ => None,
        }
    }

    /// Members and size of a structure or union, after stripping.
    pub(crate) fn composite(&self, r: BtfRef) -> Option<(BtfRef, Composite<'_>)> {
        let (r, shape) = self.strip(r)?;
        shape.composite().map(|c| (r, c))
    }

    /// Signature of a function.
    pub(crate) fn proto(&self, r: BtfRef) -> Option<(BtfRef, Proto<'_>)> {
        // One step: the signature of a function is none, where damaged types say that it is a function again.
        let r = match self.shape(r)? {
            Shape::Func { proto, .. } => self.at(r, proto),
            _ => r,
        };
        match self.shape(r)? {
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
            .is_some_and(|(_, shape)| matches!(shape, Shape::Int(_) | Shape::Enum(_) | Shape::Enum64(_)))
    }

    pub(crate) fn is_struct(&self, r: BtfRef) -> bool {
        self.strip(r).is_some_and(|(_, shape)| matches!(shape, Shape::Struct(_) | Shape::Union(_)))
    }

    pub(crate) fn is_void(&self, r: BtfRef) -> bool {
        self.strip(r).is_some_and(|(_, shape)| matches!(shape, Shape::Void))
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
            let Some((strct, shape)) = self.strip(at) else { return Err("type is not known".into()) };
            let Some(c) = shape.composite() else {
                return Err(format!("Type '{}' is not a struct", self.name(strct)));
            };
            let union = shape.kind() == Kind::Union;
            if union && c.members.len() != 1 {
                *untrusted = untrusted.with(Flags::UNTRUSTED);
            }
            if off + size > i64::from(c.bytes) {
                match self.flexible_array(strct, c, off).filter(|_| flex) {
                    Some(FlexElem::Int) => return Ok(Walk::Scalar),
                    Some(FlexElem::Struct(elem, start, bytes)) => {
                        (at, off) = (elem, (off - start) % bytes);
                        continue;
                    }
                    None => {
                        let name = self.name(strct);
                        return Err(format!("access beyond struct {name} at off {off} size {size}"));
                    }
                }
            }
            let first = if union { 0 } else { first_near(c, off) };
            match self.walk_members(strct, c, first, off, size, *untrusted)? {
                Step::Done(walk) => return Ok(walk),
                Step::Into(inner, inner_off) => (at, off) = (inner, inner_off),
            }
        }
        Err("structures nest too deeply".into())
    }

    fn walk_members(
        &self,
        strct: BtfRef,
        c: Composite<'_>,
        first: usize,
        off: i64,
        size: i64,
        untrusted: Flags,
    ) -> Result<Step, String> {
        let positions = c.members.positions();
        let member_name = |nth| c.members.get(nth).map_or("", |m| m.name);
        for nth in first..positions.len() {
            let Ok(m) = positions.get(nth) else { continue };
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
                return Err(format!("field {} doesn't have size", member_name(nth)));
            };
            if off >= start + total {
                continue;
            }
            let start = if elem_size > 0 { start + (off - start) / elem_size * elem_size } else { start };
            return self.walk_field(
                strct,
                &|| member_name(nth),
                elem,
                Span { start, elem_size, end: i64::from(m.bit_offset / 8) + total },
                off,
                size,
                untrusted,
            );
        }
        Err(format!("struct {} doesn't have field at offset {off}", self.name(strct)))
    }

    #[allow(clippy::too_many_arguments)]
    fn walk_field<'a>(
        &self,
        strct: BtfRef,
        field: &dyn Fn() -> &'a str,
        elem: BtfRef,
        span: Span,
        off: i64,
        size: i64,
        untrusted: Flags,
    ) -> Result<Step, String> {
        let Some((elem, shape)) = self.strip(elem) else {
            return Err(format!("field {} doesn't have size", field()));
        };
        match shape {
            Shape::Struct(_) | Shape::Union(_) if off == span.start => Ok(Step::Done(Walk::Struct(elem))),
            Shape::Struct(_) | Shape::Union(_) => Ok(Step::Into(elem, off - span.start)),
            Shape::Ptr(_) if span.elem_size != size || off != span.start => Err(format!(
                "cannot access ptr member {} with moff {} in struct {} with off {off} size {size}",
                field(),
                span.start,
                self.name(strct)
            )),
            Shape::Ptr(to) if self.is_struct(self.at(elem, to)) => {
                let to = self.strip(self.at(elem, to)).map_or(elem, |(r, _)| r);
                let flags = self.first_tag(elem);
                Ok(Step::Done(Walk::Ptr { to, flags, field: field().to_owned() }))
            }
            Shape::Ptr(_) => Ok(Step::Done(Walk::Other)),
            _ if off + size > span.end && !untrusted.any(Flags::UNTRUSTED) => Err(format!(
                "access beyond the end of member {} (mend:{}) in struct {} with off {off} size {size}",
                field(),
                span.end,
                self.name(strct)
            )),
            _ => Ok(Step::Done(Walk::Scalar)),
        }
    }

    /// What the tag next to a pointer says.
    fn first_tag(&self, ptr: BtfRef) -> Flags {
        let Some(Shape::Ptr(to)) = self.shape(ptr) else { return Flags::NONE };
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
            let (stripped, shape) = self.strip(at)?;
            match shape {
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
        let last = c.members.positions().get(c.members.len().checked_sub(1)?).ok()?;
        let (r, Shape::Array(array)) = self.strip(self.at(strct, last.ty))? else { return None };
        let start = i64::from(last.bit_offset / 8);
        if array.len != 0 || off < start {
            return None;
        }
        let (elem, shape) = self.strip(self.at(r, array.elem))?;
        match shape {
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

/// The first member of a structure that can reach as far as `off`: those before others that begin there or earlier end
/// before it, and their types need not be looked at.
fn first_near(c: Composite<'_>, off: i64) -> usize {
    let positions = c.members.positions();
    let start = |nth: usize| positions.get(nth).map_or(i64::MAX, |m| i64::from(m.bit_offset / 8));
    let (mut low, mut high) = (0, positions.len());
    while low < high {
        let middle = low.midpoint(high);
        if start(middle) <= off { low = middle + 1 } else { high = middle }
    }
    let mut first = low.saturating_sub(1);
    while first > 0 && start(first - 1) == start(first) {
        first -= 1;
    }
    first
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
