//! `__attribute__((…))` and the kernel's short forms: what changes a layout is kept, the rest passed over.

use super::error::Error;
use super::parser::Parser;
use super::prelude;
use super::token::{Kind, Token};
use super::types::{Node, Ty};

/// The largest alignment that makes sense: that of a page of the largest size.
const MAX_ALIGN: i128 = 1 << 21;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    pub(super) packed: bool,
    pub(super) align: Option<u64>,
    /// Bytes of the integer that `mode` asks for.
    pub(super) mode: Option<u64>,
}

impl Attributes {
    pub(super) fn and(self, other: Attributes) -> Attributes {
        Attributes {
            packed: self.packed || other.packed,
            align: self.align.max(other.align),
            mode: other.mode.or(self.mode),
        }
    }
}

impl Parser {
    /// All attributes that stand here.
    pub(super) fn attributes(&mut self) -> Result<Attributes, Error> {
        let mut found = Attributes::default();
        while self.attribute(&mut found)? {}
        Ok(found)
    }

    /// Reads one attribute into `found`, if one stands here.
    pub(super) fn attribute(&mut self, found: &mut Attributes) -> Result<bool, Error> {
        let token = self.peek().clone();
        if !token.is_word() || self.typedefs.contains_key(&token.text) {
            return Ok(false);
        }
        match &*token.text {
            "__attribute__" | "__attribute" => {
                self.bump();
                self.attribute_list(found)?;
            }
            "__packed" => {
                self.bump();
                found.packed = true;
            }
            "__aligned" | "_Alignas" | "alignas" => {
                self.bump();
                self.aligned(found)?;
            }
            "____cacheline_aligned" | "____cacheline_aligned_in_smp" => {
                self.bump();
                found.align = found.align.max(Some(64));
            }
            "__counted_by" | "__counted_by_le" | "__counted_by_be" | "__guarded_by" | "asm" | "__asm__" => {
                self.bump();
                self.skip_balanced();
            }
            word if prelude::is_annotation(word) => self.bump(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `((packed, aligned(8), …))`
    fn attribute_list(&mut self, found: &mut Attributes) -> Result<(), Error> {
        self.expect("(", "`((` after `__attribute__`")?;
        self.expect("(", "`((` after `__attribute__`")?;
        while !self.eat(")") {
            let name = self.next();
            match name.text.trim_matches('_') {
                "packed" => found.packed = true,
                "aligned" if self.peek().is("(") => self.aligned(found)?,
                "aligned" => found.align = found.align.max(Some(16)),
                "mode" => self.mode(found)?,
                "vector_size" | "ext_vector_type" => {
                    return Err(Error::at(&name, "vector types are not supported"));
                }
                _ if name.kind == Kind::End => {
                    return Err(Error::expected("`))` after the attributes", &name));
                }
                _ if self.peek().is("(") => self.skip_balanced(),
                _ => {}
            }
        }
        self.expect(")", "`))` after the attributes")
    }

    /// `(N)` or `(TYPE)`
    fn aligned(&mut self, found: &mut Attributes) -> Result<(), Error> {
        self.expect("(", "`(` before the alignment")?;
        let start = self.peek().clone();
        let align = match self.starts_type() {
            true => self.type_name().map(|ty| i128::from(self.types.align(ty)))?,
            false => self.constant()?.get(),
        };
        self.expect(")", "`)` after the alignment")?;
        if !(1..=MAX_ALIGN).contains(&align) || align.count_ones() != 1 {
            let reason = format!("{align} is not an alignment: a power of two up to {MAX_ALIGN} is wanted");
            return Err(Error::at(&start, reason));
        }
        found.align = found.align.max(Some(align as u64));
        Ok(())
    }

    fn mode(&mut self, found: &mut Attributes) -> Result<(), Error> {
        self.expect("(", "`(` after `mode`")?;
        let mode = self.next();
        found.mode = match mode.text.trim_matches('_') {
            "byte" | "QI" => Some(1),
            "HI" => Some(2),
            "SI" => Some(4),
            "word" | "pointer" | "DI" => Some(8),
            "TI" => Some(16),
            _ => return Err(Error::at(&mode, format!("the mode `{}` is not known", mode.text))),
        };
        self.expect(")", "`)` after the mode")
    }

    /// The type that `mode` makes of `ty`, which must be an integer.
    pub(super) fn with_mode(&mut self, name: &Token, ty: Ty, attributes: &Attributes) -> Result<Ty, Error> {
        let Some(bytes) = attributes.mode else { return Ok(ty) };
        match self.types.node(self.types.aliased(ty)) {
            Node::Int(int) => Ok(self.int_of(bytes, int.signed)),
            Node::Enum(_) => Ok(ty),
            _ => Err(Error::at(name, "`mode` is for integers and enumerations")),
        }
    }

    /// `#pragma pack(…)`, whose text is the current token.
    pub(super) fn pragma_pack(&mut self) -> Result<(), Error> {
        let pragma = self.next();
        let arguments = pragma.text.trim().trim_start_matches('(').trim_end_matches(')');
        let mut value = None;
        for argument in arguments.split(',').map(str::trim) {
            match argument {
                "push" => self.pack.push(self.pack.last().copied().flatten()),
                "pop" if self.pack.len() > 1 => {
                    self.pack.pop();
                }
                "1" | "2" | "4" | "8" | "16" => value = argument.parse().ok(),
                "" if !arguments.contains(',') => self.set_pack(None),
                _ => {}
            }
        }
        if value.is_some() {
            self.set_pack(value);
        }
        Ok(())
    }

    fn set_pack(&mut self, value: Option<u64>) {
        if let Some(current) = self.pack.last_mut() {
            *current = value;
        }
    }
}
