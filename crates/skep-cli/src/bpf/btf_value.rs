//! Values by their types, as bpftool's `formatted` members have them.
//!
//! Bitfields, numbers of 128 bits and, in text, pointers are hexadecimal; enumerators are names; arrays of `char` are strings
//! where all characters before a NUL can be printed. Floating-point numbers, which bpftool cannot show, are numbers.

use skep::btf::{Array, Btf, Composite, Enum, Int, Shape, Type, TypeId};

use super::btf::signature;
use super::failure::{Failure, Outcome};
use super::json::{Json, digit};

/// Corrupt types may contain themselves; none of the kernel's is as deep.
const DEPTH_MAX: usize = 64;

/// Writes values of some types.
pub(crate) struct Values<'a> {
    pub(crate) btf: &'a Btf,
    /// Is it for a person? Then some values need not be JSON.
    pub(crate) plain: bool,
    /// Are pointers to functions ids of programs, as in values of `struct_ops`? Then this gives their names.
    pub(crate) programs: Option<&'a dyn Fn(u32) -> Option<String>>,
}

impl Values<'_> {
    /// Writes the value of type `id` at the beginning of `bytes`.
    pub(crate) fn write(&self, json: &mut Json, id: TypeId, bytes: &[u8]) -> Outcome {
        self.value(json, id, 0, bytes, DEPTH_MAX)
    }

    fn value(&self, json: &mut Json, id: TypeId, bit: u32, bytes: &[u8], depth: usize) -> Outcome {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Failure::new(format!("type {id} contains itself")));
        };
        let ty = self.btf.resolve(id)?;
        match ty.shape {
            Shape::Int(int) => self.int(json, int, bit, bytes)?,
            Shape::Struct(record) | Shape::Union(record) => self.record(json, record, bytes, depth)?,
            Shape::Array(array) => self.array(json, array, bytes, depth)?,
            Shape::Enum(values) | Shape::Enum64(values) => enumerator(json, values, bytes)?,
            Shape::Ptr(to) => match self.function(to, take(bytes, 8)?)? {
                Some(text) => json.string(&text),
                None => self.pointer(json, take(bytes, 8)?),
            },
            Shape::Float { bytes: size } => float(json, take(bytes, size as usize)?),
            Shape::Var { ty: inner, .. } => {
                json.begin_object();
                json.name(ty.name);
                self.value(json, inner, 0, bytes, depth)?;
                json.end_object();
            }
            Shape::Datasec(section) => {
                json.begin_object();
                json.name(ty.name);
                json.begin_array();
                for var in section.vars.iter() {
                    let var = var?;
                    self.value(json, var.ty, 0, behind(bytes, var.offset as usize)?, depth)?;
                }
                json.end_array();
                json.end_object();
            }
            _ => self.shapeless(json, &ty),
        }
        Ok(())
    }

    fn shapeless(&self, json: &mut Json, ty: &Type<'_>) {
        let text = format!("({})", ty.describe());
        if self.plain { json.raw(&text) } else { json.string(&text) }
    }

    fn record(&self, json: &mut Json, record: Composite<'_>, bytes: &[u8], depth: usize) -> Outcome {
        json.begin_object();
        for member in record.members.iter() {
            let member = member?;
            json.name(member.name);
            let at = behind(bytes, member.bit_offset as usize / 8)?;
            let bit = member.bit_offset % 8;
            if member.bitfield_bits > 0 {
                self.bitfield(json, u32::from(member.bitfield_bits), bit, at)?;
            } else {
                self.value(json, member.ty, bit, at, depth)?;
            }
        }
        json.end_object();
        Ok(())
    }

    fn array(&self, json: &mut Json, array: Array, bytes: &[u8], depth: usize) -> Outcome {
        if let Some(text) = self.text(array, bytes)? {
            json.string(text);
            return Ok(());
        }
        let size = usize::try_from(self.btf.size_of(array.elem)?).unwrap_or(usize::MAX);
        json.begin_array();
        for index in 0..array.len as usize {
            self.value(json, array.elem, 0, behind(bytes, index.saturating_mul(size))?, depth)?;
        }
        json.end_array();
        Ok(())
    }

    /// The text in an array of `char`, if it is one: printable up to a NUL.
    fn text<'b>(&self, array: Array, bytes: &'b [u8]) -> Outcome<Option<&'b str>> {
        let element = self.btf.strip_modifiers(array.elem)?;
        let Shape::Int(int) = element.shape else { return Ok(None) };
        if int.bytes != 1 || !(int.encoding.char || element.name == "char") {
            return Ok(None);
        }
        let bytes = take(bytes, array.len as usize)?;
        let end = bytes.iter().position(|&byte| byte == 0);
        let text =
            end.map(|end| &bytes[..end]).filter(|text| text.iter().all(|byte| matches!(byte, 0x20..0x7f)));
        Ok(text.and_then(|text| std::str::from_utf8(text).ok()))
    }

    fn int(&self, json: &mut Json, int: Int, bit: u32, bytes: &[u8]) -> Outcome {
        let bits = u32::from(int.bits);
        let bit = bit + u32::from(int.bit_offset);
        if !bit.is_multiple_of(8) || !matches!(bits, 8 | 16 | 32 | 64 | 128) {
            return self.bitfield(json, bits, bit % 8, behind(bytes, bit as usize / 8)?);
        }
        let at = take(behind(bytes, bit as usize / 8)?, bits as usize / 8)?;
        let raw = little(at);
        if bits == 128 {
            self.hex(json, raw);
        } else if int.encoding.bool {
            json.boolean(raw != 0);
        } else if int.encoding.char {
            self.character(json, raw as u8);
        } else if int.encoding.signed {
            json.signed(((raw as i128) << (128 - bits) >> (128 - bits)) as i64);
        } else {
            json.unsigned(raw as u64);
        }
        Ok(())
    }

    fn character(&self, json: &mut Json, byte: u8) {
        match byte {
            0x20..0x7f => json.string(char::from(byte).encode_utf8(&mut [0; 4])),
            _ if self.plain => json.raw(&format!("{byte:#x}")),
            _ => json.raw(&format!("\"\\u00{byte:02x}\"")),
        }
    }

    fn bitfield(&self, json: &mut Json, bits: u32, bit: u32, bytes: &[u8]) -> Outcome {
        if bits == 0 || bits > 128 {
            return Err(Failure::new(format!("there is no integer of {bits} bits")));
        }
        let raw = little(take(bytes, (bit + bits).div_ceil(8).min(16) as usize)?) >> bit;
        self.hex(json, raw & (u128::MAX >> (128 - bits)));
        Ok(())
    }

    fn hex(&self, json: &mut Json, value: u128) {
        let text = format!("{value:#x}");
        if self.plain { json.raw(&text) } else { json.string(&text) }
    }

    /// A pointer to a function that is a program's id: its signature, and which program.
    fn function(&self, to: TypeId, bytes: &[u8]) -> Outcome<Option<String>> {
        let (Some(programs), Ok(id)) = (self.programs, u32::try_from(little(bytes))) else { return Ok(None) };
        let pointed = self.btf.strip_modifiers(to)?;
        if !matches!(pointed.shape, Shape::FuncProto(_)) {
            return Ok(None);
        }
        let signature = signature::of_pointer(self.btf, pointed.id)?;
        Ok(Some(match (id, programs(id)) {
            (0, _) => format!("{signature} 0"),
            (_, Some(name)) => format!("{signature} {name}/prog_id:{id}"),
            (_, None) => format!("{signature} <unknown_prog_name>/prog_id:{id}"),
        }))
    }

    fn pointer(&self, json: &mut Json, bytes: &[u8]) {
        let address = little(bytes) as u64;
        match (self.plain, address) {
            (false, _) => json.unsigned(address),
            (true, 0) => json.raw("(nil)"),
            (true, _) => json.raw(&format!("{address:#x}")),
        }
    }
}

fn enumerator(json: &mut Json, values: Enum<'_>, bytes: &[u8]) -> Outcome {
    let bytes = take(bytes, values.bytes as usize)?;
    let raw = little(bytes);
    let bits = 8 * values.bytes.clamp(1, 16);
    let signed = (raw as i128) << (128 - bits) >> (128 - bits);
    let value = if values.signed { signed } else { raw as i128 };
    for known in values.values.iter() {
        let known = known?;
        if known.value == value {
            json.string(known.name);
            return Ok(());
        }
    }
    // What has no name is a signed number, whatever the names are.
    json.raw(&signed.to_string());
    Ok(())
}

fn float(json: &mut Json, bytes: &[u8]) {
    let value = match *bytes {
        [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    };
    if value.is_finite() { json.raw(&value.to_string()) } else { json.string(&hex_text(bytes)) }
}

fn hex_text(bytes: &[u8]) -> String {
    let digits = bytes.iter().rev().flat_map(|&byte| [digit(byte >> 4), digit(byte)].map(char::from));
    "0x".chars().chain(digits).collect()
}

/// The number that bytes are, the least significant first; no more than sixteen.
fn little(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

fn take(bytes: &[u8], count: usize) -> Outcome<&[u8]> {
    bytes.get(..count).ok_or_else(short)
}

fn behind(bytes: &[u8], offset: usize) -> Outcome<&[u8]> {
    bytes.get(offset..).ok_or_else(short)
}

fn short() -> Failure {
    Failure::new("the value is shorter than its type says")
}
