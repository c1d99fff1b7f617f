//! The words of a value's text: brackets, commas, member names, and what stands between them.

use super::parse::ParseError;

/// A text that is being read.
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text: text.trim(), at: 0 }
    }

    /// The character that comes next, after white space.
    pub(super) fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    /// Takes the character, if it comes next.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    pub(super) fn expect(&mut self, wanted: char) -> Result<(), ParseError> {
        match self.eat(wanted) {
            true => Ok(()),
            false => Err(ParseError::new(format!("expected `{wanted}`, found {}", self.found()))),
        }
    }

    pub(super) fn end(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(ParseError::new(format!("expected nothing more, found {}", self.found()))),
        }
    }

    /// The bracket that closes the one that is taken here, if one opens.
    pub(super) fn open(&mut self) -> Option<char> {
        [('{', '}'), ('[', ']')].into_iter().find(|(open, _)| self.eat(*open)).map(|(_, close)| close)
    }

    /// All that is left.
    pub(super) fn remainder(&mut self) -> &'t str {
        let rest = self.rest();
        self.at = self.text.len();
        rest.trim()
    }

    /// Up to the next comma or closing bracket; a character constant may hold either.
    pub(super) fn word(&mut self) -> &'t str {
        self.peek();
        let rest = self.rest();
        let quoted = character_len(rest).unwrap_or(0);
        let end = rest[quoted..].find([',', ']', '}']).map_or(rest.len(), |end| quoted + end);
        self.at += end;
        rest[..end].trim()
    }

    /// The bytes of a string in quotes, if one comes next.
    pub(super) fn string(&mut self) -> Result<Option<Vec<u8>>, ParseError> {
        if !self.eat('"') {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(['"', '\\']) else {
                return Err(ParseError::new("the text is not closed by `\"`"));
            };
            bytes.extend_from_slice(&rest.as_bytes()[..end]);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Ok(Some(bytes));
            }
            let (byte, len) = unescape(self.rest())?;
            bytes.push(byte);
            self.at += len;
        }
    }

    /// The member that an element is for, or the path to it: `.name =`, `.name.of.inner =`, `.name:`, `name:` or `"name":`.
    pub(super) fn member(&mut self) -> Option<&'t str> {
        self.peek();
        let rest = self.rest();
        let end = rest.find(['=', ':', ',', '}', ']', '{', '['])?;
        let (name, separator) = (rest[..end].trim(), rest.as_bytes()[end]);
        let dotted = name.strip_prefix('.').map(str::trim);
        let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let bare = dotted.or(unquoted).unwrap_or(name);
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let given = matches!(separator, b'=' | b':') && !bare.is_empty() && bare.chars().all(is_name);
        if given {
            self.at += end + 1;
        }
        given.then_some(bare)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn found(&self) -> String {
        match self.rest().trim() {
            "" => "the end".to_owned(),
            rest => format!("`{}`", rest.chars().take(20).collect::<String>()),
        }
    }
}

/// Length of the character constant that a text begins with.
fn character_len(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let len = match inner.strip_prefix('\\') {
        Some(escape) => 1 + unescape(escape).ok()?.1,
        None => inner.chars().next()?.len_utf8(),
    };
    inner.get(len..)?.starts_with('\'').then_some(len + 2)
}

/// The value of a character constant such as `'a'` or `'\n'`.
pub(super) fn character(text: &str) -> Option<u8> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    match inner.strip_prefix('\\') {
        Some(escape) => unescape(escape).ok().filter(|(_, len)| *len == escape.len()).map(|(byte, _)| byte),
        None => <[u8; 1]>::try_from(inner.as_bytes()).ok().map(|[byte]| byte),
    }
}

/// The byte of the escape sequence after a backslash, and the length of the sequence.
fn unescape(text: &str) -> Result<(u8, usize), ParseError> {
    let digits = |text: &str, radix: u32, most: usize| {
        let len = text.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        u8::from_str_radix(&text[..len], radix).ok().map(|byte| (byte, len))
    };
    let first = text.chars().next();
    let byte = match first {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('e') => 0x1b,
        Some(c @ ('\\' | '"' | '\'')) => c as u8,
        Some('x') => {
            let found = digits(&text[1..], 16, 2).map(|(byte, len)| (byte, len + 1));
            return found.ok_or_else(|| ParseError::new("`\\x` stands without hexadecimal digits"));
        }
        Some('0'..='7') => {
            return digits(text, 8, 3).ok_or_else(|| ParseError::new("a byte ends at `\\377`"));
        }
        _ => {
            let what = first.map_or("nothing".to_owned(), |c| format!("`{c}`"));
            return Err(ParseError::new(format!("`\\` cannot be followed by {what}")));
        }
    };
    Ok((byte, 1))
}
