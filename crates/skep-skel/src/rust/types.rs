//! BTF types as Rust types that implement `skep::plain::Plain`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use skep_btf::{Btf, Composite, Enum, Int, Kind, Result, Shape, TypeId};

use super::keyword_free;

/// Structures in structures that are looked into.
const DEPTH_MAX: usize = 64;

/// The types that are written, and those that are still to be.
pub(super) struct Types<'a> {
    btf: Option<&'a Btf>,
    names: HashMap<TypeId, String>,
    taken: HashSet<String>,
    waiting: Vec<TypeId>,
}

/// A member as the structure has it.
struct Field {
    name: String,
    ty: String,
    place: Place,
}

enum Place {
    Byte(u32),
    /// A bit field; how its bits become a value.
    Bits {
        at: u32,
        width: u32,
        what: Bits,
    },
}

enum Bits {
    Unsigned,
    Signed,
    Bool,
    Enum { number: String },
}

impl<'a> Types<'a> {
    pub(super) fn new(btf: Option<&'a Btf>) -> Self {
        Self { btf, names: HashMap::new(), taken: HashSet::new(), waiting: Vec::new() }
    }

    /// The Rust type of a key, a value or a variable, seen from outside the module of types; `bytes` are its size where
    /// there is no BTF.
    pub(super) fn outside(&mut self, id: TypeId, bytes: u32, hint: &str) -> Result<String> {
        match (self.btf, id) {
            (Some(btf), id) if id != TypeId::VOID => {
                // What a variable points to is often there for its type's sake: `const struct event *unused`.
                if let Shape::Ptr(to) = btf.resolve(id)?.shape {
                    self.pointee(btf, to)?;
                }
                self.rust_type(id, hint, "types::")
            }
            _ if bytes == 4 => Ok("u32".to_owned()),
            _ if bytes == 8 => Ok("u64".to_owned()),
            _ => Ok(format!("[u8; {bytes}]")),
        }
    }

    fn pointee(&mut self, btf: &'a Btf, to: TypeId) -> Result<()> {
        let target = btf.resolve(to)?;
        if to != TypeId::VOID && target.composite().is_some() && !target.name.is_empty() {
            self.rust_type(to, "", "")?;
        }
        Ok(())
    }

    /// Structures that are records by their names, wherever they are used.
    pub(super) fn events(&mut self) -> Result<()> {
        let Some(btf) = self.btf else { return Ok(()) };
        for ty in btf.types() {
            let ty = ty?;
            let says_so = ty.name == "event"
                || ty.name == "event_t"
                || ty.name == "data_t"
                || ty.name.ends_with("_event");
            let is_named_record = match ty.kind() {
                Kind::Struct | Kind::Union => says_so,
                Kind::Typedef => says_so && btf.resolve(ty.id)?.composite().is_some(),
                _ => false,
            };
            // The kernel's own have many members and programs see only some of them: they are no records.
            if is_named_record && !ty.name.starts_with("perf_") && !ty.name.starts_with("trace_event") {
                self.rust_type(ty.id, "", "")?;
            }
        }
        Ok(())
    }

    /// The Rust type of `id`; `hint` names it if nothing else does, `prefix` is the path to the module of types.
    fn rust_type(&mut self, id: TypeId, hint: &str, prefix: &str) -> Result<String> {
        let Some(btf) = self.btf else { return Ok("()".to_owned()) };
        // What has a size is no array or name of itself, as damaged types may be.
        btf.size_of(id)?;
        let (id, typedef) = named(btf, id)?;
        let ty = btf.type_by_id(id)?;
        Ok(match ty.shape {
            Shape::Int(int) => number(&int),
            Shape::Float { bytes: 4 } => "f32".to_owned(),
            Shape::Float { bytes: 8 } => "f64".to_owned(),
            Shape::Float { bytes } => format!("[u8; {bytes}]"),
            Shape::Ptr(_) => "u64".to_owned(),
            Shape::Array(array) if is_char(btf, array.elem)? => format!("::skep::plain::Text<{}>", array.len),
            Shape::Array(array) => {
                let elem = self.rust_type(array.elem, hint, prefix)?;
                format!("[{elem}; {}]", array.len)
            }
            Shape::Struct(_) | Shape::Union(_) | Shape::Enum(_) | Shape::Enum64(_) => {
                let own =
                    [ty.name, typedef, hint].into_iter().find(|name| !name.is_empty()).unwrap_or("anonymous");
                format!("{prefix}{}", self.named_type(id, own))
            }
            _ => format!("[u8; {}]", btf.size_of(id)?),
        })
    }

    /// The name of a structure, union or enumeration, which is written sooner or later.
    fn named_type(&mut self, id: TypeId, wanted: &str) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        const PRIMITIVE: [&str; 20] = [
            "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
            "f64", "bool", "char", "str", "Self", "Copy", "Clone",
        ];
        let mut name = keyword_free(wanted);
        if PRIMITIVE.contains(&name.as_str()) {
            name.push('_');
        }
        let mut free = name.clone();
        let mut number = 1;
        while !self.taken.insert(free.clone()) {
            number += 1;
            free = format!("{name}_{number}");
        }
        self.names.insert(id, free.clone());
        self.waiting.push(id);
        free
    }

    /// Writes all types that are used, and those that they use.
    pub(super) fn finish(mut self) -> Result<String> {
        let mut out = String::new();
        let Some(btf) = self.btf else { return Ok(out) };
        while let Some(id) = self.waiting.pop() {
            let name = self.names.get(&id).cloned().unwrap_or_default();
            let ty = btf.type_by_id(id)?;
            match ty.shape {
                Shape::Struct(body) => self.structure(&mut out, btf, &name, ty.name, &body)?,
                Shape::Union(body) => self.union(&mut out, btf, &name, ty.name, &body)?,
                Shape::Enum(body) | Shape::Enum64(body) => enumeration(&mut out, &name, &body)?,
                _ => {}
            }
        }
        Ok(out)
    }

    fn structure(
        &mut self,
        out: &mut String,
        btf: &'a Btf,
        name: &str,
        c_name: &str,
        body: &Composite<'a>,
    ) -> Result<()> {
        let mut fields = Vec::new();
        self.fields(btf, name, body, 0, &mut fields)?;
        let derives = derives(btf, body)?;
        describe(out, "struct", c_name, body.bytes);
        let _ = writeln!(out, "#[derive({derives})]\npub struct {name} {{");
        for field in &fields {
            let _ = writeln!(out, "    pub {}: {},", field.name, field.ty);
        }
        let _ = write!(
            out,
            "}}\nimpl Default for {name} {{\n    fn default() -> Self {{ ::skep::plain::Plain::read(&[]) }}\n}}\n\
             impl ::skep::plain::Plain for {name} {{\n    const BYTES: usize = {};\n    fn read(bytes: &[u8]) -> Self {{\n        Self {{\n",
            body.bytes
        );
        for field in &fields {
            let _ = writeln!(out, "            {}: {},", field.name, field.reader());
        }
        out.push_str("        }\n    }\n    fn write(&self, to: &mut [u8]) {\n");
        for field in &fields {
            let _ = writeln!(out, "        {};", field.writer());
        }
        out.push_str("    }\n}\n\n");
        Ok(())
    }

    /// The members of a structure; those of anonymous structures count as its own.
    fn fields(
        &mut self,
        btf: &'a Btf,
        parent: &str,
        body: &Composite<'a>,
        base: u32,
        fields: &mut Vec<Field>,
    ) -> Result<()> {
        for member in body.members.iter() {
            let member = member?;
            let at = base.saturating_add(member.bit_offset);
            let target = btf.resolve(member.ty)?;
            if member.name.is_empty() {
                match target.shape {
                    Shape::Struct(inner) if fields.len() < 4096 => {
                        self.fields(btf, parent, &inner, at, fields)?;
                    }
                    Shape::Union(_) => self.anonymous_union(parent, member.ty, at, fields)?,
                    // Bits without a name are padding.
                    _ => {}
                }
                continue;
            }
            let name = keyword_free(member.name);
            let bits = match target.shape {
                Shape::Int(int) if u32::from(int.bits) != int.bytes * 8 && member.bitfield_bits == 0 => {
                    int.bits
                }
                _ => member.bitfield_bits,
            };
            if bits != 0 {
                let old_offset = match target.shape {
                    Shape::Int(int) => u32::from(int.bit_offset),
                    _ => 0,
                };
                fields.push(self.bit_field(btf, name, member.ty, at + old_offset, u32::from(bits))?);
            } else if btf.size_of(member.ty)? > 0 {
                let ty = self.rust_type(member.ty, &format!("{parent}_{}", member.name), "")?;
                fields.push(Field { name, ty, place: Place::Byte(at / 8) });
            }
        }
        Ok(())
    }

    fn anonymous_union(&mut self, parent: &str, id: TypeId, at: u32, fields: &mut Vec<Field>) -> Result<()> {
        let count = fields.iter().filter(|field| field.name.starts_with("anon")).count();
        let name = if count == 0 { "anon".to_owned() } else { format!("anon_{}", count + 1) };
        let ty = self.rust_type(id, &format!("{parent}_{name}"), "")?;
        fields.push(Field { name, ty, place: Place::Byte(at / 8) });
        Ok(())
    }

    fn bit_field(&mut self, btf: &'a Btf, name: String, id: TypeId, at: u32, width: u32) -> Result<Field> {
        let ty = self.rust_type(id, &name, "")?;
        let what = match btf.resolve(id)?.shape {
            Shape::Int(int) if int.encoding.bool => Bits::Bool,
            Shape::Int(int) if int.encoding.signed => Bits::Signed,
            Shape::Enum(body) | Shape::Enum64(body) => Bits::Enum { number: enum_number(&body) },
            _ => Bits::Unsigned,
        };
        Ok(Field { name, ty, place: Place::Bits { at, width, what } })
    }

    fn union(
        &mut self,
        out: &mut String,
        btf: &'a Btf,
        name: &str,
        c_name: &str,
        body: &Composite<'a>,
    ) -> Result<()> {
        let bytes = body.bytes;
        describe(out, "union", c_name, bytes);
        let _ = write!(
            out,
            "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\npub struct {name} {{\n    bytes: [u8; {bytes}],\n}}\n\
             impl Default for {name} {{\n    fn default() -> Self {{ Self {{ bytes: [0; {bytes}] }} }}\n}}\n\
             impl ::skep::plain::Plain for {name} {{\n    const BYTES: usize = {bytes};\n    \
             fn read(bytes: &[u8]) -> Self {{ Self {{ bytes: ::skep::plain::field(bytes, 0) }} }}\n    \
             fn write(&self, to: &mut [u8]) {{ ::skep::plain::put(to, 0, &self.bytes) }}\n}}\nimpl {name} {{\n"
        );
        let mut fields = Vec::new();
        self.fields(btf, name, body, 0, &mut fields)?;
        for Field { name, ty, place } in &fields {
            // Bit fields of unions are rare, and their whole number can be had by another member.
            let Place::Byte(at) = place else { continue };
            let setter = name.trim_start_matches("r#");
            let _ = write!(
                out,
                "    pub fn {name}(&self) -> {ty} {{ ::skep::plain::field(&self.bytes, {at}) }}\n    \
                 pub fn set_{setter}(&mut self, value: &{ty}) {{ ::skep::plain::put(&mut self.bytes, {at}, value) }}\n"
            );
        }
        out.push_str("}\n\n");
        Ok(())
    }
}

impl Field {
    fn reader(&self) -> String {
        match &self.place {
            Place::Byte(at) => format!("::skep::plain::field(bytes, {at})"),
            Place::Bits { at, width, what } => {
                let bits = format!("::skep::plain::bits(bytes, {at}, {width})");
                match what {
                    Bits::Unsigned => format!("{bits} as {}", self.ty),
                    Bits::Signed => {
                        format!("::skep::plain::signed_bits(bytes, {at}, {width}) as {}", self.ty)
                    }
                    Bits::Bool => format!("{bits} != 0"),
                    Bits::Enum { number } => format!("{}({bits} as {number})", self.ty),
                }
            }
        }
    }

    fn writer(&self) -> String {
        let name = &self.name;
        match &self.place {
            Place::Byte(at) => format!("::skep::plain::put(to, {at}, &self.{name})"),
            Place::Bits { at, width, what } => {
                let value = match what {
                    Bits::Enum { .. } => format!("self.{name}.0"),
                    _ => format!("self.{name}"),
                };
                format!("::skep::plain::put_bits(to, {at}, {width}, {value} as u64)")
            }
        }
    }
}

/// The type without modifiers, and the name that the last typedef on the way gives it.
fn named(btf: &Btf, mut id: TypeId) -> Result<(TypeId, &str)> {
    // Refuses circles.
    btf.resolve(id)?;
    let mut name = "";
    loop {
        let ty = btf.type_by_id(id)?;
        match ty.shape {
            Shape::Typedef(to) => {
                name = ty.name;
                id = to;
            }
            Shape::Const(to) | Shape::Volatile(to) | Shape::Restrict(to) => id = to,
            Shape::TypeTag { ty: to, .. } => id = to,
            _ => return Ok((id, name)),
        }
    }
}

fn is_char(btf: &Btf, id: TypeId) -> Result<bool> {
    let (id, _) = named(btf, id)?;
    let ty = btf.type_by_id(id)?;
    Ok(matches!(ty.shape, Shape::Int(Int { bytes: 1, .. })) && ty.name == "char")
}

fn number(int: &Int) -> String {
    let sign = if int.encoding.signed { 'i' } else { 'u' };
    match int.bytes {
        1 if int.encoding.bool => "bool".to_owned(),
        1 | 2 | 4 | 8 | 16 => format!("{sign}{}", int.bytes * 8),
        bytes => format!("[u8; {bytes}]"),
    }
}

fn enum_number(body: &Enum<'_>) -> String {
    format!("{}{}", if body.signed { 'i' } else { 'u' }, body.bytes.clamp(1, 8) * 8)
}

/// What the structure can derive: floating point numbers have no total order and no hash.
fn derives(btf: &Btf, body: &Composite<'_>) -> Result<&'static str> {
    Ok(if has_float(btf, body, 0)? {
        "Clone, Copy, Debug, PartialEq"
    } else {
        "Clone, Copy, Debug, PartialEq, Eq, Hash"
    })
}

fn has_float(btf: &Btf, body: &Composite<'_>, depth: usize) -> Result<bool> {
    for member in body.members.iter() {
        let member = member?;
        btf.size_of(member.ty)?;
        let mut ty = btf.resolve(member.ty)?;
        while let Shape::Array(array) = ty.shape {
            ty = btf.resolve(array.elem)?;
        }
        let inside = match ty.shape {
            Shape::Float { .. } => true,
            Shape::Struct(inner) if depth < DEPTH_MAX => has_float(btf, &inner, depth + 1)?,
            _ => false,
        };
        if inside {
            return Ok(true);
        }
    }
    Ok(false)
}

fn describe(out: &mut String, keyword: &str, c_name: &str, bytes: u32) {
    let what = if c_name.is_empty() {
        format!("A {keyword} without a name")
    } else {
        format!("`{keyword} {c_name}`")
    };
    let _ = writeln!(out, "/// {what}, {bytes} bytes.");
}

/// A number with names, so that values without one are values, too.
fn enumeration(out: &mut String, name: &str, body: &Enum<'_>) -> Result<()> {
    let number = enum_number(body);
    let _ = write!(
        out,
        "#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub struct {name}(pub {number});\nimpl {name} {{\n"
    );
    let mut arms = String::new();
    let mut seen = HashSet::new();
    for value in body.values.iter() {
        let value = value?;
        let constant = keyword_free(value.name);
        let _ = writeln!(out, "    pub const {constant}: Self = Self({});", value.value);
        if seen.insert(value.value) {
            let _ = writeln!(arms, "            Self::{constant} => \"{}\",", value.name);
        }
    }
    let _ = write!(
        out,
        "    pub fn name(self) -> Option<&'static str> {{\n        Some(match self {{\n{arms}            _ => return None,\n        }})\n    }}\n}}\n\
         impl ::std::fmt::Debug for {name} {{\n    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{\n        \
         match self.name() {{\n            Some(name) => f.pad(name),\n            None => ::std::fmt::Debug::fmt(&self.0, f),\n        }}\n    }}\n}}\n\
         impl ::skep::plain::Plain for {name} {{\n    const BYTES: usize = {};\n    \
         fn read(bytes: &[u8]) -> Self {{ Self(::skep::plain::Plain::read(bytes)) }}\n    \
         fn write(&self, to: &mut [u8]) {{ self.0.write(to) }}\n}}\n\n",
        body.bytes
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::damaged;

    #[test]
    fn types_of_themselves_are_refused() {
        for words in [
            // An array of itself, a name for itself, and a structure with the array in it.
            vec![0, 3 << 24, 0, 1, 1, 2],
            vec![1, 8 << 24, 1],
            vec![1, 4 << 24 | 1, 8, 1, 2, 0, 0, 3 << 24, 0, 2, 2, 2],
        ] {
            let btf = damaged(&words);
            let mut types = Types::new(Some(&btf));
            let outside = types.outside(TypeId(1), 8, "");
            assert!(outside.is_err() || types.finish().is_err(), "{words:?}");
        }
    }
}
