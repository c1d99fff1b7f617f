//! A value as JSON.

use serde_json::{Map, Value, json};

use super::read::{Node, read};
use super::{per_cpu, text};
use crate::{Btf, Result, TypeId};

/// A value as a JSON value.
///
/// Integers are exact, enumerators are names, strings end at their NUL with `\xNN` for what is not UTF-8. Numbers of more
/// than 64 bits are strings in hexadecimal; what the bytes do not hold is `null`.
pub fn to_json(btf: &Btf, id: TypeId, bytes: &[u8]) -> Result<Value> {
    read(btf, id, bytes).map(json_of)
}

/// The value of a per-CPU map, with a slot for each CPU: `[{"cpu": 0, "value": …}, …]`, as bpftool writes it.
pub fn per_cpu_to_json(btf: &Btf, id: TypeId, bytes: &[u8]) -> Result<Value> {
    let value_bytes = usize::try_from(btf.size_of(id)?).unwrap_or(usize::MAX / 2);
    let slots = per_cpu(bytes, value_bytes).enumerate();
    slots.map(|(cpu, slot)| Ok(json!({ "cpu": cpu, "value": to_json(btf, id, slot)? }))).collect()
}

fn json_of(node: Node) -> Value {
    match node {
        Node::Signed { value, .. } | Node::Char { value } => value.into(),
        Node::Unsigned { value, .. } | Node::Pointer(value) => value.into(),
        Node::Wide(bytes) => text::hex(&bytes).into(),
        Node::Bool(value) => value.into(),
        // JSON has no infinities.
        Node::Float(value) if !value.is_finite() => value.to_string().into(),
        Node::Float(value) => value.into(),
        Node::Named { name: Some(name), .. } => name.into(),
        Node::Named { value, .. } => match u64::try_from(value) {
            Ok(value) => value.into(),
            Err(_) => (value as i64).into(),
        },
        Node::Text { bytes, .. } => string(&bytes).into(),
        Node::List(items) => items.into_iter().map(json_of).collect(),
        Node::Fields(fields) => {
            let fields = fields.into_iter().map(|(name, node)| (name, json_of(node)));
            fields.collect::<Map<_, _>>().into()
        }
        Node::Missing(_) | Node::Nothing => Value::Null,
    }
}

/// JSON escapes what it must by itself; only bytes that no string can hold are left to do.
fn string(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
