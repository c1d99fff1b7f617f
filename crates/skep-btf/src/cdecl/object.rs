//! Objects that a constant expression may name without reading them: `sizeof(((struct event *)0)->comm)`,
//! `offsetof(struct event, comm)`.

use super::error::Error;
use super::parser::Parser;
use super::token::{Kind, Token};
use super::types::{Node, Ty};

/// How deep anonymous structures are searched for a member; the parser nests no deeper.
const MAX_ANONYMOUS: usize = 100;

/// A type at an address.
pub(super) struct Object {
    pub(super) address: i128,
    ty: Ty,
}

impl Parser {
    /// What follows `sizeof`.
    pub(super) fn size_of(&mut self) -> Result<u64, Error> {
        let start = self.peek().clone();
        let parenthesized_type = self.eat("(") && {
            let found = self.starts_type();
            if !found {
                self.unbump();
            }
            found
        };
        if !parenthesized_type {
            let object = self.nested(Parser::object)?;
            return self.size_or_error(&start, object.ty);
        }
        let ty = self.type_name()?;
        self.expect(")", "`)` after the type")?;
        self.size_or_error(&start, ty)
    }

    /// What follows `offsetof`: `(TYPE, member.member[2])`.
    pub(super) fn offset_of(&mut self) -> Result<u64, Error> {
        self.expect("(", "`(` after `offsetof`")?;
        let ty = self.type_name()?;
        self.expect(",", "`,` after the type")?;
        let mut object = self.named_member(Object { address: 0, ty })?;
        object = self.selected(object)?;
        self.expect(")", "`)` after the member")?;
        u64::try_from(object.address).map_err(|_| Error::at(self.peek(), "this offset is negative"))
    }

    /// What follows `sizeof_field`: `(TYPE, member)`.
    pub(super) fn size_of_field(&mut self) -> Result<u64, Error> {
        self.expect("(", "`(` after `sizeof_field`")?;
        let ty = self.type_name()?;
        self.expect(",", "`,` after the type")?;
        let place = self.peek().clone();
        let object = self.named_member(Object { address: 0, ty })?;
        self.expect(")", "`)` after the member")?;
        self.size_or_error(&place, object.ty)
    }

    /// A pointer made by a cast, and what is selected from it.
    pub(super) fn object(&mut self) -> Result<Object, Error> {
        let token = self.next();
        let object = match &*token.text {
            "(" if self.starts_type() => self.cast()?,
            "(" => {
                let object = self.nested(Parser::object)?;
                self.expect(")", "`)`")?;
                object
            }
            "*" => {
                let pointer = self.nested(Parser::object)?;
                self.pointee(&token, &pointer)?
            }
            "&" => {
                let object = self.nested(Parser::object)?;
                Object { ty: self.types.pointer(object.ty), ..object }
            }
            _ if token.kind == Kind::Str => self.literal(&token),
            _ => return Err(Error::expected("a type, or a member of a pointer made by a cast", &token)),
        };
        self.selected(object)
    }

    fn cast(&mut self) -> Result<Object, Error> {
        let ty = self.type_name()?;
        self.expect(")", "`)` after the type")?;
        let value = self.nested(Parser::unary)?;
        Ok(Object { address: value.get(), ty })
    }

    fn literal(&mut self, token: &Token) -> Object {
        let len = super::expr::string(&token.text).map_or(0, |s| s.len() as u64) + 1;
        let char = self.types.int("char", 1, true);
        Object { address: 0, ty: self.types.array(char, len).unwrap_or(char) }
    }

    /// Follows `->member`, `.member` and `[index]`.
    fn selected(&mut self, mut object: Object) -> Result<Object, Error> {
        loop {
            let token = self.peek().clone();
            object = match &*token.text {
                "->" => {
                    self.bump();
                    let target = self.pointee(&token, &object)?;
                    self.named_member(target)?
                }
                "." => {
                    self.bump();
                    self.named_member(object)?
                }
                "[" => {
                    self.bump();
                    let index = self.nested(Parser::constant)?.get();
                    self.expect("]", "`]` after the index")?;
                    self.element(&token, object, index)?
                }
                _ => return Ok(object),
            };
        }
    }

    fn pointee(&self, place: &Token, pointer: &Object) -> Result<Object, Error> {
        match self.types.node(self.types.aliased(pointer.ty)) {
            Node::Ptr(to) => Ok(Object { address: pointer.address, ty: *to }),
            Node::Array { element, .. } => Ok(Object { address: pointer.address, ty: *element }),
            _ => Err(Error::at(place, "what stands before this is not a pointer")),
        }
    }

    fn element(&self, place: &Token, array: Object, index: i128) -> Result<Object, Error> {
        let first = self.pointee(place, &array)?;
        let bytes = i128::from(self.types.size(first.ty).unwrap_or(0));
        Ok(Object { address: first.address + bytes.wrapping_mul(index), ty: first.ty })
    }

    /// The member whose name stands here.
    fn named_member(&mut self, object: Object) -> Result<Object, Error> {
        let name = self.next();
        self.complete(object.ty);
        let Some((bit_offset, ty)) = self.find_member(object.ty, &name.text, 0) else {
            return Err(Error::at(&name, format!("there is no member `{}`", name.text)));
        };
        Ok(Object { address: object.address.wrapping_add(i128::from(bit_offset / 8)), ty })
    }

    /// Looks for a member, in anonymous structures and unions too.
    fn find_member(&self, ty: Ty, name: &str, depth: usize) -> Option<(u64, Ty)> {
        let Node::Record(record) = self.types.node(self.types.aliased(ty)) else { return None };
        record.members.iter().find_map(|member| {
            if &*member.name == name {
                return Some((member.bit_offset, member.ty));
            }
            let anonymous = member.name.is_empty() && depth < MAX_ANONYMOUS;
            let (offset, ty) =
                if anonymous { self.find_member(member.ty, name, depth + 1)? } else { return None };
            Some((member.bit_offset + offset, ty))
        })
    }

    fn size_or_error(&self, place: &Token, ty: Ty) -> Result<u64, Error> {
        self.types.size(ty).ok_or_else(|| self.incomplete(place, ty))
    }
}
