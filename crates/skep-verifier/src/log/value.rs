//! A register or stack slot as a log shows it, read back: `map_value_or_null(id=3,map=counts,ks=4,vs=8)`.
//!
//! Takes what kernels since 5.0 write. Numbers were `inv` until 5.17 and bounds `umax_value` until 6.6; both are read
//! as what they are called now.

/// What a register or slot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The name of its type: `scalar`, `map_value_or_null`, `trusted_ptr_task_struct`; for data on the stack, `data`.
    pub kind: String,
    /// The number it is for certain.
    pub number: Option<i64>,
    /// Does safety depend on its number?
    pub precise: bool,
    /// Registers of the same id have the same value; 0 for none.
    pub id: u32,
    /// The reference it owns or belongs to; 0 for none.
    pub ref_obj_id: u32,
    /// The frame that a stack pointer points into, where that is another one's.
    pub frame: Option<u32>,
    /// Name of the map.
    pub map: Option<String>,
    /// Bytes of the map's value.
    pub value_size: Option<u64>,
    /// Fixed offset.
    pub off: i64,
    /// Packet bytes that were compared with the end; negative beyond it.
    pub range: Option<i64>,
    /// Bytes of the memory.
    pub size: Option<u64>,
    /// Least value read as signed.
    pub smin: Option<i64>,
    /// Greatest value read as signed.
    pub smax: Option<i64>,
    /// Least value read as unsigned.
    pub umin: Option<u64>,
    /// Greatest value read as unsigned.
    pub umax: Option<u64>,
}

impl Value {
    /// Reads a value; what is not understood is left out, so this always gives one.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let data = |c: char| "?rm0dif".contains(c);
        if text.len() == 8 && text.chars().all(data) {
            return Self { kind: "data".to_owned(), ..Self::default() };
        }
        // Bytes above a narrow spill: `mmmmscalar()`, `????5`.
        let spilled = text.trim_start_matches(['?', 'm']);
        let text = if text.len() - spilled.len() >= 4 { spilled } else { text };
        let (head, list) = match text.split_once('(') {
            Some((head, rest)) => (head, rest.strip_suffix(')').unwrap_or(rest)),
            None => (text, ""),
        };
        let mut value = Self::head(head);
        for item in items(list, ',') {
            value.item(item);
        }
        value
    }

    fn head(head: &str) -> Self {
        let (precise, bare) = match head.strip_prefix('P') {
            Some(rest) => (true, rest),
            None => (false, head),
        };
        if let Some(number) = number(bare) {
            return Self { kind: "scalar".to_owned(), number: Some(number), precise, ..Self::default() };
        }
        if let Some(rest) = bare.strip_prefix("inv") {
            let (marked, rest) = match rest.strip_prefix('P') {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let precise = precise || marked;
            return Self { kind: "scalar".to_owned(), number: number(rest), precise, ..Self::default() };
        }
        if let Some(rest) = bare.strip_prefix("fp") {
            return Self::stack(rest);
        }
        Self { kind: bare.to_owned(), precise, ..Self::default() }
    }

    /// `-8`, `[1]-8`, or nothing where the offset follows in the list.
    fn stack(rest: &str) -> Self {
        let (frame, off) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((frame, off)) => (frame.parse().ok().filter(|frame| *frame < 64), off),
            None => (None, rest),
        };
        Self { kind: "fp".to_owned(), frame, off: number(off).unwrap_or(0), ..Self::default() }
    }

    /// One of `key=value` or `key=key=value`.
    fn item(&mut self, item: &str) {
        let Some((keys, text)) = item.rsplit_once('=') else { return };
        for key in keys.split('=') {
            self.set(key, text);
        }
    }

    fn set(&mut self, key: &str, text: &str) {
        let signed = number(text);
        let unsigned = signed.map(|n| n as u64);
        match key {
            // A sum of another number and a constant is written `id=5+3`.
            "id" => self.id = text.split(['+', '-']).next().and_then(|id| id.parse().ok()).unwrap_or(0),
            "ref_obj_id" | "ref_id" => self.ref_obj_id = text.parse().unwrap_or(0),
            "map" => self.map = Some(text.to_owned()),
            "vs" => self.value_size = unsigned,
            "off" => self.off = signed.unwrap_or(0),
            "r" => self.range = signed.map(|n| i64::from(n as i32)),
            "sz" | "mem_size" => self.size = unsigned,
            "imm" if self.kind != "scalar" => self.off = self.off.wrapping_add(signed.unwrap_or(0)),
            "smin" | "smin_value" => self.smin = signed,
            "smax" | "smax_value" => self.smax = signed,
            "umin" | "umin_value" => self.umin = unsigned,
            "umax" | "umax_value" => self.umax = unsigned,
            _ => {}
        }
    }

    /// Is it a number?
    pub fn is_scalar(&self) -> bool {
        self.kind == "scalar"
    }

    /// May it be null?
    pub fn may_be_null(&self) -> bool {
        self.kind.ends_with("_or_null") || self.kind.contains("or_null_")
    }

    /// Is it a pointer into a packet?
    pub fn is_packet(&self) -> bool {
        matches!(self.kind.as_str(), "pkt" | "pkt_meta" | "pkt_end")
    }

    /// Least value as signed, where it is known.
    pub fn least(&self) -> Option<i64> {
        self.number.or(self.smin).or_else(|| self.umax.filter(|&max| max <= i64::MAX as u64).map(|_| 0))
    }

    /// Greatest value as unsigned, where it is known.
    pub fn greatest(&self) -> Option<u64> {
        self.number.map(|n| n as u64).or(self.umax)
    }
}

/// Splits at a separator outside of parentheses.
pub(crate) fn items(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    let split = move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == separator && depth == 0
    };
    text.split(split).filter(|item| !item.is_empty())
}

/// A number in decimal or hexadecimal.
pub(crate) fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { (magnitude as i64).wrapping_neg() } else { magnitude as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kernel() {
        let v = Value::parse("map_value_or_null(id=3,map=counts,ks=4,vs=8)");
        assert_eq!(
            (v.kind.as_str(), v.id, v.map.as_deref(), v.value_size),
            ("map_value_or_null", 3, Some("counts"), Some(8))
        );
        let v = Value::parse("scalar(id=2+4,smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))");
        assert_eq!((v.id, v.smin, v.smax, v.umax), (2, Some(0), Some(0xffff_ffff), Some(0xffff_ffff)));
        let v = Value::parse("inv(id=0,umax_value=255,var_off=(0x0; 0xff))");
        assert_eq!((v.kind.as_str(), v.umax, v.least()), ("scalar", Some(255), Some(0)));
        assert_eq!(Value::parse("invP-14").number, Some(-14));
        assert_eq!(Value::parse("P0xffffffffffffffff").number, Some(-1));
        let v = Value::parse("fp[1]-16");
        assert_eq!((v.kind.as_str(), v.frame, v.off), ("fp", Some(1), -16));
        assert_eq!(Value::parse("mmmm????").kind, "data");
        assert_eq!(Value::parse("mmmmscalar(umax=7)").umax, Some(7));
        assert_eq!(Value::parse("pkt(off=14,r=0xfffffffffffffffe)").range, Some(-2));
        assert!(Value::parse("trusted_ptr_or_null_task_struct(id=1)").may_be_null());
    }
}
