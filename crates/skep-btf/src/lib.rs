//! BPF types: what `.BTF` and `.BTF.ext` say.
//!
//! [`Btf`] reads lazily over shared bytes: parsing checks the header, and a look-up reads what it needs, so that the
//! megabytes of a kernel's types are neither copied nor parsed as a whole. [`Builder`] writes BTF. Takes and gives values
//! only: no I/O, and no panic or endless loop on any input.
//!
//! ```
//! use skep_btf::{Builder, IntEncoding, Kind, Member};
//!
//! let mut builder = Builder::new();
//! let int = builder.add_int("int", 4, IntEncoding { signed: true, ..Default::default() });
//! builder.add_struct("point", 8, &[
//!     Member { name: "x", ty: int, bit_offset: 0, bitfield_bits: 0 },
//!     Member { name: "y", ty: int, bit_offset: 32, bitfield_bits: 0 },
//! ]);
//! let btf = builder.finish_btf(None)?;
//!
//! let point = btf.type_by_id(btf.find("point", Kind::Struct).expect("it was just added"))?;
//! for member in point.composite().expect("it is a structure").members.iter() {
//!     let member = member?;
//!     assert_eq!(btf.size_of(member.ty)?, 4);
//!     assert!(["x", "y"].contains(&member.name));
//! }
//! # Ok::<(), skep_btf::Error>(())
//! ```
//!
//! The format is that of `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h` (Linux 6.18), in both byte orders.
#![forbid(unsafe_code)]

mod btf;
pub mod builder;
pub mod cdecl;
pub mod cdump;
mod copy;
pub mod core;
pub mod dedup;
mod error;
pub mod ext;
mod header;
mod index;
mod kind;
mod names;
mod order;
mod record;
mod resolve;
mod strings;
mod types;
pub mod value;

use std::sync::Arc;

pub use btf::Btf;
pub use builder::{Builder, Def};
pub use error::{Error, ErrorKind, Result};
pub use kind::Kind;
pub use order::ByteOrder;
pub use types::{
    Array, Composite, Datasec, Enum, EnumValue, Int, IntEncoding, Linkage, Member, Param, Position, Proto,
    SecVar, Seq, Shape, Type, TypeId,
};

/// Shared bytes, such as a mapped file or a vector.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;
