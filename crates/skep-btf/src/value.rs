//! Values: bytes of memory, read by their type.
//!
//! One walk over type and bytes gives a `Node` tree; text, JSON and table cells are views of it. Bytes that are missing
//! make a node missing, bytes that are left over are ignored: a perf record is padded, and a program may send a
//! prefix. [`parse()`] is the way back, from text to bytes.

mod parse;
mod read;
mod show;

pub use parse::{ParseError, parse};
pub use show::{Cell, cells, to_json, to_text};
