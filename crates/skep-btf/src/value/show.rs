//! A tree of values → text, JSON, table cells.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::read::{Node, read};
use crate::{Btf, Result, TypeId};

/// One cell of a table, with what a column needs to know before any other row has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The member's name; nested ones as `outer.inner`, a value that is no structure has none.
    pub name: String,
    /// The value.
    pub text: String,
    /// Characters that values of its type usually need.
    pub width: usize,
    /// Do its values stand on the right side, as numbers do?
    pub right: bool,
}

/// A value as a JSON value: integers are exact, strings end at their zero, enumerators are names.
pub fn to_json(btf: &Btf, id: TypeId, bytes: &[u8]) -> Result<Value> {
    read(btf, id, bytes).map(json_of)
}

/// A value on one line, as C would initialise it; `<invalid type …>` where the type is damaged.
pub fn to_text(btf: &Btf, id: TypeId, bytes: &[u8]) -> String {
    match read(btf, id, bytes) {
        Ok(node) => text_of(&node, true),
        Err(error) => format!("<invalid type: {error}>"),
    }
}

/// A value as the cells of a table row: a structure gives one a member, nested ones theirs, anything else a single one.
pub fn cells(btf: &Btf, id: TypeId, bytes: &[u8]) -> Vec<Cell> {
    let node = match read(btf, id, bytes) {
        Ok(node) => node,
        Err(error) => {
            let text = format!("<invalid type: {error}>");
            return vec![Cell { name: String::new(), text, width: 0, right: false }];
        }
    };
    let mut cells = Vec::new();
    flatten(String::new(), &node, &mut cells);
    cells
}

fn flatten(name: String, node: &Node, cells: &mut Vec<Cell>) {
    match node {
        Node::Fields(fields) => {
            for (member, node) in fields {
                let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                flatten(name, node, cells);
            }
        }
        node => {
            let (width, right) = column(node);
            cells.push(Cell { name, text: text_of(node, false), width, right });
        }
    }
}

/// How wide values like this one usually are, and where they stand.
fn column(node: &Node) -> (usize, bool) {
    match node {
        Node::Signed { bits, .. } | Node::Unsigned { bits, .. } => (if *bits > 32 { 12 } else { 7 }, true),
        Node::Bool(_) => (5, false),
        Node::Char(_) => (4, false),
        Node::Float(_) => (10, true),
        Node::Pointer(_) => (18, true),
        Node::Named { .. } => (12, false),
        Node::Text(_) => (16, false),
        Node::Wide(_) | Node::List(_) | Node::Fields(_) | Node::Missing => (0, false),
    }
}

fn json_of(node: Node) -> Value {
    match node {
        Node::Signed { value, .. } => value.into(),
        Node::Unsigned { value, .. } | Node::Pointer(value) => value.into(),
        Node::Wide(bytes) => hex(&bytes).into(),
        Node::Bool(value) => value.into(),
        Node::Char(byte) => byte.into(),
        Node::Float(value) => json!(value),
        Node::Named { name, .. } => name.into(),
        Node::Text(bytes) => escape(&bytes).into(),
        Node::List(items) => items.into_iter().map(json_of).collect(),
        Node::Fields(fields) => {
            fields.into_iter().map(|(name, node)| (name, json_of(node))).collect::<Map<_, _>>().into()
        }
        Node::Missing => Value::Null,
    }
}

fn text_of(node: &Node, quoted: bool) -> String {
    match node {
        Node::Signed { value, .. } => value.to_string(),
        Node::Unsigned { value, .. } => value.to_string(),
        Node::Wide(bytes) => hex(bytes),
        Node::Bool(value) => value.to_string(),
        Node::Char(byte) if byte.is_ascii_graphic() => format!("'{}'", char::from(*byte)),
        Node::Char(byte) => byte.to_string(),
        Node::Float(value) => value.to_string(),
        Node::Pointer(value) => format!("{value:#x}"),
        Node::Named { name, .. } => name.clone(),
        Node::Text(bytes) if quoted => format!("\"{}\"", escape(bytes)),
        Node::Text(bytes) => escape(bytes),
        Node::List(items) => {
            let used = items.iter().rposition(|item| !is_zero(item)).map_or(0, |last| last + 1);
            let mut text: Vec<String> = items[..used].iter().map(|item| text_of(item, true)).collect();
            if used < items.len() {
                text.push(format!("0 (x{})", items.len() - used));
            }
            format!("[{}]", text.join(","))
        }
        Node::Fields(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, node)| format!(".{name} = {}", text_of(node, true))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Node::Missing => "-".to_owned(),
    }
}

fn is_zero(node: &Node) -> bool {
    matches!(node, Node::Signed { value: 0, .. } | Node::Unsigned { value: 0, .. } | Node::Pointer(0))
}

/// Most significant byte first, as a number is written.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().rev().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text as it is; control characters and bytes that are no UTF-8 as `\n`, `\x1b`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
