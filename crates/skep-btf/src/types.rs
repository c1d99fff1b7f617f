//! One type as the bytes describe it.
//!
//! A [`Type`] borrows from its [`Btf`]; lists of members, values, parameters and variables are decoded as they are asked
//! for ([`Seq`]). That a list lies within the type section is checked when the type is read; names and what references
//! lead to are checked when they are used.

use std::fmt;
use std::marker::PhantomData;

use crate::record::{Record, TypeBytes};
use crate::{Btf, ByteOrder, Error, Kind, Result};

/// Number of a type; 0 is `void`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: Self = Self(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A type: its number, its name, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its number.
    pub id: TypeId,
    /// Its name, empty if it has none. The text of the tag for type tags and declaration tags.
    pub name: &'a str,
    /// What it is.
    pub shape: Shape<'a>,
}

/// What a type is, with the data of its kind.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Shape<'a> {
    /// `void`.
    Void,
    /// Integer, character or boolean.
    Int(Int),
    /// Pointer to a type.
    Ptr(TypeId),
    /// Array.
    Array(Array),
    /// Structure.
    Struct(Composite<'a>),
    /// Union.
    Union(Composite<'a>),
    /// Enumeration, written with 32-bit values.
    Enum(Enum<'a>),
    /// Structure or union known by name only.
    Fwd {
        /// A union?
        union: bool,
    },
    /// Another name of a type.
    Typedef(TypeId),
    /// `volatile` of a type.
    Volatile(TypeId),
    /// `const` of a type.
    Const(TypeId),
    /// `restrict` of a type.
    Restrict(TypeId),
    /// Function.
    Func {
        /// Its signature.
        proto: TypeId,
        /// Who sees it.
        linkage: Linkage,
    },
    /// Signature.
    FuncProto(Proto<'a>),
    /// Global variable.
    Var {
        /// Its type.
        ty: TypeId,
        /// Who sees it.
        linkage: Linkage,
    },
    /// Section with its variables.
    Datasec(Datasec<'a>),
    /// Floating-point number.
    Float {
        /// Its size.
        bytes: u32,
    },
    /// Tag of a declaration.
    DeclTag {
        /// What is tagged: a structure, union, typedef, variable or function.
        ty: TypeId,
        /// Which member or parameter of it; `None`: it as a whole.
        component: Option<u32>,
        /// Is the text an arbitrary attribute, instead of that of `btf_decl_tag`?
        attribute: bool,
    },
    /// Tag of a type.
    TypeTag {
        /// The type tagged.
        ty: TypeId,
        /// Is the text an arbitrary attribute, instead of that of `btf_type_tag`?
        attribute: bool,
    },
    /// Enumeration, written with 64-bit values.
    Enum64(Enum<'a>),
    /// A kind that is newer than this crate.
    Other {
        /// Its kind's number.
        kind: u8,
    },
}

/// An integer, character or boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// Bytes it takes in memory.
    pub bytes: u32,
    /// Bits of them that count.
    pub bits: u8,
    /// First bit that counts; not 0 only in old BTF, which had bit fields as types.
    pub bit_offset: u8,
    /// How to show it.
    pub encoding: IntEncoding,
}

/// What an integer's bits mean. A kernel's `bool` and `char` types set one flag; several may be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntEncoding {
    /// Signed?
    pub signed: bool,
    /// A character?
    pub char: bool,
    /// A truth value?
    pub bool: bool,
}

/// An array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Type of an element.
    pub elem: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// How many elements; 0 for a flexible array.
    pub len: u32,
}

/// A structure or union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    /// Its size.
    pub bytes: u32,
    /// Its members in order.
    pub members: Seq<'a, Member<'a>>,
}

/// A member of a structure or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous structure or union, whose members count as the outer's.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
    /// Where it begins.
    pub bit_offset: u32,
    /// Its width if it is a bit field, otherwise 0.
    pub bitfield_bits: u8,
}

/// Where a member lies and what it is: a [`Member`] without its name, which takes most of the time to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its type.
    pub ty: TypeId,
    /// Where it begins.
    pub bit_offset: u32,
    /// Its width if it is a bit field, otherwise 0.
    pub bitfield_bits: u8,
}

/// An enumeration.
#[derive(Clone, Copy, Debug)]
pub struct Enum<'a> {
    /// Its size.
    pub bytes: u32,
    /// Are the values signed?
    pub signed: bool,
    /// Its values in order.
    pub values: Seq<'a, EnumValue<'a>>,
}

/// A named value of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumValue<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it stands for: an `i64` or a `u64`.
    pub value: i128,
}

/// A signature.
#[derive(Clone, Copy, Debug)]
pub struct Proto<'a> {
    /// What the function returns.
    pub ret: TypeId,
    /// Its parameters. A last one of type `void` without name stands for `...`.
    pub params: Seq<'a, Param<'a>>,
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, which may be empty.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
}

/// A section with its variables.
#[derive(Clone, Copy, Debug)]
pub struct Datasec<'a> {
    /// Its size; compilers leave 0 for the loader to fill in.
    pub bytes: u32,
    /// Its variables by rising offset.
    pub vars: Seq<'a, SecVar>,
}

/// A variable's place in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVar {
    /// The variable; a function in sections of external functions.
    pub ty: TypeId,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its size.
    pub bytes: u32,
}

/// Who sees a function or a variable. A number that a newer kernel added is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "BTF_FUNC_STATIC")]
pub enum Linkage {
    /// The object only.
    Static,
    /// Other objects, too.
    Global,
    /// Defined elsewhere.
    Extern,
    /// Unknown.
    Other(u32),
}

impl Linkage {
    /// The linkage of that number.
    pub fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Static,
            1 => Self::Global,
            2 => Self::Extern,
            other => Self::Other(other),
        }
    }

    /// The number of the linkage.
    pub fn code(self) -> u32 {
        match self {
            Self::Static => 0,
            Self::Global => 1,
            Self::Extern => 2,
            Self::Other(code) => code,
        }
    }
}

impl<'a> Shape<'a> {
    /// What kind of type it is.
    pub fn kind(&self) -> Kind {
        match *self {
            Self::Void => Kind::Void,
            Self::Int(_) => Kind::Int,
            Self::Ptr(_) => Kind::Ptr,
            Self::Array(_) => Kind::Array,
            Self::Struct(_) => Kind::Struct,
            Self::Union(_) => Kind::Union,
            Self::Enum(_) => Kind::Enum,
            Self::Fwd { .. } => Kind::Fwd,
            Self::Typedef(_) => Kind::Typedef,
            Self::Volatile(_) => Kind::Volatile,
            Self::Const(_) => Kind::Const,
            Self::Restrict(_) => Kind::Restrict,
            Self::Func { .. } => Kind::Func,
            Self::FuncProto(_) => Kind::FuncProto,
            Self::Var { .. } => Kind::Var,
            Self::Datasec(_) => Kind::Datasec,
            Self::Float { .. } => Kind::Float,
            Self::DeclTag { .. } => Kind::DeclTag,
            Self::TypeTag { .. } => Kind::TypeTag,
            Self::Enum64(_) => Kind::Enum64,
            Self::Other { kind } => Kind::Other(kind),
        }
    }

    /// The structure or union, if it is one.
    pub fn composite(&self) -> Option<Composite<'a>> {
        match *self {
            Self::Struct(composite) | Self::Union(composite) => Some(composite),
            _ => None,
        }
    }

    /// The enumeration, if it is one, of either size.
    pub fn enumeration(&self) -> Option<Enum<'a>> {
        match *self {
            Self::Enum(enumeration) | Self::Enum64(enumeration) => Some(enumeration),
            _ => None,
        }
    }

    /// Decodes a record of which `end` is known to lie within the section.
    pub(crate) fn read(
        btf: &'a Btf,
        section: TypeBytes<'a>,
        id: TypeId,
        record: Record,
        end: usize,
    ) -> Result<Self> {
        RecordReader { btf, id, record, tail: section.tail(record, end), order: section.order }.shape()
    }
}

impl<'a> Type<'a> {
    pub(crate) const VOID: Type<'static> = Type { id: TypeId::VOID, name: "", shape: Shape::Void };

    /// What kind of type it is.
    pub fn kind(&self) -> Kind {
        self.shape.kind()
    }

    /// The structure or union, if it is one.
    pub fn composite(&self) -> Option<Composite<'a>> {
        self.shape.composite()
    }

    /// The enumeration, if it is one, of either size.
    pub fn enumeration(&self) -> Option<Enum<'a>> {
        self.shape.enumeration()
    }

    /// The type as `struct task_struct` or `u32` in a message; its id if it has no name.
    pub fn describe(&self) -> String {
        let keyword = match self.shape {
            Shape::Fwd { union: true } => "union",
            _ => self.kind().keyword(),
        };
        match (keyword, self.name) {
            ("", "") if self.id == TypeId::VOID => "void".to_owned(),
            ("", "") => format!("{} {}", self.kind(), self.id),
            ("", name) => name.to_owned(),
            (keyword, "") => format!("anonymous {keyword} {}", self.id),
            (keyword, name) => format!("{keyword} {name}"),
        }
    }

    /// Decodes a record of which `end` is known to lie within the section.
    pub(crate) fn read(btf: &'a Btf, id: TypeId, record: Record, end: usize) -> Result<Self> {
        let name = Self::read_name(btf, id, record)?;
        Ok(Type { id, name, shape: Shape::read(btf, btf.type_bytes(), id, record, end)? })
    }

    /// The name in the head of a record.
    pub(crate) fn read_name(btf: &'a Btf, id: TypeId, record: Record) -> Result<&'a str> {
        btf.string(record.name_off).map_err(|e| e.at(format_args!("name of type {id}")))
    }
}

/// What it takes to decode a record.
struct RecordReader<'a> {
    btf: &'a Btf,
    id: TypeId,
    record: Record,
    tail: &'a [u8],
    order: ByteOrder,
}

impl<'a> RecordReader<'a> {
    fn shape(&self) -> Result<Shape<'a>> {
        let (word, ty) = (self.record.word, TypeId(self.record.word));
        Ok(match Kind::from_code(self.record.kind_code()) {
            Kind::Void => Shape::Void,
            Kind::Int => Shape::Int(self.int()?),
            Kind::Ptr => Shape::Ptr(ty),
            Kind::Array => Shape::Array(self.array()?),
            Kind::Struct => Shape::Struct(Composite { bytes: word, members: self.seq(12) }),
            Kind::Union => Shape::Union(Composite { bytes: word, members: self.seq(12) }),
            Kind::Enum => Shape::Enum(self.enumeration(8)),
            Kind::Fwd => Shape::Fwd { union: self.record.flag() },
            Kind::Typedef => Shape::Typedef(ty),
            Kind::Volatile => Shape::Volatile(ty),
            Kind::Const => Shape::Const(ty),
            Kind::Restrict => Shape::Restrict(ty),
            Kind::Func => Shape::Func { proto: ty, linkage: Linkage::from_code(self.record.vlen() as u32) },
            Kind::FuncProto => Shape::FuncProto(Proto { ret: ty, params: self.seq(8) }),
            Kind::Var => Shape::Var { ty, linkage: Linkage::from_code(self.word(0)?) },
            Kind::Datasec => Shape::Datasec(Datasec { bytes: word, vars: self.seq(12) }),
            Kind::Float => Shape::Float { bytes: word },
            Kind::DeclTag => {
                let component = self.word(0)?;
                let component = (component != u32::MAX).then_some(component);
                Shape::DeclTag { ty, component, attribute: self.record.flag() }
            }
            Kind::TypeTag => Shape::TypeTag { ty, attribute: self.record.flag() },
            Kind::Enum64 => Shape::Enum64(self.enumeration(12)),
            Kind::Other(kind) => Shape::Other { kind },
        })
    }

    fn int(&self) -> Result<Int> {
        let data = self.word(0)?;
        let encoding = data >> 24;
        Ok(Int {
            bytes: self.record.word,
            bits: data as u8,
            bit_offset: (data >> 16) as u8,
            encoding: IntEncoding {
                signed: encoding & 1 != 0,
                char: encoding & 2 != 0,
                bool: encoding & 4 != 0,
            },
        })
    }

    fn array(&self) -> Result<Array> {
        Ok(Array { elem: TypeId(self.word(0)?), index: TypeId(self.word(4)?), len: self.word(8)? })
    }

    fn enumeration(&self, stride: usize) -> Enum<'a> {
        Enum { bytes: self.record.word, signed: self.record.flag(), values: self.seq(stride) }
    }

    fn seq<T>(&self, stride: usize) -> Seq<'a, T> {
        let Self { btf, id, tail, order, .. } = *self;
        let stride = stride as u8;
        Seq { btf, id, bytes: tail, order, stride, flag: self.record.flag(), item: PhantomData }
    }

    fn word(&self, off: usize) -> Result<u32> {
        self.order.u32(self.tail, off).ok_or_else(|| Error::malformed(format!("type {} is cut off", self.id)))
    }
}

/// A list in a type, decoded as it is read.
pub struct Seq<'a, T> {
    btf: &'a Btf,
    id: TypeId,
    bytes: &'a [u8],
    order: ByteOrder,
    /// Bytes of an element.
    stride: u8,
    /// The flag of the type, which says how to read its elements.
    flag: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Seq<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Seq<'_, T> {}

impl<T> fmt::Debug for Seq<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} elements]", self.len())
    }
}

impl<T> Seq<'_, T> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / usize::from(self.stride)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a, T: Element<'a>> Seq<'a, T> {
    /// The element at an index.
    pub fn get(&self, index: usize) -> Result<T> {
        let Some(words) = self.words(index) else {
            return Err(Error::not_found(format!(
                "type {} has {} elements, no number {index}",
                self.id,
                self.len()
            )));
        };
        T::decode(self, words).map_err(|e| e.at(format_args!("element {index} of type {}", self.id)))
    }

    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<T>> + use<'a, T> {
        let seq = *self;
        (0..self.len()).map(move |index| seq.get(index))
    }

    /// The bytes of an element.
    fn words(&self, index: usize) -> Option<&'a [u8]> {
        let stride = usize::from(self.stride);
        self.bytes.get(index.checked_mul(stride)?..)?.get(..stride)
    }

    fn word(&self, words: &[u8], nth: usize) -> u32 {
        self.order.u32(words, nth * 4).unwrap_or_default()
    }

    fn name(&self, words: &[u8]) -> Result<&'a str> {
        self.btf.string(self.word(words, 0))
    }
}

impl<'a> Seq<'a, Member<'a>> {
    /// The name of a member.
    pub(crate) fn name_of(&self, index: usize) -> Result<&'a str> {
        self.words(index).map_or(Ok(""), |words| self.name(words))
    }

    /// The members without their names.
    pub fn positions(&self) -> Seq<'a, Position> {
        let Self { btf, id, bytes, order, stride, flag, .. } = *self;
        Seq { btf, id, bytes, order, stride, flag, item: PhantomData }
    }
}

impl Proto<'_> {
    /// The types of the parameters, without reading their names.
    pub(crate) fn param_types(&self) -> impl Iterator<Item = TypeId> {
        let params = self.params;
        (0..params.len()).filter_map(move |nth| Some(TypeId(params.word(params.words(nth)?, 1))))
    }
}

/// An element of a [`Seq`].
pub trait Element<'a>: Sized + sealed::Sealed {
    /// Decodes an element from its bytes.
    #[doc(hidden)]
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Member<'_> {}
    impl Sealed for super::Position {}
    impl Sealed for super::EnumValue<'_> {}
    impl Sealed for super::Param<'_> {}
    impl Sealed for super::SecVar {}
}

impl<'a> Element<'a> for Member<'a> {
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self> {
        let Position { ty, bit_offset, bitfield_bits } = Position::decode(&seq.positions(), words)?;
        Ok(Self { name: seq.name(words)?, ty, bit_offset, bitfield_bits })
    }
}

impl<'a> Element<'a> for Position {
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self> {
        let place = seq.word(words, 2);
        // With the flag, the upper byte is the width of a bit field.
        let (bit_offset, bitfield_bits) =
            if seq.flag { (place & 0xff_ffff, (place >> 24) as u8) } else { (place, 0) };
        Ok(Self { ty: TypeId(seq.word(words, 1)), bit_offset, bitfield_bits })
    }
}

impl<'a> Element<'a> for EnumValue<'a> {
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self> {
        let low = seq.word(words, 1);
        let value = match (seq.stride, seq.flag) {
            (8, true) => i128::from(low as i32),
            (8, false) => i128::from(low),
            (_, signed) => {
                let value = u64::from(seq.word(words, 2)) << 32 | u64::from(low);
                if signed { i128::from(value as i64) } else { i128::from(value) }
            }
        };
        Ok(Self { name: seq.name(words)?, value })
    }
}

impl<'a> Element<'a> for Param<'a> {
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self> {
        Ok(Self { name: seq.name(words)?, ty: TypeId(seq.word(words, 1)) })
    }
}

impl<'a> Element<'a> for SecVar {
    fn decode(seq: &Seq<'a, Self>, words: &[u8]) -> Result<Self> {
        Ok(Self { ty: TypeId(seq.word(words, 0)), offset: seq.word(words, 1), bytes: seq.word(words, 2) })
    }
}
