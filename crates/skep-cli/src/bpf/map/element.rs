//! Single elements: `map lookup`, `update`, `delete` and `getnext`.

use super::super::failure::{ENOENT, Failure, Outcome};
use super::super::select;
use super::super::shell::Shell;
use super::super::words::Words;
use super::print::{Elements, hex_text};
use super::{Types, data};

/// `map update MAP [key DATA] [value VALUE] [FLAGS]`, and `push` and `enqueue`, which have no key.
pub(crate) fn update(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    let said = data::parse(shell, words, &selected.info)?;
    if said.key.is_none() && selected.info.key_size > 0 {
        return Err(Failure::new("the key is missing").hint("`key BYTE …`, or `key typed VALUE`"));
    }
    let value = said.value.as_deref().ok_or_else(|| Failure::new("the value is missing"))?;
    let key = said.key.as_deref().unwrap_or_default();
    selected.map.update(key, value, said.flags).map_err(|e| Failure::refused(&e))
}

/// `map lookup MAP [key DATA]`
pub(crate) fn lookup(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    let said = data::parse(shell, words, &selected.info)?;
    if said.value.is_some() {
        return Err(Failure::new("a look-up takes no value").hint("`map lookup MAP key DATA`"));
    }
    let key = said.key.unwrap_or_default();
    if key.is_empty() && selected.info.key_size > 0 {
        return Err(Failure::new("the key is missing").hint("`key BYTE …`, or `key typed VALUE`"));
    }
    let value = selected.map.lookup(&key).map_err(|e| Failure::refused(&e))?;
    let Some(value) = value else { return Err(not_found(shell, &key)) };
    let types = Types::of(&shell.runtime()?, &selected.info)?;
    let elements = Elements::new(shell, &selected.info, types.as_ref());
    print(shell, &elements, &key, &value)
}

/// Says so where a map has no such key, in text as an answer.
pub(crate) fn not_found(shell: &mut Shell, key: &[u8]) -> Failure {
    if !shell.is_json() {
        let mut text = b"key:\n".to_vec();
        hex_text(&mut text, key);
        text.extend_from_slice(b"\n\nNot found\n");
        shell.json.bytes(&text);
    }
    Failure::absent("")
}

/// A map has to be named.
pub(crate) fn named(words: &Words<'_>) -> Outcome {
    words.at_least(2, "name a map by id, name or pinned").map_err(Failure::aside)
}

/// One element, which stands alone.
pub(crate) fn print(shell: &mut Shell, elements: &Elements<'_>, key: &[u8], value: &[u8]) -> Outcome {
    let is_typed_text = !shell.is_json() && elements.types.is_some();
    let wanted = shell.options.pretty || !shell.is_json();
    let pretty = std::mem::replace(&mut shell.json.pretty, wanted);
    let result = elements.write(&mut shell.json, key, value);
    if is_typed_text {
        shell.json.finish_document();
    }
    shell.json.pretty = pretty;
    result
}

/// `map getnext MAP [key DATA]`
pub(crate) fn getnext(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    let said = data::parse(shell, words, &selected.info)?;
    let next = selected.map.next_key(said.key.as_deref()).map_err(|e| Failure::refused(&e))?;
    let Some(next) = next else {
        return Err(Failure::new("there is no next key: no such file or directory").with_errno(ENOENT));
    };
    let json = &mut shell.json;
    if shell.options.json {
        json.begin_object();
        json.name("key");
        match &said.key {
            Some(key) => json.hex(key),
            None => json.null(),
        }
        json.name("next_key");
        json.hex(&next);
        json.end_object();
        return Ok(());
    }
    let mut text = Vec::new();
    match &said.key {
        Some(key) => {
            text.extend_from_slice(b"key:\n");
            hex_text(&mut text, key);
            text.push(b'\n');
        }
        None => text.extend_from_slice(b"key: None\n"),
    }
    text.extend_from_slice(b"next key:\n");
    hex_text(&mut text, &next);
    text.push(b'\n');
    json.bytes(&text);
    Ok(())
}

/// `map delete MAP key DATA`
pub(crate) fn delete(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    named(words)?;
    let selected = select::map(shell, words)?;
    let said = data::parse(shell, words, &selected.info)?;
    let key = said.key.ok_or_else(|| Failure::new("the key is missing"))?;
    selected.map.delete(&key).map_err(|e| Failure::refused(&e))
}
