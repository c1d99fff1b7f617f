//! The list of files a compilation read, in the syntax of make that clang writes it in (`-MD`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Reads the list and leaves out what lies under `scratch`, our own temporary files.
pub(crate) fn read(depfile: &Path, scratch: &Path) -> Result<Vec<PathBuf>> {
    let text =
        fs::read_to_string(depfile).map_err(|e| Error::io("cannot read clang's list of headers", e))?;
    Ok(parse(&text).into_iter().map(PathBuf::from).filter(|path| !path.starts_with(scratch)).collect())
}

/// `target: file file \` over several lines, where a blank or `#` in a name has a backslash and `$` is doubled.
fn parse(text: &str) -> Vec<String> {
    let Some((_target, list)) = text.split_once(": ") else { return Vec::new() };
    let mut files = Vec::new();
    let mut file = String::new();
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(&escaped @ (' ' | '#'))) | ('$', Some(&escaped @ '$')) => {
                file.push(escaped);
                chars.next();
            }
            ('\\', Some('\n')) => {}
            (c, _) if c.is_whitespace() => files.extend(take_name(&mut file)),
            (c, _) => file.push(c),
        }
    }
    files.extend(take_name(&mut file));
    files
}

fn take_name(file: &mut String) -> Option<String> {
    (!file.is_empty()).then(|| std::mem::take(file))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_are_taken_out_of_make_syntax() {
        let check = |text: &str, expected: &[&str]| assert_eq!(parse(text), expected, "{text:?}");
        check("out.o: a.bpf.c\n", &["a.bpf.c"]);
        check("out.o: a.bpf.c \\\n  /usr/include/x.h \\\n  y.h\n", &["a.bpf.c", "/usr/include/x.h", "y.h"]);
        check(
            "out.o: with\\ blank.c a\\#b.h c$$d.h back\\slash.h\n",
            &["with blank.c", "a#b.h", "c$d.h", "back\\slash.h"],
        );
        check("out.o:\n", &[]);
        check("", &[]);
    }
}
