//! Values: bytes of memory, read by their type.
//!
//! One walk over type and bytes gives a tree of values; text, JSON and table cells are views of it. What the tree consists
//! of depends on the type alone, so the rows of a table match. Bytes that are missing make a value missing, bytes that are
//! left over are ignored or belong to an array without a length: a perf record is padded, and a program may send a prefix.
//! [`parse`] is the way back, from text to bytes.
//!
//! ```
//! use skep_btf::{cdecl, value};
//!
//! let declared = cdecl::parse("struct event { u32 pid; char comm[8]; enum { OPEN, CLOSE } op; }")?;
//! let (btf, event) = (&declared.btf, declared.main_type().expect("it was declared"));
//! let bytes = value::parse(btf, event, "{ .pid = 7, .comm = \"cat\", .op = CLOSE }")?;
//! assert_eq!(value::to_text(btf, event, &bytes), "{.pid = 7, .comm = \"cat\", .op = CLOSE}");
//! assert_eq!(value::to_json(btf, event, &bytes)?.to_string(), r#"{"pid":7,"comm":"cat","op":"CLOSE"}"#);
//! let row: Vec<String> = value::cells(btf, event, &bytes).into_iter().map(|cell| cell.text).collect();
//! assert_eq!(row, ["7", "cat", "CLOSE"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cells;
mod json;
pub mod kernel;
mod parse;
mod read;
mod scan;
mod text;

pub use cells::{Cell, cells};
pub use json::{per_cpu_to_json, to_json};
pub use parse::{ParseError, parse};
pub use text::{to_lines, to_text};

/// The slots of a per-CPU map's value, by CPU: each is padded to eight bytes, here they are without the padding.
pub fn per_cpu(bytes: &[u8], value_bytes: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(value_bytes.next_multiple_of(8).max(8)).map(move |slot| &slot[..value_bytes.min(slot.len())])
}
