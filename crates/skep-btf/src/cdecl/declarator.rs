//! What stands around the name in a declaration: pointers, arrays, functions.
//!
//! A declarator is read from the name outwards: `*(*f[2])(int)` makes `f` an array of 2 pointers to functions that
//! return a pointer. So the parts are collected in that order and applied to the first type from the last one on.

use std::rc::Rc;

use super::attribute::Attributes;
use super::error::Error;
use super::parser::Parser;
use super::specifier::{Qualifiers, Specifiers};
use super::token::Token;
use super::types::{MAX_BYTES, Node, Proto, Ty};

/// How many pointers, arrays and functions one declarator may have; readers of BTF give up at 32 types in a row.
const MAX_PARTS: usize = 24;

/// A name and its type.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: Option<Token>,
    pub(super) ty: Ty,
    pub(super) attributes: Attributes,
    /// Whether it is an array without a length.
    pub(super) flexible: bool,
}

enum Part {
    Pointer(Qualifiers),
    Array { len: Option<u64>, bracket: Token },
    Function { params: Vec<(Rc<str>, Ty)>, variadic: bool },
}

/// What a declarator says apart from the parts.
#[derive(Default)]
struct Outline {
    name: Option<Token>,
    attributes: Attributes,
    parts: Vec<Part>,
}

/// Names and types of a function's parameters.
type Parameters = Vec<(Rc<str>, Ty)>;

impl Parser {
    /// A declarator, whose name may be missing, as in casts and parameters.
    pub(super) fn declarator(&mut self, spec: &Specifiers) -> Result<Declared, Error> {
        let start = self.peek().clone();
        let mut outline = Outline { attributes: spec.attributes, ..Outline::default() };
        self.outline(&mut outline)?;
        if outline.parts.len() > MAX_PARTS {
            let reason =
                format!("this declares more than {MAX_PARTS} pointers, arrays and functions in a row");
            return Err(Error::at(&start, reason));
        }
        let flexible = matches!(outline.parts.first(), Some(Part::Array { len: None, .. }));
        let mut ty = spec.ty;
        for part in outline.parts.into_iter().rev() {
            ty = self.derived(ty, part)?;
        }
        Ok(Declared { name: outline.name, ty, attributes: outline.attributes, flexible })
    }

    /// The type in a cast or after `sizeof (`.
    pub(super) fn type_name(&mut self) -> Result<Ty, Error> {
        let spec = self.specifiers()?;
        let declared = self.declarator(&spec)?;
        match declared.name {
            None => Ok(declared.ty),
            Some(name) => {
                Err(Error::at(&name, format!("a type without a name is wanted, not one for `{}`", name.text)))
            }
        }
    }

    fn outline(&mut self, outline: &mut Outline) -> Result<(), Error> {
        let mut pointers = Vec::new();
        loop {
            if self.eat("*") || self.eat("^") {
                let mut qualifiers = Qualifiers::default();
                while self.qualifier(&mut qualifiers) || self.attribute(&mut Attributes::default())? {}
                pointers.push(Part::Pointer(qualifiers));
            } else if !self.attribute(&mut outline.attributes)? {
                break;
            }
        }
        if self.peek().is("(") && self.opens_declarator() {
            self.bump();
            self.nested(|parser| parser.outline(outline))?;
            self.expect(")", "`)` after the declarator")?;
        } else if self.peek().is_word() {
            outline.name = Some(self.next());
        }
        self.suffixes(outline)?;
        outline.parts.extend(pointers.into_iter().rev());
        Ok(())
    }

    /// Whether the `(` here opens a declarator in parentheses, and not a list of parameters.
    fn opens_declarator(&mut self) -> bool {
        let inner = self.peek_at(1).clone();
        match &*inner.text {
            "*" | "^" | "(" | "[" | "__attribute__" => true,
            ")" | "..." => false,
            _ if !inner.is_word() => false,
            _ => {
                self.bump();
                let type_inside = self.starts_type();
                self.unbump();
                !type_inside
            }
        }
    }

    /// `[N]` and `(parameters)` after the name, and attributes.
    fn suffixes(&mut self, outline: &mut Outline) -> Result<(), Error> {
        loop {
            let token = self.peek().clone();
            if self.eat("[") {
                let len = self.array_len()?;
                outline.parts.push(Part::Array { len, bracket: token });
            } else if self.eat("(") {
                let (params, variadic) = self.nested(Parser::parameters)?;
                outline.parts.push(Part::Function { params, variadic });
            } else if !self.attribute(&mut outline.attributes)? {
                return Ok(());
            }
            if outline.parts.len() > MAX_PARTS {
                // The caller says so; here it only matters that an endless row does not fill the memory.
                return Ok(());
            }
        }
    }

    fn array_len(&mut self) -> Result<Option<u64>, Error> {
        while matches!(&*self.peek().text, "static" | "const" | "restrict" | "volatile") {
            self.bump();
        }
        if self.eat("]") {
            return Ok(None);
        }
        let start = self.peek().clone();
        let len = self.nested(Parser::constant)?.get();
        self.expect("]", "`]` after the length of the array")?;
        match u64::try_from(len) {
            Ok(len) if len <= MAX_BYTES => Ok(Some(len)),
            _ => Err(Error::at(&start, format!("an array cannot have {len} elements"))),
        }
    }

    /// Everything after the `(` of a list of parameters.
    fn parameters(&mut self) -> Result<(Parameters, bool), Error> {
        let mut params = Vec::new();
        if self.eat(")") {
            return Ok((params, false));
        }
        loop {
            if self.eat("...") {
                self.expect(")", "`)` after `...`")?;
                return Ok((params, true));
            }
            let spec = self.specifiers()?;
            let declared = self.declarator(&spec)?;
            let name = declared.name.map_or_else(|| "".into(), |t| t.text);
            params.push((name, self.decayed(declared.ty)));
            if self.eat(")") {
                break;
            }
            self.expect(",", "`,` or `)` after the parameter")?;
        }
        if matches!(params.as_slice(), [(name, Ty::VOID)] if name.is_empty()) {
            params.clear();
        }
        Ok((params, false))
    }

    /// Parameters that look like arrays or functions are pointers.
    fn decayed(&mut self, ty: Ty) -> Ty {
        match self.types.node(self.types.aliased(ty)) {
            Node::Array { element, .. } => {
                let element = *element;
                self.types.pointer(element)
            }
            Node::Proto(_) => self.types.pointer(ty),
            _ => ty,
        }
    }

    fn derived(&mut self, ty: Ty, part: Part) -> Result<Ty, Error> {
        match part {
            Part::Pointer(qualifiers) => {
                let pointer = self.types.pointer(ty);
                Ok(self.qualify(pointer, &qualifiers))
            }
            Part::Array { len, bracket } => {
                self.complete(ty);
                if self.types.size(ty).is_none() {
                    return Err(self.incomplete(&bracket, ty));
                }
                let array = self.types.array(ty, len.unwrap_or(0));
                array.ok_or_else(|| Error::at(&bracket, "this array is larger than 4 GiB"))
            }
            Part::Function { params, variadic } => {
                Ok(self.types.proto(Proto { returns: ty, params, variadic }))
            }
        }
    }
}
