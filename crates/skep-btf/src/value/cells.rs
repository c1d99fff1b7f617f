//! A value as the cells of a table row.

use super::read::{Node, read};
use super::text;
use crate::{Btf, TypeId};

/// The widest column that is kept for text before any was seen, and for names of enumerators.
const MAX_WIDTH: usize = 24;

/// One cell of a table, with what a column needs to know before any other row has come.
///
/// Name, width and side depend on the type alone.
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

/// A value as the cells of a table row: a structure gives one a member, nested ones theirs, anything else a single one.
/// A union gives one for each of its members. What the bytes do not hold is `-`.
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
            cells.push(Cell { name, text: text::cell(node), width, right });
        }
    }
}

/// How wide values like this one usually are, and where they stand.
fn column(node: &Node) -> (usize, bool) {
    match node {
        Node::Signed { bits, .. } | Node::Unsigned { bits, .. } => (digits(*bits), true),
        Node::Bool(_) => (5, false),
        Node::Char { .. } => (4, false),
        Node::Float(_) => (10, true),
        Node::Pointer(_) => (18, true),
        Node::Named { longest, .. } => ((*longest).clamp(4, MAX_WIDTH), false),
        Node::Text { capacity, .. } => ((*capacity).saturating_sub(1).clamp(4, MAX_WIDTH), false),
        Node::Wide(_) => (34, false),
        Node::Missing(like) => column(like),
        Node::List(_) | Node::Fields(_) | Node::Nothing => (0, false),
    }
}

/// Digits of numbers as they occur: the full width of 64 bits is rarely used, as in times and sizes.
fn digits(bits: u32) -> usize {
    match bits {
        0..=8 => 4,
        9..=16 => 6,
        17..=32 => 7,
        _ => 12,
    }
}
