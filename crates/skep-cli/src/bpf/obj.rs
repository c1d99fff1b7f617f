//! `skep obj`: what is in an object, and in what two objects differ.

mod changes;
mod code;
mod json;
mod text;

use std::fs;

use skep::object::inspect::{self, SectionView};
use skep::object::{Error, Object};

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// An object with what is shown of its file.
struct File {
    name: String,
    bytes: usize,
    object: Object,
    sections: Vec<SectionView>,
}

impl File {
    fn read(name: &str) -> Outcome<Self> {
        let bytes = fs::read(name).map_err(|e| Failure::file(name, &e))?;
        let sections = inspect::sections(&bytes, name)?;
        Ok(Self { name: name.to_owned(), bytes: bytes.len(), object: Object::read(&bytes, name)?, sections })
    }
}

/// `obj [show] FILE`
pub(crate) fn show(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = File::read(words.need("the object")?)?;
    words.end()?;
    match shell.is_json() {
        true => json::show(&mut shell.json, &file),
        false => text::show(&mut shell.json, &file)?,
    }
    Ok(())
}

/// `obj code FILE [PROGRAM] [visual]`
pub(crate) fn code(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = File::read(words.need("the object")?)?;
    let is_visual = |words: &mut Words<'_>| words.peek() == Some("visual") && words.next().is_some();
    let early = is_visual(words);
    let program = words.next();
    let visual = early || is_visual(words);
    words.end()?;
    let functions = file.object.functions();
    let wanted: Vec<_> = functions.iter().filter(|f| program.is_none_or(|name| f.name == name)).collect();
    if let (Some(program), true) = (program, wanted.is_empty()) {
        let names: Vec<&str> = functions.iter().map(|function| function.name).collect();
        return Err(Failure::new(format!("`{}` has no function `{program}`", file.name))
            .hint(format!("it has {}", names.join(", "))));
    }
    match (visual, shell.is_json()) {
        (false, true) => code::json(&mut shell.json, &wanted),
        (false, false) => code::text(&mut shell.json, &wanted),
        (true, _) => code::graph(shell, &wanted)?,
    }
    Ok(())
}

/// `obj diff A B`: status 1 where they differ, as diff(1) has it.
pub(crate) fn diff(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let (a, b) = (words.need("the first object")?, words.need("the second object")?);
    words.end()?;
    let (a, b) = (File::read(a)?, File::read(b)?);
    let found = skep::object::diff::diff(&a.object, &b.object).map_err(|e: Error| e.file(&b.name))?;
    match shell.is_json() {
        true => changes::json(&mut shell.json, &found),
        false => changes::text(&mut shell.json, &found),
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::answer(1)) }
}
