//! A value as text: on one line, on many, or as a cell.

use std::fmt::Write as _;

use super::read::{Node, read};
use crate::{Btf, TypeId};

/// How values that consist of others are spread over lines.
#[derive(Clone, Copy)]
enum Lines {
    One,
    /// One for each member, indented by so many tabs.
    Many(usize),
}

impl Lines {
    fn deeper(self) -> Self {
        match self {
            Lines::One => Lines::One,
            Lines::Many(level) => Lines::Many(level + 1),
        }
    }
}

/// A value on one line, as C would initialise it; `<invalid type …>` where the type is damaged.
pub fn to_text(btf: &Btf, id: TypeId, bytes: &[u8]) -> String {
    text_of(btf, id, bytes, Lines::One)
}

/// A value as C would initialise it, with a line for each member.
pub fn to_lines(btf: &Btf, id: TypeId, bytes: &[u8]) -> String {
    text_of(btf, id, bytes, Lines::Many(0))
}

fn text_of(btf: &Btf, id: TypeId, bytes: &[u8], lines: Lines) -> String {
    match read(btf, id, bytes) {
        Ok(node) => {
            let mut out = String::new();
            write_node(&mut out, &node, lines);
            out
        }
        Err(error) => format!("<invalid type: {error}>"),
    }
}

/// A value without the quotes that a cell needs not.
pub(super) fn cell(node: &Node) -> String {
    match node {
        Node::Text { bytes, .. } => printable(bytes, false),
        node => {
            let mut out = String::new();
            write_node(&mut out, node, Lines::One);
            out
        }
    }
}

fn write_node(out: &mut String, node: &Node, lines: Lines) {
    let _ = match node {
        Node::Signed { value, .. } => write!(out, "{value}"),
        Node::Unsigned { value, .. } => write!(out, "{value}"),
        Node::Wide(bytes) => write!(out, "{}", hex(bytes)),
        Node::Bool(value) => write!(out, "{value}"),
        Node::Char { value } => match u8::try_from(*value) {
            Ok(byte) if byte.is_ascii_graphic() || byte == b' ' => write!(out, "'{}'", char::from(byte)),
            _ => write!(out, "{value}"),
        },
        Node::Float(value) => write!(out, "{value}"),
        Node::Pointer(value) => write!(out, "{value:#x}"),
        Node::Named { name: Some(name), .. } => write!(out, "{name}"),
        Node::Named { value, .. } => write!(out, "{value}"),
        Node::Text { bytes, .. } => write!(out, "\"{}\"", printable(bytes, true)),
        Node::List(items) => {
            write_list(out, items, lines);
            Ok(())
        }
        Node::Fields(fields) => {
            write_fields(out, fields, lines);
            Ok(())
        }
        Node::Missing(_) | Node::Nothing => write!(out, "-"),
    };
}

/// Zeros at the end are counted, not written.
fn write_list(out: &mut String, items: &[Node], lines: Lines) {
    let used = items.iter().rposition(|item| !is_zero(item)).map_or(0, |last| last + 1);
    let used = if items.len() - used > 1 { used } else { items.len() };
    let spread = items.iter().any(|item| matches!(item, Node::Fields(_)));
    let lines = if spread { lines } else { Lines::One };
    out.push('[');
    for (nth, item) in items[..used].iter().enumerate() {
        separate(out, lines, nth, ",");
        write_node(out, item, lines.deeper());
    }
    if used < items.len() {
        separate(out, lines, used, ",");
        let _ = write!(out, "0 (x{})", items.len() - used);
    }
    close(out, lines, items.is_empty(), ']');
}

fn write_fields(out: &mut String, fields: &[(String, Node)], lines: Lines) {
    out.push('{');
    for (nth, (name, node)) in fields.iter().enumerate() {
        separate(out, lines, nth, ", ");
        let _ = write!(out, ".{name} = ");
        write_node(out, node, lines.deeper());
    }
    close(out, lines, fields.is_empty(), '}');
}

fn separate(out: &mut String, lines: Lines, nth: usize, between: &str) {
    match lines {
        Lines::One if nth > 0 => out.push_str(between),
        Lines::One => {}
        Lines::Many(level) => {
            out.push_str(if nth > 0 { ",\n" } else { "\n" });
            out.extend(std::iter::repeat_n('\t', level + 1));
        }
    }
}

fn close(out: &mut String, lines: Lines, empty: bool, bracket: char) {
    if let Lines::Many(level) = lines
        && !empty
    {
        out.push_str(",\n");
        out.extend(std::iter::repeat_n('\t', level));
    }
    out.push(bracket);
}

fn is_zero(node: &Node) -> bool {
    matches!(node, Node::Signed { value: 0, .. } | Node::Unsigned { value: 0, .. } | Node::Pointer(0))
}

/// The most significant byte comes first.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text as it is; control characters, and bytes that are no UTF-8, as `\n`, `\x1b`. In quotes, quotes and backslashes
/// are escaped, too.
pub(super) fn printable(bytes: &[u8], quoted: bool) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' if quoted => text.extend(['\\', c]),
                '\n' | '\r' | '\t' => text.extend(c.escape_default()),
                c if c.is_control() || is_invisible(c) => {
                    let mut utf8 = [0; 4];
                    c.encode_utf8(&mut utf8).bytes().for_each(|byte| push_hex(&mut text, byte));
                }
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(&mut text, *byte));
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}");
}

/// Characters that change how others look: a traced program must not rearrange what its observer sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
