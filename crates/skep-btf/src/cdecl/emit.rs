//! The types of a text → BTF.
//!
//! Only what the declared types lead to is written. Ids are given in that order first, so that types may name each
//! other in circles, and then each type is written under its id.

use std::collections::HashMap;
use std::rc::Rc;

use super::types::{Enum, Node, Record, Ty, Types};
use crate::{Array, Builder, Def, EnumValue, Int, IntEncoding, Member, Param, TypeId};

/// The ids of all types that `roots` lead to, and a builder that has them.
pub(super) fn emit(types: &mut Types, roots: &[Ty]) -> (HashMap<Ty, TypeId>, Builder) {
    let index = types.int("unsigned int", 4, false);
    let order = reachable(types, roots, index);
    let ids: HashMap<Ty, TypeId> = order.iter().zip(1..).map(|(ty, id)| (*ty, TypeId(id))).collect();
    let mut emitter = Emitter { types, ids, index, builder: Builder::new() };
    for ty in order {
        emitter.emit(ty);
    }
    (emitter.ids, emitter.builder)
}

/// All types but `void` that the roots lead to, in the order in which a reader meets them.
fn reachable(types: &Types, roots: &[Ty], index: Ty) -> Vec<Ty> {
    let mut seen = std::collections::HashSet::from([Ty::VOID]);
    let mut order = Vec::new();
    let mut pending: Vec<Ty> = roots.iter().rev().copied().collect();
    while let Some(ty) = pending.pop() {
        if seen.insert(ty) {
            order.push(ty);
            let first = pending.len();
            pending.extend(references(types.node(ty), index));
            pending[first..].reverse();
        }
    }
    order
}

fn references(node: &Node, index: Ty) -> Vec<Ty> {
    match node {
        Node::Void | Node::Int(_) | Node::Float { .. } | Node::Enum(_) => Vec::new(),
        Node::Ptr(of)
        | Node::Typedef { of, .. }
        | Node::Const(of)
        | Node::Volatile(of)
        | Node::Restrict(of) => {
            vec![*of]
        }
        Node::Array { element, .. } => vec![*element, index],
        Node::Record(record) => record.members.iter().map(|m| m.ty).collect(),
        Node::Proto(proto) => {
            [proto.returns].into_iter().chain(proto.params.iter().map(|(_, ty)| *ty)).collect()
        }
    }
}

struct Emitter<'t> {
    types: &'t Types,
    ids: HashMap<Ty, TypeId>,
    index: Ty,
    builder: Builder,
}

impl Emitter<'_> {
    fn emit(&mut self, ty: Ty) {
        let bytes = self.types.size(ty).map(|bytes| bytes as u32);
        match self.types.node(ty) {
            // Nothing refers to `void` but by the id 0.
            Node::Void => {}
            Node::Int(int) => {
                let encoding = IntEncoding { signed: int.signed, char: false, bool: int.bool };
                let bytes = bytes.unwrap_or(4);
                let int_data = Int { bytes, bits: (bytes * 8) as u8, bit_offset: 0, encoding };
                self.add(Def::Int { name: int.name, int: int_data });
            }
            Node::Float { name } => self.add(Def::Float { name, bytes: bytes.unwrap_or(8) }),
            Node::Ptr(to) => self.add(Def::Ptr(self.id(*to))),
            Node::Array { element, len } => {
                let array = Array { elem: self.id(*element), index: self.id(self.index), len: *len as u32 };
                self.add(Def::Array(array));
            }
            Node::Record(record) => self.record(record, bytes),
            Node::Enum(node) => self.enumeration(node, bytes.unwrap_or(4)),
            Node::Typedef { name, of } => self.add(Def::Typedef { name, ty: self.id(*of) }),
            Node::Const(of) => self.add(Def::Const(self.id(*of))),
            Node::Volatile(of) => self.add(Def::Volatile(self.id(*of))),
            Node::Restrict(of) => self.add(Def::Restrict(self.id(*of))),
            Node::Proto(proto) => {
                let param = |(name, ty): &(Rc<str>, Ty)| (Rc::clone(name), self.id(*ty));
                let mut params: Vec<(Rc<str>, TypeId)> = proto.params.iter().map(param).collect();
                if proto.variadic {
                    params.push(("".into(), TypeId::VOID));
                }
                let params: Vec<Param<'_>> =
                    params.iter().map(|(name, ty)| Param { name, ty: *ty }).collect();
                self.add(Def::FuncProto { ret: self.id(proto.returns), params: &params });
            }
        }
    }

    fn record(&mut self, record: &Record, bytes: Option<u32>) {
        let name = record.name.as_deref().unwrap_or_default();
        let Some(bytes) = bytes else { return self.add(Def::Fwd { name, union: record.union }) };
        let members: Vec<Member<'_>> = record
            .members
            .iter()
            .map(|member| Member {
                name: &member.name,
                ty: self.id(member.ty),
                bit_offset: member.bit_offset as u32,
                bitfield_bits: member.bits.unwrap_or(0) as u8,
            })
            .collect();
        self.add(match record.union {
            true => Def::Union { name, bytes, members: &members },
            false => Def::Struct { name, bytes, members: &members },
        });
    }

    fn enumeration(&mut self, node: &Enum, bytes: u32) {
        let name = node.name.as_deref().unwrap_or_default();
        let signed = node.signed();
        let values: Vec<EnumValue<'_>> =
            node.values.iter().map(|(name, value)| EnumValue { name, value: *value }).collect();
        self.add(match bytes {
            8 => Def::Enum64 { name, bytes, signed, values: &values },
            _ => Def::Enum { name, bytes, signed, values: &values },
        });
    }

    fn add(&mut self, def: Def<'_>) {
        self.builder.add(def);
    }

    fn id(&self, ty: Ty) -> TypeId {
        self.ids.get(&ty).copied().unwrap_or(TypeId::VOID)
    }
}
