//! The C types of a text, with their sizes and alignments on x86-64, which BPF shares.

use std::rc::Rc;

/// How large BTF lets a type be: sizes are 32 bits wide.
pub(super) const MAX_BYTES: u64 = u32::MAX as u64;

/// One type of a [`Types`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Ty(u32);

impl Ty {
    pub(super) const VOID: Ty = Ty(0);
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Void,
    Int(Int),
    Float { name: &'static str },
    Ptr(Ty),
    Array { element: Ty, len: u64 },
    Record(Record),
    Enum(Enum),
    Typedef { name: Rc<str>, of: Ty },
    Const(Ty),
    Volatile(Ty),
    Restrict(Ty),
    Proto(Proto),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Int {
    pub(super) name: &'static str,
    pub(super) signed: bool,
    pub(super) bool: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) union: bool,
    pub(super) name: Option<Rc<str>>,
    pub(super) members: Vec<Member>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Empty for an anonymous structure or union.
    pub(super) name: Rc<str>,
    pub(super) ty: Ty,
    pub(super) bit_offset: u64,
    /// Width of a bit field.
    pub(super) bits: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct Enum {
    pub(super) name: Option<Rc<str>>,
    pub(super) values: Vec<(Rc<str>, i128)>,
}

impl Enum {
    pub(super) fn signed(&self) -> bool {
        self.values.iter().any(|(_, value)| *value < 0)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Proto {
    pub(super) returns: Ty,
    pub(super) params: Vec<(Rc<str>, Ty)>,
    pub(super) variadic: bool,
}

#[derive(Debug)]
struct Entry {
    node: Node,
    /// `None` while the type is incomplete, and for functions.
    size: Option<u64>,
    align: u64,
}

/// Every type that was mentioned. A type is added after the types it is made of, except that a structure may be
/// completed later; so nothing here recurses, however deep a text nests its types.
#[derive(Debug)]
pub(super) struct Types {
    entries: Vec<Entry>,
    /// The integers and floating-point types, by name.
    basic: Vec<(&'static str, Ty)>,
}

impl Types {
    pub(super) fn new() -> Types {
        Types { entries: vec![Entry { node: Node::Void, size: None, align: 1 }], basic: Vec::new() }
    }

    pub(super) fn node(&self, ty: Ty) -> &Node {
        &self.entry(ty).node
    }

    /// Size in bytes, `None` for an incomplete type.
    pub(super) fn size(&self, ty: Ty) -> Option<u64> {
        self.entry(self.aliased(ty)).size
    }

    /// Alignment in bytes; a typedef may have one of its own.
    pub(super) fn align(&self, ty: Ty) -> u64 {
        let mut ty = ty;
        loop {
            let entry = self.entry(ty);
            match entry.node {
                Node::Typedef { of, .. } if entry.align == 0 => ty = of,
                Node::Const(of) | Node::Volatile(of) | Node::Restrict(of) => ty = of,
                _ => return entry.align,
            }
        }
    }

    /// The type without typedefs and qualifiers.
    pub(super) fn aliased(&self, mut ty: Ty) -> Ty {
        while let Node::Typedef { of, .. } | Node::Const(of) | Node::Volatile(of) | Node::Restrict(of) =
            self.entry(ty).node
        {
            ty = of;
        }
        ty
    }

    /// The type without qualifiers; typedefs stay.
    pub(super) fn unqualified(&self, mut ty: Ty) -> &Node {
        while let Node::Const(of) | Node::Volatile(of) | Node::Restrict(of) = self.entry(ty).node {
            ty = of;
        }
        self.node(ty)
    }

    pub(super) fn int(&mut self, name: &'static str, bytes: u64, signed: bool) -> Ty {
        self.basic(name, Node::Int(Int { name, signed, bool: name == "_Bool" }), bytes)
    }

    pub(super) fn float(&mut self, name: &'static str, bytes: u64) -> Ty {
        self.basic(name, Node::Float { name }, bytes)
    }

    pub(super) fn pointer(&mut self, to: Ty) -> Ty {
        self.add(Node::Ptr(to), Some(8), 8)
    }

    /// An array of a complete type, or `None` if it is larger than a type may be.
    pub(super) fn array(&mut self, element: Ty, len: u64) -> Option<Ty> {
        let size =
            self.size(element)?.checked_mul(len).filter(|&size| size <= MAX_BYTES && len <= MAX_BYTES)?;
        let align = self.align(element);
        Some(self.add(Node::Array { element, len }, Some(size), align))
    }

    pub(super) fn qualified(&mut self, node: Node) -> Ty {
        self.add(node, None, 0)
    }

    pub(super) fn proto(&mut self, proto: Proto) -> Ty {
        self.add(Node::Proto(proto), None, 1)
    }

    /// `align` is 0 where the typedef has the alignment of its type.
    pub(super) fn typedef(&mut self, name: Rc<str>, of: Ty, align: u64) -> Ty {
        self.add(Node::Typedef { name, of }, None, align)
    }

    pub(super) fn incomplete_record(&mut self, union: bool, name: Option<Rc<str>>) -> Ty {
        self.add(Node::Record(Record { union, name, members: Vec::new() }), None, 1)
    }

    pub(super) fn incomplete_enum(&mut self, name: Option<Rc<str>>) -> Ty {
        // An enumeration that is used before its values are known has the size of an `int` everywhere else too.
        self.add(Node::Enum(Enum { name, values: Vec::new() }), Some(4), 4)
    }

    pub(super) fn complete_record(&mut self, ty: Ty, members: Vec<Member>, size: u64, align: u64) {
        let entry = &mut self.entries[ty.0 as usize];
        if let Node::Record(record) = &mut entry.node {
            record.members = members;
        }
        (entry.size, entry.align) = (Some(size), align);
    }

    pub(super) fn complete_enum(&mut self, ty: Ty, values: Vec<(Rc<str>, i128)>, bytes: u64) {
        let entry = &mut self.entries[ty.0 as usize];
        if let Node::Enum(node) = &mut entry.node {
            node.values = values;
        }
        (entry.size, entry.align) = (Some(bytes), bytes);
    }

    fn entry(&self, ty: Ty) -> &Entry {
        &self.entries[ty.0 as usize]
    }

    fn basic(&mut self, name: &'static str, node: Node, bytes: u64) -> Ty {
        if let Some((_, known)) = self.basic.iter().find(|(n, _)| *n == name) {
            return *known;
        }
        let ty = self.add(node, Some(bytes), bytes);
        self.basic.push((name, ty));
        ty
    }

    fn add(&mut self, node: Node, size: Option<u64>, align: u64) -> Ty {
        let ty = Ty(u32::try_from(self.entries.len()).expect("invariant: a token makes at most one type"));
        self.entries.push(Entry { node, size, align });
        ty
    }
}
