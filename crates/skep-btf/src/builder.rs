//! Writes BTF: standalone, or split from a base.
//!
//! Types get their ids in the order they are added, so a type may name ids that come later; [`Builder::reserve`] keeps
//! one free for a type that others must name first. Equal strings are stored once; types are written as given, without
//! deduplication, and nothing checks that references make sense.

use std::collections::HashMap;
use std::sync::Arc;

use crate::header::{HEADER_BYTES, MAGIC};
use crate::{
    Array, Btf, ByteOrder, EnumValue, Int, IntEncoding, Kind, Linkage, Member, Param, Result, SecVar, TypeId,
};

/// A type to be written: what [`crate::Shape`] is for reading.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are those of `Shape` and the structures it holds")]
pub enum Def<'a> {
    /// Integer, character or boolean.
    Int { name: &'a str, int: Int },
    /// Pointer.
    Ptr(TypeId),
    /// Array.
    Array(Array),
    /// Structure.
    Struct { name: &'a str, bytes: u32, members: &'a [Member<'a>] },
    /// Union.
    Union { name: &'a str, bytes: u32, members: &'a [Member<'a>] },
    /// Enumeration with 32-bit values; bits beyond are cut off.
    Enum { name: &'a str, bytes: u32, signed: bool, values: &'a [EnumValue<'a>] },
    /// Structure or union known by name only.
    Fwd { name: &'a str, union: bool },
    /// Another name of a type.
    Typedef { name: &'a str, ty: TypeId },
    /// `volatile`.
    Volatile(TypeId),
    /// `const`.
    Const(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// Function.
    Func { name: &'a str, proto: TypeId, linkage: Linkage },
    /// Signature.
    FuncProto { ret: TypeId, params: &'a [Param<'a>] },
    /// Global variable.
    Var { name: &'a str, ty: TypeId, linkage: Linkage },
    /// Section with its variables.
    Datasec { name: &'a str, bytes: u32, vars: &'a [SecVar] },
    /// Floating-point number.
    Float { name: &'a str, bytes: u32 },
    /// Tag of a declaration.
    DeclTag { name: &'a str, ty: TypeId, component: Option<u32>, attribute: bool },
    /// Tag of a type.
    TypeTag { name: &'a str, ty: TypeId, attribute: bool },
    /// Enumeration with 64-bit values.
    Enum64 { name: &'a str, bytes: u32, signed: bool, values: &'a [EnumValue<'a>] },
}

/// Collects types and writes them as the bytes of a `.BTF` section.
#[derive(Debug)]
pub struct Builder {
    order: ByteOrder,
    first_id: u32,
    first_string: u32,
    /// Each type's record.
    records: Vec<Vec<u8>>,
    strings: Vec<u8>,
    string_offsets: HashMap<Box<str>, u32>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A builder of standalone BTF in this machine's byte order.
    pub fn new() -> Self {
        Self::with_order(ByteOrder::NATIVE)
    }

    /// A builder of standalone BTF in that byte order.
    pub fn with_order(order: ByteOrder) -> Self {
        Self {
            order,
            first_id: 1,
            first_string: 0,
            records: Vec::new(),
            strings: vec![0],
            string_offsets: HashMap::from([("".into(), 0)]),
        }
    }

    /// A builder of split BTF that continues `base`; types may name the base's ids.
    pub fn split(base: &Btf) -> Self {
        Self {
            first_id: base.len() as u32,
            first_string: base.strings_end(),
            strings: Vec::new(),
            ..Self::with_order(base.byte_order())
        }
    }

    /// A builder that begins with everything in `btf`: ids and string offsets stay, types can be replaced
    /// ([`Builder::set`]) and added.
    pub fn from_btf(btf: &Btf) -> Result<Self> {
        let mut builder = Self::with_order(btf.byte_order());
        builder.first_id = btf.first_id().0;
        builder.first_string = btf.first_string();
        builder.strings = btf.string_section().to_vec();
        if builder.strings.is_empty() && btf.base().is_none() {
            builder.strings.push(0);
        }
        let section = btf.type_bytes();
        let mut off = 0;
        while off < section.bytes.len() {
            let (_, end) = section.record(off)?;
            builder.records.push(section.bytes[off..end].to_vec());
            off = end;
        }
        Ok(builder)
    }

    /// The id that the next type gets.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.first_id + self.records.len() as u32)
    }

    /// Adds a type.
    pub fn add(&mut self, def: Def<'_>) -> TypeId {
        let id = self.next_id();
        let record = self.encode(def);
        self.records.push(record);
        id
    }

    /// Keeps an id for a type that is given later by [`Builder::set`]; until then it is a structure without name.
    pub fn reserve(&mut self) -> TypeId {
        self.add(Def::Struct { name: "", bytes: 0, members: &[] })
    }

    /// Gives another meaning to an id of this builder; ids of the base and ids not yet given are left alone.
    pub fn set(&mut self, id: TypeId, def: Def<'_>) {
        let record = self.encode(def);
        let nth = id.0.checked_sub(self.first_id).map(|nth| nth as usize);
        if let Some(slot) = nth.and_then(|nth| self.records.get_mut(nth)) {
            *slot = record;
        }
    }

    /// Adds an integer all of whose bits count.
    pub fn add_int(&mut self, name: &str, bytes: u32, encoding: IntEncoding) -> TypeId {
        let bits = u8::try_from(bytes * 8).unwrap_or(u8::MAX);
        self.add(Def::Int { name, int: Int { bytes, bits, bit_offset: 0, encoding } })
    }

    /// Adds a pointer.
    pub fn add_ptr(&mut self, ty: TypeId) -> TypeId {
        self.add(Def::Ptr(ty))
    }

    /// Adds an array.
    pub fn add_array(&mut self, elem: TypeId, index: TypeId, len: u32) -> TypeId {
        self.add(Def::Array(Array { elem, index, len }))
    }

    /// Adds a structure.
    pub fn add_struct(&mut self, name: &str, bytes: u32, members: &[Member<'_>]) -> TypeId {
        self.add(Def::Struct { name, bytes, members })
    }

    /// Adds a union.
    pub fn add_union(&mut self, name: &str, bytes: u32, members: &[Member<'_>]) -> TypeId {
        self.add(Def::Union { name, bytes, members })
    }

    /// Adds an enumeration of 4 bytes.
    pub fn add_enum(&mut self, name: &str, signed: bool, values: &[EnumValue<'_>]) -> TypeId {
        self.add(Def::Enum { name, bytes: 4, signed, values })
    }

    /// Adds an enumeration of 8 bytes.
    pub fn add_enum64(&mut self, name: &str, signed: bool, values: &[EnumValue<'_>]) -> TypeId {
        self.add(Def::Enum64 { name, bytes: 8, signed, values })
    }

    /// Adds a structure or union known by name only.
    pub fn add_fwd(&mut self, name: &str, union: bool) -> TypeId {
        self.add(Def::Fwd { name, union })
    }

    /// Adds another name of a type.
    pub fn add_typedef(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(Def::Typedef { name, ty })
    }

    /// Adds a `const` type.
    pub fn add_const(&mut self, ty: TypeId) -> TypeId {
        self.add(Def::Const(ty))
    }

    /// Adds a `volatile` type.
    pub fn add_volatile(&mut self, ty: TypeId) -> TypeId {
        self.add(Def::Volatile(ty))
    }

    /// Adds a `restrict` type.
    pub fn add_restrict(&mut self, ty: TypeId) -> TypeId {
        self.add(Def::Restrict(ty))
    }

    /// Adds a signature.
    pub fn add_func_proto(&mut self, ret: TypeId, params: &[Param<'_>]) -> TypeId {
        self.add(Def::FuncProto { ret, params })
    }

    /// Adds a function.
    pub fn add_func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(Def::Func { name, proto, linkage })
    }

    /// Adds a global variable.
    pub fn add_var(&mut self, name: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        self.add(Def::Var { name, ty, linkage })
    }

    /// Adds a section.
    pub fn add_datasec(&mut self, name: &str, bytes: u32, vars: &[SecVar]) -> TypeId {
        self.add(Def::Datasec { name, bytes, vars })
    }

    /// Adds a floating-point number.
    pub fn add_float(&mut self, name: &str, bytes: u32) -> TypeId {
        self.add(Def::Float { name, bytes })
    }

    /// Adds a `btf_decl_tag`.
    pub fn add_decl_tag(&mut self, name: &str, ty: TypeId, component: Option<u32>) -> TypeId {
        self.add(Def::DeclTag { name, ty, component, attribute: false })
    }

    /// Adds a `btf_type_tag`.
    pub fn add_type_tag(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(Def::TypeTag { name, ty, attribute: false })
    }

    /// The offset of a string, which is stored if it is new.
    pub fn add_string(&mut self, string: &str) -> u32 {
        // A NUL would end the string for every reader.
        let string = string.split('\0').next().unwrap_or_default();
        if let Some(&off) = self.string_offsets.get(string) {
            return off;
        }
        let off = self.first_string + self.strings.len() as u32;
        self.strings.extend(string.as_bytes());
        self.strings.push(0);
        self.string_offsets.insert(string.into(), off);
        off
    }

    /// The bytes of the section.
    pub fn finish(self) -> Vec<u8> {
        let type_bytes: usize = self.records.iter().map(Vec::len).sum();
        let mut out = Vec::with_capacity(HEADER_BYTES as usize + type_bytes + self.strings.len());
        self.order.put_u16(&mut out, MAGIC);
        out.extend([1, 0]);
        let (types, strings) = (type_bytes as u32, self.strings.len() as u32);
        for word in [HEADER_BYTES, 0, types, types, strings] {
            self.order.put_u32(&mut out, word);
        }
        for record in &self.records {
            out.extend(record);
        }
        out.extend(&self.strings);
        out
    }

    /// The bytes of the section, parsed; `base` is what the builder was split from, if it was.
    pub fn finish_btf(self, base: Option<Arc<Btf>>) -> Result<Btf> {
        let bytes = Arc::new(self.finish());
        match base {
            Some(base) => Btf::parse_split(bytes, base),
            None => Btf::parse(bytes),
        }
    }

    fn encode(&mut self, def: Def<'_>) -> Vec<u8> {
        match def {
            Def::Int { name, int } => {
                let mut record = self.record(name, Kind::Int, int.bytes);
                record.word(int_word(int));
                record
            }
            Def::Ptr(ty) => self.record("", Kind::Ptr, ty.0),
            Def::Array(array) => {
                let mut record = self.record("", Kind::Array, 0);
                record.words([array.elem.0, array.index.0, array.len]);
                record
            }
            Def::Struct { name, bytes, members } => self.composite(name, Kind::Struct, bytes, members),
            Def::Union { name, bytes, members } => self.composite(name, Kind::Union, bytes, members),
            Def::Enum { name, bytes, signed, values } => {
                self.enumeration(name, Kind::Enum, bytes, signed, values)
            }
            Def::Enum64 { name, bytes, signed, values } => {
                self.enumeration(name, Kind::Enum64, bytes, signed, values)
            }
            Def::Fwd { name, union } => self.record(name, Kind::Fwd, 0).flag(union),
            Def::Typedef { name, ty } => self.record(name, Kind::Typedef, ty.0),
            Def::Volatile(ty) => self.record("", Kind::Volatile, ty.0),
            Def::Const(ty) => self.record("", Kind::Const, ty.0),
            Def::Restrict(ty) => self.record("", Kind::Restrict, ty.0),
            Def::Func { name, proto, linkage } => {
                self.record(name, Kind::Func, proto.0).vlen(linkage.code() as usize)
            }
            Def::FuncProto { ret, params } => self.func_proto(ret, params),
            Def::Var { name, ty, linkage } => {
                let mut record = self.record(name, Kind::Var, ty.0);
                record.word(linkage.code());
                record
            }
            Def::Datasec { name, bytes, vars } => {
                let mut record = self.record(name, Kind::Datasec, bytes).vlen(vars.len());
                for var in vars {
                    record.words([var.ty.0, var.offset, var.bytes]);
                }
                record
            }
            Def::Float { name, bytes } => self.record(name, Kind::Float, bytes),
            Def::DeclTag { name, ty, component, attribute } => {
                let mut record = self.record(name, Kind::DeclTag, ty.0).flag(attribute);
                record.word(component.unwrap_or(u32::MAX));
                record
            }
            Def::TypeTag { name, ty, attribute } => self.record(name, Kind::TypeTag, ty.0).flag(attribute),
        }
        .finish()
    }

    fn composite(&mut self, name: &str, kind: Kind, bytes: u32, members: &[Member<'_>]) -> RecordWriter {
        let bitfields = members.iter().any(|member| member.bitfield_bits != 0);
        let mut record = self.record(name, kind, bytes).vlen(members.len()).flag(bitfields);
        for member in members {
            let place = member.bit_offset | u32::from(member.bitfield_bits) << 24;
            record.words([self.add_string(member.name), member.ty.0, place]);
        }
        record
    }

    fn enumeration(
        &mut self,
        name: &str,
        kind: Kind,
        bytes: u32,
        signed: bool,
        values: &[EnumValue<'_>],
    ) -> RecordWriter {
        let mut record = self.record(name, kind, bytes).vlen(values.len()).flag(signed);
        for value in values {
            record.words([self.add_string(value.name), value.value as u32]);
            if kind == Kind::Enum64 {
                record.word((value.value >> 32) as u32);
            }
        }
        record
    }

    fn func_proto(&mut self, ret: TypeId, params: &[Param<'_>]) -> RecordWriter {
        let mut record = self.record("", Kind::FuncProto, ret.0).vlen(params.len());
        for param in params {
            record.words([self.add_string(param.name), param.ty.0]);
        }
        record
    }

    fn record(&mut self, name: &str, kind: Kind, word: u32) -> RecordWriter {
        let name_off = self.add_string(name);
        RecordWriter {
            order: self.order,
            info: u32::from(kind.code()) << 24,
            name_off,
            word,
            tail: Vec::new(),
        }
    }
}

/// A record in the making.
struct RecordWriter {
    order: ByteOrder,
    name_off: u32,
    info: u32,
    word: u32,
    tail: Vec<u8>,
}

impl RecordWriter {
    fn vlen(mut self, vlen: usize) -> Self {
        self.info |= vlen as u32 & 0xff_ffff;
        self
    }

    fn flag(mut self, flag: bool) -> Self {
        self.info |= u32::from(flag) << 31;
        self
    }

    fn word(&mut self, word: u32) {
        self.order.put_u32(&mut self.tail, word);
    }

    fn words<const N: usize>(&mut self, words: [u32; N]) {
        for word in words {
            self.word(word);
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut record = Vec::with_capacity(12 + self.tail.len());
        for word in [self.name_off, self.info, self.word] {
            self.order.put_u32(&mut record, word);
        }
        record.extend(self.tail);
        record
    }
}

fn int_word(int: Int) -> u32 {
    let IntEncoding { signed, char, bool } = int.encoding;
    let encoding = u32::from(signed) | u32::from(char) << 1 | u32::from(bool) << 2;
    encoding << 24 | u32::from(int.bit_offset) << 16 | u32::from(int.bits)
}
