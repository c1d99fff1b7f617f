//! BPF types: what `.BTF` and `.BTF.ext` say.
//!
//! [`Btf`] reads lazily over shared bytes: parsing checks the header, and a look-up reads what it needs, so that the
//! megabytes of a kernel's types are neither copied nor parsed as a whole. [`Builder`] writes BTF. Takes and gives values
//! only: no I/O, and no panic or endless loop on any input.
//!
//! The format is that of `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h` (Linux 6.18), in both byte orders.
#![forbid(unsafe_code)]

mod btf;
pub mod builder;
pub mod core;
mod error;
pub mod ext;
mod header;
mod index;
mod kind;
mod order;
mod record;
mod resolve;
mod strings;
mod types;

use std::sync::Arc;

pub use btf::Btf;
pub use builder::{Builder, Def};
pub use error::{Error, ErrorKind, Result};
pub use kind::Kind;
pub use order::ByteOrder;
pub use types::{
    Array, Composite, Datasec, Enum, EnumValue, Int, IntEncoding, Linkage, Member, Param, Proto, SecVar, Seq,
    Shape, Type, TypeId,
};

/// Shared bytes, such as a mapped file or a vector.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;
