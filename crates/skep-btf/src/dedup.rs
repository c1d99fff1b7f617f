//! Types without their doubles.
//!
//! Two types are the same if nothing that can be reached from them tells them apart. That is the coarsest partition of
//! the graph of types in which types of one class have equal labels (kind, name, sizes, offsets) and refer, in order, to
//! types of equal classes. It is found from above: all types of equal labels begin in one class, and classes are split
//! by the classes that their types refer to until none splits any more. Cycles need no care, because nothing is
//! followed; each round reads every type once.
//!
//! A structure that is known by name only (a forward declaration, an enumeration without values) goes with the definition
//! of that name, as long as all definitions are one class. Variables and sections stay apart: two of one name and type
//! are two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::{Btf, Builder, Enum, Kind, Result, Shape, Type, TypeId};

/// What [`dedup`] found.
#[derive(Debug)]
pub struct Dedup {
    /// The types that are left, and the strings that they use. More may be added.
    pub builder: Builder,
    ids: Vec<TypeId>,
}

impl Dedup {
    /// What a type of the original is called now.
    pub fn id(&self, old: TypeId) -> TypeId {
        self.ids.get(old.0 as usize).copied().unwrap_or(old)
    }
}

/// Finds types that say the same, and keeps the first of each. The types must stand for themselves, without a base.
pub fn dedup(btf: &Btf) -> Result<Dedup> {
    let types = btf.types().collect::<Result<Vec<_>>>()?;
    let graph = Graph::read(&types)?;
    let classes = graph.partition();
    let kept = keep(&types, &classes);
    let mut builder = Builder::with_order(btf.byte_order());
    let mut ids = vec![TypeId::VOID; types.len() + 1];
    for (nth, &kept) in kept.iter().enumerate() {
        if kept == nth {
            ids[nth + 1] = builder.reserve();
        }
    }
    for (nth, &kept) in kept.iter().enumerate() {
        ids[nth + 1] = ids[kept + 1];
    }
    let renamed = |id: TypeId| ids.get(id.0 as usize).copied().unwrap_or(id);
    for (nth, _) in kept.iter().enumerate().filter(|(nth, kept)| nth == *kept) {
        builder.copy_to(ids[nth + 1], &types[nth], &renamed)?;
    }
    Ok(Dedup { builder, ids })
}

/// For each type the one that stands for its class: the first that is defined, or else the first.
fn keep(types: &[Type<'_>], classes: &[u32]) -> Vec<usize> {
    let mut first = HashMap::new();
    for (nth, &class) in classes.iter().enumerate() {
        match first.entry(class) {
            Entry::Vacant(entry) => {
                entry.insert(nth);
            }
            Entry::Occupied(mut entry) => {
                if is_declaration(&types[*entry.get()]) && !is_declaration(&types[nth]) {
                    entry.insert(nth);
                }
            }
        }
    }
    classes.iter().map(|class| first[class]).collect()
}

/// Is the type known by name only?
fn is_declaration(ty: &Type<'_>) -> bool {
    match ty.shape {
        Shape::Fwd { .. } => true,
        Shape::Enum(Enum { values, .. }) | Shape::Enum64(Enum { values, .. }) => {
            values.is_empty() && !ty.name.is_empty()
        }
        _ => false,
    }
}

/// What a definition and its declarations have in common: `struct`, `union` or `enum`, and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tag<'a> {
    Struct(&'a str),
    Union(&'a str),
    Enum(&'a str),
}

impl<'a> Tag<'a> {
    fn of(ty: &Type<'a>) -> Option<Self> {
        let name = Some(ty.name).filter(|name| !name.is_empty())?;
        match ty.shape {
            Shape::Struct(_) | Shape::Fwd { union: false } => Some(Self::Struct(name)),
            Shape::Union(_) | Shape::Fwd { union: true } => Some(Self::Union(name)),
            Shape::Enum(_) | Shape::Enum64(_) => Some(Self::Enum(name)),
            _ => None,
        }
    }
}

/// The types as labels and edges. Type `n` has number `n - 1`; `void` is no node.
struct Graph<'a> {
    /// Equal for types that differ, if at all, in what they refer to.
    labels: Vec<u32>,
    /// The ids that each type refers to, in order.
    references: Vec<Vec<u32>>,
    /// Types that are declarations, with what they declare.
    declarations: Vec<(usize, Tag<'a>)>,
    definitions: HashMap<Tag<'a>, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn read(types: &[Type<'a>]) -> Result<Self> {
        let mut names: HashMap<&str, u32> = HashMap::new();
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut graph = Self {
            labels: Vec::new(),
            references: Vec::new(),
            declarations: Vec::new(),
            definitions: HashMap::new(),
        };
        for (nth, ty) in types.iter().enumerate() {
            let mut node = Node { names: &mut names, label: Vec::new(), references: Vec::new() };
            node.read(ty)?;
            let Node { label, references, .. } = node;
            let next = known.len() as u32;
            graph.labels.push(*known.entry(label).or_insert(next));
            graph.references.push(references);
            match Tag::of(ty) {
                Some(tag) if is_declaration(ty) => graph.declarations.push((nth, tag)),
                Some(tag) => graph.definitions.entry(tag).or_default().push(nth),
                None => {}
            }
        }
        Ok(graph)
    }

    /// The class of each type.
    fn partition(&self) -> Vec<u32> {
        let mut classes = self.labels.clone();
        let mut count = self.join_declarations(&mut classes);
        loop {
            let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
            let mut split = Vec::with_capacity(classes.len());
            for (nth, references) in self.references.iter().enumerate() {
                let class_of = |id: &u32| match id.checked_sub(1).and_then(|nth| classes.get(nth as usize)) {
                    Some(class) => class + 1,
                    None => 0,
                };
                let key = std::iter::once(self.labels[nth]).chain(references.iter().map(class_of)).collect();
                let next = known.len() as u32;
                split.push(*known.entry(key).or_insert(next));
            }
            let split_count = self.join_declarations(&mut split);
            classes = split;
            if split_count == count {
                return classes;
            }
            count = split_count;
        }
    }

    /// Puts declarations into the class of their definitions, if that is one; answers how many classes there are.
    fn join_declarations(&self, classes: &mut [u32]) -> usize {
        for (nth, tag) in &self.declarations {
            let Some(definitions) = self.definitions.get(tag) else { continue };
            let class = classes[definitions[0]];
            if definitions.iter().all(|&definition| classes[definition] == class) {
                classes[*nth] = class;
            }
        }
        classes.iter().collect::<std::collections::HashSet<_>>().len()
    }
}

/// One type being read.
struct Node<'n, 'a> {
    names: &'n mut HashMap<&'a str, u32>,
    label: Vec<u32>,
    references: Vec<u32>,
}

impl<'a> Node<'_, 'a> {
    fn read(&mut self, ty: &Type<'a>) -> Result<()> {
        self.label.push(ty.kind().code().into());
        self.name(ty.name);
        match ty.shape {
            Shape::Int(int) => {
                let encoding = int.encoding;
                let flags = u32::from(encoding.signed)
                    | u32::from(encoding.char) << 1
                    | u32::from(encoding.bool) << 2;
                self.label.extend([int.bytes, int.bits.into(), int.bit_offset.into(), flags]);
            }
            Shape::Float { bytes } => self.label.push(bytes),
            Shape::Fwd { union } => self.label.push(union.into()),
            Shape::Struct(composite) | Shape::Union(composite) => {
                self.label.push(composite.bytes);
                for member in composite.members.iter() {
                    let member = member?;
                    self.name(member.name);
                    self.label.extend([member.bit_offset, member.bitfield_bits.into()]);
                    self.references.push(member.ty.0);
                }
            }
            Shape::Enum(values) | Shape::Enum64(values) => {
                self.label.extend([values.bytes, values.signed.into()]);
                for value in values.values.iter() {
                    let value = value?;
                    self.name(value.name);
                    self.label.extend([value.value as u32, (value.value >> 32) as u32]);
                }
            }
            Shape::Array(array) => {
                self.label.push(array.len);
                self.references.extend([array.elem.0, array.index.0]);
            }
            Shape::Func { proto, linkage } => {
                self.label.push(linkage.code());
                self.references.push(proto.0);
            }
            Shape::FuncProto(proto) => {
                self.references.push(proto.ret.0);
                for param in proto.params.iter() {
                    let param = param?;
                    self.name(param.name);
                    self.references.push(param.ty.0);
                }
            }
            Shape::DeclTag { ty, component, attribute } => {
                self.label.extend([component.map_or(0, |c| c.wrapping_add(1)), attribute.into()]);
                self.references.push(ty.0);
            }
            Shape::TypeTag { ty, attribute } => {
                self.label.push(attribute.into());
                self.references.push(ty.0);
            }
            Shape::Ptr(to)
            | Shape::Typedef(to)
            | Shape::Volatile(to)
            | Shape::Const(to)
            | Shape::Restrict(to) => self.references.push(to.0),
            // Each has a class of its own; what it refers to splits nothing.
            _ => self.label.push(ty.id.0),
        }
        if matches!(ty.kind(), Kind::Var | Kind::Datasec) {
            self.label.push(ty.id.0);
        }
        Ok(())
    }

    fn name(&mut self, name: &'a str) {
        let next = self.names.len() as u32;
        self.label.push(*self.names.entry(name).or_insert(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IntEncoding, Linkage, Member};

    fn member(name: &str, ty: TypeId) -> Member<'_> {
        Member { name, ty, bit_offset: 0, bitfield_bits: 0 }
    }

    /// A list whose nodes point to themselves: `struct list { struct list *next; }`, `next` renamed by `member_name`.
    fn add_list(builder: &mut Builder, member_name: &str) -> TypeId {
        let list = builder.reserve();
        let pointer = builder.add_ptr(list);
        builder.set(list, Def::Struct { name: "list", bytes: 8, members: &[member(member_name, pointer)] });
        list
    }

    use crate::Def;

    #[test]
    fn cycles_that_say_the_same_are_one() {
        let mut builder = Builder::new();
        let first = add_list(&mut builder, "next");
        let second = add_list(&mut builder, "next");
        let other = add_list(&mut builder, "before");
        let found = dedup(&builder.finish_btf(None).unwrap()).unwrap();
        assert_eq!(found.id(first), found.id(second));
        assert_ne!(found.id(first), found.id(other));
        let btf = found.builder.finish_btf(None).unwrap();
        assert_eq!(btf.len(), 5, "void, two structures, two pointers");
    }

    #[test]
    fn declarations_go_with_their_only_definition() {
        let mut builder = Builder::new();
        let declared = builder.add_fwd("list", false);
        let pointer = builder.add_ptr(declared);
        let defined = add_list(&mut builder, "next");
        let union = builder.add_fwd("list", true);
        let found = dedup(&builder.finish_btf(None).unwrap()).unwrap();
        assert_eq!(found.id(declared), found.id(defined));
        assert_ne!(found.id(union), found.id(defined));
        let id = found.id(pointer);
        let btf = found.builder.finish_btf(None).unwrap();
        assert!(
            matches!(btf.type_by_id(id).unwrap().shape, Shape::Ptr(to) if btf.type_by_id(to).unwrap().composite().is_some())
        );
    }

    #[test]
    fn a_declaration_of_two_definitions_stays() {
        let mut builder = Builder::new();
        let declared = builder.add_fwd("list", false);
        let lists = ["next", "before"].map(|name| add_list(&mut builder, name));
        let found = dedup(&builder.finish_btf(None).unwrap()).unwrap();
        assert!(lists.iter().all(|&list| found.id(list) != found.id(declared)));
    }

    #[test]
    fn variables_stay_apart() {
        let mut builder = Builder::new();
        let int = builder.add_int("int", 4, IntEncoding::default());
        let same = builder.add_int("int", 4, IntEncoding::default());
        let vars = [int, same].map(|ty| builder.add_var("count", ty, Linkage::Static));
        let found = dedup(&builder.finish_btf(None).unwrap()).unwrap();
        assert_eq!(found.id(int), found.id(same));
        assert_ne!(found.id(vars[0]), found.id(vars[1]));
    }
}
