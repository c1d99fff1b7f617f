//! The text of definitions and declarations.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::layout::padding;
use super::names::{Names, valid};
use super::plan::Step;
use super::table::{Field, Table};
use crate::types::{Composite, Enum, Proto};
use crate::{Error, Int, Kind, Result, Shape, Type, TypeId};

/// How deep structures without a name and function types may be written into each other.
const MAX_DEPTH: usize = 100;

pub(super) struct Writer<'t, 'a> {
    table: &'t Table<'a>,
    names: Names<'a>,
    out: String,
    depth: usize,
}

impl<'t, 'a> Writer<'t, 'a> {
    /// A writer that adds to `out`.
    pub(super) fn new(table: &'t Table<'a>, out: String) -> Self {
        Self { table, names: Names::default(), out, depth: 0 }
    }

    /// With room for the names of all types.
    pub(super) fn for_all(mut self) -> Self {
        self.names = Names::with_room_for(self.table.len() as usize);
        self
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn steps(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            let written = match *step {
                Step::Forward(id) => {
                    self.tag(self.table.get(id)?);
                    true
                }
                Step::Define(id) => self.define(id)?,
            };
            if written {
                self.out.push_str(";\n\n");
            }
        }
        Ok(())
    }

    /// `extern int name(…) __weak __ksym;` for each function.
    pub(super) fn kfuncs(&mut self, kfuncs: &[TypeId]) -> Result<()> {
        if kfuncs.is_empty() {
            return Ok(());
        }
        self.out.push_str("#ifndef BPF_NO_KFUNC_PROTOTYPES\n");
        for id in kfuncs {
            let Some((name, proto)) = self.table.function(*id)? else { continue };
            let name = self.names.identifier(name);
            self.out.push_str("extern ");
            self.declare(proto, &name, 0)?;
            self.out.push_str(" __weak __ksym;\n");
        }
        self.out.push_str("#endif\n\n");
        Ok(())
    }

    /// The definition of a type, without `;`. Says whether there was anything to write.
    fn define(&mut self, id: TypeId) -> Result<bool> {
        let ty = self.table.get(id)?;
        match ty.shape {
            Shape::Struct(composite) | Shape::Union(composite) => self.composite(ty, composite, 0)?,
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) => self.enumeration(ty, enumeration, 0)?,
            Shape::Typedef(of) => return self.typedef(ty, of),
            Shape::Int(int) => return Ok(self.integer(ty, int)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn typedef(&mut self, ty: &Type<'a>, of: TypeId) -> Result<bool> {
        match ty.name {
            // The compiler has its own.
            "__builtin_va_list" => return Ok(false),
            "__gnuc_va_list" if of == TypeId::VOID => {
                self.out.push_str("typedef __builtin_va_list __gnuc_va_list");
                return Ok(true);
            }
            _ => {}
        }
        let name = self.names.typedef(ty.id, ty.name);
        self.out.push_str("typedef ");
        self.declare(of, &name, 0)?;
        Ok(true)
    }

    /// An integer type that C does not have by that name becomes a typedef.
    fn integer(&mut self, ty: &Type<'a>, int: Int) -> bool {
        if is_c_integer(ty.name) {
            return false;
        }
        let (sign, base) = match (int.bytes, int.encoding.signed) {
            (1, true) => ("signed ", "char"),
            (2, true) => ("", "short"),
            (4, true) => ("", "int"),
            (8, true) => ("", "long long"),
            (16, true) => ("", "__int128"),
            (1, false) => ("unsigned ", "char"),
            (2, false) => ("unsigned ", "short"),
            (8, false) => ("unsigned ", "long long"),
            (16, false) => ("unsigned ", "__int128"),
            _ => ("unsigned ", "int"),
        };
        let name = self.names.typedef(ty.id, ty.name);
        let _ = write!(self.out, "typedef {sign}{base} {name}");
        true
    }

    /// `struct tag`
    fn tag(&mut self, ty: &Type<'a>) {
        self.out.push_str(match ty.shape {
            Shape::Fwd { union: true } => "union",
            _ => ty.kind().keyword(),
        });
        if ty.name.is_empty() {
            return;
        }
        self.out.push(' ');
        // What is not defined clashes with nothing: it means the type of that name, whichever it is.
        let undefined = ty.kind() == Kind::Fwd || ty.enumeration().is_some_and(|e| e.values.is_empty());
        let name = if undefined { valid(ty.name) } else { self.names.tag(ty.id, ty.name) };
        self.out.push_str(&name);
    }

    fn composite(&mut self, ty: &Type<'a>, composite: Composite<'a>, level: usize) -> Result<()> {
        let shaped = self.table.shape(ty)?;
        let is_struct = ty.kind() == Kind::Struct;
        self.tag(ty);
        self.out.push_str(" {");
        let mut end = 0;
        for (nth, field) in self.table.fields(ty.id).iter().enumerate() {
            if is_struct {
                let natural = self.table.natural_offset(field, end, shaped.packed)?;
                let offset = u64::from(field.bit_offset);
                if natural != offset {
                    self.pad(end, offset, level)?;
                }
            }
            end = end.max(self.member(composite.members.name_of(nth)?, field, level)?);
        }
        let bits = u64::from(composite.bytes) * 8;
        if end.next_multiple_of(u64::from(shaped.align) * 8) != bits {
            self.pad_end(is_struct, end, bits, level)?;
        }
        match composite.members.is_empty() && composite.bytes == 0 {
            true => self.out.push('}'),
            false => {
                self.line(level)?;
                self.out.push('}');
            }
        }
        if shaped.packed {
            self.out.push_str(" __attribute__((packed))");
        }
        Ok(())
    }

    /// Writes a member and gives the bit after it.
    fn member(&mut self, name: &str, field: &Field, level: usize) -> Result<u64> {
        self.line(level + 1)?;
        self.declare(field.ty, name, level + 1)?;
        let bits = match field.bits {
            Some(bits) => {
                self.out.push_str(": ");
                self.number(bits.into());
                bits.into()
            }
            None => u64::from(field.bytes) * 8,
        };
        self.out.push(';');
        Ok(u64::from(field.bit_offset).saturating_add(bits))
    }

    fn pad(&mut self, from: u64, to: u64, level: usize) -> Result<()> {
        for (name, bits) in padding(from, to) {
            self.line(level + 1)?;
            let _ = write!(self.out, "{name}: {bits};");
        }
        Ok(())
    }

    /// Padding up to the size. In a union every member begins at 0, so there it is a structure of padding.
    fn pad_end(&mut self, is_struct: bool, end: u64, bits: u64, level: usize) -> Result<()> {
        if is_struct {
            return self.pad(end, bits, level);
        }
        self.line(level + 1)?;
        self.out.push_str("struct {");
        self.pad(0, bits, level + 1)?;
        self.line(level + 1)?;
        self.out.push_str("};");
        Ok(())
    }

    fn enumeration(&mut self, ty: &Type<'a>, enumeration: Enum<'a>, level: usize) -> Result<()> {
        self.tag(ty);
        if enumeration.values.is_empty() {
            return Ok(());
        }
        let wide = ty.kind() == Kind::Enum64;
        self.out.push_str(" {");
        let mut needs_eight = false;
        for value in enumeration.values.iter() {
            let value = value?;
            let name = self.names.identifier(value.name);
            self.line(level + 1)?;
            let suffix = match (wide, value.value < 0 || enumeration.signed) {
                (false, _) => "",
                (true, true) => "LL",
                (true, false) => "ULL",
            };
            self.out.push_str(&name);
            self.out.push_str(if value.value < 0 { " = -" } else { " = " });
            // There is no literal for the least number of 64 bits.
            let is_least = value.value == i64::MIN.into();
            let magnitude = value.value.unsigned_abs() - u128::from(is_least);
            self.number(u64::try_from(magnitude).unwrap_or(u64::MAX));
            self.out.push_str(suffix);
            self.out.push_str(if is_least { " - 1," } else { "," });
            needs_eight |= i32::try_from(value.value).is_err() && u32::try_from(value.value).is_err();
        }
        self.line(level)?;
        self.out.push('}');
        self.out.push_str(match enumeration.bytes {
            1 => " __attribute__((mode(byte)))",
            2 => " __attribute__((mode(HI)))",
            8 if !needs_eight => " __attribute__((mode(word)))",
            _ => "",
        });
        Ok(())
    }

    /// A declaration of `name`, written from the name outwards: pointers to its left, arrays and parameters to its
    /// right, and at last the type that all of it is made of, on the far left.
    pub(super) fn declare(&mut self, id: TypeId, name: &str, level: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::malformed(format!("type {id} is nested deeper than {MAX_DEPTH} types")));
        }
        if self.declare_plainly(id, name, level)? {
            self.depth -= 1;
            return Ok(());
        }
        let mut declarator = Declarator { text: valid(name), qualifiers: Qualifiers::default() };
        let base = self.outline(id, &mut declarator, level)?;
        self.base(base, &declarator.qualifiers, level)?;
        if !declarator.text.is_empty() {
            self.out.push(' ');
            self.out.push_str(&declarator.text);
        }
        self.depth -= 1;
        Ok(())
    }

    /// Declares what most are, `base ***name` or `base name[2]`, without building a declarator; false where it is more.
    fn declare_plainly(&mut self, id: TypeId, name: &str, level: usize) -> Result<bool> {
        let (mut pointers, mut len) = (0, None);
        let mut ty = self.table.get(id)?;
        for _ in 0..MAX_DEPTH {
            let next = match ty.shape {
                Shape::Ptr(to) if len.is_none() => {
                    pointers += 1;
                    to
                }
                Shape::Array(array) if pointers == 0 && len.is_none() => {
                    len = Some(array.len);
                    array.elem
                }
                Shape::Int(_)
                | Shape::Struct(_)
                | Shape::Union(_)
                | Shape::Enum(_)
                | Shape::Enum64(_)
                | Shape::Fwd { .. }
                | Shape::Typedef(_)
                | Shape::Float { .. }
                | Shape::Void => {
                    self.base(ty, &Qualifiers::default(), level)?;
                    if pointers > 0 || !name.is_empty() || len.is_some() {
                        self.out.push(' ');
                    }
                    self.out.extend(std::iter::repeat_n('*', pointers));
                    self.out.push_str(&valid(name));
                    if let Some(len) = len {
                        self.out.push('[');
                        self.number(len.into());
                        self.out.push(']');
                    }
                    return Ok(true);
                }
                _ => return Ok(false),
            };
            ty = self.table.get(next)?;
        }
        Ok(false)
    }

    /// Builds the declarator up to the type at its end, which it gives.
    fn outline(&mut self, id: TypeId, declarator: &mut Declarator<'_>, level: usize) -> Result<&'t Type<'a>> {
        let (mut at, mut ty) = (id, self.table.get(id)?);
        for _ in 0..MAX_DEPTH {
            let next = match ty.shape {
                Shape::Const(of) => {
                    declarator.qualifiers.is_const = true;
                    of
                }
                Shape::Volatile(of) => {
                    declarator.qualifiers.is_volatile = true;
                    of
                }
                Shape::Restrict(of) => {
                    declarator.qualifiers.is_restrict = true;
                    of
                }
                Shape::TypeTag { ty: of, attribute } => {
                    declarator.qualifiers.tag(ty.name, attribute);
                    of
                }
                Shape::Ptr(to) => {
                    declarator.point();
                    if self.is_suffixed(to)? {
                        declarator.parenthesize();
                    }
                    to
                }
                Shape::Array(array) => {
                    declarator.suffix(&format!("[{}]", array.len));
                    array.elem
                }
                Shape::FuncProto(proto) => {
                    let parameters = self.parameters(proto, level)?;
                    declarator.suffix(&parameters);
                    proto.ret
                }
                Shape::Func { .. } => {
                    return Err(no_value(at, self.table.function(at)?.map_or("", |it| it.0)));
                }
                _ => return Ok(ty),
            };
            (at, ty) = (next, self.table.get(next)?);
        }
        Err(Error::malformed(format!("type {id} leads through more than {MAX_DEPTH} types")))
    }

    /// Whether a pointer to the type needs parentheses; modifiers of arrays and functions mean nothing.
    fn is_suffixed(&self, mut id: TypeId) -> Result<bool> {
        for _ in 0..MAX_DEPTH {
            match self.table.get(id)?.shape {
                Shape::Const(of)
                | Shape::Volatile(of)
                | Shape::Restrict(of)
                | Shape::TypeTag { ty: of, .. } => {
                    id = of;
                }
                Shape::Array(_) | Shape::FuncProto(_) => return Ok(true),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// `(int a, ...)`
    fn parameters(&mut self, proto: Proto<'a>, level: usize) -> Result<String> {
        let outer = std::mem::take(&mut self.out);
        let count = proto.params.len();
        self.out.push('(');
        for (nth, param) in proto.params.iter().enumerate() {
            let param = param?;
            if nth > 0 {
                self.out.push_str(", ");
            }
            // A last one without type stands for more; a single one says that there are none.
            match param.ty == TypeId::VOID && nth + 1 == count {
                true if count == 1 => self.out.push_str("void"),
                true => self.out.push_str("..."),
                false => self.declare(param.ty, param.name, level)?,
            }
        }
        self.out.push_str(if count == 0 { "void)" } else { ")" });
        Ok(std::mem::replace(&mut self.out, outer))
    }

    /// The type at the left end of a declaration; without a name it is defined right here.
    fn base(&mut self, ty: &Type<'a>, qualifiers: &Qualifiers, level: usize) -> Result<()> {
        self.out.push_str(qualifiers.before());
        match ty.shape {
            Shape::Void => self.out.push_str("void"),
            Shape::Struct(composite) | Shape::Union(composite) if ty.name.is_empty() => {
                self.composite(ty, composite, level)?;
            }
            Shape::Enum(enumeration) | Shape::Enum64(enumeration) if ty.name.is_empty() => {
                self.enumeration(ty, enumeration, level)?;
            }
            Shape::Struct(_) | Shape::Union(_) | Shape::Enum(_) | Shape::Enum64(_) | Shape::Fwd { .. } => {
                self.tag(ty);
            }
            Shape::Int(_) if is_c_integer(ty.name) => self.out.push_str(ty.name),
            Shape::Int(_) | Shape::Typedef(_) if ty.name != "__builtin_va_list" => {
                let name = self.names.typedef(ty.id, ty.name);
                self.out.push_str(&name);
            }
            Shape::Typedef(_) => self.out.push_str(ty.name),
            Shape::Float { .. } => self.out.push_str(&c_float(ty.name)),
            _ => return Err(no_value(ty.id, &ty.describe())),
        }
        self.out.push_str(&qualifiers.tags);
        Ok(())
    }

    /// A number in decimal: there are tens of thousands of them, and formatting takes its time.
    fn number(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len() - 1;
        loop {
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
            first -= 1;
        }
        self.out.extend(digits[first..].iter().map(|&digit| char::from(digit)));
    }

    /// A new line, indented. Every line passes here, so this is where too much text ends.
    fn line(&mut self, level: usize) -> Result<()> {
        if self.out.len() > self.table.text_limit {
            return Err(Error::malformed("types without a name are repeated without end"));
        }
        const INDENTED: &str = "\n\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t";
        match INDENTED.get(..=level) {
            Some(indented) => self.out.push_str(indented),
            None => {
                self.out.push('\n');
                self.out.extend(std::iter::repeat_n('\t', level));
            }
        }
        Ok(())
    }
}

fn no_value(id: TypeId, what: &str) -> Error {
    Error::malformed(format!("type {id}: no value can have the type `{what}`"))
}

/// A name and what stands around it.
struct Declarator<'n> {
    text: Cow<'n, str>,
    /// Qualifiers of the type that comes next.
    qualifiers: Qualifiers,
}

#[derive(Default)]
struct Qualifiers {
    is_const: bool,
    is_volatile: bool,
    is_restrict: bool,
    /// Attributes, each with a space before it.
    tags: String,
}

impl Qualifiers {
    fn before(&self) -> &'static str {
        match (self.is_const, self.is_volatile) {
            (true, true) => "const volatile ",
            (true, false) => "const ",
            (false, true) => "volatile ",
            (false, false) => "",
        }
    }

    fn tag(&mut self, text: &str, attribute: bool) {
        let text = text.replace(['"', '\\', '\n'], "_");
        let _ = match attribute {
            true => write!(self.tags, " __attribute__(({text}))"),
            false => write!(self.tags, " __attribute__((btf_type_tag(\"{text}\")))"),
        };
    }
}

impl Declarator<'_> {
    fn point(&mut self) {
        let qualifiers = std::mem::take(&mut self.qualifiers);
        let restrict = if qualifiers.is_restrict { "restrict " } else { "" };
        let gap = if qualifiers.tags.is_empty() { "" } else { " " };
        let mut text = String::with_capacity(self.text.len() + 8);
        let parts = ["*", qualifiers.before(), restrict, qualifiers.tags.trim_start(), gap];
        parts.into_iter().for_each(|part| text.push_str(part));
        match self.text.is_empty() {
            true => text.truncate(text.trim_end().len()),
            false => text.push_str(&self.text),
        }
        self.text = text.into();
    }

    fn parenthesize(&mut self) {
        let text = self.text.to_mut();
        text.insert(0, '(');
        text.push(')');
    }

    /// GCC gives arrays and functions qualifiers that belong to their elements, or to nothing.
    fn suffix(&mut self, suffix: &str) {
        self.qualifiers = Qualifiers::default();
        self.text.to_mut().push_str(suffix);
    }
}

/// Whether C has an integer type of that name.
fn is_c_integer(name: &str) -> bool {
    !name.is_empty()
        && name.split(' ').all(|word| {
            matches!(word, "char" | "short" | "int" | "long" | "signed" | "unsigned" | "_Bool" | "__int128")
        })
}

fn c_float(name: &str) -> Cow<'_, str> {
    match name {
        "long double" | "double _Complex" => name.into(),
        _ => valid(name),
    }
}
