//! The kinds of types.

use std::fmt;

/// What a type is. A kind that a newer kernel added is kept as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "BTF_KIND_UNKN")]
#[non_exhaustive]
pub enum Kind {
    /// Type 0: `void`.
    Void,
    /// Integer, character or boolean.
    Int,
    /// Pointer.
    Ptr,
    /// Array.
    Array,
    /// Structure.
    Struct,
    /// Union.
    Union,
    /// Enumeration with values of up to 32 bits.
    Enum,
    /// Structure or union known by name only.
    Fwd,
    /// Another name of a type.
    Typedef,
    /// `volatile`.
    Volatile,
    /// `const`.
    Const,
    /// `restrict`.
    Restrict,
    /// Function; its signature is a [`Kind::FuncProto`].
    Func,
    /// Signature.
    FuncProto,
    /// Global variable.
    Var,
    /// Section with its variables.
    Datasec,
    /// Floating-point number.
    Float,
    /// Tag of a declaration (`btf_decl_tag`).
    DeclTag,
    /// Tag of a type (`btf_type_tag`).
    TypeTag,
    /// Enumeration with values of 64 bits.
    Enum64,
    /// A kind that this crate does not know; only its size is known, and only where the BTF has a layout section.
    Other(u8),
}

impl Kind {
    /// Every known kind, at the index that is its number.
    pub const ALL: [Self; 20] = [
        Self::Void,
        Self::Int,
        Self::Ptr,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Fwd,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Func,
        Self::FuncProto,
        Self::Var,
        Self::Datasec,
        Self::Float,
        Self::DeclTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    /// The kind of that number (`enum` in `include/uapi/linux/btf.h`).
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other(code))
    }

    /// The number of the kind.
    pub fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            known => Self::ALL.iter().position(|&kind| kind == known).map_or(0, |code| code as u8),
        }
    }

    /// The C keyword in front of a type of this kind: `struct` for `struct task_struct`, empty where there is none.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Struct | Self::Fwd => "struct",
            Self::Union => "union",
            Self::Enum | Self::Enum64 => "enum",
            _ => "",
        }
    }

    /// Is it `const`, `volatile`, `restrict` or a type tag?
    pub fn is_modifier(self) -> bool {
        matches!(self, Self::Const | Self::Volatile | Self::Restrict | Self::TypeTag)
    }

    /// Is it a structure or union?
    pub fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    /// Is it an enumeration of either size?
    pub fn is_enum(self) -> bool {
        matches!(self, Self::Enum | Self::Enum64)
    }
}

impl fmt::Display for Kind {
    /// The name `bpftool btf dump` gives it, in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Void => "void",
            Self::Int => "int",
            Self::Ptr => "ptr",
            Self::Array => "array",
            Self::Struct => "struct",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Fwd => "fwd",
            Self::Typedef => "typedef",
            Self::Volatile => "volatile",
            Self::Const => "const",
            Self::Restrict => "restrict",
            Self::Func => "func",
            Self::FuncProto => "func_proto",
            Self::Var => "var",
            Self::Datasec => "datasec",
            Self::Float => "float",
            Self::DeclTag => "decl_tag",
            Self::TypeTag => "type_tag",
            Self::Enum64 => "enum64",
            Self::Other(code) => return write!(f, "kind {code}"),
        })
    }
}
