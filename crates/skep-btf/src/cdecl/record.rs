//! Structures, unions and enumerations.

use std::collections::HashSet;
use std::rc::Rc;

use super::attribute::Attributes;
use super::error::Error;
use super::expr::Value;
use super::layout::{Field, Layout};
use super::parser::Parser;
use super::specifier::Specifiers;
use super::token::{Kind, Token};
use super::types::{Member, Node, Ty};

/// What follows `struct`, `union` or `enum`.
struct Head {
    keyword: Token,
    attributes: Attributes,
    tag: Option<Token>,
}

impl Parser {
    /// `struct tag { … }`, `struct tag` or `struct { … }`, and the same of unions. Also says whether it defines.
    pub(super) fn record(&mut self) -> Result<(Ty, bool), Error> {
        let head = self.head()?;
        let union = head.keyword.is("union");
        let ty = self.tag(&head)?;
        if !self.eat("{") {
            return Ok((ty, false));
        }
        self.refuse_redefinition(&head, ty)?;
        let mut body = Body { ty, ..Body::default() };
        while !self.eat("}") {
            if self.peek().kind == Kind::End {
                return Err(Error::expected("`}` at the end of the members", self.peek()));
            }
            self.member_declaration(&mut body)?;
        }
        let attributes = head.attributes.and(self.attributes()?);
        let max_align = self.pack.last().copied().flatten();
        let layout = Layout::new(union, attributes.packed, max_align);
        self.lay_out(&head, body, layout, attributes.align)?;
        Ok((ty, true))
    }

    /// `enum tag { A, B = 2 }`, `enum tag` or `enum { … }`, with an underlying type as in C23 if there is one.
    pub(super) fn enumeration(&mut self) -> Result<(Ty, bool), Error> {
        let head = self.head()?;
        let ty = self.tag(&head)?;
        let mut bytes = None;
        if self.eat(":") {
            let spec = self.nested(Parser::specifiers)?;
            bytes = self.types.size(spec.ty);
        }
        if !self.eat("{") {
            return Ok((ty, false));
        }
        if matches!(self.types.node(ty), Node::Enum(known) if !known.values.is_empty()) {
            return Err(redefined(&head));
        }
        let values = self.enumerators()?;
        let attributes = head.attributes.and(self.attributes()?);
        let bytes = bytes.or(attributes.mode).unwrap_or_else(|| enum_bytes(&values, attributes.packed));
        self.types.complete_enum(ty, values, bytes.clamp(1, 8));
        Ok((ty, true))
    }

    fn head(&mut self) -> Result<Head, Error> {
        let keyword = self.next();
        let attributes = self.attributes()?;
        let tag = self.peek().is_word().then(|| self.next());
        let attributes = attributes.and(self.attributes()?);
        if tag.is_none() && !self.peek().is("{") && !(keyword.is("enum") && self.peek().is(":")) {
            return Err(Error::expected(&format!("a tag or `{{` after `{}`", keyword.text), self.peek()));
        }
        Ok(Head { keyword, attributes, tag })
    }

    /// The type of that tag, declared now if it was not before.
    fn tag(&mut self, head: &Head) -> Result<Ty, Error> {
        let name = head.tag.as_ref().map(|t| Rc::clone(&t.text));
        if let Some(known) = name.as_ref().and_then(|name| self.tags.get(name)) {
            let same = match self.types.node(*known) {
                Node::Record(record) => head.keyword.is(if record.union { "union" } else { "struct" }),
                _ => head.keyword.is("enum"),
            };
            return match (same, &head.tag) {
                (false, Some(tag)) => {
                    Err(Error::at(tag, format!("`{}` is the tag of another kind of type", tag.text)))
                }
                _ => Ok(*known),
            };
        }
        let ty = match &*head.keyword.text {
            "enum" => self.types.incomplete_enum(name.clone()),
            keyword => self.types.incomplete_record(keyword == "union", name.clone()),
        };
        if let Some(name) = name {
            self.tags.insert(name, ty);
        }
        Ok(ty)
    }

    fn refuse_redefinition(&self, head: &Head, ty: Ty) -> Result<(), Error> {
        match self.types.size(ty) {
            Some(_) => Err(redefined(head)),
            None => Ok(()),
        }
    }

    /// `int a, *b, c : 3;`
    fn member_declaration(&mut self, body: &mut Body) -> Result<(), Error> {
        if self.peek().kind == Kind::Pragma {
            return self.pragma_pack();
        }
        if self.eat(";") {
            return Ok(());
        }
        if matches!(&*self.peek().text, "_Static_assert" | "static_assert") {
            self.bump();
            self.skip_balanced();
            return self.expect(";", "`;` after the assertion");
        }
        let spec = self.specifiers()?;
        if self.peek().is(";") && matches!(self.types.unqualified(spec.ty), Node::Record(_) | Node::Enum(_)) {
            return self.member_without_declarator(body, &spec);
        }
        loop {
            self.member(body, &spec)?;
            if !self.eat(",") {
                return self.expect(";", "`;` after the member");
            }
        }
    }

    /// An anonymous structure or union adds its members; a mere definition of a type adds none.
    fn member_without_declarator(&mut self, body: &mut Body, spec: &Specifiers) -> Result<(), Error> {
        let anonymous =
            matches!(self.types.unqualified(spec.ty), Node::Record(record) if record.name.is_none());
        let token = self.next();
        match anonymous {
            true => self.add_member(body, &token, "".into(), spec.ty, None, spec.attributes),
            false => Ok(()),
        }
    }

    fn member(&mut self, body: &mut Body, spec: &Specifiers) -> Result<(), Error> {
        let start = self.peek().clone();
        let declared = match start.is(":") {
            true => None,
            false => Some(self.declarator(spec)?),
        };
        let bits = match self.eat(":") {
            true => Some(self.nested(Parser::constant)?),
            false => None,
        };
        let trailing = self.attributes()?;
        let union = matches!(self.types.node(body.ty), Node::Record(record) if record.union);
        let flexible = declared.as_ref().is_some_and(|d| d.flexible) && !union;
        let (name, ty, attributes) = match declared {
            Some(declared) => (declared.name, declared.ty, declared.attributes.and(trailing)),
            None => (None, spec.ty, spec.attributes.and(trailing)),
        };
        if name.is_none() && bits.is_none() {
            return Err(Error::expected("the name of the member", self.peek()));
        }
        let place = name.as_ref().unwrap_or(&start).clone();
        let ty = self.with_mode(&place, ty, &attributes)?;
        let name: Rc<str> = name.map_or_else(|| "".into(), |t| t.text);
        let bits = bits.map(|width| self.bit_width(&place, &name, ty, width)).transpose()?;
        self.add_member(body, &place, Rc::clone(&name), ty, bits, attributes)?;
        if flexible {
            body.flexible = Some(name);
        }
        Ok(())
    }

    fn bit_width(&self, place: &Token, name: &str, ty: Ty, width: Value) -> Result<u32, Error> {
        let aliased = self.types.aliased(ty);
        let bytes = match self.types.node(aliased) {
            Node::Int(_) | Node::Enum(_) => self.types.size(aliased).unwrap_or(4),
            _ => return Err(Error::at(place, "only an integer or enumeration can be a bit field")),
        };
        let bool = matches!(self.types.node(aliased), Node::Int(int) if int.bool);
        let most = if bool { 1 } else { i128::from(bytes * 8) };
        let least = i128::from(!name.is_empty());
        match width.get() {
            width if (least..=most).contains(&width) => Ok(width as u32),
            width => Err(Error::at(
                place,
                format!("a bit field of this type has {least} to {most} bits, not {width}"),
            )),
        }
    }

    fn add_member(
        &mut self,
        body: &mut Body,
        place: &Token,
        name: Rc<str>,
        ty: Ty,
        bits: Option<u32>,
        attributes: Attributes,
    ) -> Result<(), Error> {
        if let Some(flexible) = &body.flexible {
            return Err(Error::at(place, format!("no member can follow the flexible array `{flexible}`")));
        }
        if !name.is_empty() && !body.names.insert(Rc::clone(&name)) {
            return Err(Error::at(place, format!("there is a member `{name}` already")));
        }
        self.complete(ty);
        let Some(bytes) = self.types.size(ty) else { return Err(self.incomplete(place, ty)) };
        let field = Field {
            bytes,
            align: self.types.align(ty),
            bits,
            named: !name.is_empty() || bits.is_none(),
            packed: attributes.packed,
            min_align: attributes.align,
        };
        body.members.push((Member { name, ty, bit_offset: 0, bits }, place.clone()));
        body.fields.push(field);
        Ok(())
    }

    /// Why a type without a size cannot be here.
    pub(super) fn incomplete(&self, place: &Token, ty: Ty) -> Error {
        let reason = match self.types.node(self.types.aliased(ty)) {
            Node::Void => "`void` has no values".to_owned(),
            Node::Proto(_) => "a function cannot be a member: a pointer to it can".to_owned(),
            Node::Record(record) => {
                let keyword = if record.union { "union" } else { "struct" };
                let name = record.name.as_deref().unwrap_or_default();
                format!("`{keyword} {name}` is not defined before this, so its size is unknown")
            }
            _ => "the size of this type is unknown".to_owned(),
        };
        Error::at(place, reason)
    }

    fn lay_out(
        &mut self,
        head: &Head,
        body: Body,
        mut layout: Layout,
        min_align: Option<u64>,
    ) -> Result<(), Error> {
        let too_large = |place: &Token| Error::at(place, "the type is larger than 4 GiB here");
        let mut members = Vec::with_capacity(body.members.len());
        for ((mut member, place), field) in body.members.into_iter().zip(body.fields) {
            member.bit_offset = layout.place(field).ok_or_else(|| too_large(&place))?;
            // Fields without a name only move the others; BTF, too, leaves them out.
            if field.named {
                members.push(member);
            }
        }
        let (size, align) = layout.finish(min_align).ok_or_else(|| too_large(&head.keyword))?;
        self.types.complete_record(body.ty, members, size, align);
        Ok(())
    }

    fn enumerators(&mut self) -> Result<Vec<(Rc<str>, i128)>, Error> {
        let mut values = Vec::new();
        let mut next = 0_i128;
        while !self.eat("}") {
            let name = self.next();
            if !name.is_word() {
                return Err(Error::expected("the name of an enumerator or `}`", &name));
            }
            self.attributes()?;
            if self.eat("=") {
                next = self.nested(Parser::constant)?.get();
            }
            if next < i128::from(i64::MIN) || next > i128::from(u64::MAX) {
                return Err(Error::at(
                    &name,
                    format!("the value {next} of `{}` has more than 64 bits", name.text),
                ));
            }
            self.constants.insert(Rc::clone(&name.text), Value::enumerator(next));
            values.push((Rc::clone(&name.text), next));
            next += 1;
            if !self.eat(",") && !self.peek().is("}") {
                return Err(Error::expected("`,` or `}` after the enumerator", self.peek()));
            }
        }
        Ok(values)
    }
}

/// A structure or union whose members are being read.
#[derive(Default)]
struct Body {
    ty: Ty,
    members: Vec<(Member, Token)>,
    fields: Vec<Field>,
    names: HashSet<Rc<str>>,
    /// Name of the array without a length, which must be the last member.
    flexible: Option<Rc<str>>,
}

fn redefined(head: &Head) -> Error {
    let tag = head.tag.as_ref().unwrap_or(&head.keyword);
    Error::at(tag, format!("`{} {}` is defined already", head.keyword.text, tag.text))
}

/// Size of an enumeration: an `int`, unless a value needs more or `packed` allows less.
fn enum_bytes(values: &[(Rc<str>, i128)], packed: bool) -> u64 {
    let signed = values.iter().any(|(_, v)| *v < 0);
    let fits = |bytes: u64| {
        let bits = bytes * 8 - u64::from(signed);
        values.iter().all(|(_, v)| *v >= -(1_i128 << (bytes * 8 - 1)) && *v < (1_i128 << bits))
    };
    let smallest = if packed { [1, 2, 4].as_slice() } else { &[4] };
    smallest.iter().copied().find(|bytes| fits(*bytes)).unwrap_or(8)
}
