//! Text → bytes of a type: what `--set VAR=VALUE` says.

use std::fmt;

use crate::{Btf, Shape, TypeId};

/// Why a text is no value of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl From<crate::Error> for ParseError {
    fn from(error: crate::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads a value: numbers (`-1`, `0x1f`, `0b11`, `'a'`), `true` and `false`, names of enumerators, text for character
/// arrays, and comma-separated lists for other arrays (`1,2,3`, or in brackets).
pub fn parse(btf: &Btf, id: TypeId, text: &str) -> Result<Vec<u8>, ParseError> {
    let ty = btf.resolve(id)?;
    let text = text.trim();
    match ty.shape {
        Shape::Int(int) if int.encoding.bool => boolean(text).map(|value| {
            let mut bytes = vec![0; int.bytes as usize];
            bytes[0] = u8::from(value);
            bytes
        }),
        Shape::Int(int) => integer(number(text)?, int.bytes, int.encoding.signed, ty.name),
        Shape::Ptr(_) => integer(number(text)?, btf.pointer_bytes(), false, "a pointer"),
        Shape::Float { bytes } => float(text, bytes),
        Shape::Enum(en) | Shape::Enum64(en) => {
            let named = en.values.iter().filter_map(Result::ok).find(|named| named.name == text);
            let value = match named {
                Some(named) => named.value,
                None => number(text).map_err(|_| {
                    let names: Vec<&str> =
                        en.values.iter().filter_map(Result::ok).map(|v| v.name).take(12).collect();
                    ParseError(format!("`{text}` is none of {}", names.join(", ")))
                })?,
            };
            integer(value, en.bytes, en.signed, ty.name)
        }
        Shape::Array(array) => list(btf, array.elem, array.len as usize, text),
        _ => Err(ParseError(format!("a value of {} cannot be given as text", ty.describe()))),
    }
}

fn boolean(text: &str) -> Result<bool, ParseError> {
    match text {
        "true" | "1" | "y" | "yes" | "on" => Ok(true),
        "false" | "0" | "n" | "no" | "off" => Ok(false),
        _ => Err(ParseError(format!("`{text}` is neither true nor false"))),
    }
}

fn number(text: &str) -> Result<i128, ParseError> {
    let not_a_number = || ParseError(format!("`{text}` is not a number"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i128::from_str_radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2)
    } else if let Some(octal) = digits.strip_prefix('0').filter(|octal| !octal.is_empty()) {
        i128::from_str_radix(octal.trim_start_matches('o'), 8)
    } else if let [b'\'', byte, b'\''] = digits.as_bytes() {
        return Ok(i128::from(*byte));
    } else {
        digits.parse::<i128>()
    };
    let value = value.map_err(|_| not_a_number())?;
    Ok(if negative { -value } else { value })
}

/// The little-endian bytes of a number that fits.
fn integer(value: i128, bytes: u32, signed: bool, name: &str) -> Result<Vec<u8>, ParseError> {
    let bits = bytes.saturating_mul(8).clamp(1, 126);
    let (least, most) =
        if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    if value < least || value > most {
        return Err(ParseError(format!("{value} does not fit in `{name}` ({least}..{most})")));
    }
    let mut out = value.to_le_bytes().to_vec();
    out.resize(bytes as usize, if value < 0 { 0xff } else { 0 });
    Ok(out)
}

fn float(text: &str, bytes: u32) -> Result<Vec<u8>, ParseError> {
    let value: f64 = text.parse().map_err(|_| ParseError(format!("`{text}` is not a number")))?;
    match bytes {
        4 => Ok((value as f32).to_le_bytes().to_vec()),
        8 => Ok(value.to_le_bytes().to_vec()),
        _ => Err(ParseError(format!("floating-point numbers of {bytes} bytes are not supported"))),
    }
}

fn list(btf: &Btf, elem: TypeId, len: usize, text: &str) -> Result<Vec<u8>, ParseError> {
    let elem_type = btf.resolve(elem)?;
    let elem_bytes = usize::try_from(btf.size_of(elem)?).unwrap_or(usize::MAX);
    let is_text = matches!(elem_type.shape, Shape::Int(int) if int.bytes == 1 && elem_type.name == "char");
    let mut out = if is_text {
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        text.as_bytes().to_vec()
    } else {
        let inner = text.trim_start_matches(['[', '{']).trim_end_matches([']', '}']);
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items: Vec<Vec<u8>> = items.map(|item| parse(btf, elem, item)).collect::<Result<_, _>>()?;
        items.concat()
    };
    let room = len.saturating_mul(elem_bytes);
    if out.len() > room {
        let what = if is_text { "bytes of text" } else { "elements" };
        let given = out.len() / elem_bytes.max(1);
        return Err(ParseError(format!("{given} {what} do not fit in an array of {len}")));
    }
    out.resize(room, 0);
    Ok(out)
}
