//! eBPF objects from open to events: the public face of Skep.
//!
//! The way of an object, one stage a function:
//!
//! ```text
//! open ──▶ Object ──set_variable──▶ Object ──link(host::target)──▶ Linked ──load──▶ Loaded ──attach──▶ links
//!                                                                                     │
//!                                       results ◀── elements ◀── maps ◀───────────────┴──▶ buffers ──▶ records
//! ```
//!
//! Everything from [`load()`] on speaks to a [`runtime::Runtime`] and does not know which one it is.
#![deny(unsafe_code)]

#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod choose;
pub mod defaults;
#[cfg(feature = "user")]
pub mod doctor;
pub mod error;
pub mod features;
pub mod host;
pub mod load;
pub mod packets;
pub mod plain;
pub mod records;
pub mod results;
pub mod source;
pub mod typed;
pub mod variables;

pub use error::{Error, Result};
pub use load::{Loaded, LoadedMap, LoadedProgram, load};
pub use skep_btf as btf;
pub use skep_isa as isa;
pub use skep_obj as object;
pub use skep_runtime as runtime;
pub use source::open;
