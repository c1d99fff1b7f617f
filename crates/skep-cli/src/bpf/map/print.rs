//! An element of a map: as hexadecimal bytes, and by its types.

use std::io::Write as _;

use skep::runtime::info::MapInfo;

use super::super::btf_value::Values;
use super::super::failure::Outcome;
use super::super::json::{Json, digit};
use super::super::shell::Shell;
use super::{Types, is_per_cpu};
use skep::btf::TypeId;

/// Writes the elements of one map.
pub(crate) struct Elements<'a> {
    pub(crate) info: &'a MapInfo,
    pub(crate) types: Option<&'a Types>,
    pub(crate) is_json: bool,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(shell: &Shell, info: &'a MapInfo, types: Option<&'a Types>) -> Self {
        Self { info, types, is_json: shell.is_json() }
    }

    /// One element. Text of a typed element is JSON in shape, on many lines.
    pub(crate) fn write(&self, json: &mut Json, key: &[u8], value: &[u8]) -> Outcome {
        match (self.is_json, self.types) {
            (true, types) => self.json(json, key, value, types),
            (false, Some(types)) => {
                json.begin_object();
                self.typed(json, key, value, types, true)?;
                json.end_object();
                Ok(())
            }
            (false, None) => {
                self.text(json, key, value);
                Ok(())
            }
        }
    }

    fn json(&self, json: &mut Json, key: &[u8], value: &[u8], types: Option<&Types>) -> Outcome {
        json.begin_object();
        json.name("key");
        json.hex(key);
        if is_per_cpu(self.info.map_type) {
            self.per_cpu(json, value, &mut |json, slot| {
                json.hex(slot);
                Ok(())
            })?;
        } else {
            json.name("value");
            json.hex(value);
        }
        if let Some(types) = types {
            json.name("formatted");
            json.begin_object();
            self.typed(json, key, value, types, false)?;
            json.end_object();
        }
        json.end_object();
        Ok(())
    }

    fn typed(&self, json: &mut Json, key: &[u8], value: &[u8], types: &Types, plain: bool) -> Outcome {
        let values = Values { btf: &types.btf, plain, programs: None };
        if types.key != TypeId::VOID {
            json.name("key");
            values.write(json, types.key, key)?;
        }
        if is_per_cpu(self.info.map_type) {
            return self.per_cpu(json, value, &mut |json, slot| values.write(json, types.value, slot));
        }
        json.name("value");
        values.write(json, types.value, value)
    }

    /// `"values": [{"cpu": 0, "value": …}, …]`
    fn per_cpu(
        &self,
        json: &mut Json,
        value: &[u8],
        write: &mut dyn FnMut(&mut Json, &[u8]) -> Outcome,
    ) -> Outcome {
        json.name("values");
        json.begin_array();
        for (cpu, slot) in (0_u32..).zip(skep::btf::value::per_cpu(value, self.info.value_size as usize)) {
            json.begin_object();
            json.unsigned_field("cpu", cpu);
            json.name("value");
            write(json, slot)?;
            json.end_object();
        }
        json.end_array();
        Ok(())
    }

    fn text(&self, json: &mut Json, key: &[u8], value: &[u8]) {
        let mut text = Vec::new();
        if is_per_cpu(self.info.map_type) {
            if !key.is_empty() {
                labelled(&mut text, "key:\n", key);
                text.push(b'\n');
            }
            for (cpu, slot) in skep::btf::value::per_cpu(value, self.info.value_size as usize).enumerate() {
                let _ = write!(text, "value (CPU {cpu:02}):{}", if slot.len() > 16 { '\n' } else { ' ' });
                labelled(&mut text, "", slot);
                text.push(b'\n');
            }
        } else {
            plain_text(&mut text, key, value);
        }
        json.bytes(&text);
    }
}

/// `key: …  value: …`, on one line where both are short.
fn plain_text(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let value_label = key_text(text, key, value.len());
    if !value.is_empty() {
        labelled(text, value_label, value);
    }
    text.push(b'\n');
}

/// The same with why there is no value to show.
pub(crate) fn unreadable_text(text: &mut Vec<u8>, key: &[u8], why: &str) {
    let value_label = key_text(text, key, why.len());
    let _ = writeln!(text, "{value_label}{why}");
}

/// The key, if there is one, and the label of a value that takes so much room.
fn key_text(text: &mut Vec<u8>, key: &[u8], value_bytes: usize) -> &'static str {
    let breaks = key.len() > 16 || value_bytes > 16;
    let single_line = key.len() + value_bytes <= 24 && !breaks;
    let (key_label, value_label) = if breaks { ("key:\n", "value:\n") } else { ("key: ", "value: ") };
    if !key.is_empty() {
        labelled(text, key_label, key);
        text.extend_from_slice(if single_line { b"  " } else { b"\n" });
    }
    value_label
}

fn labelled(text: &mut Vec<u8>, label: &str, bytes: &[u8]) {
    text.extend_from_slice(label.as_bytes());
    hex_text(text, bytes);
}

/// `01 02 …`: sixteen bytes a line, a gap in the middle.
pub(crate) fn hex_text(text: &mut Vec<u8>, bytes: &[u8]) {
    for (at, &byte) in bytes.iter().enumerate() {
        match at % 16 {
            0 if at > 0 => text.push(b'\n'),
            0 => {}
            8 => text.extend_from_slice(b"  "),
            _ => text.push(b' '),
        }
        text.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &[u8], value: &[u8]) -> String {
        let mut text = Vec::new();
        plain_text(&mut text, key, value);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn short_elements_take_a_line_and_long_ones_several() {
        assert_eq!(text(&[1, 2], &[0xff]), "key: 01 02  value: ff\n");
        assert_eq!(text(&[1; 10], &[2; 15]).lines().count(), 2);
        let long = text(&[1], &[2; 17]);
        assert_eq!(long.lines().collect::<Vec<_>>()[3], "02 02 02 02 02 02 02 02  02 02 02 02 02 02 02 02");
        assert_eq!(long.lines().count(), 5);
        assert_eq!(text(&[], &[7]), "value: 07\n");
    }
}
