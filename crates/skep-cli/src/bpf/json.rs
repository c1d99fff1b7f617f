//! JSON, written as it comes: nothing is kept, so that a map of a hundred thousand elements takes no memory.
//!
//! The layout of the indented form is bpftool's, which scripts compare: a member a line, elements of arrays in a row.

use std::io::{self, Write as _};

/// Bytes that are kept before they are written.
const BUFFER: usize = 64 << 10;

/// Writes to stdout. The caller pairs what begins with what ends.
#[derive(Debug, Default)]
pub(crate) struct Json {
    buffer: Vec<u8>,
    pub(crate) pretty: bool,
    /// The brackets that close what is open, the innermost last.
    open: Vec<u8>,
    /// What stands before the next value: nothing after an opening or a name, else a comma.
    separator: Option<u8>,
    values: u64,
    failed: Option<io::Error>,
}

impl Json {
    pub(crate) fn new(pretty: bool) -> Self {
        Self { pretty, ..Self::default() }
    }

    /// How many values have been written, to tell whether a command has said anything.
    pub(crate) fn values(&self) -> u64 {
        self.values
    }

    pub(crate) fn begin_object(&mut self) {
        self.begin(b'{');
    }

    pub(crate) fn end_object(&mut self) {
        self.end(b'}');
    }

    pub(crate) fn begin_array(&mut self) {
        self.begin(b'[');
    }

    pub(crate) fn end_array(&mut self) {
        self.end(b']');
    }

    /// The name of the member whose value comes next.
    pub(crate) fn name(&mut self, name: &str) {
        self.separate();
        self.new_line();
        self.separator = None;
        self.quoted(name.as_bytes());
        self.buffer.push(b':');
        if self.pretty {
            self.buffer.push(b' ');
        }
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.value();
        self.quoted(text.as_bytes());
    }

    pub(crate) fn unsigned(&mut self, number: impl Into<u64>) {
        self.value();
        let _ = write!(self.buffer, "{}", number.into());
    }

    pub(crate) fn signed(&mut self, number: impl Into<i64>) {
        self.value();
        let _ = write!(self.buffer, "{}", number.into());
    }

    pub(crate) fn boolean(&mut self, is_true: bool) {
        self.raw(if is_true { "true" } else { "false" });
    }

    pub(crate) fn null(&mut self) {
        self.raw("null");
    }

    /// A value whose text is JSON already, or that bpftool leaves without quotes.
    pub(crate) fn raw(&mut self, text: &str) {
        self.value();
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Bytes as an array of `"0x2a"`.
    pub(crate) fn hex(&mut self, bytes: &[u8]) {
        self.begin_array();
        for &byte in bytes {
            self.value();
            self.buffer.extend_from_slice(&[b'"', b'0', b'x', digit(byte >> 4), digit(byte & 15), b'"']);
        }
        self.end_array();
    }

    pub(crate) fn string_field(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    pub(crate) fn unsigned_field(&mut self, name: &str, number: impl Into<u64>) {
        self.name(name);
        self.unsigned(number);
    }

    pub(crate) fn array_field<T: Into<u64>>(&mut self, name: &str, numbers: impl IntoIterator<Item = T>) {
        self.name(name);
        self.begin_array();
        numbers.into_iter().for_each(|number| self.unsigned(number));
        self.end_array();
    }

    pub(crate) fn bool_field(&mut self, name: &str, is_true: bool) {
        self.name(name);
        self.boolean(is_true);
    }

    /// Text outside of any value.
    pub(crate) fn text(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.buffer.write_fmt(text);
        self.flush_when_full();
    }

    /// Bytes outside of any value.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() < BUFFER {
            self.buffer.extend_from_slice(bytes);
            return self.flush_when_full();
        }
        self.flush();
        self.write(bytes);
    }

    /// Ends a document: the next one begins as if nothing had been.
    pub(crate) fn finish_document(&mut self) {
        self.buffer.push(b'\n');
        self.separator = None;
        self.open.clear();
        self.flush_when_full();
    }

    /// How many objects and arrays are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Closes what a failure has left open, but for the outermost `depth`.
    pub(crate) fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some(&bracket) = self.open.last()
        {
            self.end(bracket);
        }
    }

    fn begin(&mut self, bracket: u8) {
        self.value();
        self.buffer.push(bracket);
        self.open.push(if bracket == b'{' { b'}' } else { b']' });
        self.separator = None;
    }

    fn end(&mut self, bracket: u8) {
        self.open.pop();
        if self.separator.is_some() {
            self.new_line();
        }
        self.buffer.push(bracket);
        self.separator = Some(b',');
    }

    fn value(&mut self) {
        self.separate();
        self.values += 1;
        self.flush_when_full();
    }

    fn separate(&mut self) {
        self.buffer.extend(self.separator);
        self.separator = Some(b',');
    }

    fn new_line(&mut self) {
        if self.pretty {
            self.buffer.push(b'\n');
            self.buffer.extend(std::iter::repeat_n(b' ', 4 * self.open.len()));
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        self.buffer.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.buffer.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.buffer.extend_from_slice(b"\\n"),
                b'\t' => self.buffer.extend_from_slice(b"\\t"),
                b'\r' => self.buffer.extend_from_slice(b"\\r"),
                0..0x20 => {
                    let _ = write!(self.buffer, "\\u{byte:04x}");
                }
                _ => self.buffer.push(byte),
            }
        }
        self.buffer.push(b'"');
    }

    fn flush_when_full(&mut self) {
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    /// Writes what is kept.
    pub(crate) fn flush(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none()
            && let Err(error) = io::stdout().lock().write_all(bytes)
        {
            self.failed = Some(error);
        }
    }

    /// Does stdout take no more?
    pub(crate) fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Why stdout took no more, if it did not. A reader that has gone away is no failure.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.failed.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }
}

/// A hexadecimal digit.
pub(crate) fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(pretty: bool) -> String {
        let mut json = Json::new(pretty);
        json.begin_array();
        json.begin_object();
        json.unsigned_field("id", 7_u32);
        json.name("key");
        json.hex(&[1, 0xfe]);
        json.name("none");
        json.begin_array();
        json.end_array();
        json.string_field("text", "a\"\\\n\u{1}é");
        json.end_object();
        json.begin_object();
        json.end_object();
        json.end_array();
        String::from_utf8(json.buffer).unwrap()
    }

    #[test]
    fn documents_are_json() {
        let expected =
            serde_json::json!([{"id": 7, "key": ["0x01", "0xfe"], "none": [], "text": "a\"\\\n\u{1}é"}, {}]);
        for pretty in [false, true] {
            let value: serde_json::Value = serde_json::from_str(&document(pretty)).unwrap();
            assert_eq!(value, expected);
        }
        assert!(!document(false).contains('\n'));
    }

    #[test]
    fn what_is_left_open_can_be_closed() {
        let mut json = Json::new(false);
        json.begin_array();
        json.begin_object();
        json.name("a");
        json.begin_array();
        json.close_to(1);
        assert_eq!(json.depth(), 1);
        json.null();
        json.close_to(0);
        assert_eq!(json.buffer, br#"[{"a":[]},null]"#);
    }

    #[test]
    fn the_indented_form_has_a_member_a_line() {
        let text = document(true);
        assert!(
            text.starts_with("[{\n        \"id\": 7,\n        \"key\": [\"0x01\",\"0xfe\"\n        ],\n"),
            "{text}"
        );
    }
}
